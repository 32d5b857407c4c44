//! The body of the call that tells how the stages get on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::progress::{Head, Health, Lane};
use crate::pipeline::task::{FileName, Repair, ShardView, Stage, Status, TaskKey, TaskProgress};

/// How the stages get on, by stage and shard.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressResponse {
    /// When this was so, UTC with milliseconds.
    #[schema(example = "2025-01-01 00:05:00.000")]
    pub as_of: String,
    /// The length of a lease, in milliseconds.
    #[schema(example = 60000)]
    pub lease_ms: i64,
    /// `well`; `failed`: tasks have failed; `stuck`: something waits and nothing moved for two leases.
    #[schema(example = "well")]
    pub health: Health,
    /// By stage and shard.
    pub lanes: Vec<LaneItem>,
    /// Failed tasks, oldest first.
    pub failed: Vec<FailedItem>,
    /// Whether there are more of them than are shown.
    pub more_failed: bool,
}

/// One stage of one shard.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LaneItem {
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// The shard.
    #[schema(value_type = u8, example = 0)]
    pub shard: ShardId,
    /// Tasks that the stage before has finished and this one has not begun.
    pub waiting: u64,
    /// Tasks that are begun.
    pub under_way: u64,
    /// Tasks that were given up.
    pub failed: u64,
    /// The task that is next; absent if none waits or is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<OldestTask>,
    /// The worker that asked for such tasks last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedItem>,
    /// How long nothing moved, in milliseconds; absent where nothing could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub still_ms: Option<i64>,
    /// Whether something could be worked on and nothing moved for two leases.
    pub stuck: bool,
    /// Why the next task is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about it, where something has to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
}

/// The oldest task that a stage of a shard has not finished.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OldestTask {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// Its status at this stage.
    pub status: Status,
    /// How long ago the file was registered, in milliseconds.
    pub age_ms: i64,
    /// Attempts at this stage.
    pub attempts: u32,
    /// The worker that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// For how long it has been held, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<i64>,
    /// What is left of the lease, in milliseconds; below zero where it ran out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_left_ms: Option<i64>,
    /// Until the next attempt, in milliseconds; below zero where it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<i64>,
    /// Why the last attempt did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A worker that asked for work.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AskedItem {
    /// The worker that asked.
    pub worker: String,
    /// How long ago, in milliseconds.
    pub ago_ms: i64,
}

/// A failed task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FailedItem {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// The shard.
    #[schema(value_type = u8, example = 0)]
    pub shard: ShardId,
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// Attempts at it.
    pub attempts: u32,
    /// The worker that had it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When it failed, UTC with milliseconds.
    pub failed_at: String,
    /// Why.
    pub reason: String,
    /// What repairs it.
    pub repair: Repair,
}

impl ProgressResponse {
    /// How the stages get on, with the failed tasks that are shown.
    pub fn new(progress: &TaskProgress, failed: Vec<FailedItem>, more_failed: bool) -> Self {
        let lanes = progress.lanes.iter().map(|lane| LaneItem::new(progress, lane)).collect();
        Self {
            as_of: progress.now.to_string(),
            lease_ms: progress.lease_ms,
            health: progress.health(),
            lanes,
            failed,
            more_failed,
        }
    }
}

impl LaneItem {
    fn new(progress: &TaskProgress, lane: &Lane) -> Self {
        let (now, reason) = (progress.now, progress.reason(lane));
        let key = |head: &Head| TaskKey { file: head.file.clone(), shard: lane.shard };
        let repair = reason.as_ref().zip(lane.head.as_ref()).and_then(|(why, head)| why.repair(&key(head), lane.stage));
        Self {
            stage: lane.stage,
            shard: lane.shard,
            waiting: lane.waiting,
            under_way: lane.under_way,
            failed: lane.failed,
            oldest: lane.head.as_ref().map(|head| OldestTask::new(head, lane.stage, now)),
            asked: lane
                .asked
                .as_ref()
                .map(|asked| AskedItem { worker: asked.worker.clone(), ago_ms: ms_between(asked.at, now) }),
            still_ms: progress.still_ms(lane),
            stuck: progress.is_stuck(lane),
            reason: reason.map(|reason| reason.text(lane.stage)),
            repair,
        }
    }
}

impl OldestTask {
    fn new(head: &Head, stage: Stage, now: Timestamp) -> Self {
        let (view, status) = (&head.view, head.status(stage));
        let is_held = status == Status::Started;
        Self {
            filename: head.file.clone(),
            status,
            age_ms: ms_between(view.created_at, now),
            attempts: view.attempts,
            worker: view.owner.clone().filter(|_| is_held),
            held_ms: head.started_at.filter(|_| is_held).map(|at| ms_between(at, now)),
            lease_left_ms: view.lease_until.filter(|_| is_held).map(|until| ms_between(now, until)),
            next_ms: view.next_at.map(|at| ms_between(now, at)),
            last_error: view.last_error.clone(),
        }
    }
}

impl FailedItem {
    /// The failed task of this shard, if its stage failed.
    pub fn of(filename: &FileName, view: &ShardView, stage: Stage) -> Option<Self> {
        if view.status(stage) != Status::Failed {
            return None;
        }
        let key = TaskKey { file: filename.clone(), shard: view.shard };
        Some(Self {
            filename: filename.clone(),
            shard: view.shard,
            stage,
            attempts: view.attempts,
            // One that was failed before it began was not held at this stage.
            worker: view.owner.clone().filter(|_| view.attempts > 0),
            failed_at: view.updated_at.to_string(),
            reason: view.last_error.clone().unwrap_or_else(|| "no reason given".to_owned()),
            repair: Repair::of(&key, stage, view.last_error.as_deref()),
        })
    }
}

fn ms_between(from: Timestamp, to: Timestamp) -> i64 {
    to.unix_ms() - from.unix_ms()
}
