//! Registering, announcing, and every move of one task with its repeats and refusals.

use super::*;

on_every_backend! {
    registering_again_changes_nothing_and_other_shards_are_refused
    a_file_is_complete_once_and_with_one_content
    plain_calls_move_a_task_through_its_stages
    moves_that_are_not_legal_are_refused_with_a_code
    a_fenced_call_needs_the_newest_token
    a_repeated_fail_is_answered_like_the_first
    a_plain_caller_cannot_move_a_leased_task
    retry_is_refused_once_a_later_stage_has_begun
    a_cascade_repairs_a_stage_with_the_failed_ones_after_it
    counts_that_do_not_balance_change_nothing
    a_split_that_loses_lines_fails_with_the_reason
    a_report_says_who_did_it_at_which_attempt
    unknown_tasks_are_gone
}

async fn registering_again_changes_nothing_and_other_shards_are_refused(backend: &dyn Backend) {
    let world = World::open(backend).await;
    assert!(world.tracking.register(&file(1), &all(2)).await.unwrap().created);
    assert!(!world.tracking.register(&file(1), &all(2)).await.unwrap().created);
    assert!(!world.tracking.register(&file(1), &[shard(1)]).await.unwrap().created, "a subset is known");
    assert_eq!(code(world.tracking.register(&file(1), &all(3)).await), "other_shards");
    assert_eq!(code(world.tracking.register(&file(1), &[shard(127)]).await), "other_shards");
    let view = world.tracking.find_file(&file(1)).await.unwrap().unwrap();
    assert_eq!((view.shards.len(), view.shards_count.get()), (2, 2));
    assert_eq!(view.shards[0].statuses, [Status::Started, Status::New, Status::New, Status::New]);
    assert!(world.tracking.register(&file(2), &all(128)).await.unwrap().created, "as many shards as there can be");
    for gap in [vec![shard(1)], vec![shard(0), shard(2)], vec![shard(0), shard(0)], Vec::new()] {
        let refused = world.tracking.register(&file(3), &gap).await;
        assert_eq!(code(refused), "invalid", "a shard without a task would lose its lines: {gap:?}");
    }
}

async fn a_file_is_complete_once_and_with_one_content(backend: &dyn Backend) {
    let world = World::open(backend).await;
    assert_eq!(code(world.tracking.ingest_done(&file(1), None).await), "gone");
    world.tracking.register(&file(1), &all(2)).await.unwrap();
    assert_eq!(world.tracking.ingest_done(&file(1), None).await.unwrap(), 2);
    assert_eq!(world.tracking.ingest_done(&file(1), Some(output(5, 1))).await.unwrap(), 2, "the digest comes later");
    assert_eq!(world.tracking.ingest_done(&file(1), Some(output(5, 1))).await.unwrap(), 2);
    assert_eq!(world.tracking.ingest_done(&file(1), None).await.unwrap(), 2);
    assert_eq!(code(world.tracking.ingest_done(&file(1), Some(output(5, 2))).await), "other_content");
    for view in world.tracking.find_file(&file(1)).await.unwrap().unwrap().shards {
        assert_eq!(view.result(INGEST).unwrap().output, Some(output(5, 1)));
    }
}

async fn plain_calls_move_a_task_through_its_stages(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let key = key(1, 0);
    for stage in [SPLIT, WORK, SEND] {
        for _repeat in 0..2 {
            assert_eq!(world.apply(&key, stage, Call::Start).await.unwrap(), Status::Started);
        }
        for _repeat in 0..2 {
            assert_eq!(world.apply(&key, stage, Call::Fail(None)).await.unwrap(), Status::Failed);
        }
        for _repeat in 0..2 {
            assert_eq!(world.apply(&key, stage, Call::Retry).await.unwrap(), Status::New);
        }
        assert_eq!(world.apply(&key, stage, Call::Start).await.unwrap(), Status::Started);
        for _repeat in 0..2 {
            assert_eq!(world.apply(&key, stage, Call::Done(None)).await.unwrap(), Status::Done);
        }
    }
    assert_eq!(world.task(&key).await.statuses, [Status::Done; 4]);
}

