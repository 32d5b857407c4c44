//! A worker that is paused past its lease: another one takes over, and what the first says later changes nothing.
//!
//! The proxy before the API holds one call back, so that the pause hits the same moment every time.

use rustix::process::Signal;
use shopctl::base::clock::Clock;
use shopctl::pipeline::apid::client::Client;
use shopctl::pipeline::settings::principal;
use shopctl::pipeline::task::wire::{ClaimRequest, TaskRequest};
use shopctl::pipeline::task::{Stage, TaskKey};

use crate::support::database::Rows;
use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, SHARDS};
use crate::support::proxy::HoldAt;
use crate::support::{PATIENCE, eventually};

/// Pauses worker 0 at this call until its work was done by another one; waits for what it logs when it wakes up, and
/// answers all that it logged.
fn pause_worker_at(path: &'static str, at: HoldAt, wakes_to: &str) -> String {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none"]);
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Send]);
    let held = pipeline.proxy.hold_next(path, at);
    // One file, so that the held call is about the only task of shard 0.
    pipeline.import(&generated(3, MISHAPS, 3000), 3000);
    held.wait();
    pipeline.start(Role::Work1);
    let paused = pipeline.take(Role::Work0);
    paused.signal(Signal::STOP);
    let prepared = |pipeline: &Pipeline| {
        let paths = pipeline.list("shard-worker-0");
        paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    // Its lease has to run out before the second worker gets the task.
    pipeline.start(Role::Work0);
    pipeline.wait_settled();
    let token = |pipeline: &Pipeline| {
        let query = "SELECT token, attempt FROM pipeline_stage_result WHERE stage = 'shard-worker' AND shard = 0";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        pipeline.database("pipeline_db").query_row(query, [], read).unwrap()
    };
    let (bytes, finished_by) = (prepared(&pipeline), token(&pipeline));
    pipeline.assert_all_is_well(&Known::new());

    paused.signal(Signal::CONT);
    held.release();
    paused.wait_log(wakes_to, |_| Some(()));
    assert!(prepared(&pipeline) == bytes, "a late worker writes the same bytes");
    assert_eq!(token(&pipeline), finished_by, "the report of the one that finished stands");
    assert_eq!(pipeline.delivered(), (SHARDS.into(), SHARDS.into()));
    let log = paused.terminate(PATIENCE).expect_code(0).log;
    pipeline.assert_all_is_well(&Known::new());
    log
}

#[test]
fn a_report_that_comes_after_the_lease_is_refused_and_changes_nothing() {
    let log = pause_worker_at("/stages/shard-worker/done", HoldAt::Request, "report was not taken");
    assert!(log.contains("stale_lease"), "{log}");
}

#[test]
fn work_that_begins_after_the_lease_is_refused_and_changes_nothing() {
    // The answer to the claim is held: the worker wakes up, counts its lease from when it was granted, and does nothing.
    let log = pause_worker_at("/queues/shard-worker/claim", HoldAt::AnswerWithWork, "the lease is over");
    assert!(!log.contains("\"msg\":\"done\""), "{log}");
}

#[test]
fn a_paused_sender_delivers_nothing_twice() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Work1]);
    let held = pipeline.proxy.hold_next("/queues/mysql-sender/claim", HoldAt::AnswerWithWork);
    // One shard, so that the process is paused between two files: in mid-transaction it would hold SQLite's lock.
    let paused = pipeline.spawn(&["send", "--shard", "0"], None);
    pipeline.import(&generated(4, MISHAPS, 1000), 250);
    held.wait();
    paused.signal(Signal::STOP);
    pipeline.start(Role::Send);
    pipeline.wait_settled();
    paused.signal(Signal::CONT);
    held.release();
    paused.wait_log("the lease is over", |_| Some(()));
    pipeline.assert_all_is_well(&Known::new());
    paused.terminate(PATIENCE).expect_code(0);
}

/// Until when the claimed tasks are leased.
fn leases(pipeline: &Pipeline) -> Vec<String> {
    let query = "SELECT lease_until FROM pipeline_tracking WHERE lease_until IS NOT NULL";
    let rows = pipeline.database("pipeline_db").texts(query).into_iter();
    rows.map(|row| row[0].clone().unwrap()).collect()
}

