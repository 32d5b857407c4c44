//! The tracking store: tasks, leases, results (docs/contracts.md, 4 and 6; docs/semantics.md, 2).
//!
//! To add a backend, for this store and alike for the others:
//!
//! 1. Connection, transaction, values and migrations of the engine go to `base/db/ENGINE/`, beside `sqlite/` and `mysql/`.
//!    What its driver says becomes [`db::Error`] there: busy, unavailable or broken.
//! 2. A variant of [`db::StoreUrl`] names its databases; `migrate`, `schema_state` and `server_facts` of `base/db` get an arm each.
//! 3. `db/migrations/ENGINE/` gets the same numbers as the others; `Schema` in `base/db/migration.rs` gets a list for them.
//! 4. `pipeline/columns/ENGINE.rs` reads columns as what they stand for.
//! 5. A folder `ENGINE/` here implements [`Tracking`]. The statements that are rules are in `sql/`, with places for what a
//!    dialect says in its own words; what is decided without a statement is in `decisions.rs`. Every move stays one
//!    conditional UPDATE whose WHERE is the rule of [`crate::pipeline::task::TaskRow::decide`].
//!    `mod ENGINE` in `apid/mod.rs` stands behind a feature of Cargo.toml.
//! 6. `open_tracking` and `open_tracking_read_only` in `open.rs` get an arm each. The compiler finds the other matches; `matches!` and
//!    `if let` on [`db::StoreUrl`] it does not find: backup, restore and doctor have some.
//! 7. `tests/it/store/mod.rs` gets a `Backend`: all cases of `on_every_backend!` then run on it.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::lease_end::LeaseEnd;
use crate::base::db::{self, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::moves::RetryPolicy;
use crate::pipeline::task::progress::Asked;
use crate::pipeline::task::view::Queued;
use crate::pipeline::task::{
    Call, Claim, Claimed, Counts, FileName, FileView, MoveRefusal, Output, Stage, Status, Summary, TaskKey,
    TaskProgress,
};

/// Files per page when all are read.
const PAGE: u32 = 500;

/// What the store needs to know beside the database.
#[derive(Debug, Clone, Copy)]
pub struct TrackingPolicy {
    /// Lease, backoff and attempts. The backoff is the first one; it doubles with every attempt.
    pub moves: RetryPolicy,
    /// The longest backoff, in milliseconds.
    pub backoff_max_ms: i64,
    /// Whether a failed task blocks the files after it.
    pub strict_order: bool,
}

/// What registering a file did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Whether the file was new.
    pub created: bool,
}

/// Which files to list.
#[derive(Debug, Clone, Default)]
pub struct FileQuery {
    /// Only files with a task in this status (of `stage`, if that is named too).
    pub status: Option<Status>,
    /// The stage that `status` is about.
    pub stage: Option<Stage>,
    /// Only files after this one.
    pub after: Option<FileName>,
    /// The most files to answer.
    pub limit: u32,
    /// Whether to read the stages' reports too.
    pub with_results: bool,
}

/// Files in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct FilePage {
    /// The files.
    pub files: Vec<FileView>,
    /// Where to go on, if there are more.
    pub next: Option<FileName>,
}

/// What a finished stage reports beside its token.
#[derive(Debug, Clone, Default)]
pub struct StageReport {
    /// The conservation counts.
    pub counts: Option<Counts>,
    /// The output's digest.
    pub output: Option<Output>,
    /// Why it failed or was given back.
    pub reason: Option<String>,
}

/// Tasks of one stage, shard and status that are not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTasks {
    /// The stage.
    pub stage: Stage,
    /// The shard.
    pub shard: ShardId,
    /// `new`, `started` or `failed`.
    pub status: Status,
    /// How many.
    pub tasks: u64,
    /// When the oldest of them was registered that waits for this stage or is in it.
    pub oldest: Option<Timestamp>,
}

/// Tasks of one shard that were registered after a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTasks {
    /// The shard.
    pub shard: ShardId,
    /// How many.
    pub tasks: u64,
    /// Whether no registration with a lower number can still be on its way.
    pub is_settled: bool,
    /// The number of the last one's row.
    pub last: u64,
}

/// How many tasks there are, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskTally {
    /// What is not done, of every stage.
    pub open: Vec<OpenTasks>,
    /// What was registered after the row that was asked for.
    pub registered: Vec<NewTasks>,
}

impl db::Refusal for MoveRefusal {
    fn code(&self) -> &'static str {
        self.code()
    }
}

/// Hands every file with its reports to `visit`, page by page.
///
/// # Errors
/// Whatever the store fails with.
pub async fn for_each_file(tracking: &dyn Tracking, mut visit: impl FnMut(&FileView)) -> Result<()> {
    let mut query = FileQuery { limit: PAGE, with_results: true, ..FileQuery::default() };
    loop {
        let page = tracking.list_files(&query).await?;
        page.files.iter().for_each(&mut visit);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(()),
        }
    }
}

