//! What a worker remembers of its shard: keys, orders, stock, prices, finished files. It is always embedded.

pub(crate) mod look;
mod sqlite;
mod store;

pub use store::{
    FinishedFile, Remembered, Standing, TradeOrder, UNKNOWN_CONTENT, WorkerState, look_at_worker, open_worker_state,
};
