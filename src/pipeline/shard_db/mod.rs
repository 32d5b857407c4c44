//! The shards' databases: rows of events, markers, books, and what the audit and the trace read of them.
//!
//! [`store::ShardStore`] is the trait; `sqlite/` and `mysql/` implement it.

mod books;
mod census;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
mod rows_digest;
pub(crate) mod sqlite;
pub mod stock;
pub mod store;
pub mod trace;

pub use books::Entry;
pub use census::{Census, RowDigests, SentFile};
pub use stock::{BookedOrder, Bought, Dated, OrderOutcome, StockItem, WorkerSnapshot};
pub use store::{Delivered, Delivery, EventRow, RowSource, ShardStore, open_shard};
