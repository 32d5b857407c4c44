//! The stages in this process, on real stores, step by step: what happens next is the test's choice. Every step can go
//! wrong in the ways that the stages know.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use shopctl::base::clock::Clock;
use shopctl::base::db::migrate;
use shopctl::base::shutdown::Stop;
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::apid::open::open_tracking;
use shopctl::pipeline::apid::store::{StageReport, Tracking, TrackingPolicy, for_each_file};
use shopctl::pipeline::balance::open::open_balance;
use shopctl::pipeline::balance::store::BalanceStore;
use shopctl::pipeline::cache::open::open_cache;
use shopctl::pipeline::cache::store::{CachePolicy, CacheStore};
use shopctl::pipeline::claim::driver::{Finished, Job};
use shopctl::pipeline::claim::fault::Fault;
use shopctl::pipeline::claim::lease::Lease;
use shopctl::pipeline::event::ShardId;
use shopctl::pipeline::files::artifact;
use shopctl::pipeline::files::folder::{Artifact, Folder};
use shopctl::pipeline::ops::audit::{Audit, audit};
use shopctl::pipeline::rules::TradePolicy;
use shopctl::pipeline::schemas;
use shopctl::pipeline::send::{Sender, Shards};
use shopctl::pipeline::settings::Context;
use shopctl::pipeline::settings::Settings;
use shopctl::pipeline::split::Splitter;
use shopctl::pipeline::task::moves;
use shopctl::pipeline::task::{Call, Claim, Claimed, FileName, Stage, Status, TaskKey};
use shopctl::pipeline::work::{WindowLimits, WorkTerms, Worker};

use super::services::{StoredBank, StoredCache};
use crate::support::database::{Databases, Served};
use crate::support::pipeline::settings_of;

/// Midnight of 2025-01-01.
const START_MS: i64 = 1_735_689_600_000;
const LEASE_MS: i64 = 60_000;
const LINE_BYTES_MAX: usize = 1 << 20;

/// Why a state is not made again: its worker holds a lease, or another one was put aside in this very second, by which
/// it is named and in which the clock of the test stands still.
const REFUSALS: [&str; 2] = ["is at work (", "File exists (os error 17)"];

/// What goes wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
    /// Nothing.
    None,
    /// So many calls to the services succeed, and the next one does not; it may have been carried out.
    CallFails(u32, bool),
    /// The work is done, and its report is lost.
    ReportLost,
    /// The task is given up.
    Fails,
}

/// Calls that still succeed before one fails, and whether that one is carried out.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// 0: all succeed.
    pub(super) left: AtomicU32,
    pub(super) reply_is_lost: AtomicU32,
}

pub(super) struct Chain {
    pub(super) runtime: tokio::runtime::Runtime,
    settings: Arc<Settings>,
    databases: Databases,
    clock: Clock,
    folder: Folder,
    tracking: Arc<dyn Tracking>,
    balance: Arc<dyn BalanceStore>,
    pending: Arc<dyn CacheStore>,
    trouble: Arc<Trouble>,
    claims: u32,
    files: i64,
    /// Tasks of workers that were tried in vain: they may have asked for money.
    tried: BTreeSet<TaskKey>,
    _temp: tempfile::TempDir,
}

