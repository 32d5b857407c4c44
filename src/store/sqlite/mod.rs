//! The embedded stores on SQLite: nothing to install, one file per database.

mod books;
mod db;
mod migrate;
mod shard;
mod tracking;
mod worker;

pub(super) use migrate::{SHARD, TRACKING, state, up};
pub(super) use shard::SqliteShard;
pub(super) use tracking::SqliteTracking;
pub(super) use worker::SqliteWorkerState;
