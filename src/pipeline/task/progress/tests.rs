//! What counts as stuck, and the reason that is told.

use super::*;

const LEASE: i64 = 1000;
const NOW: i64 = 100_000;
const WORK: Stage = Stage::ShardWorker;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

fn shard(number: u64) -> ShardId {
    ShardId::new(number).unwrap()
}

/// A task that became ready so long ago.
fn ready(ago: i64) -> Head {
    let statuses = [Status::Done, Status::Done, Status::New, Status::New];
    let view = ShardView {
        created_at: at(NOW - ago),
        updated_at: at(NOW - ago),
        ..ShardView::of(shard(0), statuses, Vec::new())
    };
    Head { file: "20250101000000".parse().unwrap(), view, started_at: None, ready_at: Some(at(NOW - ago)) }
}

/// The same, claimed so long ago under a lease that ends so much later than now.
fn claimed(ready_ago: i64, ago: i64, lease_left: i64) -> Head {
    let mut head = ready(ready_ago);
    head.view.statuses[WORK.index()] = Status::Started;
    head.view.updated_at = at(NOW - ago);
    head.view.owner = Some("w".to_owned());
    head.view.lease_until = Some(at(NOW + lease_left));
    head.started_at = Some(at(NOW - ago));
    head
}

fn lane(head: Head, asked_ago: Option<i64>) -> Lane {
    let asked = asked_ago.map(|ago| Asked { worker: "w".to_owned(), at: at(NOW - ago) });
    Lane { stage: WORK, shard: shard(0), waiting: 1, under_way: 0, failed: 0, head: Some(head), done_at: None, asked }
}

fn of(lanes: Vec<Lane>) -> TaskProgress {
    TaskProgress { now: at(NOW), lease_ms: LEASE, lanes }
}

fn told(lane: Lane) -> (Health, Option<WaitReason>) {
    let progress = of(vec![lane]);
    (progress.health(), progress.reason(&progress.lanes[0]))
}

#[test]
fn a_task_that_waits_is_stuck_after_two_leases_and_no_worker_is_named_as_the_reason() {
    assert_eq!(told(lane(ready(2000), Some(100))), (Health::Well, Some(WaitReason::Asked)));
    assert_eq!(
        told(lane(ready(2001), None)),
        (Health::Stuck, Some(WaitReason::NoWorker { worker: None, ago_ms: None }))
    );
    let (health, reason) = told(lane(ready(50_000), Some(20_000)));
    assert_eq!(health, Health::Stuck);
    let text = reason.unwrap().text(WORK);
    assert_eq!(text, "no worker is asking for it; the last one asked 20 s ago (w)");
}

#[test]
fn a_worker_that_stands_still_is_stuck_when_its_last_heartbeat_is_two_leases_ago() {
    // Hours of heartbeats, then none: the lease tells of the last one.
    assert_eq!(told(lane(claimed(50_000, 50_000, 1), None)), (Health::Well, Some(WaitReason::UnderWay)));
    assert_eq!(told(lane(claimed(50_000, 50_000, -900), None)).0, Health::Well, "it may be taken over yet");
    let (health, reason) = told(lane(claimed(50_000, 50_000, -1001), None));
    assert_eq!(health, Health::Stuck);
    let reason = reason.unwrap();
    assert_eq!(reason.text(WORK), "its lease ran out 1 s ago (worker w), and no worker took it over");
    let key = crate::pipeline::task::TaskKey { file: "20250101000000".parse().unwrap(), shard: shard(0) };
    assert_eq!(reason.repair(&key, WORK).unwrap().commands, ["shopctl work --shard 0"]);
}

