//! The cache-service, as the worker sees it: the order directory and the early returns. All shards share them.
//!
//! Every call names its task, and a task that repeats a call gets the same answer.

use crate::pipeline::claim::fault::Fault;
use crate::pipeline::task::TaskKey;
use crate::pipeline::trade::{EarlyReturn, NewOrder, PutOutcome, Recorded, Taken};

/// Knows which shard an order belongs to, and keeps early returns until that is known.
pub trait CacheService: Send {
    /// Writes orders of the task's shard, and takes the returns that waited for them. What stands there already stays.
    ///
    /// # Errors
    /// [`Fault`], as for all calls; the same call may be made again.
    fn record_and_take(&mut self, by: &TaskKey, orders: &[NewOrder]) -> Result<(Vec<Recorded>, Vec<Taken>), Fault>;

    /// Hands in returns; one answer each.
    ///
    /// # Errors
    /// [`Fault`], as for all calls.
    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>, Fault>;

    /// Takes the returns whose order is known and of the task's shard, marked as the task's own. A task is told once:
    /// asked again, it gets the same.
    ///
    /// # Errors
    /// [`Fault`], as for all calls.
    fn take(&mut self, by: &TaskKey) -> Result<Vec<Taken>, Fault>;

    /// Takes the returns that the task's shard handed in and whose time is up, as [`CacheService::take`] does.
    ///
    /// # Errors
    /// [`Fault`], as for all calls.
    fn expired(&mut self, by: &TaskKey) -> Result<Vec<Taken>, Fault>;

    /// Says that the task is done, and what it took with it.
    ///
    /// # Errors
    /// [`Fault`], as for all calls.
    fn confirm(&mut self, by: &TaskKey) -> Result<(), Fault>;
}