async fn moves_that_are_not_legal_are_refused_with_a_code(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.tracking.register(&file(1), &all(1)).await.unwrap();
    let key = key(1, 0);
    assert_eq!(code(world.apply(&key, SPLIT, Call::Start).await), "not_ready");
    world.tracking.ingest_done(&file(1), None).await.unwrap();
    assert_eq!(code(world.apply(&key, WORK, Call::Start).await), "not_ready");
    assert_eq!(code(world.apply(&key, SPLIT, Call::Done(None)).await), "illegal_move");
    world.finish(&key, &[SPLIT]).await;
    for call in [Call::Start, Call::Fail(None), Call::Retry] {
        assert_eq!(code(world.apply(&key, SPLIT, call).await), "illegal_move", "{call} of a done stage");
    }
    world.apply(&key, WORK, Call::Start).await.unwrap();
    assert_eq!(code(world.apply(&key, WORK, Call::Retry).await), "illegal_move");
    world.fail(&key, WORK).await;
    for call in [Call::Start, Call::Done(None)] {
        assert_eq!(code(world.apply(&key, WORK, call).await), "illegal_move", "{call} of a failed stage");
    }
    let refused = world.apply(&key, WORK, Call::Start).await.unwrap_err().to_string();
    assert!(refused.contains("failed"), "the current status is named: {refused}");
}

async fn a_fenced_call_needs_the_newest_token(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let key = key(1, 0);
    let token = world.claim(SPLIT, 1, "a").await[0].token;
    for wrong in [token - 1, token + 1] {
        for call in [
            Call::Heartbeat(wrong),
            Call::Done(Some(wrong)),
            Call::Fail(Some(wrong)),
            Call::FailAttempt(wrong),
            Call::Release(wrong),
        ] {
            assert_eq!(code(world.apply(&key, SPLIT, call).await), "stale_lease", "{call}");
        }
    }
    assert_eq!(world.apply(&key, SPLIT, Call::Heartbeat(token)).await.unwrap(), Status::Started);
    for _repeat in 0..2 {
        assert_eq!(world.apply(&key, SPLIT, Call::Done(Some(token))).await.unwrap(), Status::Done);
    }
    assert_eq!(code(world.apply(&key, SPLIT, Call::Fail(Some(token))).await), "stale_lease", "fail after done");
    assert_eq!(code(world.apply(&key, SPLIT, Call::Heartbeat(token)).await), "stale_lease");
}

async fn a_repeated_fail_is_answered_like_the_first(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let token = world.claim(SPLIT, 1, "a").await[0].token;
    for _repeat in 0..2 {
        assert_eq!(world.apply(&key(1, 0), SPLIT, Call::Fail(Some(token))).await.unwrap(), Status::Failed);
    }
    world.apply(&key(1, 0), SPLIT, Call::Retry).await.unwrap();
    assert_eq!(code(world.apply(&key(1, 0), SPLIT, Call::Fail(Some(token))).await), "stale_lease");
}

async fn a_plain_caller_cannot_move_a_leased_task(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    assert_eq!(world.claim(SPLIT, 1, "a").await.len(), 1);
    for call in [Call::Start, Call::Done(None), Call::Fail(None)] {
        assert_eq!(code(world.apply(&key(1, 0), SPLIT, call).await), "token_required", "{call}");
    }
}

async fn retry_is_refused_once_a_later_stage_has_begun(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let key = key(1, 0);
    world.fail(&key, SPLIT).await;
    world.fail(&key, SEND).await;
    assert_eq!(code(world.apply(&key, SPLIT, Call::Retry).await), "later_stage_begun");
    assert_eq!(world.apply(&key, SEND, Call::Retry).await.unwrap(), Status::New);
    assert_eq!(world.apply(&key, SPLIT, Call::Retry).await.unwrap(), Status::New);
    world.finish(&key, &[SPLIT]).await;
    world.apply(&key, WORK, Call::Start).await.unwrap();
    assert_eq!(code(world.apply(&key, SPLIT, Call::RetryCascade).await), "later_stage_begun");
}

async fn a_cascade_repairs_a_stage_with_the_failed_ones_after_it(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let key = key(1, 0);
    world.finish(&key, &[SPLIT]).await;
    world.fail(&key, WORK).await;
    let before = world.task(&key).await;
    assert_eq!(world.apply(&key, SPLIT, Call::RetryCascade).await.unwrap(), Status::New);
    let after = world.task(&key).await;
    assert_eq!(after.statuses, [Status::Done, Status::New, Status::New, Status::New]);
    assert!(after.token > before.token, "the former owner of the task is fenced");
    assert!(after.result(SPLIT).is_none(), "the report of the repeated stage is gone");
    assert!(after.result(INGEST).is_some());
    assert_eq!(world.apply(&key, SPLIT, Call::RetryCascade).await.unwrap(), Status::New, "asked again, answered alike");
    assert_eq!(world.task(&key).await, after, "and nothing changed");
}