/// The table `pipeline_tracking` and what belongs to it. Every move is one conditional UPDATE: two callers never
/// both succeed, on whatever number of API instances. A method that is added here is added in `timed.rs` as well.
///
/// ```
/// use shopctl::base::clock::Clock;
/// use shopctl::base::db::StoreUrl;
/// use shopctl::pipeline::apid::open::open_tracking;
/// use shopctl::pipeline::apid::store::TrackingPolicy;
/// use shopctl::pipeline::event::ShardId;
/// use shopctl::pipeline::task::moves::RetryPolicy;
/// use shopctl::pipeline::task::{Claim, FileName, Stage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> shopctl::base::db::Result<()> {
/// let folder = tempfile::tempdir().unwrap();
/// let moves = RetryPolicy { lease_ms: 60_000, backoff_ms: 1000, attempts_max: 5 };
/// let policy = TrackingPolicy { moves, backoff_max_ms: 60_000, strict_order: false };
/// let url = StoreUrl::Sqlite(folder.path().join("pipeline_db.sqlite"));
/// let tracking = open_tracking(&url, Clock::System, policy).await?;
///
/// let (file, shard) = ("20250101080000".parse::<FileName>().unwrap(), ShardId::new(0).unwrap());
/// tracking.register(&file, &[shard]).await?;
/// tracking.ingest_done(&file, None).await?;
/// let claim = Claim {
///     stage: Stage::ShardSplitter,
///     worker: "host-4711-a1b2".to_owned(),
///     limit: 1,
///     shard: None,
///     claim_id: "c-1".to_owned(),
///     takes_over: true,
/// };
/// let claimed = tracking.claim(&claim).await?;
/// assert_eq!((&claimed[0].key.file, claimed[0].token), (&file, 1));
/// tracking.close().await;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Tracking: Send + Sync {
    /// The length of a lease, in milliseconds.
    fn lease_ms(&self) -> u64;

    /// Whether the database takes changes.
    async fn ping(&self) -> Result<()>;

    /// Creates the tasks of a file; doing it again changes nothing.
    /// Refused with other shards than before.
    async fn register(&self, file: &FileName, shards: &[ShardId]) -> Result<Registered>;

    /// Marks the event file as complete for all its shards; answers how many rows the file has.
    /// Gone if it is not registered; refused if it was announced with another digest.
    async fn ingest_done(&self, file: &FileName, output: Option<Output>) -> Result<u64>;

    /// Moves one task by any call but [`Call::Claim`]; answers the stage's status after it.
    /// Gone if the task does not exist; refused as [`crate::pipeline::task::TaskRow::decide`] says.
    async fn apply(&self, key: &TaskKey, stage: Stage, call: Call, report: StageReport) -> Result<Status>;

    /// Hands out ready and expired tasks, each to one caller only. The same claim id again gets what it got before,
    /// as far as it is still held.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>>;

    /// The leases that claims through this handle found run out, each once.
    fn take_lease_ends(&self) -> Vec<LeaseEnd>;

    /// Ready tasks, oldest first.
    async fn queue(&self, stage: Stage, limit: u32, offset: u32) -> Result<Vec<Queued>>;

    /// One file with its tasks and reports, if it exists.
    async fn find_file(&self, file: &FileName) -> Result<Option<FileView>>;

    /// Files by name.
    async fn list_files(&self, query: &FileQuery) -> Result<FilePage>;

    /// The state of everything in numbers.
    async fn summary(&self) -> Result<Summary>;

    /// The oldest event file that this stage has neither done nor given up in some shard, beside that one. Files that
    /// an earlier stage gave up, or that were registered but never completed, do not count.
    async fn oldest_unfinished(&self, stage: Stage, besides: &FileName) -> Result<Option<FileName>>;

    /// The moment at which the oldest task was registered that is neither delivered nor failed.
    async fn oldest_open(&self) -> Result<Option<Timestamp>>;

    /// What is not done, and what was registered after the row of this number: what that costs does not grow with the
    /// history.
    async fn tally(&self, mark: u64) -> Result<TaskTally>;

    /// How the stages get on, by stage and shard, at one moment of the store's clock. What this costs grows with what is
    /// open, not with what ever was.
    async fn progress(&self) -> Result<TaskProgress>;

    /// Notes the worker that asks for tasks of a stage, of one shard or of any.
    async fn note_asker(&self, stage: Stage, shard: Option<ShardId>, worker: &str) -> Result<()>;

    /// Closes its connections, if it has any. Nothing can be asked afterwards.
    async fn close(&self) {}
}

/// The workers that asked last, by stage and shard; the shard is nothing for workers that ask for any shard.
#[derive(Debug, Default)]
pub(crate) struct Askers(BTreeMap<(Stage, Option<ShardId>), Asked>);

impl Askers {
    /// Notes one.
    pub(crate) fn add(&mut self, stage: Stage, shard: Option<ShardId>, asked: Asked) {
        self.0.insert((stage, shard), asked);
    }

    /// The last one that would have taken a task of this shard.
    pub(crate) fn of(&self, stage: Stage, shard: ShardId) -> Option<Asked> {
        let found = [Some(shard), None].into_iter().filter_map(|shard| self.0.get(&(stage, shard)));
        found.max_by_key(|asked| asked.at).cloned()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::base::db::Error;
    use crate::base::http::Problem;

    #[test]
    fn a_refusal_is_a_conflict() {
        let problem = Problem::from(Error::from(MoveRefusal::OtherShards(2)));
        assert_eq!(problem.status, StatusCode::CONFLICT);
    }
}
