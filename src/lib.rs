//! shopctl: the event-driven back office of a chain of shops.
//!
//! The map, in reading order: [`event`] what an event is; [`task`] what a task is; [`trade`] what money, orders and
//! pending returns are; [`store`] where state lives;
//! [`rules`] what the worker decides; [`pipeline`] how events travel from stage to stage; [`http`] serving;
//! [`api`] the stage-status API; [`doctor`] what may be wrong around the roles; [`role`] one file per subcommand,
//! started by [`boot`] with the settings of [`config`] and the words of [`cli`]; [`log_format`], [`output`], [`text`],
//! [`progress`], [`clock`], [`reload`] and [`shutdown`] serve them all.

pub mod api;
pub mod boot;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod event;
pub mod http;
pub mod log_format;
pub mod output;
pub mod pipeline;
pub mod progress;
pub mod reload;
pub mod role;
pub mod rules;
pub mod shutdown;
pub mod store;
pub mod task;
pub mod text;
pub mod trade;
