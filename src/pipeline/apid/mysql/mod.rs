//! The tracking store on a server (MySQL, MariaDB). Every move is one conditional UPDATE;
//! [`crate::pipeline::task::TaskRow`] explains the refusals. The clock is the server's, so that all API instances agree on
//! when a lease is over.

mod claim;
mod moves;
mod progress;
mod read;
mod tally;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use crate::base::clock::Clock;
use crate::base::db::Result;
use crate::base::db::mysql::database::Database;
use crate::base::db::url::Server;
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::lease_end::{LeaseEnd, LeaseEnds};
use crate::pipeline::apid::sql;
use crate::pipeline::apid::store::{FilePage, FileQuery, Registered, StageReport, TaskTally, Tracking, TrackingPolicy};
use crate::pipeline::event::ShardId;
use crate::pipeline::schemas::TRACKING;
use crate::pipeline::task::view::Queued;
use crate::pipeline::task::{
    Call, Claim, Claimed, FileName, FileView, Output, Stage, Status, Summary, TaskKey, TaskProgress,
};

/// [`Tracking`] in a database of a server.
pub(crate) struct MysqlTracking {
    database: Database,
    policy: TrackingPolicy,
    /// Whether backoffs from before the server's clock went back are ended. The first claim does it.
    waits_are_short: AtomicBool,
    lease_ends: LeaseEnds,
}

impl MysqlTracking {
    /// The tracking database at this place; it is not asked anything yet.
    pub(crate) fn new(server: &Server, clock: Clock, policy: TrackingPolicy) -> Self {
        let waits_are_short = AtomicBool::new(false);
        let (database, lease_ends) = (Database::new(server, &TRACKING, clock), LeaseEnds::default());
        Self { database, policy, waits_are_short, lease_ends }
    }
}

/// A statement about one stage in this dialect.
fn for_stage(stage: Stage, statement: &str) -> String {
    let by_order = match stage {
        Stage::ShardWorker => "FORCE INDEX (pipeline_tracking_shard_worker) ",
        Stage::MysqlSender => "FORCE INDEX (pipeline_tracking_mysql_sender) ",
        Stage::ShardSplitter => "FORCE INDEX (pipeline_tracking_shard_splitter) ",
        Stage::EventIngest => "FORCE INDEX (pipeline_tracking_event_ingest) ",
    };
    let by_queue = match stage {
        Stage::ShardWorker => "FORCE INDEX (pipeline_tracking_shard_worker_queue) ",
        Stage::MysqlSender => "FORCE INDEX (pipeline_tracking_mysql_sender_queue) ",
        Stage::EventIngest | Stage::ShardSplitter => by_order,
    };
    let statement = statement
        .replace("{by_queue}", by_queue)
        .replace("{lease_until}", "UTC_TIMESTAMP(3) + INTERVAL :lease_us MICROSECOND")
        .replace("{backoff}", "UTC_TIMESTAMP(3) + INTERVAL :backoff_us MICROSECOND")
        .replace("{now}", "UTC_TIMESTAMP(3)")
        .replace("{lease_limit}", "UTC_TIMESTAMP(3) + INTERVAL :lease_limit_us MICROSECOND")
        .replace("{by_order}", by_order);
    sql::for_stage(stage, &statement)
}

/// Milliseconds as the microseconds of an INTERVAL.
fn micros(ms: i64) -> i64 {
    ms.saturating_mul(1000)
}

#[async_trait]
impl Tracking for MysqlTracking {
    fn lease_ms(&self) -> u64 {
        u64::try_from(self.policy.moves.lease_ms).unwrap_or_default()
    }

    async fn ping(&self) -> Result<()> {
        self.database.ping("UPDATE pipeline_tracking SET id = id WHERE id = 0").await
    }

    async fn register(&self, file: &FileName, shards: &[ShardId]) -> Result<Registered> {
        self.database.write(&moves::Register { file, shards }).await
    }

    async fn ingest_done(&self, file: &FileName, output: Option<Output>) -> Result<u64> {
        self.database.write(&moves::IngestDone { file, output }).await
    }

    async fn apply(&self, key: &TaskKey, stage: Stage, call: Call, report: StageReport) -> Result<Status> {
        self.database.write(&moves::Apply { key, stage, call, report, policy: self.policy }).await?.answer()
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>> {
        if !self.waits_are_short.load(Ordering::Relaxed) {
            self.database.write(&claim::ShortenWaits(self.policy)).await?;
            self.waits_are_short.store(true, Ordering::Relaxed);
        }
        let handout = self.database.write(&claim::ClaimTasks { claim, policy: self.policy }).await?;
        self.lease_ends.extend(handout.lease_ends);
        Ok(handout.claimed)
    }

    fn take_lease_ends(&self) -> Vec<LeaseEnd> {
        self.lease_ends.take()
    }

    async fn queue(&self, stage: Stage, limit: u32, offset: u32) -> Result<Vec<Queued>> {
        self.database.write(&read::Queue { stage, limit, offset }).await
    }

    async fn find_file(&self, file: &FileName) -> Result<Option<FileView>> {
        let files = self.database.read(&read::Files { names: std::slice::from_ref(file), with_results: true }).await?;
        Ok(files.into_iter().next())
    }

    async fn list_files(&self, query: &FileQuery) -> Result<FilePage> {
        self.database.read(&read::ListFiles(query)).await
    }

    async fn summary(&self) -> Result<Summary> {
        self.database.read(&read::Summarize).await
    }

    async fn oldest_unfinished(&self, stage: Stage, besides: &FileName) -> Result<Option<FileName>> {
        self.database.read(&claim::OldestBesides { stage, besides }).await
    }

    async fn oldest_open(&self) -> Result<Option<Timestamp>> {
        self.database.write(&read::OldestOpen).await
    }

    async fn progress(&self) -> Result<TaskProgress> {
        self.database.read(&progress::ReadProgress(self.policy)).await
    }

    async fn note_asker(&self, stage: Stage, shard: Option<ShardId>, worker: &str) -> Result<()> {
        self.database.write(&progress::NoteAsker { stage, shard, worker }).await
    }

    async fn tally(&self, mark: u64) -> Result<TaskTally> {
        self.database.read(&tally::Count { mark }).await
    }

    async fn close(&self) {
        self.database.close().await;
    }
}
