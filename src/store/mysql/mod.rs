//! The stores on a MySQL 8.0+ / 9 or MariaDB 10.6+ server, in the SQL that both understand.

mod books;
mod database;
mod fault;
mod migrate;
mod session;
mod shard;
mod tracking;
mod value;

pub(super) use migrate::{SHARD, TRACKING, status, up};
pub(super) use shard::MysqlShard;
pub(super) use tracking::MysqlTracking;
