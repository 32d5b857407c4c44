//! The order directory and the pending returns, as the worker sees them. All shards share them.
//!
//! Every call names its task, and a task that repeats a call gets the same answer.

use crate::base::timestamp::Timestamp;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::task::{FileName, TaskKey};

/// Orders or returns of one call.
pub const ENTRIES_MAX: usize = 10_000;

/// An order that this shard has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecidedOrder {
    /// Which order.
    pub order_id: i64,
    /// Where it was to be bought.
    pub shop_id: i64,
    /// Whether the purchase was made.
    pub accepted: bool,
}

/// A return whose purchase this shard does not know. It is named by the task's file and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyReturn {
    /// Its line in the event file.
    pub line: u64,
    /// The order that it is about.
    pub order_id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// The line as it came.
    pub raw: String,
}

/// What came of handing in a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is kept for the shard that has the order or will have it.
    Held,
    /// The order belongs to this very shard: nothing is kept.
    Ours,
}

/// Which returns to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Due {
    /// Those whose order belongs to this shard.
    Ours,
    /// Those that this shard handed in, whose time is up.
    Expired,
}

/// A return that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenReturn {
    /// The event file that it came from.
    pub file: FileName,
    /// The return.
    pub entry: EarlyReturn,
}

/// What came of writing orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// How many of them stand there as another shard's, and stay so.
    pub elsewhere: u64,
    /// The returns that waited for them.
    pub taken: Vec<TakenReturn>,
}

/// Knows which shard an order belongs to, and keeps returns until that is known.
pub trait Directory: Send {
    /// Writes orders of the task's shard, and takes the returns that waited for them. What stands there already stays.
    ///
    /// # Errors
    /// [`Fault`], as for all calls; the same call may be made again.
    fn record_and_take(&mut self, by: &TaskKey, orders: &[DecidedOrder]) -> Result<Written, Fault>;

    /// Hands in returns; one answer each.
    ///
    /// # Errors
    /// [`Fault`], as for all calls.
    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<Kept>, Fault>;

    /// Takes the returns that are due, marked as the task's own. A task is told once what is due: asked again, it gets
    /// the same.
    ///
    /// # Errors
    /// [`Fault`], as for all calls.
    fn take(&mut self, by: &TaskKey, due: Due) -> Result<Vec<TakenReturn>, Fault>;

    /// Says that the task is done, and what it took with it.
    ///
    /// # Errors
    /// [`Fault`], as for all calls.
    fn confirm(&mut self, by: &TaskKey) -> Result<(), Fault>;
}
