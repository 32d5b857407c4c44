//! Looking: queues, lists, sums.

use shopctl::pipeline::apid::store::FileQuery;

use super::*;

on_every_backend! {
    a_queue_shows_ready_tasks_oldest_first_in_pages
    files_are_listed_by_name_with_a_cursor
    files_are_filtered_by_status_and_stage
    the_summary_counts_every_task_once
    the_oldest_open_file_is_told
    a_store_that_is_there_answers
}

async fn a_queue_shows_ready_tasks_oldest_first_in_pages(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in [3, 1, 2] {
        world.ready(number, 2).await;
        world.clock.advance_ms(1000);
    }
    let queue = world.tracking.queue(SPLIT, 100, 0).await.unwrap();
    let keys: Vec<_> = queue.iter().map(|queued| queued.key.clone()).collect();
    assert_eq!(keys, [key(3, 0), key(3, 1), key(1, 0), key(1, 1), key(2, 0), key(2, 1)], "oldest registration first");
    assert_eq!(queue[2].created_at.unix_ms(), START_MS + 1000);
    assert_eq!(world.tracking.queue(SPLIT, 2, 3).await.unwrap(), queue[3..5]);
    assert_eq!(world.tracking.queue(SPLIT, 2, 6).await.unwrap(), []);
    for stage in [INGEST, WORK, SEND] {
        assert_eq!(world.tracking.queue(stage, 100, 0).await.unwrap(), []);
    }
    world.apply(&key(3, 0), SPLIT, Call::Start).await.unwrap();
    assert_eq!(world.tracking.queue(SPLIT, 100, 0).await.unwrap(), queue[1..]);
    world.apply(&key(3, 0), SPLIT, Call::Done(None)).await.unwrap();
    assert_eq!(world.tracking.queue(WORK, 100, 0).await.unwrap(), queue[..1]);
}

async fn files_are_listed_by_name_with_a_cursor(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in [5, 4, 3, 2, 1] {
        world.ready(number, 2).await;
    }
    let mut query = FileQuery { limit: 2, ..FileQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = world.tracking.list_files(&query).await.unwrap();
        assert!(page.files.len() <= 2);
        assert!(page.files.iter().all(|view| view.shards.len() == 2 && view.shards[0].results.is_empty()));
        seen.extend(page.files.into_iter().map(|view| view.file));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, (1..=5).map(file).collect::<Vec<_>>());
    let exact = FileQuery { limit: 5, with_results: true, ..FileQuery::default() };
    let page = world.tracking.list_files(&exact).await.unwrap();
    assert_eq!((page.files.len(), page.next), (5, None), "no page after the last");
    assert!(page.files[0].shards[0].result(INGEST).is_some());
}

async fn files_are_filtered_by_status_and_stage(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.tracking.register(&file(1), &all(1)).await.unwrap();
    for number in 2..=4 {
        world.ready(number, 2).await;
    }
    world.fail(&key(3, 1), SPLIT).await;
    world.fail(&key(4, 0), SEND).await;
    let list = async |status, stage| {
        let query = FileQuery { status: Some(status), stage, limit: 9, ..FileQuery::default() };
        let page = world.tracking.list_files(&query).await.unwrap();
        page.files.into_iter().map(|view| view.file).collect::<Vec<_>>()
    };
    assert_eq!(list(Status::Failed, None).await, [file(3), file(4)]);
    assert_eq!(list(Status::Failed, Some(SEND)).await, [file(4)]);
    assert_eq!(list(Status::Started, None).await, [file(1)]);
    assert_eq!(list(Status::Done, Some(INGEST)).await, [file(2), file(3), file(4)]);
    assert_eq!(list(Status::Done, Some(WORK)).await, [] as [FileName; 0]);
}

async fn the_summary_counts_every_task_once(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.tracking.register(&file(1), &all(3)).await.unwrap();
    world.ready(2, 2).await;
    world.finish(&key(2, 0), &[SPLIT, WORK, SEND]).await;
    world.fail(&key(2, 1), SEND).await;
    world.apply(&key(2, 1), SPLIT, Call::Start).await.unwrap();
    let summary = world.tracking.summary().await.unwrap();
    assert_eq!(summary.total, 5);
    let counts = |stage: Stage| {
        let counts = summary.by_stage[stage.index()];
        [counts.new, counts.started, counts.done, counts.failed]
    };
    assert_eq!(counts(INGEST), [0, 3, 2, 0]);
    assert_eq!(counts(SPLIT), [3, 1, 1, 0]);
    assert_eq!(counts(WORK), [4, 0, 1, 0]);
    assert_eq!(counts(SEND), [3, 0, 1, 1]);
    let shards: Vec<_> = summary.by_shard.iter().map(|s| (s.shard.get(), s.total, s.done, s.failed)).collect();
    assert_eq!(shards, [(0, 2, 1, 0), (1, 2, 0, 1), (2, 1, 0, 0)]);
}

async fn the_oldest_open_file_is_told(backend: &dyn Backend) {
    let world = World::open(backend).await;
    assert_eq!(world.tracking.oldest_open().await.unwrap(), None);
    for number in [1, 2, 3] {
        world.ready(number, 1).await;
        world.clock.advance_ms(1000);
    }
    let oldest = async || world.tracking.oldest_open().await.unwrap().map(|at| at.unix_ms() - START_MS);
    assert_eq!(oldest().await, Some(0));
    world.finish(&key(1, 0), &[SPLIT, WORK, SEND]).await;
    assert_eq!(oldest().await, Some(1000));
    world.fail(&key(2, 0), SPLIT).await;
    assert_eq!(oldest().await, Some(2000), "what failed is no longer open");
    world.finish(&key(3, 0), &[SPLIT, WORK, SEND]).await;
    assert_eq!(oldest().await, None);
}

async fn a_store_that_is_there_answers(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.tracking.ping().await.unwrap();
    assert_eq!(world.tracking.lease_ms(), 1000);
    open_one_shard(backend, 0).await.ping().await.unwrap();
}
