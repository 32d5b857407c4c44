//! A shard's database in a file.

mod books;
mod census;
mod row;
mod shard;
mod trace;

pub(crate) use row::{order_of, stock_item_of};
pub(crate) use shard::SqliteShard;
