//! Stopping: the first signal drains within the deadline, the second one ends at once, and neither loses anything.

use rustix::process::Signal;

use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, SERVICES, SHARDS, STAGES};
use crate::support::proxy::{Held, HoldAt};
use crate::support::{PATIENCE, eventually};

/// Times that a role may be through with everything before it is seen at work.
const IMPORTS_MAX: u64 = 20;

/// Waits until a stage has a task in work: this role's, or any role's where it is a service that they call. Imports
/// more whenever nothing is left.
fn wait_work(pipeline: &Pipeline, role: Role, stage: &str, seed: &mut u64) {
    let owner = if SERVICES.contains(&role) { "%".to_owned() } else { format!("%-{}-%", pipeline.role(role).id()) };
    let database = pipeline.database("pipeline_db");
    let count = |statuses: &str, owner: &str| {
        let query = format!("SELECT COUNT(*) FROM pipeline_tracking WHERE {stage}_status IN ({statuses}) AND {owner}");
        database.query_row(&query, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    for _ in 0..IMPORTS_MAX {
        let mut is_at_work = false;
        eventually("the stage works, or has nothing left", PATIENCE, || {
            is_at_work = count("'started'", &format!("owner LIKE '{owner}'")) > 0;
            is_at_work || count("'new', 'started'", "TRUE") == 0
        });
        if is_at_work {
            return;
        }
        *seed += 1;
        pipeline.import(&generated(*seed, MISHAPS, 3000), 100);
    }
    panic!("{role:?} was never seen at work");
}

#[test]
fn every_role_drains_in_mid_work_and_nothing_is_lost() {
    let mut pipeline = Pipeline::running(&[]);
    let mut seed = 800;
    pipeline.import(&generated(seed, MISHAPS, 12_000), 200);
    let stages = [
        (Role::Split, "shard_splitter"),
        (Role::Work0, "shard_worker"),
        (Role::Work1, "shard_worker"),
        (Role::Send, "mysql_sender"),
        (Role::Balance, "shard_worker"),
        (Role::Cache, "shard_worker"),
        (Role::Apid, "shard_worker"),
    ];
    for _ in 0..2 {
        for (role, stage) in stages {
            wait_work(&pipeline, role, stage, &mut seed);
            // Had it not drained within its deadline, it would say "ending now" and exit with 1.
            let log = pipeline.terminate(role);
            assert!(log.contains("draining") && !log.contains("ending now"), "{log}");
            pipeline.start(role);
        }
    }
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn the_ingest_publishes_what_it_has_before_it_stops() {
    let mut pipeline = Pipeline::running(&["events.generate=true", "events.events_per_batch=300"]);
    pipeline.start(Role::Ingest);
    let port = pipeline.role(Role::Ingest).wait_ready();
    pipeline.role(Role::Ingest).wait_log("announced", |_| Some(()));
    let body: String = (0..50).map(|order| crate::support::events::purchase(8_000_000 + order, order) + "\n").collect();
    let answer = ureq::post(format!("http://127.0.0.1:{port}/api/v1/events")).send(&body).unwrap();
    assert_eq!(answer.status(), 202);
    pipeline.terminate(Role::Ingest);
    let content: Vec<u8> = pipeline.event_files().into_iter().flat_map(|(_, content)| content).collect();
    let posted = memchr::memmem::find_iter(&content, "\"order_id\":80000").count();
    assert_eq!(posted, 50, "acknowledged means in a file");
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn all_roles_stopped_at_the_same_moment_end_in_time_and_go_on_later() {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.import(&generated(9, MISHAPS, 6000), 100);
    eventually("the first file is delivered", PATIENCE, || pipeline.delivered().0 > 0);
    let stopping: Vec<_> = STAGES.into_iter().map(|role| (role, pipeline.take(role))).collect();
    stopping.iter().for_each(|(_, process)| process.signal(Signal::TERM));
    for (role, process) in stopping {
        // The API is the first to be gone: what the others cannot report any more comes back with its lease.
        let ended = process.wait_exit(PATIENCE).expect_code(0);
        assert!(ended.log.contains("draining") && !ended.log.contains("ending now"), "{role:?}: {}", ended.log);
    }
    STAGES.into_iter().for_each(|role| pipeline.start(role));
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
}

/// A pipeline whose worker 0 cannot finish its drain: its report is held back.
fn worker_that_cannot_report(settings: &[&str]) -> (Pipeline, Held) {
    let mut pipeline = Pipeline::new(settings);
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Send]);
    let held = pipeline.proxy.hold_next("/stages/shard-worker/done", HoldAt::Request);
    pipeline.import(&generated(10, MISHAPS, 500), 500);
    held.wait();
    pipeline.start(Role::Work1);
    (pipeline, held)
}

/// After whatever end, another worker finishes the file.
fn finish(mut pipeline: Pipeline, held: Held) {
    held.release();
    pipeline.start(Role::Work0);
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    assert_eq!(pipeline.delivered(), (SHARDS.into(), SHARDS.into()));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (mut pipeline, held) = worker_that_cannot_report(&["server.drain_timeout=3600"]);
    let worker = pipeline.take(Role::Work0);
    worker.signal(Signal::TERM);
    worker.wait_log("draining", |_| Some(()));
    worker.signal(Signal::INT);
    // The drain's own deadline is far away, and would give another reason.
    let ended = worker.wait_exit(PATIENCE).expect_code(1);
    assert!(ended.log.contains("ending now: a second signal"), "{}", ended.log);
    finish(pipeline, held);
}

#[test]
fn the_drain_deadline_ends_what_cannot_finish() {
    let (mut pipeline, held) = worker_that_cannot_report(&["server.drain_timeout=1"]);
    let worker = pipeline.take(Role::Work0);
    let ended = worker.terminate(PATIENCE).expect_code(1);
    assert!(ended.log.contains("ending now: the drain deadline"), "{}", ended.log);
    finish(pipeline, held);
}
