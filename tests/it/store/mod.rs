//! The store suite: written against the traits, run on every backend.
//!
//! To add a backend: implement [`Backend`] beside [`Sqlite`], and add one module to [`on_every_backend`]. The servers'
//! addresses come from the environment; `tests/run` starts them, and leaves their modules out with `--embedded`.

mod balance;
mod balance_model;
mod books;
mod claims;
mod concurrency;
mod late;
mod looks;
mod migrations;
mod model;
mod moves;
mod order;
mod pairs;
mod pending;
mod progress;
mod schema;
pub(crate) mod served;
mod servers;
mod shard;
mod tally;
mod traces;
mod upgrades;
mod worker;

use std::sync::Arc;

use shopctl::base::clock::Clock;
use shopctl::base::db::{Error, Result, StoreUrl, migrate};
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::apid::open::open_tracking;
use shopctl::pipeline::apid::store::{StageReport, Tracking, TrackingPolicy};
use shopctl::pipeline::event::ShardId;
use shopctl::pipeline::schemas;
use shopctl::pipeline::shard_db::ShardStore;
use shopctl::pipeline::shard_db::store::open_shard;
use shopctl::pipeline::task::moves::RetryPolicy;
use shopctl::pipeline::task::{
    Call, Claim, Claimed, Counts, Digest, FileName, Output, ShardView, Stage, Status, TaskKey,
};
use shopctl::pipeline::work::state::{WorkerState, open_worker_state};

/// Midnight of 2025-01-01: where every test's clock begins.
const START_MS: i64 = 1_735_689_600_000;
/// The length of a lease.
const LEASE_MS: i64 = 1000;
/// Attempts at a task.
const ATTEMPTS: u32 = 3;

/// A kind of database with a fresh, empty place for one test.
#[async_trait::async_trait]
trait Backend: Send + Sync {
    /// Where the tracking database is.
    fn tracking(&self) -> StoreUrl;

    /// Where a shard's database is.
    fn shard(&self, shard: ShardId) -> StoreUrl;

    /// Where the balance database is.
    fn balance(&self) -> StoreUrl;

    /// Where the order directory and the early returns are.
    fn cache(&self) -> StoreUrl;

    /// Makes an empty database.
    async fn make(&self, url: &StoreUrl);

    /// What another program reads: the first column of every row, as text.
    async fn texts(&self, url: &StoreUrl, query: &str) -> Vec<String>;

    /// What another program does to the data.
    async fn change(&self, url: &StoreUrl, statement: &str);
}

/// SQLite files in a folder that goes away with the test.
struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn fresh() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A worker's state is always embedded.
    fn worker(&self) -> Box<dyn WorkerState> {
        open_worker_state(&self.0.path().join("worker.sqlite")).unwrap()
    }
}

#[async_trait::async_trait]
impl Backend for Sqlite {
    fn tracking(&self) -> StoreUrl {
        StoreUrl::Sqlite(self.0.path().join("tracking.sqlite"))
    }

    fn shard(&self, shard: ShardId) -> StoreUrl {
        StoreUrl::Sqlite(self.0.path().join(format!("shard_{shard}.sqlite")))
    }

    fn balance(&self) -> StoreUrl {
        StoreUrl::Sqlite(self.0.path().join("balance.sqlite"))
    }

    fn cache(&self) -> StoreUrl {
        StoreUrl::Sqlite(self.0.path().join("cache.sqlite"))
    }

    async fn make(&self, url: &StoreUrl) {
        drop(connect(url));
    }

    async fn texts(&self, url: &StoreUrl, query: &str) -> Vec<String> {
        let connection = connect(url);
        let mut statement = connection.prepare(query).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(|row| row.unwrap()).collect()
    }

    async fn change(&self, url: &StoreUrl, statement: &str) {
        connect(url).execute_batch(statement).unwrap();
    }
}

fn connect(url: &StoreUrl) -> rusqlite::Connection {
    match url {
        StoreUrl::Sqlite(path) => rusqlite::Connection::open(path).unwrap(),
        StoreUrl::Mysql(server) => panic!("{server} is no file"),
    }
}

/// Runs each case on each backend, as tests of their own.
macro_rules! on_every_backend {
    ($($case:ident)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(&crate::store::Sqlite::fresh()).await;
                }
            )+
        }
        #[cfg(feature = "mysql")]
        mod on_mariadb {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(&crate::store::served::Served::mariadb()).await;
                }
            )+
        }
        #[cfg(feature = "mysql")]
        mod on_mysql {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(&crate::store::served::Served::mysql()).await;
                }
            )+
        }
    };
}
use on_every_backend;

/// A tracking store with a clock that the test moves.
struct World {
    tracking: Arc<dyn Tracking>,
    clock: Clock,
}

