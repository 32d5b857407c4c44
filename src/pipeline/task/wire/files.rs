//! Bodies of the calls that look at files, queues and sums.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::pipeline::event::ShardId;
use crate::pipeline::task::view::{FileView, Queued, ShardTotals, ShardView, StageResult, StatusCounts, Summary};
use crate::pipeline::task::{Counts, FileName, Output, Stage, Status};

/// Ready tasks, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueueResponse {
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// The tasks.
    pub items: Vec<QueueItem>,
}

/// Which file to pass over.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OldestParams {
    /// Look beside this one: the file that the asker is at.
    #[param(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub besides: FileName,
}

/// The oldest event file that a stage has neither done nor given up in some shard.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OldestResponse {
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// The file; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "20250101000000")]
    pub filename: Option<FileName>,
}

/// A ready task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueueItem {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// The shard.
    #[schema(value_type = u8, example = 0)]
    pub shard: ShardId,
    /// When the file was registered.
    #[schema(example = "2025-01-01T00:00:00Z")]
    pub created_at: String,
}

impl From<Queued> for QueueItem {
    fn from(queued: Queued) -> Self {
        Self { filename: queued.key.file, shard: queued.key.shard, created_at: queued.created_at.rfc3339() }
    }
}

/// Which part of a queue to show.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueueParams {
    /// The most tasks to show, 1 to 1000 (100 if absent).
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// How many to pass over, up to 1,000,000,000.
    #[param(maximum = 1_000_000_000)]
    pub offset: Option<u32>,
}

/// One file over all its shards.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FileResponse {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// Its tasks, by shard.
    pub shards: Vec<ShardItem>,
    /// How many shards it was registered with.
    #[schema(example = 2)]
    pub shards_count: u8,
}

/// One task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ShardItem {
    /// The shard.
    #[schema(value_type = u8, example = 0)]
    pub shard: ShardId,
    /// `new`, `started`, `done` or `failed`.
    pub event_ingest_status: Status,
    /// `new`, `started`, `done` or `failed`.
    pub shard_splitter_status: Status,
    /// `new`, `started`, `done` or `failed`.
    pub shard_worker_status: Status,
    /// `new`, `started`, `done` or `failed`.
    pub mysql_sender_status: Status,
    /// When anything last changed.
    #[schema(example = "2025-01-01T00:05:00Z")]
    pub updated_at: String,
    /// When the file was registered.
    #[schema(example = "2025-01-01T00:00:00Z")]
    pub created_at: String,
    /// Attempts at the present stage.
    pub attempts: u32,
    /// Why the last attempt did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Not to be claimed before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
    /// The claim that holds the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseItem>,
    /// Reports of the finished stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<ResultItem>,
}

/// The claim that holds a task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LeaseItem {
    /// The worker that holds it.
    pub worker: Option<String>,
    /// The fencing token.
    pub token: u64,
    /// Until when, UTC.
    pub until: String,
}

/// The report of a finished stage.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ResultItem {
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// The worker that finished it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// Which attempt succeeded.
    pub attempt: u32,
    /// When it was claimed or started, UTC with milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was reported done, UTC with milliseconds.
    pub finished_at: String,
    /// The conservation counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The output's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

impl From<StageResult> for ResultItem {
    fn from(result: StageResult) -> Self {
        Self {
            stage: result.stage,
            worker: result.worker,
            attempt: result.attempt,
            started_at: result.started_at.map(|at| at.to_string()),
            finished_at: result.finished_at.to_string(),
            counts: result.counts,
            output: result.output,
        }
    }
}

impl From<ShardView> for ShardItem {
    fn from(view: ShardView) -> Self {
        let lease = view.lease_until.map(|until| LeaseItem {
            worker: view.owner.clone(),
            token: view.token,
            until: until.to_string(),
        });
        Self {
            shard: view.shard,
            event_ingest_status: view.status(Stage::EventIngest),
            shard_splitter_status: view.status(Stage::ShardSplitter),
            shard_worker_status: view.status(Stage::ShardWorker),
            mysql_sender_status: view.status(Stage::MysqlSender),
            updated_at: view.updated_at.rfc3339(),
            created_at: view.created_at.rfc3339(),
            attempts: view.attempts,
            last_error: view.last_error,
            next_at: view.next_at.map(|at| at.to_string()),
            lease,
            results: view.results.into_iter().map(ResultItem::from).collect(),
        }
    }
}

