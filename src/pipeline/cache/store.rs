//! The cache store: the order directory and the early returns (docs/contracts.md, 5; docs/semantics.md, 4).
//!
//! Two kinds of tasks meet here: one records an order, the other hands in a return of it. Both **write, then look,
//! under one lock per order**. The lock is the order's row in the directory. The first of the two creates the row, as
//! `awaited` until the order is known. Rows are locked in the order of their ids. A task that records an order writes
//! the row and then takes the returns that wait for it. A task that hands in a return locks the row, and keeps the
//! return only if the order is not known. So neither misses the other, whichever comes first.
//!
//! Every call names its task, and a task that repeats a call gets the same answer: a return that was held stays held,
//! and a task is handed what it was handed before and no more. Therefore the returns that a finished task handed in or
//! took stay in the tables for a while, marked as done, although no task waits for them any more.

use async_trait::async_trait;

use crate::base::boot::millis;
use crate::base::db::Result;
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Settings;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::early::TAKEN_BYTES_MAX;
use crate::pipeline::trade::{Backlog, EarlyReturn, Held, NewOrder, Order, OrderId, PutOutcome, Recorded, Taken};

/// What the store needs to know beside the database.
#[derive(Debug, Clone, Copy)]
pub struct CachePolicy {
    /// How long a return waits for its order, in milliseconds.
    pub ttl_ms: i64,
    /// How many returns may be pending.
    pub pending_max: u64,
    /// How long what is done is kept for tasks that are done again, in milliseconds.
    pub retention_ms: i64,
}

impl CachePolicy {
    /// The policy of these settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            ttl_ms: millis(settings.cache.pending_ttl),
            pending_max: settings.cache.pending_max,
            retention_ms: millis(settings.cache.retention),
        }
    }
}

/// What to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take<'a> {
    /// Returns that wait for these orders, as far as they belong to the asker's shard.
    Orders(&'a [OrderId]),
    /// Returns whose order is known and belongs to the asker's shard. Asked again, a task gets what it got the first
    /// time: what has come since is for the next task.
    Shard,
    /// Returns that the asker's shard handed in, whose time is up and whose order never came. Where an event file is
    /// named that some shard has not decided, their time must have been up before it was made: what came within the
    /// time of a return may still wait in it. Asked again, a task gets what it got the first time.
    Expired(Option<&'a FileName>),
}

/// What was forgotten at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Returns.
    pub returns: u64,
    /// Notes of which task has taken what its shard had for it.
    pub claims: u64,
}

/// The order directory and the early returns.
#[async_trait]
pub trait CacheStore: Send + Sync {
    /// Whether the database takes changes.
    async fn ping(&self) -> Result<()>;

    /// Writes orders of the task's shard. What stands there stays; the answer says what it is, one per order.
    async fn record_orders(&self, by: &TaskKey, orders: &[NewOrder]) -> Result<Vec<Recorded>>;

    /// Writes orders as [`CacheStore::record_orders`] does, and hands the task the returns that waited for them: both
    /// or neither, so that no return is left behind.
    async fn record_and_take(&self, by: &TaskKey, orders: &[NewOrder]) -> Result<(Vec<Recorded>, Vec<Taken>)>;

    /// These orders, as far as they are known, by number.
    async fn look_up(&self, orders: &[OrderId]) -> Result<Vec<Order>>;

    /// The orders that are known, by number, beginning after that one.
    async fn list_orders(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<Order>>;

    /// Keeps returns whose order is not known, or belongs to another shard; one outcome per return.
    ///
    /// Refused if a line was handed in before with other content, or if more would be pending than is allowed. Nothing
    /// is kept then.
    async fn put(&self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>>;

    /// Hands the task returns, marked as its own: no other task gets them, and the same task gets them again.
    async fn take(&self, by: &TaskKey, what: Take<'_>, limit: u32) -> Result<Vec<Taken>>;

    /// Says that the task is done: what it took is pending no more. Answers how many returns that were; again, none.
    async fn confirm(&self, by: &TaskKey) -> Result<u64>;

    /// The kept returns of an order, those of finished tasks included, as long as they are kept.
    async fn list_held(&self, order: OrderId, limit: u32) -> Result<Vec<Held>>;

    /// Kept returns whose task is not done, by (file, line), beginning after that one.
    async fn list_pending(&self, after: Option<(FileName, u64)>, limit: u32) -> Result<Vec<Held>>;

    /// How much is kept.
    async fn backlog(&self) -> Result<Backlog>;

    /// Forgets what was done too long ago, so many returns and so many claims at the most; answers how many.
    async fn forget(&self, limit: u32) -> Result<Forgotten>;

    /// Closes its connections, if it has any. Nothing can be asked afterwards.
    async fn close(&self) {}
}

impl Forgotten {
    /// Whether there may be more to forget, where so many were asked for.
    pub fn is_full(self, limit: u32) -> bool {
        self.returns.max(self.claims) >= u64::from(limit)
    }
}

impl Take<'_> {
    /// Before which file a return must have been handed in for its time to be up, if it waits so long.
    pub(crate) fn handed_in_before(self, ttl_ms: i64) -> String {
        match self {
            Self::Expired(Some(undecided)) => FileName::of(undecided.moment().plus_ms(-ttl_ms)).as_str().to_owned(),
            // Behind every name.
            _ => ":".to_owned(),
        }
    }

    /// The word in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Orders(_) => "order",
            Self::Shard => "shard",
            Self::Expired(_) => "expired",
        }
    }
}

/// What a return comes to, from what stands in the directory and whether the return itself stands there.
pub(crate) fn put_outcome(shard: ShardId, is_kept: bool, standing: Option<&Order>) -> PutOutcome {
    match standing {
        // What was held once is held for ever: the task has counted it.
        _ if is_kept => PutOutcome::Held,
        Some(order) if order.shard == shard => PutOutcome::Known(order.clone()),
        _ => PutOutcome::Held,
    }
}

/// As many returns from the beginning as may be handed out at once; always the first.
pub(crate) fn within_bytes<T>(returns: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<T> {
    let mut sum = 0_usize;
    let fits = |entry: &T| {
        let is_first = sum == 0;
        sum = sum.saturating_add(bytes_of(entry).max(1));
        is_first || sum <= TAKEN_BYTES_MAX
    };
    returns.into_iter().take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_out_at_once_is_bounded_but_never_nothing() {
        let of = |sizes: &[usize]| within_bytes(sizes.to_vec(), |size| *size).len();
        assert_eq!(of(&[TAKEN_BYTES_MAX + 1, 1]), 1);
        assert_eq!(of(&[TAKEN_BYTES_MAX - 1, 1, 1]), 2);
        assert_eq!(of(&[usize::MAX, usize::MAX]), 1);
        assert_eq!(of(&[]), 0);
    }
}
