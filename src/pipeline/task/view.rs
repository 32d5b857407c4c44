//! Plain data that stores, API and roles hand to each other about tasks.

use serde::{Deserialize, Serialize};

use super::{Counts, FileName, Output, Stage, Status, TaskKey};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{ShardCount, ShardId};

/// A request for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The stage to work on.
    pub stage: Stage,
    /// The worker that asks: host, process and a random part.
    pub worker: String,
    /// The most tasks to hand out; the splitter gets whole files, one at least.
    pub limit: u32,
    /// Only this shard's tasks.
    pub shard: Option<ShardId>,
    /// Made by the asker; the same id again gets the same answer.
    pub claim_id: String,
    /// Whether tasks may be taken from those whose lease ran out.
    pub takes_over: bool,
}

/// A task that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Which task.
    pub key: TaskKey,
    /// The fencing token: every later call about this claim names it.
    pub token: u64,
    /// The length of the lease in milliseconds, from now.
    pub lease_ms: u64,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many shards the file was registered with.
    pub shards_count: ShardCount,
    /// What the stage before left, as it said itself.
    pub input: Option<Output>,
    /// Whether this claim got it before: the answer is given again.
    pub is_replay: bool,
}

/// The report of a finished stage of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageResult {
    /// The stage.
    pub stage: Stage,
    /// The token that finished it; 0 where none was used.
    pub token: u64,
    /// The worker that finished it.
    pub worker: Option<String>,
    /// Which attempt succeeded.
    pub attempt: u32,
    /// When it was claimed or started.
    pub started_at: Option<Timestamp>,
    /// When it was reported done.
    pub finished_at: Timestamp,
    /// The conservation counts, where they were reported.
    pub counts: Option<Counts>,
    /// The output's digest, where it was reported.
    pub output: Option<Output>,
}

/// Everything known about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardView {
    /// The shard.
    pub shard: ShardId,
    /// The statuses, by [`Stage::index`].
    pub statuses: [Status; 4],
    /// When the file was registered.
    pub created_at: Timestamp,
    /// When anything last changed.
    pub updated_at: Timestamp,
    /// The last token that was handed out.
    pub token: u64,
    /// Attempts at the present stage.
    pub attempts: u32,
    /// The owner of the lease.
    pub owner: Option<String>,
    /// Until when.
    pub lease_until: Option<Timestamp>,
    /// Not to be claimed before this moment.
    pub next_at: Option<Timestamp>,
    /// Why the last attempt did not succeed.
    pub last_error: Option<String>,
    /// Reports of the finished stages, in stage order.
    pub results: Vec<StageResult>,
}

impl ShardView {
    /// The status of a stage.
    pub fn status(&self, stage: Stage) -> Status {
        self.statuses[stage.index()]
    }

    /// The report of a stage, if it was finished.
    pub fn result(&self, stage: Stage) -> Option<&StageResult> {
        self.results.iter().find(|result| result.stage == stage)
    }
}

/// One file with all its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// The file.
    pub file: FileName,
    /// How many shards it was registered with.
    pub shards_count: ShardCount,
    /// Its tasks, by shard.
    pub shards: Vec<ShardView>,
}

impl FileView {
    /// What the event file was announced as, if that was reported.
    pub fn announced(&self) -> Option<Output> {
        self.shards.iter().find_map(|shard| shard.result(Stage::EventIngest)?.output)
    }

    /// Whether a stage is done for every shard.
    pub fn all_done(&self, stage: Stage) -> bool {
        self.shards.iter().all(|shard| shard.status(stage) == Status::Done)
    }
}

/// A ready task as the queue shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Which task.
    pub key: TaskKey,
    /// When its file was registered.
    pub created_at: Timestamp,
}

/// How many tasks are in which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusCounts {
    /// Not begun.
    pub new: u64,
    /// In work.
    pub started: u64,
    /// Finished.
    pub done: u64,
    /// Given up.
    pub failed: u64,
}

impl StatusCounts {
    /// Adds tasks to a status.
    pub fn add(&mut self, status: Status, count: u64) {
        match status {
            Status::New => self.new += count,
            Status::Started => self.started += count,
            Status::Done => self.done += count,
            Status::Failed => self.failed += count,
        }
    }
}

/// The delivery of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShardTotals {
    /// The shard.
    #[schema(value_type = u8)]
    pub shard: ShardId,
    /// All its tasks.
    pub total: u64,
    /// Those delivered.
    pub done: u64,
    /// Those whose delivery failed.
    pub failed: u64,
}

/// The state of the whole pipeline in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// All tasks.
    pub total: u64,
    /// By [`Stage::index`].
    pub by_stage: [StatusCounts; 4],
    /// By shard, the statuses of the last stage.
    pub by_shard: Vec<ShardTotals>,
}

/// What tests make of these.
#[cfg(test)]
mod made {
    use super::*;

    const NEVER: Timestamp = Timestamp::from_unix_ms(0);

    impl StageResult {
        /// A report that says nothing but its stage.
        pub(crate) fn of(stage: Stage) -> Self {
            Self {
                stage,
                token: 1,
                worker: None,
                attempt: 1,
                started_at: None,
                finished_at: NEVER,
                counts: None,
                output: None,
            }
        }
    }

    impl ShardView {
        /// A task without an owner.
        pub(crate) fn of(shard: ShardId, statuses: [Status; 4], results: Vec<StageResult>) -> Self {
            Self {
                shard,
                statuses,
                created_at: NEVER,
                updated_at: NEVER,
                token: 1,
                attempts: 0,
                owner: None,
                lease_until: None,
                next_at: None,
                last_error: None,
                results,
            }
        }
    }
}