impl World {
    async fn open(backend: &dyn Backend) -> Self {
        Self::with(backend, policy()).await
    }

    async fn with(backend: &dyn Backend, policy: TrackingPolicy) -> Self {
        let clock = Clock::manual(Timestamp::from_unix_ms(START_MS));
        migrate(&backend.tracking(), &schemas::TRACKING).await.unwrap();
        let tracking = open_tracking(&backend.tracking(), clock.clone(), policy).await.unwrap();
        Self { tracking, clock }
    }

    /// Registers a file and marks its event file complete.
    async fn ready(&self, number: u32, shards: u64) -> FileName {
        let file = file(number);
        self.tracking.register(&file, &all(shards)).await.unwrap();
        self.tracking.ingest_done(&file, None).await.unwrap();
        file
    }

    async fn apply(&self, key: &TaskKey, stage: Stage, call: Call) -> Result<Status> {
        self.tracking.apply(key, stage, call, StageReport::default()).await
    }

    /// Takes a task through these stages with plain calls.
    async fn finish(&self, key: &TaskKey, stages: &[Stage]) {
        for stage in stages {
            assert_eq!(self.apply(key, *stage, Call::Start).await.unwrap(), Status::Started);
            assert_eq!(self.apply(key, *stage, Call::Done(None)).await.unwrap(), Status::Done);
        }
    }

    async fn fail(&self, key: &TaskKey, stage: Stage) {
        assert_eq!(self.apply(key, stage, Call::Fail(None)).await.unwrap(), Status::Failed);
    }

    async fn claim(&self, stage: Stage, limit: u32, claim_id: &str) -> Vec<Claimed> {
        self.claim_of(stage, limit, None, claim_id).await
    }

    async fn claim_of(&self, stage: Stage, limit: u32, shard: Option<u64>, claim_id: &str) -> Vec<Claimed> {
        let shard = shard.map(|number| ShardId::new(number).unwrap());
        let claim = Claim {
            stage,
            worker: format!("worker of {claim_id}"),
            limit,
            shard,
            claim_id: claim_id.to_owned(),
            takes_over: true,
        };
        self.tracking.claim(&claim).await.unwrap()
    }

    async fn task(&self, key: &TaskKey) -> ShardView {
        let file = self.tracking.find_file(&key.file).await.unwrap().unwrap();
        file.shards.into_iter().find(|view| view.shard == key.shard).unwrap()
    }
}

fn policy() -> TrackingPolicy {
    let moves = RetryPolicy { lease_ms: LEASE_MS, backoff_ms: 0, attempts_max: ATTEMPTS };
    TrackingPolicy { moves, backoff_max_ms: 60_000, strict_order: false }
}

/// The name of the file of this second.
fn file(number: u32) -> FileName {
    FileName::of(Timestamp::from_unix_ms(START_MS + i64::from(number) * 1000))
}

fn shard(number: u64) -> ShardId {
    ShardId::new(number).unwrap()
}

fn all(shards: u64) -> Vec<ShardId> {
    (0..shards).map(shard).collect()
}

fn key(number: u32, of_shard: u64) -> TaskKey {
    TaskKey { file: file(number), shard: shard(of_shard) }
}

fn names(claimed: &[Claimed]) -> Vec<TaskKey> {
    claimed.iter().map(|task| task.key.clone()).collect()
}

fn output(lines: u64, byte: u8) -> Output {
    Output { lines, bytes: lines * 10, sha256: Digest::new([byte; 32]), index_sha256: None }
}

fn counts(read: u64, written: u64, rejected: u64) -> Counts {
    Counts { read, written, rejected, ..Counts::default() }
}

/// The code of a refusal, or the kind of another error.
fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    match result.unwrap_err() {
        Error::Gone(_) => "gone",
        Error::Refused(refusal) => refusal.code(),
        Error::Invalid(_) => "invalid",
        Error::Busy(_) => "busy",
        Error::Unavailable(_) => "unavailable",
        Error::Broken(_) => "broken",
        Error::Input(_) => "input",
    }
}

const INGEST: Stage = Stage::EventIngest;
const SPLIT: Stage = Stage::ShardSplitter;
const WORK: Stage = Stage::ShardWorker;
const SEND: Stage = Stage::MysqlSender;

/// Opens a shard's database with the system's clock.
async fn open_one_shard(backend: &dyn Backend, of_shard: u64) -> Arc<dyn ShardStore> {
    let clock = Clock::manual(Timestamp::from_unix_ms(START_MS));
    migrate(&backend.shard(shard(of_shard)), &schemas::SHARD).await.unwrap();
    open_shard(&backend.shard(shard(of_shard)), clock).await.unwrap()
}
