//! The order directory, and returns that came before their purchase.

use serde::{Deserialize, Serialize};

use super::OrderId;
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{FileName, TaskKey};

/// Orders or returns of one call: it is one transaction, and holds the rows of its orders until it ends.
pub const ENTRIES_MAX: usize = 10_000;
/// Bytes of a returned line.
pub const RAW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the lines that are handed out at once, beside the first one.
pub const TAKEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What became of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// It was made.
    Accepted,
    /// It was rejected.
    Rejected,
}

/// An order as the task writes it that decided its purchase. The order belongs to that task's shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewOrder {
    /// Which order.
    pub order: OrderId,
    /// Where it was bought.
    pub shop_id: i64,
    /// What became of the purchase.
    pub state: OrderState,
}

/// An order as it stands in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which order.
    pub order: OrderId,
    /// Where it was bought.
    pub shop_id: i64,
    /// Which shard it belongs to.
    pub shard: ShardId,
    /// What became of the purchase.
    pub state: OrderState,
    /// The event file whose task wrote it.
    pub file: FileName,
}

/// What came of writing an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedAs {
    /// This task wrote it: now, or when it asked before.
    Recorded,
    /// Another task wrote the same before.
    Same,
    /// Another shard, shop or state stands there already, and stays.
    Conflict,
}

/// What came of writing an order, and what stands there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What came of it.
    pub outcome: RecordedAs,
    /// What stands there.
    pub order: Order,
}

/// A return whose purchase its task does not know. It is named by its event file, which is that of the task, and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyReturn {
    /// Its line in the event file, from 1.
    pub line: u64,
    /// The order that it is about.
    pub order: OrderId,
    /// When it happened.
    pub happened_at: Timestamp,
    /// The line as it came.
    pub raw: String,
}

/// What came of handing in a return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is kept: for the order's shard if the order is known there, else until the order comes or time is up. The task
    /// counts it as held.
    Held,
    /// The order is in the asker's own shard: nothing is kept, the asker deals with the return at once.
    Known(Order),
}

/// A return that is kept, with where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The event file that the line came from.
    pub file: FileName,
    /// The return.
    pub entry: EarlyReturn,
}

/// Where a kept return is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldState {
    /// It waits.
    Waiting,
    /// A task has it as one whose order came.
    Released(TaskKey),
    /// A task has it as one whose time was up.
    Expired(TaskKey),
}

/// A kept return as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The task that handed it in.
    pub by: TaskKey,
    /// Its line.
    pub line: u64,
    /// When it happened.
    pub happened_at: Timestamp,
    /// When it was handed in.
    pub held_at: Timestamp,
    /// When it expires, unless the order comes.
    pub expires_at: Timestamp,
    /// Where it is.
    pub state: HeldState,
    /// When the task that has it was done, if it is.
    pub done_at: Option<Timestamp>,
}

impl Held {
    /// The task that has it, if one has.
    pub fn taken_by(&self) -> Option<&TaskKey> {
        match &self.state {
            HeldState::Waiting => None,
            HeldState::Released(by) | HeldState::Expired(by) => Some(by),
        }
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Returns whose task is not done: the number that the cap is about.
    pub pending: u64,
    /// Those of them that no task has.
    pub waiting: u64,
    /// Those that wait although their time is up and their order did not come.
    pub overdue: u64,
    /// Those that the next task of some shard takes, whatever is in its file: overdue ones, and ones whose order came.
    pub due: u64,
    /// When the oldest of those that wait was handed in.
    pub oldest: Option<Timestamp>,
}

impl Backlog {
    /// Returns whose order is known and that no task has taken up: the next task of the order's shard does.
    pub fn decided(&self) -> u64 {
        self.due.saturating_sub(self.overdue)
    }
}

impl OrderState {
    /// The word in columns and bodies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Accepted, Self::Rejected].into_iter().find(|state| state.name() == name)
    }
}

impl Recorded {
    /// The task wrote this order now.
    pub fn written(order: &NewOrder, by: &TaskKey) -> Self {
        let NewOrder { order, shop_id, state } = *order;
        let order = Order { order, shop_id, shard: by.shard, state, file: by.file.clone() };
        Self { outcome: RecordedAs::Recorded, order }
    }

    /// What it means that this order stands there, for the task that wanted to write another one.
    pub fn of(wanted: &NewOrder, by: &TaskKey, order: Order) -> Self {
        let is_same = (order.shop_id, order.shard, order.state) == (wanted.shop_id, by.shard, wanted.state);
        let outcome = match (is_same, order.file == by.file) {
            (true, true) => RecordedAs::Recorded,
            (true, false) => RecordedAs::Same,
            (false, _) => RecordedAs::Conflict,
        };
        Self { outcome, order }
    }
}
