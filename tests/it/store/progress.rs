//! How the stages get on: what waits, who holds it, who asks, and leases that ran out.

use shopctl::pipeline::apid::lease_end::LeaseEnd;
use shopctl::pipeline::task::TaskProgress;
use shopctl::pipeline::task::progress::{Health, Lane};

use super::*;

on_every_backend! {
    the_lanes_tell_what_waits_and_who_holds_it
    a_file_that_an_earlier_stage_has_is_the_head_and_one_that_it_gave_up_is_not
    a_file_that_is_registered_and_not_announced_is_stuck
    who_asked_last_is_told
    a_lease_that_ran_out_is_told_once
}

fn lane(progress: &TaskProgress, stage: Stage, of_shard: u64) -> Option<&Lane> {
    progress.lanes.iter().find(|lane| lane.stage == stage && lane.shard == shard(of_shard))
}

fn since_start(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.unix_ms() - START_MS)
}

async fn the_lanes_tell_what_waits_and_who_holds_it(backend: &dyn Backend) {
    let world = World::open(backend).await;
    assert_eq!(world.tracking.progress().await.unwrap().lanes, []);
    for number in 1..=3 {
        world.ready(number, 2).await;
        world.clock.advance_ms(100);
    }
    world.finish(&key(1, 0), &[SPLIT]).await;
    world.clock.advance_ms(50);
    assert_eq!(world.claim_of(WORK, 1, Some(0), "a").await.len(), 1);
    world.clock.advance_ms(LEASE_MS + 1);
    world.fail(&key(1, 1), SPLIT).await;

    let progress = world.tracking.progress().await.unwrap();
    assert_eq!((since_start(Some(progress.now)), progress.lease_ms), (Some(350 + LEASE_MS + 1), LEASE_MS));
    let counts = |lane: &Lane| (lane.waiting, lane.under_way, lane.failed);
    let split = [lane(&progress, SPLIT, 0).unwrap(), lane(&progress, SPLIT, 1).unwrap()];
    assert_eq!(split.map(counts), [(2, 0, 0), (2, 0, 1)]);
    assert_eq!(split.map(|lane| lane.head.as_ref().unwrap().file.clone()), [file(2), file(2)]);
    assert_eq!(split.map(|lane| since_start(lane.done_at)), [Some(300), None]);

    let work = lane(&progress, WORK, 0).unwrap();
    let head = work.head.as_ref().unwrap();
    assert_eq!((counts(work), &head.file), ((0, 1, 0), &file(1)));
    assert_eq!((since_start(head.ready_at), since_start(head.started_at)), (Some(300), Some(350)));
    assert_eq!((head.view.owner.as_deref(), head.view.attempts), (Some("worker of a"), 1));
    assert_eq!(since_start(head.view.lease_until), Some(350 + LEASE_MS));
    assert_eq!((lane(&progress, WORK, 1), lane(&progress, SEND, 0)), (None, None));
    assert_eq!(progress.health(), Health::Failed);

    world.clock.advance_ms(2 * LEASE_MS);
    assert_eq!(world.tracking.progress().await.unwrap().health(), Health::Stuck);
}

async fn a_file_that_an_earlier_stage_has_is_the_head_and_one_that_it_gave_up_is_not(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in 1..=3 {
        world.ready(number, 1).await;
    }
    world.finish(&key(1, 0), &[SPLIT, WORK]).await;
    world.finish(&key(3, 0), &[SPLIT]).await;
    let head = async |stage| {
        let progress = world.tracking.progress().await.unwrap();
        lane(&progress, stage, 0).and_then(|lane| lane.head.clone()).map(|head| head.file)
    };
    assert_eq!((head(WORK).await, head(SEND).await), (Some(file(2)), Some(file(1))), "files are taken in their order");
    world.fail(&key(2, 0), SPLIT).await;
    assert_eq!(head(WORK).await, Some(file(3)));
    world.finish(&key(1, 0), &[SEND]).await;
    assert_eq!(head(SEND).await, None);
}

async fn a_file_that_is_registered_and_not_announced_is_stuck(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.tracking.register(&file(1), &all(2)).await.unwrap();
    world.clock.advance_ms(2 * LEASE_MS + 1);
    // What is announced after it is no movement of this one.
    world.ready(2, 2).await;
    let progress = world.tracking.progress().await.unwrap();
    let ingest = lane(&progress, INGEST, 1).unwrap();
    assert_eq!((ingest.waiting + ingest.under_way, &ingest.head.as_ref().unwrap().file), (1, &file(1)));
    assert!(progress.is_stuck(ingest));
    assert_eq!(progress.health(), Health::Stuck);
    world.tracking.ingest_done(&file(1), None).await.unwrap();
    let progress = world.tracking.progress().await.unwrap();
    assert_eq!((lane(&progress, INGEST, 1), progress.health()), (None, Health::Well));
}

async fn who_asked_last_is_told(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 2).await;
    let note = async |of_shard: Option<u64>, worker: &str| {
        world.tracking.note_asker(SPLIT, of_shard.map(shard), worker).await.unwrap();
        world.clock.advance_ms(10);
    };
    note(Some(0), "one").await;
    note(Some(0), "two").await;
    let asked = async |of_shard| {
        let progress = world.tracking.progress().await.unwrap();
        let asked = lane(&progress, SPLIT, of_shard).unwrap().asked.clone();
        asked.map(|asked| (asked.worker, asked.at.unix_ms() - START_MS))
    };
    assert_eq!((asked(0).await, asked(1).await), (Some(("two".to_owned(), 10)), None));
    note(None, "of any").await;
    let of_any = Some(("of any".to_owned(), 20));
    assert_eq!((asked(0).await, asked(1).await), (of_any.clone(), of_any));
    world.tracking.note_asker(WORK, None, "of another stage").await.unwrap();
    assert_eq!(asked(1).await, Some(("of any".to_owned(), 20)));
}

async fn a_lease_that_ran_out_is_told_once(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    world.finish(&key(1, 0), &[SPLIT]).await;
    let end = |attempt: u32, taken_by: Option<&str>| LeaseEnd {
        key: key(1, 0),
        stage: WORK,
        attempt,
        worker: Some(format!("worker of {attempt}")),
        taken_by: taken_by.map(|name| format!("worker of {name}")),
    };
    for attempt in 1..=ATTEMPTS {
        assert_eq!(world.claim(WORK, 1, &attempt.to_string()).await.len(), 1);
        let expected = if attempt > 1 { vec![end(attempt - 1, Some(&attempt.to_string()))] } else { Vec::new() };
        assert_eq!(world.tracking.take_lease_ends(), expected);
        // One that lasts is not told of.
        assert_eq!(world.claim(WORK, 1, "too early").await, []);
        assert_eq!(world.tracking.take_lease_ends(), []);
        world.clock.advance_ms(LEASE_MS + 1);
    }
    assert_eq!(world.claim(WORK, 1, "too late").await, []);
    assert_eq!(world.tracking.take_lease_ends(), [end(ATTEMPTS, None)]);
    assert_eq!(world.claim(WORK, 1, "later").await, []);
    assert_eq!(world.tracking.take_lease_ends(), []);
}
