//! A shard's database on a server.

mod books;
mod census;
pub(crate) mod shard;
mod stock;
mod trace;

pub(crate) use shard::MysqlShard;
