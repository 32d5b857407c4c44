//! The tracking store in SQLite. Every move is one conditional UPDATE; [`crate::pipeline::task::TaskRow`] explains the
//! refusals.

mod claim;
mod moves;
mod progress;
mod read;
mod tally;

use std::path::Path;

use async_trait::async_trait;

use crate::base::clock::Clock;
use crate::base::db::Result;
use crate::base::db::sqlite::db::Db;
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::lease_end::{LeaseEnd, LeaseEnds};
use crate::pipeline::apid::sql::{self, column};
use crate::pipeline::apid::store::{FilePage, FileQuery, Registered, StageReport, TaskTally, Tracking, TrackingPolicy};
use crate::pipeline::event::ShardId;
use crate::pipeline::schemas::TRACKING;
use crate::pipeline::task::view::Queued;
use crate::pipeline::task::{
    Call, Claim, Claimed, FileName, FileView, Output, Stage, Status, Summary, TaskKey, TaskProgress,
};

/// [`Tracking`] in one SQLite file.
pub(crate) struct SqliteTracking {
    db: Db,
    clock: Clock,
    policy: TrackingPolicy,
    lease_ends: LeaseEnds,
}

/// What every statement needs: the moment of the call and the numbers that moves depend on.
#[derive(Clone, Copy)]
struct Context {
    now: Timestamp,
    policy: TrackingPolicy,
}

impl SqliteTracking {
    /// Opens the database, creating it where needed.
    pub(crate) async fn open(path: &Path, clock: Clock, policy: TrackingPolicy) -> Result<Self> {
        let db = Db::open(path, &TRACKING).await?;
        let store = Self { db, clock, policy, lease_ends: LeaseEnds::default() };
        let context = store.context();
        store.db.call(move |connection| claim::shorten_waits(connection, context)).await?;
        Ok(store)
    }

    /// Opens the database for reading only.
    pub(crate) async fn look(path: &Path, clock: Clock, policy: TrackingPolicy) -> Result<Self> {
        Ok(Self { db: Db::look(path).await?, clock, policy, lease_ends: LeaseEnds::default() })
    }

    /// The database is in this process, so its clock is ours.
    fn context(&self) -> Context {
        Context { now: self.clock.now(), policy: self.policy }
    }
}

/// A statement about one stage in this dialect: moments are bound, as the clock is ours.
fn for_stage(stage: Stage, statement: &str) -> String {
    let statement = statement.replace("{now}", ":now").replace("{lease_until}", ":lease_until");
    let statement = statement.replace("{backoff}", ":backoff").replace("{lease_limit}", ":lease_limit");
    sql::for_stage(stage, &statement.replace("{by_order}", "").replace("{by_queue}", ""))
}

#[async_trait]
impl Tracking for SqliteTracking {
    fn lease_ms(&self) -> u64 {
        u64::try_from(self.policy.moves.lease_ms).unwrap_or_default()
    }

    async fn ping(&self) -> Result<()> {
        self.db.ping("pipeline_tracking").await
    }

    async fn register(&self, file: &FileName, shards: &[ShardId]) -> Result<Registered> {
        let (file, shards, context) = (file.clone(), shards.to_vec(), self.context());
        self.db.call(move |connection| moves::register(connection, &file, &shards, context)).await
    }

    async fn ingest_done(&self, file: &FileName, output: Option<Output>) -> Result<u64> {
        let (file, context) = (file.clone(), self.context());
        self.db.call(move |connection| moves::ingest_done(connection, &file, output, context)).await
    }

    async fn apply(&self, key: &TaskKey, stage: Stage, call: Call, report: StageReport) -> Result<Status> {
        let (key, context) = (key.clone(), self.context());
        self.db.call(move |connection| moves::apply(connection, &key, stage, call, &report, context)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>> {
        let (claim, context) = (claim.clone(), self.context());
        let handout = self.db.call(move |connection| claim::claim(connection, &claim, context)).await?;
        self.lease_ends.extend(handout.lease_ends);
        Ok(handout.claimed)
    }

    fn take_lease_ends(&self) -> Vec<LeaseEnd> {
        self.lease_ends.take()
    }

    async fn queue(&self, stage: Stage, limit: u32, offset: u32) -> Result<Vec<Queued>> {
        self.db.call(move |connection| read::queue(connection, stage, limit, offset)).await
    }

    async fn find_file(&self, file: &FileName) -> Result<Option<FileView>> {
        let file = file.clone();
        self.db.call(move |connection| read::find_file(connection, &file, true)).await
    }

    async fn list_files(&self, query: &FileQuery) -> Result<FilePage> {
        let query = query.clone();
        self.db.call(move |connection| read::list_files(connection, &query)).await
    }

    async fn summary(&self) -> Result<Summary> {
        self.db.call(|connection| read::summary(connection)).await
    }

    async fn oldest_unfinished(&self, stage: Stage, besides: &FileName) -> Result<Option<FileName>> {
        let besides = besides.clone();
        self.db.call(move |connection| claim::oldest_besides(&connection.transaction()?, stage, &besides)).await
    }

    async fn oldest_open(&self) -> Result<Option<Timestamp>> {
        self.db.call(|connection| read::oldest_open(connection)).await
    }

    async fn progress(&self) -> Result<TaskProgress> {
        let context = self.context();
        self.db.call(move |connection| progress::read(connection, context)).await
    }

    async fn note_asker(&self, stage: Stage, shard: Option<ShardId>, worker: &str) -> Result<()> {
        let (worker, now) = (worker.to_owned(), self.clock.now());
        self.db.call(move |connection| progress::note_asker(connection, stage, shard, &worker, now)).await
    }

    async fn tally(&self, mark: u64) -> Result<TaskTally> {
        let context = self.context();
        self.db.call(move |connection| tally::read(connection, mark, context)).await
    }
}
