//! The bodies of the stage-status API (docs/contracts.md, 4). The API and its client speak in these types; the order of
//! the fields is the order in the JSON, and what is fixed stands first.

mod files;
mod progress;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Claimed, Counts, FileName, Output, Stage, Status, TaskKey};
use crate::pipeline::event::shard::SHARD_MAX;
use crate::pipeline::event::{ShardCount, ShardId};
pub use files::{
    ByStage, FileResponse, FilesParams, FilesResponse, LeaseItem, OldestParams, OldestResponse, QueueItem, QueueParams,
    QueueResponse, ResultItem, ShardItem, SummaryResponse,
};
pub use progress::{AskedItem, FailedItem, LaneItem, OldestTask, ProgressResponse};

/// Where the calls of the pipeline are, below the address of the API.
pub const BASE: &str = "/api/v1/pipeline";

/// Registers a file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// 14 digits, a UTC moment.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// All shards of the file, each once.
    #[schema(schema_with = all_shards, example = json!([0, 1]))]
    pub shards: Vec<ShardId>,
}

/// The items need a bound of their own, which an attribute of the list cannot say.
fn all_shards() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let shard = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(SHARD_MAX));
    let shards = ArrayBuilder::new().items(shard).min_items(Some(1)).max_items(Some(128)).unique_items(true);
    shards
        .description(Some("All shards of the file, 0 to n-1, each once."))
        .examples([serde_json::json!([0, 1])])
        .build()
}

/// The tasks of a file exist.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegisterResponse {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// The shards that were asked for.
    #[schema(value_type = Vec<u8>, example = json!([0, 1]))]
    pub shards: Vec<ShardId>,
    /// Whether this call created them.
    pub created: bool,
}

/// The event file is complete.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestDoneRequest {
    /// The file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// What the splitter must find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}

/// The event file is marked complete.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IngestDoneResponse {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// How many rows the file has.
    #[schema(example = 2)]
    pub updated_rows: u64,
}

/// A call about one task.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// The file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The shard, 0 to 127.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The claim's token; a task that was claimed cannot be moved without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// With `done`: the conservation counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// With `done`: what the next stage must find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// With `fail` and `release`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
    /// With `fail` and a token: this attempt failed, the next one may succeed. With `release`: not at once again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
    /// With `retry`: also from `done`, and together with the failed stages after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cascade: bool,
}

impl TaskRequest {
    /// A call that names a task and nothing else.
    pub fn new(key: &TaskKey) -> Self {
        Self {
            filename: key.file.clone(),
            shard: key.shard,
            token: None,
            counts: None,
            output: None,
            reason: None,
            retry: false,
            cascade: false,
        }
    }
}

/// Extends a lease.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatRequest {
    /// The file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The shard, 0 to 127.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The claim's token.
    pub token: u64,
}

/// Where a task is now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TaskResponse {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// The shard.
    #[schema(value_type = u8, example = 0)]
    pub shard: ShardId,
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// Its status.
    #[schema(example = "done")]
    pub status: Status,
}

/// Asks for work.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    /// The worker that asks: host, process and a random part.
    #[schema(min_length = 1, max_length = 255, example = "host-4711-a1b2")]
    pub worker: String,
    /// The most tasks to hand out, 1 to 256.
    #[schema(minimum = 1, maximum = 256, example = 16)]
    pub limit: u32,
    /// Only this shard's tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u8>, maximum = 127)]
    pub shard: Option<ShardId>,
    /// How long to wait when nothing is ready, up to 25,000 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 25000)]
    pub wait_ms: Option<u64>,
    /// Made by the asker: the same id again gets the same answer, so that a lost reply costs nothing.
    #[schema(min_length = 1, max_length = 64, example = "5f0c9a6e")]
    pub claim_id: String,
}

/// Work that was handed out.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClaimResponse {
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// The tasks; none if nothing became ready in time.
    pub items: Vec<ClaimedItem>,
    /// How long the claim waited before they were handed out, in milliseconds: their leases began then.
    #[serde(default)]
    pub waited_ms: u64,
}

/// A task that was handed out.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClaimedItem {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// The shard.
    #[schema(value_type = u8, example = 0)]
    pub shard: ShardId,
    /// The fencing token that later calls name.
    #[schema(example = 17)]
    pub token: u64,
    /// The lease, in milliseconds from now.
    #[schema(example = 60000)]
    pub lease_ms: u64,
    /// Which attempt this is, from 1.
    #[schema(example = 1)]
    pub attempt: u32,
    /// How many shards the file was registered with.
    #[schema(example = 2)]
    pub shards_count: u8,
    /// What the stage before left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Output>,
}

impl From<Claimed> for ClaimedItem {
    fn from(claimed: Claimed) -> Self {
        Self {
            filename: claimed.key.file,
            shard: claimed.key.shard,
            token: claimed.token,
            lease_ms: claimed.lease_ms,
            attempt: claimed.attempt,
            shards_count: claimed.shards_count.get(),
            input: claimed.input,
        }
    }
}

impl ClaimedItem {
    /// The task as the roles handle it; `None` if the count of shards is no count.
    pub fn into_claimed(self) -> Option<Claimed> {
        Some(Claimed {
            key: TaskKey { file: self.filename, shard: self.shard },
            token: self.token,
            lease_ms: self.lease_ms,
            attempt: self.attempt,
            shards_count: ShardCount::new(self.shards_count.into())?,
            input: self.input,
            is_replay: false,
        })
    }
}

/// The lease was extended.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatResponse {
    /// The file.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// The shard.
    #[schema(value_type = u8, example = 0)]
    pub shard: ShardId,
    /// The stage.
    #[schema(example = "shard-worker")]
    pub stage: Stage,
    /// The lease, in milliseconds from now.
    #[schema(example = 60000)]
    pub lease_ms: u64,
}
