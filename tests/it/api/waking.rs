//! A finished stage wakes the claims of the next one. Told by counting how often a waiting claim looks at the store,
//! which here answers at once: no clock decides.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use shopctl::base::db::{Error, Result};
use shopctl::base::http::Metrics;
use shopctl::base::shutdown::Stop;
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::apid::lease_end::LeaseEnd;
use shopctl::pipeline::apid::store::{FilePage, FileQuery, Registered, StageReport, TaskTally, Tracking};
use shopctl::pipeline::apid::{Api, router};
use shopctl::pipeline::event::{ShardCount, ShardId};
use shopctl::pipeline::task::view::Queued;
use shopctl::pipeline::task::{
    Call, Claim, Claimed, FileName, FileView, Output, Stage, Status, Summary, TaskKey, TaskProgress,
};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tower::ServiceExt;

use super::BASE;

/// Turns that the other tasks of the test's one thread get: a claim that was woken needs a few.
const TURNS: usize = 100;

/// A store with one task, that counts the looks for work.
#[derive(Default)]
struct Counting {
    /// The stage whose claims get the task.
    ready: Mutex<Option<Stage>>,
    looks: AtomicUsize,
}

impl Counting {
    fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }

    fn make_ready(&self, stage: Option<Stage>) {
        *self.ready.lock().unwrap() = stage;
    }
}

fn not_asked<T>() -> Result<T> {
    Err(Error::broken("this store is not asked for that".to_owned()))
}

fn key() -> TaskKey {
    TaskKey { file: "20250101000000".parse().unwrap(), shard: ShardId::new(0).unwrap() }
}

#[async_trait::async_trait]
impl Tracking for Counting {
    fn lease_ms(&self) -> u64 {
        60_000
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn register(&self, _: &FileName, _: &[ShardId]) -> Result<Registered> {
        not_asked()
    }

    async fn ingest_done(&self, _: &FileName, _: Option<Output>) -> Result<u64> {
        self.make_ready(Stage::EventIngest.next());
        Ok(1)
    }

    async fn apply(&self, _: &TaskKey, stage: Stage, call: Call, _: StageReport) -> Result<Status> {
        let (ready, status) = match call {
            Call::Done(_) => (stage.next(), Status::Done),
            _ => (Some(stage), Status::New),
        };
        self.make_ready(ready);
        Ok(status)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        let is_ready = self.ready.lock().unwrap().take_if(|stage| *stage == claim.stage).is_some();
        let shards_count = ShardCount::new(1).unwrap();
        let task =
            Claimed { key: key(), token: 1, lease_ms: 60_000, attempt: 1, shards_count, input: None, is_replay: false };
        Ok(if is_ready { vec![task] } else { Vec::new() })
    }

    async fn queue(&self, _: Stage, _: u32, _: u32) -> Result<Vec<Queued>> {
        not_asked()
    }

    async fn find_file(&self, _: &FileName) -> Result<Option<FileView>> {
        not_asked()
    }

    async fn list_files(&self, _: &FileQuery) -> Result<FilePage> {
        not_asked()
    }

    async fn summary(&self) -> Result<Summary> {
        not_asked()
    }

    async fn oldest_unfinished(&self, _: Stage, _: &FileName) -> Result<Option<FileName>> {
        not_asked()
    }

    async fn oldest_open(&self) -> Result<Option<Timestamp>> {
        not_asked()
    }

    async fn tally(&self, _: u64) -> Result<TaskTally> {
        not_asked()
    }

    fn take_lease_ends(&self) -> Vec<LeaseEnd> {
        Vec::new()
    }

    async fn progress(&self) -> Result<TaskProgress> {
        not_asked()
    }

    async fn note_asker(&self, _: Stage, _: Option<ShardId>, _: &str) -> Result<()> {
        Ok(())
    }
}

async fn post(router: &Router, path: &str, body: &str) -> StatusCode {
    let request = Request::post(format!("{BASE}{path}")).header("content-type", "application/json");
    let answer = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    answer.status()
}

/// A claim that waits, once it has looked and found nothing.
async fn wait_for_work(store: &Counting, router: &Router, stage: &str) -> JoinHandle<StatusCode> {
    let (router, path, before) = (router.clone(), format!("/queues/{stage}/claim"), store.looks());
    let body = r#"{"worker":"w","limit":1,"wait_ms":25000,"claim_id":"c"}"#;
    let waiting = tokio::spawn(async move { post(&router, &path, body).await });
    while store.looks() == before {
        tokio::task::yield_now().await;
    }
    take_turns().await;
    assert!(!waiting.is_finished(), "{stage}: it was answered before there was work");
    waiting
}

async fn take_turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// A call on one stage must make the waiting claim of another look again.
async fn assert_woken(claimed: &str, path: &str, body: &str) {
    let store = Arc::new(Counting::default());
    let router = router(Api::new(Arc::clone(&store) as Arc<dyn Tracking>, Stop::new(), &Metrics::new()));
    let waiting = wait_for_work(&store, &router, claimed).await;
    let before = store.looks();
    assert_eq!(post(&router, path, body).await, StatusCode::OK);
    take_turns().await;
    assert!(store.looks() > before, "{path} did not wake the claim of {claimed}");
    assert_eq!(waiting.await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn a_finished_stage_wakes_the_claims_of_the_next_one() {
    let task = r#"{"filename":"20250101000000","shard":0,"token":1}"#;
    assert_woken("shard-splitter", "/stages/event-ingest/done", r#"{"filename":"20250101000000"}"#).await;
    assert_woken("shard-worker", "/stages/shard-splitter/done", task).await;
    assert_woken("mysql-sender", "/stages/shard-worker/done", task).await;
}

#[tokio::test]
async fn a_task_that_is_given_back_wakes_the_claims_of_its_own_stage() {
    let task = r#"{"filename":"20250101000000","shard":0,"token":1}"#;
    for stage in ["shard-splitter", "shard-worker", "mysql-sender"] {
        assert_woken(stage, &format!("/stages/{stage}/release"), task).await;
    }
}