/// Pauses the API at a moment when a worker has a task.
fn stop_while_leased(pipeline: &Pipeline) {
    eventually("the API is paused while a task is claimed", PATIENCE, || {
        pipeline.role(Role::Apid).signal(Signal::STOP);
        let is_leased = !leases(pipeline).is_empty();
        if !is_leased {
            pipeline.role(Role::Apid).signal(Signal::CONT);
        }
        is_leased
    });
}

#[test]
fn a_paused_api_delays_everything_and_loses_nothing() {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.import(&generated(5, MISHAPS, 2000), 100);
    eventually("the first file is delivered", PATIENCE, || pipeline.delivered().0 > 0);
    stop_while_leased(&pipeline);
    // Everything that was leased runs out meanwhile, and the roles' calls are answered late.
    let now = || Clock::System.now().to_string();
    eventually("the leases are over", PATIENCE, || leases(&pipeline).iter().all(|until| *until < now()));
    pipeline.role(Role::Apid).signal(Signal::CONT);
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    pipeline.terminate(Role::Apid);
}

/// All leases ran out while they could not be extended: a worker that is back at once has lost nothing.
#[test]
fn who_had_a_task_comes_back_before_it_is_handed_to_others() {
    let mut pipeline = Pipeline::new(&["pipeline.lease_ms=60000"]);
    pipeline.start(Role::Apid);
    pipeline.import(&generated(13, MISHAPS, 100), 100);
    let client = Client::of(&pipeline.settings(), principal::SHARD_SPLITTER);
    let claim = |who: &str, wait_ms| {
        let (worker, claim_id) = (who.to_owned(), who.to_owned());
        let request = ClaimRequest { worker, limit: 2, shard: None, wait_ms: Some(wait_ms), claim_id };
        client.claim(Stage::ShardSplitter, &request).unwrap().items
    };
    let held = claim("first", 0);
    assert_eq!(held.len(), 2);
    pipeline.kill9(Role::Apid);
    let tracking = rusqlite::Connection::open(pipeline.shared().join("db/pipeline_db.sqlite")).unwrap();
    let end = "UPDATE pipeline_tracking SET lease_until = '2025-01-01 00:00:00.000'";
    assert_eq!(tracking.execute(end, []).unwrap(), 2);
    drop(tracking);
    pipeline.start(Role::Apid);
    assert_eq!(claim("too early", 1).len(), 0);
    let key = TaskKey { file: held[0].filename.clone(), shard: held[0].shard };
    let heartbeat = TaskRequest { token: Some(held[0].token), ..TaskRequest::new(&key) };
    client.heartbeat(Stage::ShardSplitter, &heartbeat).unwrap();
    let taken: Vec<_> = claim("second", 25_000).into_iter().map(|task| (task.shard, task.attempt)).collect();
    assert_eq!(taken, [(held[1].shard, 2)], "only who did not come back");
    // Who runs once does not come again, and leaves nothing behind.
    pipeline.kill9(Role::Apid);
    let tracking = rusqlite::Connection::open(pipeline.shared().join("db/pipeline_db.sqlite")).unwrap();
    assert_eq!(tracking.execute(end, []).unwrap(), 2);
    drop(tracking);
    pipeline.start(Role::Apid);
    assert_eq!(claim("once", 0).len(), 2);
}

#[test]
fn a_late_report_does_not_finish_the_work_of_the_one_that_has_the_task_now() {
    let done = "/stages/shard-worker/done";
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Send]);
    let first = pipeline.proxy.hold_next(done, HoldAt::Request);
    pipeline.import(&generated(11, MISHAPS, 1000), 1000);
    first.wait();
    let paused = pipeline.take(Role::Work0);
    paused.signal(Signal::STOP);
    let second = pipeline.proxy.hold_next(done, HoldAt::Request);
    pipeline.start(Role::Work0);
    second.wait();
    // Both have done the work; the task is the second one's, which has not reported yet.
    paused.signal(Signal::CONT);
    first.release();
    paused.wait_log("report was not taken", |line| line["msg"].as_str()?.contains("stale_lease").then_some(()));
    let query = "SELECT shard_worker_status FROM pipeline_tracking WHERE shard = 0";
    let status: String = pipeline.database("pipeline_db").query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(status, "started");
    paused.terminate(PATIENCE).expect_code(0);
    second.release();
    pipeline.role(Role::Work0).wait_log("done", |line| line["written"].as_u64());
    pipeline.start(Role::Work1);
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
}
