//! The shards' databases: rows of events, markers, books, and what the audit and the trace read of them.
//!
//! [`store::ShardStore`] is the trait; `sqlite/` and `mysql/` implement it.

mod books;
mod census;
pub(crate) mod mysql;
mod rows_digest;
pub mod shelf;
mod sqlite;
pub mod store;
pub mod trace;

pub use books::Entry;
pub use census::{Census, RowDigests, SentFile};
pub use shelf::{BookedOrder, Bought, Dated, OrderOutcome, Shelf, WorkerLook};
pub use store::{Delivered, Delivery, EventRow, RowSource, ShardStore, open_shard};