#[test]
fn attempts_that_are_given_back_again_and_again_are_no_movement() {
    let mut waiting = ready(9000);
    waiting.view.updated_at = at(NOW - 10);
    waiting.view.next_at = Some(at(NOW + 3000));
    waiting.view.last_error = Some("database_away: no answer".to_owned());
    let (health, reason) = told(lane(waiting, Some(10)));
    assert_eq!(health, Health::Stuck);
    let text = reason.unwrap().text(WORK);
    assert_eq!(text, "the last attempt failed, the next one is in 3 s: database_away: no answer");

    let mut again = claimed(9000, 10, 990);
    again.view.last_error = Some("database_away: no answer".to_owned());
    let (health, reason) = told(lane(again, Some(10)));
    assert_eq!(
        (health, reason.unwrap().text(WORK).as_str()),
        (Health::Stuck, "the last attempt failed: database_away: no answer")
    );

    let mut lasting = claimed(9000, 1500, 500);
    lasting.view.last_error = Some("database_away: no answer".to_owned());
    assert_eq!(told(lane(lasting, Some(10))), (Health::Well, Some(WaitReason::UnderWay)), "it works again");
}

#[test]
fn what_was_given_back_at_a_stop_is_no_trouble() {
    let mut again = claimed(50_000, 10, 990);
    again.view.last_error = Some("stopped before the task was finished".to_owned());
    assert_eq!(told(lane(again, Some(10))), (Health::Well, Some(WaitReason::UnderWay)));
}

#[test]
fn what_was_finished_or_asked_for_again_a_moment_ago_is_movement() {
    let mut behind_others = lane(ready(50_000), Some(10));
    behind_others.done_at = Some(at(NOW - 100));
    assert_eq!(told(behind_others).0, Health::Well);
    let mut retried = ready(50_000);
    retried.view.updated_at = at(NOW - 100);
    retried.view.last_error = Some("missing: x".to_owned());
    assert_eq!(told(lane(retried, Some(10))).0, Health::Well);
}

#[test]
fn a_file_that_an_earlier_stage_has_is_that_stages_matter() {
    let mut head = ready(50_000);
    head.view.statuses[1] = Status::Started;
    let (health, reason) = told(lane(head, None));
    assert_eq!(health, Health::Well);
    assert_eq!(reason.unwrap().text(WORK), "waits for 20250101000000, which is started at shard-splitter");
}

#[test]
fn a_file_that_is_registered_and_not_announced_is_stuck_after_two_leases() {
    let registered = |ago: i64| {
        let mut head = ready(ago);
        head.view.statuses = [Status::New; 4];
        head.ready_at = None;
        Lane { stage: Stage::EventIngest, ..lane(head, None) }
    };
    assert_eq!(told(registered(2000)).0, Health::Well);
    let (health, reason) = told(registered(5001));
    let reason = reason.unwrap();
    assert_eq!(health, Health::Stuck);
    let text = reason.text(Stage::EventIngest);
    assert_eq!(text, "it was registered 5 s ago, and event-ingest has not announced it");
    let key = crate::pipeline::task::TaskKey { file: "20250101000000".parse().unwrap(), shard: shard(0) };
    assert_eq!(reason.repair(&key, Stage::EventIngest).unwrap().commands, ["shopctl ingest --once"]);
}

#[test]
fn a_worker_at_another_shard_comes_back() {
    let mut other = lane(claimed(9000, 5000, 500), Some(5000));
    other.shard = shard(1);
    let progress = of(vec![lane(ready(9000), Some(5000)), other]);
    assert_eq!(progress.health(), Health::Well);
    assert_eq!(progress.reason(&progress.lanes[0]), Some(WaitReason::WorkerElsewhere));
}

#[test]
fn a_failed_task_is_failed_and_a_stage_that_stands_still_is_worse() {
    let failed = Lane { waiting: 0, failed: 1, head: None, ..lane(ready(1), None) };
    assert_eq!(of(vec![failed.clone()]).health(), Health::Failed);
    assert_eq!(of(vec![failed, lane(ready(9000), None)]).health(), Health::Stuck);
}

#[test]
fn a_task_that_was_started_without_a_lease_is_told() {
    let mut plain = claimed(9000, 5000, 0);
    plain.view.lease_until = None;
    let (health, reason) = told(lane(plain, None));
    assert_eq!(health, Health::Stuck);
    assert!(reason.unwrap().text(WORK).contains("without a lease"));
}
