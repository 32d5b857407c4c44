//! A shard's database in a file.

mod books;
mod census;
mod shard;
mod trace;

pub(crate) use shard::SqliteShard;
