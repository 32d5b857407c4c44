//! Early returns: those that came before their purchase. One is *handed in* by the task that read it and *held* from then
//! on; it *waits* until it is *released* to a task of its order's shard, or *expired* to one of the shard that brought
//! it; it is *pending* until that task is done.
//!
//! As they stand here, they are written into the bodies of the API too: a doc comment is the description in its document.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{Order, OrderId, text};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{FileName, TaskKey};

/// Bytes of a returned line.
pub(crate) const RAW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of the lines that are handed out at once, beside the first one.
pub(crate) const TAKEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A return.
// It is named by its event file, which is that of the task that hands it in, and its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReturnItem)]
pub struct EarlyReturn {
    /// Its line in the event file, from 1.
    #[serde(deserialize_with = "line")]
    #[schema(minimum = 1, example = 17)]
    pub line: u64,
    /// The order that it is about.
    #[serde(rename = "order_id")]
    #[schema(value_type = i64, minimum = 1, example = 4711)]
    pub order: OrderId,
    /// When it happened.
    #[serde(with = "text::moment")]
    #[schema(value_type = String, example = "2025-01-01 00:00:00.000")]
    pub happened_at: Timestamp,
    /// The line as it came.
    #[schema(max_length = 4_194_304, example = "{\"event_type\":3}")]
    pub raw: String,
}

/// What came of handing in a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "order", rename_all = "snake_case")]
pub enum PutOutcome {
    /// It is kept, until its order comes or for the shard that its order belongs to: the task counts it as held.
    Held,
    /// Its order is known and of the task's own shard: nothing is kept, the task deals with it now.
    Known(Order),
}

/// A return with where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The event file that it came from.
    #[serde(rename = "filename")]
    pub file: FileName,
    /// The return.
    #[serde(flatten)]
    pub entry: EarlyReturn,
}

/// Where a kept return is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum HeldState {
    /// It waits.
    Waiting,
    /// A task has it as one whose order came.
    Released(#[serde(with = "TakenBy")] TaskKey),
    /// A task has it as one whose time was up.
    Expired(#[serde(with = "TakenBy")] TaskKey),
}

/// How the task that has a return stands in bodies.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TaskKey")]
struct TakenBy {
    #[serde(rename = "taken_filename")]
    file: FileName,
    #[serde(rename = "taken_shard")]
    shard: ShardId,
}

/// A kept return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The event file that it came from.
    #[serde(rename = "filename")]
    pub file: FileName,
    /// Its line there.
    pub line: u64,
    /// The shard whose task handed it in.
    pub shard: ShardId,
    /// Where it is.
    #[serde(flatten)]
    pub state: HeldState,
    /// When it happened.
    #[serde(with = "text::moment")]
    pub happened_at: Timestamp,
    /// When it was handed in.
    #[serde(with = "text::moment")]
    pub held_at: Timestamp,
    /// When its time is up.
    #[serde(with = "text::moment")]
    pub expires_at: Timestamp,
    /// When the task that has it was done.
    #[serde(default, with = "text::optional_moment", skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = BacklogResponse)]
pub struct Backlog {
    /// Returns whose task is not done: the number that the cap is about.
    #[schema(example = 12)]
    pub pending: u64,
    /// Those of them that no task has.
    #[schema(example = 10)]
    pub waiting: u64,
    /// Those that the next task of some shard takes, whatever is in its file.
    #[schema(example = 2)]
    pub due: u64,
    /// Those of them whose time is up and whose order did not come.
    #[schema(example = 1)]
    pub overdue: u64,
    /// When the oldest of those that wait was handed in. It is for the metrics, and in no body.
    #[serde(skip)]
    pub oldest: Option<Timestamp>,
}

fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let line = u64::deserialize(deserializer)?;
    let is_line = line > 0 && i64::try_from(line).is_ok();
    if is_line { Ok(line) } else { Err(D::Error::custom("lines are counted from 1")) }
}

impl HeldState {
    /// `waiting`, `released` or `expired`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Released(_) => "released",
            Self::Expired(_) => "expired",
        }
    }
}

impl Held {
    /// The task that handed it in.
    pub fn put_by(&self) -> TaskKey {
        TaskKey { file: self.file.clone(), shard: self.shard }
    }

    /// The task that has it, if one has.
    pub fn taken_by(&self) -> Option<&TaskKey> {
        match &self.state {
            HeldState::Waiting => None,
            HeldState::Released(by) | HeldState::Expired(by) => Some(by),
        }
    }
}

impl Backlog {
    /// Returns whose order is known and that no task has taken up: the next task of the order's shard does.
    pub fn decided(&self) -> u64 {
        self.due.saturating_sub(self.overdue)
    }
}
