//! What a worker remembers of its shard: keys, orders, stock, prices, finished files. Its database is always embedded.

pub(crate) mod snapshot;
mod sqlite;
mod store;

pub(crate) use store::UNKNOWN_CONTENT;
pub use store::{FinishedFile, WorkerState, open_worker_snapshot, open_worker_state};