impl ShardItem {
    /// The status of a stage.
    pub fn status(&self, stage: Stage) -> Status {
        match stage {
            Stage::EventIngest => self.event_ingest_status,
            Stage::ShardSplitter => self.shard_splitter_status,
            Stage::ShardWorker => self.shard_worker_status,
            Stage::MysqlSender => self.mysql_sender_status,
        }
    }

    /// The report of a stage, if it was finished.
    pub fn result(&self, stage: Stage) -> Option<&ResultItem> {
        self.results.iter().find(|result| result.stage == stage)
    }

    /// The stage that failed, if one did.
    pub fn failed(&self) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| self.status(*stage) == Status::Failed)
    }
}

impl From<FileView> for FileResponse {
    fn from(view: FileView) -> Self {
        Self {
            filename: view.file,
            shards_count: view.shards_count.get(),
            shards: view.shards.into_iter().map(ShardItem::from).collect(),
        }
    }
}

impl FileResponse {
    /// What the event file was announced as, if that was reported.
    pub fn announced(&self) -> Option<Output> {
        self.shards.iter().find_map(|shard| shard.result(Stage::EventIngest)?.output)
    }

    /// Whether a stage is done for every shard.
    pub fn all_done(&self, stage: Stage) -> bool {
        self.shards.iter().all(|shard| shard.status(stage) == Status::Done)
    }

    /// Whether every task is delivered or failed.
    pub fn settled(&self) -> bool {
        self.shards.iter().all(|shard| shard.status(Stage::MysqlSender) == Status::Done || shard.failed().is_some())
    }
}

/// Which files to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FilesParams {
    /// Only files with a task in this status.
    #[param(inline, example = "failed")]
    pub status: Option<Status>,
    /// The stage that `status` is about.
    #[param(inline, example = "shard-worker")]
    pub stage: Option<Stage>,
    /// The most files to list, 1 to 1000 (100 if absent).
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>, pattern = "^[0-9]{14}$")]
    pub cursor: Option<FileName>,
}

/// Files by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FilesResponse {
    /// The files.
    pub items: Vec<FileResponse>,
    /// Where to go on, if there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub next_cursor: Option<FileName>,
}

/// The state of everything in numbers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SummaryResponse {
    /// All tasks.
    pub total: u64,
    /// Tasks by stage and status.
    pub by_stage: ByStage,
    /// Tasks by shard: all, and those whose delivery is done or failed.
    pub by_shard: Vec<ShardTotals>,
}

impl SummaryResponse {
    /// Tasks of announced files that are neither delivered nor given up.
    pub fn open(&self) -> u64 {
        let stages = [Stage::ShardSplitter, Stage::ShardWorker, Stage::MysqlSender];
        let failed: u64 = stages.map(|stage| self.by_stage.of(stage).failed).iter().sum();
        self.by_stage.event_ingest.done.saturating_sub(self.by_stage.mysql_sender.done + failed)
    }
}

/// Tasks by stage.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct ByStage {
    /// `event-ingest`.
    pub event_ingest: StatusCounts,
    /// `shard-splitter`.
    pub shard_splitter: StatusCounts,
    /// `shard-worker`.
    pub shard_worker: StatusCounts,
    /// `mysql-sender`.
    pub mysql_sender: StatusCounts,
}

impl ByStage {
    /// The counts of one stage.
    pub fn of(&self, stage: Stage) -> StatusCounts {
        match stage {
            Stage::EventIngest => self.event_ingest,
            Stage::ShardSplitter => self.shard_splitter,
            Stage::ShardWorker => self.shard_worker,
            Stage::MysqlSender => self.mysql_sender,
        }
    }
}

impl From<Summary> for SummaryResponse {
    fn from(summary: Summary) -> Self {
        let of = |stage: Stage| summary.by_stage[stage.index()];
        Self {
            total: summary.total,
            by_stage: ByStage {
                event_ingest: of(Stage::EventIngest),
                shard_splitter: of(Stage::ShardSplitter),
                shard_worker: of(Stage::ShardWorker),
                mysql_sender: of(Stage::MysqlSender),
            },
            by_shard: summary.by_shard,
        }
    }
}
