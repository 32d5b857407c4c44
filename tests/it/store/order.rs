//! File order: worker and sender get only the oldest unfinished file of a shard.

use super::*;

on_every_backend! {
    worker_and_sender_get_the_oldest_unfinished_file_of_each_shard
    a_file_that_is_not_ready_yet_holds_back_the_newer_ones
    a_file_that_was_never_completed_holds_back_nothing_unless_the_order_is_strict
    a_failed_task_does_not_block_the_files_after_it
    with_strict_order_a_failed_task_blocks
    a_waiting_task_holds_back_the_newer_ones
    the_oldest_unfinished_file_is_that_of_all_shards
}

async fn worker_and_sender_get_the_oldest_unfinished_file_of_each_shard(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in [1, 2] {
        world.ready(number, 2).await;
        for of_shard in 0..2 {
            world.finish(&key(number, of_shard), &[SPLIT]).await;
        }
    }
    for stage in [WORK, SEND] {
        for number in [1, 2] {
            let claimed = world.claim(stage, 16, &format!("{stage} {number}")).await;
            assert_eq!(names(&claimed), [key(number, 0), key(number, 1)]);
            assert_eq!(world.claim(stage, 16, &format!("other {stage} {number}")).await, [], "one file at a time");
            for task in claimed {
                world.apply(&task.key, stage, Call::Done(Some(task.token))).await.unwrap();
            }
        }
    }
}

async fn a_file_that_is_not_ready_yet_holds_back_the_newer_ones(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    world.ready(2, 1).await;
    world.finish(&key(2, 0), &[SPLIT]).await;
    assert_eq!(world.claim(WORK, 1, "a").await, [], "an older file is still being split");
    world.finish(&key(1, 0), &[SPLIT]).await;
    assert_eq!(names(&world.claim(WORK, 16, "b").await), [key(1, 0)]);
}

async fn a_file_that_was_never_completed_holds_back_nothing_unless_the_order_is_strict(backend: &dyn Backend) {
    let strict = World::with(backend, TrackingPolicy { strict_order: true, ..policy() }).await;
    strict.tracking.register(&file(1), &all(1)).await.unwrap();
    strict.ready(2, 1).await;
    strict.finish(&key(2, 0), &[SPLIT]).await;
    assert_eq!(strict.claim(WORK, 1, "a").await, []);
    let lenient = World::open(backend).await;
    assert_eq!(names(&lenient.claim(WORK, 1, "b").await), [key(2, 0)]);
}

async fn a_failed_task_does_not_block_the_files_after_it(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in 1..=4 {
        world.ready(number, 1).await;
    }
    world.fail(&key(1, 0), SPLIT).await;
    for number in 2..=4 {
        world.finish(&key(number, 0), &[SPLIT]).await;
    }
    world.fail(&key(2, 0), WORK).await;
    assert_eq!(names(&world.claim(WORK, 1, "a").await), [key(3, 0)]);
    let token = world.task(&key(3, 0)).await.token;
    world.apply(&key(3, 0), WORK, Call::Done(Some(token))).await.unwrap();
    assert_eq!(names(&world.claim(SEND, 1, "b").await), [key(3, 0)]);
}

async fn with_strict_order_a_failed_task_blocks(backend: &dyn Backend) {
    let world = World::with(backend, TrackingPolicy { strict_order: true, ..policy() }).await;
    for number in [1, 2] {
        world.ready(number, 1).await;
        world.finish(&key(number, 0), &[SPLIT]).await;
    }
    world.fail(&key(1, 0), WORK).await;
    assert_eq!(world.claim(WORK, 1, "a").await, []);
    world.apply(&key(1, 0), WORK, Call::Retry).await.unwrap();
    assert_eq!(names(&world.claim(WORK, 1, "b").await), [key(1, 0)]);
}

async fn a_waiting_task_holds_back_the_newer_ones(backend: &dyn Backend) {
    let mut slow = policy();
    slow.moves.backoff_ms = 1000;
    let world = World::with(backend, slow).await;
    for number in [1, 2] {
        world.ready(number, 1).await;
        world.finish(&key(number, 0), &[SPLIT]).await;
    }
    let token = world.claim(WORK, 1, "a").await[0].token;
    world.apply(&key(1, 0), WORK, Call::FailAttempt(token)).await.unwrap();
    assert_eq!(world.claim(WORK, 1, "b").await, []);
    world.clock.advance_ms(1000);
    assert_eq!(names(&world.claim(WORK, 1, "c").await), [key(1, 0)]);
}

async fn the_oldest_unfinished_file_is_that_of_all_shards(backend: &dyn Backend) {
    let world = World::open(backend).await;
    let oldest = async |besides: u32| world.tracking.oldest_unfinished(WORK, &file(besides)).await.unwrap();
    assert_eq!(oldest(1).await, None);
    world.tracking.register(&file(1), &all(2)).await.unwrap();
    assert_eq!(oldest(9).await, None, "never completed");
    for number in 2..=5 {
        world.ready(number, 2).await;
    }
    assert_eq!((oldest(9).await, oldest(2).await), (Some(file(2)), Some(file(3))), "not yet split, but to come");
    world.fail(&key(2, 0), SPLIT).await;
    world.fail(&key(2, 1), SPLIT).await;
    assert_eq!(oldest(9).await, Some(file(3)), "given up");
    for number in 3..=5 {
        for of_shard in 0..2 {
            world.finish(&key(number, of_shard), &[SPLIT]).await;
        }
    }
    world.finish(&key(3, 0), &[WORK]).await;
    world.finish(&key(4, 0), &[WORK]).await;
    assert_eq!((oldest(5).await, oldest(3).await), (Some(file(3)), Some(file(4))), "shard 1 lags");
    world.finish(&key(3, 1), &[WORK]).await;
    world.finish(&key(4, 1), &[WORK]).await;
    world.claim(WORK, 16, "both shards").await;
    assert_eq!((oldest(4).await, oldest(5).await), (Some(file(5)), None), "in work is unfinished");
}
