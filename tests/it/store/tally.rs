//! Counting what is not done, and what is new, as the metrics do.

use super::*;

on_every_backend! {
    the_tally_and_the_summary_count_the_same
    what_was_counted_before_is_not_counted_again
    a_row_behind_one_that_is_not_settled_is_not_settled_either
}

async fn the_tally_and_the_summary_count_the_same(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in 1..=4 {
        world.ready(number, 2).await;
        world.clock.advance_ms(1000);
    }
    world.tracking.register(&file(5), &all(2)).await.unwrap();
    world.finish(&key(1, 0), &[SPLIT, WORK, SEND]).await;
    world.finish(&key(2, 1), &[SPLIT]).await;
    world.finish(&key(3, 1), &[SPLIT]).await;
    world.apply(&key(2, 1), WORK, Call::Start).await.unwrap();
    world.apply(&key(4, 0), SPLIT, Call::Start).await.unwrap();
    world.fail(&key(4, 0), SPLIT).await;

    let tally = world.tracking.tally(0).await.unwrap();
    let summary = world.tracking.summary().await.unwrap();
    let registered: u64 = tally.registered.iter().map(|new| new.tasks).sum();
    assert_eq!(registered, summary.total);
    for stage in Stage::ALL {
        let counts = summary.by_stage[stage.index()];
        let of = |status| tally.open.iter().filter(|t| t.stage == stage && t.status == status).map(|t| t.tasks).sum();
        let open: [u64; 3] = [of(Status::New), of(Status::Started), of(Status::Failed)];
        assert_eq!(open, [counts.new, counts.started, counts.failed], "{stage}");
        assert_eq!(registered - open.iter().sum::<u64>(), counts.done, "{stage}");
    }
    let oldest = |stage, shard: u64| {
        let own = |tasks: &&shopctl::pipeline::apid::store::OpenTasks| {
            tasks.stage == stage && u64::from(tasks.shard.get()) == shard
        };
        tally.open.iter().filter(own).filter_map(|tasks| tasks.oldest).min().map(|at| at.unix_ms() - START_MS)
    };
    assert_eq!(oldest(INGEST, 0), Some(4000), "registered, not complete");
    assert_eq!((oldest(SPLIT, 0), oldest(SPLIT, 1)), (Some(1000), Some(0)), "a failed task is not waited for");
    assert_eq!((oldest(WORK, 0), oldest(WORK, 1)), (None, Some(1000)), "in work counts, behind another stage does not");
    assert_eq!((oldest(SEND, 0), oldest(SEND, 1)), (None, None));
    assert_eq!(world.tracking.oldest_open().await.unwrap().unwrap().unix_ms(), START_MS);
}

async fn what_was_counted_before_is_not_counted_again(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 2).await;
    let first = world.tracking.tally(0).await.unwrap().registered;
    assert!(first.iter().all(|new| new.tasks == 1 && !new.is_settled), "{first:?}");
    let last = first.iter().map(|new| new.last).max().unwrap();
    assert_eq!(world.tracking.tally(last).await.unwrap().registered, []);
    world.ready(2, 1).await;
    let second = world.tracking.tally(last).await.unwrap().registered;
    assert_eq!(second.iter().map(|new| (new.shard.get(), new.tasks)).collect::<Vec<_>>(), [(0, 1)]);
    // Nothing with a lower number can come after so long.
    world.clock.advance_ms(10 * 60 * 1000);
    let settled = world.tracking.tally(0).await.unwrap().registered;
    assert!(settled.iter().all(|new| new.is_settled) && settled.len() == 2, "{settled:?}");
}

/// The mark goes past what is settled: it must not go past a row that is not.
async fn a_row_behind_one_that_is_not_settled_is_not_settled_either(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.clock.advance_ms(10 * 60 * 1000);
    world.ready(1, 1).await;
    // The clock was set back: the later row looks older.
    world.clock.advance_ms(-9 * 60 * 1000);
    world.ready(2, 2).await;
    world.clock.advance_ms(9 * 60 * 1000);
    let registered = world.tracking.tally(0).await.unwrap().registered;
    assert!(registered.iter().all(|new| !new.is_settled), "{registered:?}");
    assert_eq!(registered.iter().map(|new| new.tasks).sum::<u64>(), 3);
}
