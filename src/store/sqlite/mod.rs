//! The embedded stores on SQLite: nothing to install, one file per database.

mod balance;
mod books;
mod census;
mod copy;
mod db;
mod migrate;
mod pending;
mod shard;
mod trace;
mod tracking;
mod worker;
mod worker_look;

pub(super) use balance::SqliteBalance;
pub(super) use copy::{check, copy, is_in_use};
pub(super) use migrate::{schema_of, state, up, worker_schema};
pub(super) use pending::SqlitePending;
pub(super) use shard::SqliteShard;
pub(super) use tracking::SqliteTracking;
pub(super) use worker::SqliteWorkerState;
pub(super) use worker_look::SqliteWorkerLook;
