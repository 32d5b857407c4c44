//! One file per subcommand, thin: what it reads, what it writes, how it is run. The work itself is in
//! [`crate::pipeline`] and [`crate::hub`].

pub mod apid;
pub mod audit;
pub mod backup;
pub mod balance;
pub mod cache;
pub mod completions;
pub mod config;
pub mod doctor;
pub mod healthcheck;
pub mod hub;
pub mod hub_metrics;
pub mod ingest;
pub mod man;
pub mod migrate;
pub mod rejects;
pub mod restore;
pub mod retry;
pub mod send;
pub mod settings;
pub mod split;
pub mod status;
pub mod trace;
pub mod up;
pub mod work;

mod daemon;
