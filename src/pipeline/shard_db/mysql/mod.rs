//! A shard's database on a server.

mod books;
mod census;
mod look;
pub(crate) mod shard;
mod trace;

pub(crate) use shard::MysqlShard;
