//! What knows no system: start and stop, settings, serving, databases, log and clock.
//!
//! [`boot`] starts a role with the settings of [`config`]; [`http`] serves; [`db`] reaches SQLite, MySQL and MariaDB;
//! [`bus`] carries messages.
//! [`shutdown`] and [`reload`] are the signals, [`clock`] and [`timestamp`] the time, [`decimal`] exact numbers, [`log_format`], [`output`],
//! [`progress`] and [`text`] what people read.

pub mod backoff;
pub mod bell;
pub mod boot;
pub mod bus;
pub mod clock;
pub mod config;
pub mod db;
pub mod decimal;
pub mod http;
pub mod log_format;
pub mod output;
pub mod progress;
pub mod reload;
pub mod shutdown;
pub mod text;
pub mod timestamp;