async fn counts_that_do_not_balance_change_nothing(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let key = key(1, 0);
    let token = world.claim(SPLIT, 1, "a").await[0].token;
    let report = StageReport { counts: Some(counts(10, 8, 1)), ..StageReport::default() };
    assert_eq!(code(world.tracking.apply(&key, SPLIT, Call::Done(Some(token)), report).await), "conservation");
    assert_eq!(world.task(&key).await.status(SPLIT), Status::Started);
    let report = StageReport { counts: Some(counts(10, 9, 1)), ..StageReport::default() };
    assert_eq!(world.tracking.apply(&key, SPLIT, Call::Done(Some(token)), report).await.unwrap(), Status::Done);
}

async fn a_split_that_loses_lines_fails_with_the_reason(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.tracking.register(&file(1), &all(2)).await.unwrap();
    world.tracking.ingest_done(&file(1), Some(output(10, 1))).await.unwrap();
    let claimed = world.claim(SPLIT, 1, "a").await;
    let report = |written| StageReport { counts: Some(counts(written, written, 0)), ..StageReport::default() };
    let done = |task: &Claimed| (task.key.clone(), Call::Done(Some(task.token)));
    let (first, call) = done(&claimed[0]);
    assert_eq!(world.tracking.apply(&first, SPLIT, call, report(4)).await.unwrap(), Status::Done);
    let (last, call) = done(&claimed[1]);
    assert_eq!(code(world.tracking.apply(&last, SPLIT, call, report(5)).await), "conservation");
    let task = world.task(&last).await;
    assert_eq!((task.status(SPLIT), task.lease_until), (Status::Failed, None));
    assert!(task.last_error.as_deref().unwrap().contains("10 lines"), "{:?}", task.last_error);
    assert!(task.result(SPLIT).is_none());
    world.apply(&last, SPLIT, Call::Retry).await.unwrap();
    let (again, call) = done(&world.claim(SPLIT, 1, "b").await[0]);
    assert_eq!(world.tracking.apply(&again, SPLIT, call, report(6)).await.unwrap(), Status::Done);
}

async fn a_report_says_who_did_it_at_which_attempt(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let key = key(1, 0);
    let first = world.claim(SPLIT, 1, "a").await[0].token;
    let why = StageReport { reason: Some("disk on fire".to_owned()), ..StageReport::default() };
    assert_eq!(world.tracking.apply(&key, SPLIT, Call::FailAttempt(first), why).await.unwrap(), Status::New);
    assert_eq!(world.task(&key).await.last_error.as_deref(), Some("disk on fire"));
    world.clock.advance_ms(5);
    let second = world.claim(SPLIT, 1, "b").await[0].clone();
    assert_eq!(second.attempt, 2);
    world.clock.advance_ms(7);
    let report = StageReport { counts: Some(counts(3, 3, 0)), output: Some(output(3, 9)), reason: None };
    world.tracking.apply(&key, SPLIT, Call::Done(Some(second.token)), report).await.unwrap();
    let task = world.task(&key).await;
    let result = task.result(SPLIT).unwrap();
    assert_eq!((result.token, result.attempt, result.worker.as_deref()), (second.token, 2, Some("worker of b")));
    assert_eq!(result.started_at.map(Timestamp::unix_ms), Some(START_MS + 5));
    assert_eq!(result.finished_at.unix_ms(), START_MS + 12);
    assert_eq!((result.counts, result.output), (Some(counts(3, 3, 0)), Some(output(3, 9))));
    assert_eq!((task.attempts, task.last_error), (0, None));
    assert_eq!(world.claim(WORK, 1, "c").await[0].input, Some(output(3, 9)), "the next stage gets the digest");
}

async fn unknown_tasks_are_gone(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    for key in [key(1, 1), key(2, 0)] {
        for call in [Call::Start, Call::Done(None), Call::Heartbeat(1), Call::Retry, Call::RetryCascade] {
            assert_eq!(code(world.apply(&key, SPLIT, call).await), "gone", "{call}");
        }
    }
    assert!(world.tracking.find_file(&file(2)).await.unwrap().is_none());
}
