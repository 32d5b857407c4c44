//! The stores on a MySQL 8.0+ / 9 or MariaDB 10.6+ server, in the SQL that both understand.

mod balance;
mod books;
mod bulk;
mod census;
mod database;
mod facts;
mod fault;
mod look;
mod migrate;
mod pending;
mod session;
mod shard;
#[cfg(test)]
mod testing;
mod trace;
mod tracking;
mod value;

pub(super) use balance::MysqlBalance;
pub(super) use facts::facts;
pub(super) use migrate::{schema_of, status, up};
pub(super) use pending::MysqlPending;
pub(super) use shard::MysqlShard;
pub(super) use tracking::MysqlTracking;