impl Chain {
    /// With so many shards, on these databases; nothing is in them yet.
    pub(super) fn new(shards: u8, databases: Databases) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut flags = vec![
            ("shared.dir".to_owned(), temp.path().display().to_string()),
            ("pipeline.shards_count".to_owned(), shards.to_string()),
        ];
        if let Databases::Server { settings, .. } = &databases {
            let parts = settings.iter().map(|setting| setting.split_once('=').unwrap());
            flags.extend(parts.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        let settings = settings_of(flags);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock = Clock::manual(Timestamp::from_unix_ms(START_MS));
        let moves = moves::RetryPolicy { lease_ms: LEASE_MS, backoff_ms: 0, attempts_max: 1000 };
        let policy = TrackingPolicy { moves, backoff_max_ms: 0, strict_order: false };
        let kept = CachePolicy { ttl_ms: 3_600_000, pending_max: 1_000_000, retention_ms: 86_400_000 };
        let (tracking, balance, pending) = runtime.block_on(async {
            let database = &settings.database;
            let mut all = vec![
                (database.tracking.clone(), &schemas::TRACKING),
                (database.balance.clone(), &schemas::BALANCE),
                (database.cache.clone(), &schemas::CACHE),
            ];
            let of_shards = settings.pipeline.shards_count.shards();
            all.extend(of_shards.map(|shard| (database.shard(shard).unwrap(), &schemas::SHARD)));
            for (url, kind) in all {
                migrate(&url, kind).await.unwrap();
            }
            (
                open_tracking(&database.tracking, clock.clone(), policy).await.unwrap(),
                open_balance(&database.balance, clock.clone(), shopctl::pipeline::event::Money::from_minor(100_000))
                    .await
                    .unwrap(),
                open_cache(&database.cache, clock.clone(), kept).await.unwrap(),
            )
        });
        let folder = Folder::new(temp.path());
        std::fs::create_dir_all(folder.events()).unwrap();
        let trouble = Arc::default();
        let settings = Arc::new(settings);
        Self {
            runtime,
            settings,
            databases,
            clock,
            folder,
            tracking,
            balance,
            pending,
            trouble,
            claims: 0,
            files: 0,
            tried: BTreeSet::new(),
            _temp: temp,
        }
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.settings.pipeline.shards_count.shards()
    }

    /// A further event file; one without lines is a flush file.
    pub(super) fn file(&mut self, lines: &[String]) -> FileName {
        self.files += 1;
        let file = FileName::of(Timestamp::from_unix_ms(START_MS + self.files * 1000));
        let path = self.folder.path_of(&Artifact::Events(file.clone()));
        std::fs::write(&path, lines.concat()).unwrap();
        let output = artifact::digest(&mut artifact::open(&path).unwrap()).unwrap();
        let shards: Vec<ShardId> = self.shards().collect();
        self.runtime.block_on(async {
            self.tracking.register(&file, &shards).await.unwrap();
            self.tracking.ingest_done(&file, Some(output)).await.unwrap();
        });
        file
    }

    /// Takes one step of a stage; false if there was nothing to do.
    pub(super) fn step(&mut self, stage: Stage, shard: Option<ShardId>, mishap: Mishap) -> bool {
        self.claims += 1;
        // No two reports are of the same moment: which file a shard's worker took first is seen by that.
        self.clock.advance_ms(1);
        let claim = Claim {
            stage,
            worker: "test".to_owned(),
            limit: 1,
            shard,
            claim_id: self.claims.to_string(),
            takes_over: true,
        };
        let claimed = self.runtime.block_on(self.tracking.claim(&claim)).unwrap();
        let Some(first) = claimed.first() else { return false };
        // A task that asked for money and is given up is a difference of its own, and a known one: not here.
        if mishap == Mishap::Fails && !self.tried.contains(&first.key) {
            self.apply(&first.key, stage, Call::Fail(Some(first.token)), StageReport::default());
            for other in &claimed[1..] {
                self.apply(&other.key, stage, Call::Release(other.token), StageReport::default());
            }
            return true;
        }
        if let Mishap::CallFails(calls, reply_is_lost) = mishap {
            self.trouble.left.store(calls + 1, Ordering::SeqCst);
            self.trouble.reply_is_lost.store(reply_is_lost.into(), Ordering::SeqCst);
        }
        let done = self.work(stage, &claimed);
        self.trouble.left.store(0, Ordering::SeqCst);
        match done {
            Ok(_) if mishap == Mishap::ReportLost => {
                self.tried.extend(claimed.iter().map(|task| task.key.clone()));
                self.clock.advance_ms(LEASE_MS + 1);
            }
            Ok(finished) => finished.iter().for_each(|finished| self.report(stage, &claimed, finished)),
            Err(Fault::Unavailable(_)) => {
                for task in &claimed {
                    self.tried.insert(task.key.clone());
                    self.apply(&task.key, stage, Call::ReleaseLater(task.token), StageReport::default());
                }
            }
            Err(other) => panic!("{stage}: {other}"),
        }
        true
    }

    fn work(&self, stage: Stage, claimed: &[Claimed]) -> Result<Vec<Finished>, Fault> {
        let _inside = self.runtime.enter();
        let lease = Lease::unlimited(stage, Stop::new());
        match stage {
            Stage::ShardSplitter => Splitter::new(self.folder.clone(), LINE_BYTES_MAX).work(claimed, &lease),
            Stage::ShardWorker => self.worker(claimed[0].key.shard).work(claimed, &lease),
            Stage::MysqlSender => {
                let shards = Arc::new(Shards::new(self.settings.database.clone(), self.clock.clone()));
                let sent = Sender::new(self.folder.clone(), Arc::clone(&shards), LINE_BYTES_MAX).work(claimed, &lease);
                self.runtime.block_on(shards.close());
                sent
            }
            Stage::EventIngest => panic!("files are made by the test"),
        }
    }

    fn worker(&self, shard: ShardId) -> Worker {
        let terms = WorkTerms {
            line_bytes_max: LINE_BYTES_MAX,
            key_retention_days: 90,
            policy: TradePolicy::default(),
            window: WindowLimits::default(),
        };
        let handle = self.runtime.handle();
        let bank = StoredBank::new(handle, &self.balance, &self.trouble);
        let directory = StoredCache::new(handle, &self.pending, &self.trouble);
        let (bank, directory) = (Box::new(bank), Box::new(directory));
        Worker::open(self.folder.clone(), shard, terms, self.clock.clone(), bank, directory).unwrap()
    }

    fn report(&self, stage: Stage, claimed: &[Claimed], finished: &Finished) {
        let token = claimed.iter().find(|task| task.key == finished.key).map(|task| task.token);
        let report = StageReport { counts: Some(finished.counts), output: finished.output, reason: None };
        self.apply(&finished.key, stage, Call::Done(token), report);
        if stage == Stage::ShardWorker {
            self.worker(finished.key.shard).reported(&finished.key);
        }
    }

    fn apply(&self, key: &TaskKey, stage: Stage, call: Call, report: StageReport) {
        self.runtime.block_on(self.tracking.apply(key, stage, call, report)).unwrap();
    }

    /// Asks for everything that failed again; answers how much that was.
    pub(super) fn retry(&mut self) -> usize {
        let mut failed = Vec::new();
        let visit = |file: &shopctl::pipeline::task::FileView| {
            for shard in &file.shards {
                let stages = [Stage::ShardSplitter, Stage::ShardWorker, Stage::MysqlSender].into_iter();
                let own = stages.filter(|stage| shard.status(*stage) == Status::Failed);
                failed.extend(own.map(|stage| (TaskKey { file: file.file.clone(), shard: shard.shard }, stage)));
            }
        };
        self.runtime.block_on(for_each_file(self.tracking.as_ref(), visit)).unwrap();
        for (key, stage) in &failed {
            self.apply(key, *stage, Call::Retry, StageReport::default());
        }
        failed.len()
    }

    /// Makes the state of a worker again; answers whether it did. A refusal leaves the state as it is.
    pub(super) fn rebuild(&self, shard: ShardId) -> bool {
        let args = shopctl::role::work::Args { rebuild: true, force: true, ..shopctl::role::work::Args::of(shard) };
        match self.runtime.block_on(shopctl::role::work::run(self.context(), args)) {
            Ok(_) => true,
            Err(refused) if REFUSALS.iter().any(|known| refused.message.contains(known)) => false,
            Err(failed) => panic!("the rebuild of shard {shard} failed: {failed}"),
        }
    }

    /// Takes all steps that there are.
    pub(super) fn run(&mut self) {
        let shards: Vec<ShardId> = self.shards().collect();
        loop {
            let mut is_moving = self.step(Stage::ShardSplitter, None, Mishap::None);
            for shard in &shards {
                is_moving |= self.step(Stage::ShardWorker, Some(*shard), Mishap::None);
            }
            is_moving |= self.step(Stage::MysqlSender, None, Mishap::None);
            if !is_moving {
                return;
            }
        }
    }

    /// Runs everything to its end: what failed is asked for again, and flush files take up what is decided.
    pub(super) fn settle(&mut self) {
        // A flush file decides nothing by itself: what it takes up is decided with it.
        for _round in 0..8 {
            self.run();
            let retried = self.retry();
            self.run();
            if retried == 0 && self.audit(false).pending.decided == 0 {
                return;
            }
            self.file(&[]);
        }
        panic!("it did not settle: {:?}", self.audit(true).ledger.differences);
    }

    /// Time passes.
    pub(super) fn advance_ms(&self, ms: i64) {
        self.clock.advance_ms(ms);
    }

    fn context(&self) -> Context {
        let context = Context::new("audit", Arc::clone(&self.settings), Stop::new());
        Context { clock: self.clock.clone(), ..context }
    }

    /// The real audit.
    pub(super) fn audit(&self, settled: bool) -> Audit {
        self.runtime.block_on(audit(&self.context(), settled)).unwrap()
    }

    /// Where an embedded database or a worker's state is.
    fn path(&self, database: &str) -> PathBuf {
        match database.strip_prefix("worker_") {
            Some(shard) => self.folder.worker_state(shard.parse().unwrap()),
            None => self.folder.path().join("db").join(format!("{database}.sqlite")),
        }
    }

    fn is_embedded(&self, database: &str) -> bool {
        matches!(self.databases, Databases::Sqlite) || database.starts_with("worker_")
    }

    /// What another program reads: rows of text. A worker's state is called `worker_<shard>`.
    pub(super) fn texts(&self, database: &str, query: &str) -> Vec<Vec<Option<String>>> {
        use crate::support::database::Rows;
        match &self.databases {
            Databases::Server { url, .. } if !self.is_embedded(database) => {
                Served(format!("{url}{database}")).texts(query)
            }
            _ => rusqlite::Connection::open(self.path(database)).unwrap().texts(query),
        }
    }

    /// What another program does to the data, whatever the checks of the tables say.
    pub(super) fn change(&self, database: &str, statements: &[&str]) {
        match &self.databases {
            Databases::Server { url, .. } if !self.is_embedded(database) => {
                Served(format!("{url}{database}")).run(statements);
            }
            _ => {
                let connection = rusqlite::Connection::open(self.path(database)).unwrap();
                connection.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
                for statement in statements {
                    connection.execute_batch(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
                }
            }
        }
    }

    /// Changes a table, audits, and puts the table back.
    pub(super) fn audit_with(&self, database: &str, table: &str, statement: &str) -> Audit {
        let copy = format!("CREATE TABLE copy_of_{table} AS SELECT * FROM {table}");
        self.change(database, &[&copy, statement]);
        let audit = self.audit(true);
        let clear = format!("DELETE FROM {table}");
        let put_back = format!("INSERT INTO {table} SELECT * FROM copy_of_{table}");
        self.change(database, &[&clear, &put_back, &format!("DROP TABLE copy_of_{table}")]);
        audit
    }
}
