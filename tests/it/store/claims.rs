//! Claims: tokens, leases, replays, attempts and waits.

use super::*;

on_every_backend! {
    a_token_rises_with_every_claim
    an_expired_lease_is_taken_by_another_and_the_first_is_fenced
    an_expired_lease_is_left_to_its_holder_where_no_other_may_take_over
    a_heartbeat_keeps_the_lease
    a_lease_from_before_the_clock_went_back_ends_in_time
    a_lease_that_is_too_long_is_shortened_by_a_claim_that_may_not_take_over
    the_same_claim_id_gets_the_same_answer
    the_splitter_gets_all_ready_shards_of_a_file
    a_claim_may_be_for_one_shard_only
    exhausted_attempts_fail_the_task
    a_failed_attempt_waits_before_the_next
    a_release_is_no_attempt
}

fn claim(claim_id: &str, takes_over: bool) -> Claim {
    Claim { stage: SPLIT, worker: "w".to_owned(), limit: 9, shard: None, claim_id: claim_id.to_owned(), takes_over }
}

async fn a_token_rises_with_every_claim(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let mut last = 0;
    for round in 0..4 {
        let claimed = world.claim(SPLIT, 1, &format!("round {round}")).await;
        assert_eq!(names(&claimed), [key(1, 0)]);
        assert_eq!((claimed[0].lease_ms, claimed[0].attempt, claimed[0].shards_count.get()), (1000, 1, 1));
        assert!(claimed[0].token > last);
        last = claimed[0].token;
        world.apply(&key(1, 0), SPLIT, Call::Release(last)).await.unwrap();
    }
}

async fn an_expired_lease_is_taken_by_another_and_the_first_is_fenced(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let first = world.claim(SPLIT, 1, "a").await[0].token;
    world.clock.advance_ms(LEASE_MS);
    assert_eq!(world.claim(SPLIT, 1, "b").await, []);
    world.clock.advance_ms(1);
    let second = world.claim(SPLIT, 1, "b").await[0].clone();
    assert_eq!((second.token, second.attempt), (first + 1, 2));
    for call in [Call::Heartbeat(first), Call::Done(Some(first)), Call::Fail(Some(first)), Call::Release(first)] {
        assert_eq!(code(world.apply(&key(1, 0), SPLIT, call).await), "stale_lease", "{call}");
    }
    assert_eq!(world.claim(SPLIT, 1, "a").await, [], "the lost claim is not replayed");
    assert_eq!(world.apply(&key(1, 0), SPLIT, Call::Done(Some(second.token))).await.unwrap(), Status::Done);
}

async fn an_expired_lease_is_left_to_its_holder_where_no_other_may_take_over(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 3).await;
    for attempt in 1..=ATTEMPTS {
        let held = world.tracking.claim(&claim(&format!("crash {attempt}"), true)).await.unwrap();
        assert_eq!(held.iter().map(|task| task.attempt).collect::<Vec<_>>(), [attempt; 3]);
        world.clock.advance_ms(LEASE_MS + 1);
        // Not even the last attempt is over.
        assert_eq!(world.tracking.claim(&claim("after an outage", false)).await.unwrap(), []);
        assert_eq!(world.task(&key(1, 2)).await.status(SPLIT), Status::Started);
        if attempt == ATTEMPTS {
            world.apply(&key(1, 0), SPLIT, Call::Done(Some(held[0].token))).await.unwrap();
            world.apply(&key(1, 1), SPLIT, Call::Heartbeat(held[1].token)).await.unwrap();
        }
    }
    world.ready(2, 1).await;
    assert_eq!(names(&world.tracking.claim(&claim("new work", false)).await.unwrap()), [key(2, 0)]);
    assert_eq!(world.claim(SPLIT, 9, "afterwards").await, []);
    let statuses = [0, 1, 2].map(|shard| key(1, shard));
    let mut found = Vec::new();
    for key in &statuses {
        found.push(world.task(key).await.status(SPLIT));
    }
    assert_eq!(found, [Status::Done, Status::Started, Status::Failed]);
}

async fn a_lease_from_before_the_clock_went_back_ends_in_time(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let first = world.claim(SPLIT, 1, "a").await[0].token;
    world.clock.advance_ms(-7_200_000);
    assert_eq!(world.claim(SPLIT, 1, "b").await, [], "it is held still, but from now on");
    world.clock.advance_ms(LEASE_MS + 1);
    assert_eq!(world.claim(SPLIT, 1, "b").await[0].token, first + 1);
}

async fn a_lease_that_is_too_long_is_shortened_by_a_claim_that_may_not_take_over(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let first = world.claim(SPLIT, 1, "a").await[0].token;
    world.clock.advance_ms(-7_200_000);
    assert_eq!(world.tracking.claim(&claim("after an outage", false)).await.unwrap(), []);
    world.clock.advance_ms(LEASE_MS + 1);
    assert_eq!(world.tracking.claim(&claim("still after it", false)).await.unwrap(), [], "no other takes over");
    assert_eq!(world.claim(SPLIT, 1, "b").await[0].token, first + 1);
}

async fn a_heartbeat_keeps_the_lease(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    let token = world.claim(SPLIT, 1, "a").await[0].token;
    for _beat in 0..5 {
        world.clock.advance_ms(LEASE_MS - 1);
        assert_eq!(world.claim(SPLIT, 1, "b").await, []);
        world.apply(&key(1, 0), SPLIT, Call::Heartbeat(token)).await.unwrap();
    }
    let until = world.task(&key(1, 0)).await.lease_until.unwrap();
    assert_eq!(until.unix_ms(), START_MS + 5 * (LEASE_MS - 1) + LEASE_MS);
}

async fn the_same_claim_id_gets_the_same_answer(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.tracking.register(&file(1), &all(2)).await.unwrap();
    world.tracking.ingest_done(&file(1), Some(output(7, 3))).await.unwrap();
    let first = world.claim(SPLIT, 1, "a").await;
    assert_eq!(first[0].input, Some(output(7, 3)));
    world.clock.advance_ms(LEASE_MS - 1);
    let replayed = |task: &Claimed| Claimed { is_replay: true, ..task.clone() };
    let again: Vec<Claimed> = first.iter().map(replayed).collect();
    assert!(!first[0].is_replay);
    assert_eq!(world.claim(SPLIT, 1, "a").await, again, "the first answer was lost");
    world.clock.advance_ms(LEASE_MS - 1);
    assert_eq!(world.claim(SPLIT, 1, "b").await, [], "the lease runs from the second answer on");
    world.apply(&first[0].key, SPLIT, Call::Done(Some(first[0].token))).await.unwrap();
    assert_eq!(world.claim(SPLIT, 1, "a").await, again[1..], "only what is still held");
}

async fn the_splitter_gets_all_ready_shards_of_a_file(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(2, 3).await;
    world.ready(1, 3).await;
    world.ready(3, 3).await;
    let claimed = world.claim(SPLIT, 1, "a").await;
    assert_eq!(names(&claimed), [key(1, 0), key(1, 1), key(1, 2)], "one whole file, the oldest");
    let claimed = world.claim(SPLIT, 4, "b").await;
    assert_eq!(names(&claimed), [key(2, 0), key(2, 1), key(2, 2), key(3, 0), key(3, 1), key(3, 2)]);
    world.apply(&key(2, 1), SPLIT, Call::Release(claimed[1].token)).await.unwrap();
    assert_eq!(names(&world.claim(SPLIT, 9, "c").await), [key(2, 1)], "only what is ready");
}

async fn a_claim_may_be_for_one_shard_only(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 2).await;
    world.ready(2, 2).await;
    assert_eq!(names(&world.claim_of(SPLIT, 9, Some(1), "a").await), [key(1, 1), key(2, 1)]);
    assert_eq!(names(&world.claim_of(SPLIT, 9, None, "b").await), [key(1, 0), key(2, 0)]);
    assert_eq!(world.claim_of(SPLIT, 9, Some(5), "c").await, []);
}

async fn exhausted_attempts_fail_the_task(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    for attempt in 1..=ATTEMPTS {
        assert_eq!(world.claim(SPLIT, 1, &format!("crash {attempt}")).await[0].attempt, attempt);
        world.clock.advance_ms(LEASE_MS + 1);
    }
    assert_eq!(world.claim(SPLIT, 1, "one too many").await, []);
    let task = world.task(&key(1, 0)).await;
    assert_eq!((task.status(SPLIT), task.lease_until), (Status::Failed, None));
    let why = task.last_error.unwrap();
    assert!(why.contains("attempt 3") && why.contains("worker of crash 3"), "{why}");
    world.apply(&key(1, 0), SPLIT, Call::Retry).await.unwrap();
    for attempt in 1..=ATTEMPTS {
        let token = world.claim(SPLIT, 1, &format!("fail {attempt}")).await[0].token;
        let status = world.apply(&key(1, 0), SPLIT, Call::FailAttempt(token)).await.unwrap();
        assert_eq!(status, if attempt < ATTEMPTS { Status::New } else { Status::Failed });
    }
}

async fn a_failed_attempt_waits_before_the_next(backend: &dyn Backend) {
    let mut slow = policy();
    slow.moves.backoff_ms = 400;
    slow.backoff_max_ms = 500;
    let world = World::with(backend, slow).await;
    world.ready(1, 1).await;
    // The first wait is 400 ms, the second would be 800 and is cut to 500; half of each is jitter.
    for (attempt, full) in [(1, 400), (2, 500)] {
        let token = world.claim(SPLIT, 1, &format!("attempt {attempt}")).await[0].token;
        world.apply(&key(1, 0), SPLIT, Call::FailAttempt(token)).await.unwrap();
        let wait = world.task(&key(1, 0)).await.next_at.unwrap().unix_ms() - world.clock.now().unix_ms();
        assert!((full / 2..=full).contains(&wait), "{wait} of {full}");
        world.clock.advance_ms(wait - 1);
        assert_eq!(world.claim(SPLIT, 1, "too early").await, []);
        world.clock.advance_ms(1);
    }
    assert_eq!(world.claim(SPLIT, 1, "at last").await[0].attempt, 3);
    assert_eq!(world.task(&key(1, 0)).await.next_at, None);
}

async fn a_release_is_no_attempt(backend: &dyn Backend) {
    let world = World::open(backend).await;
    world.ready(1, 1).await;
    for round in 0..3 * ATTEMPTS {
        let claimed = world.claim(SPLIT, 1, &format!("round {round}")).await;
        assert_eq!(claimed[0].attempt, 1);
        let why = StageReport { reason: Some("stopping".to_owned()), ..StageReport::default() };
        let call = Call::Release(claimed[0].token);
        assert_eq!(world.tracking.apply(&key(1, 0), SPLIT, call, why).await.unwrap(), Status::New);
    }
    let task = world.task(&key(1, 0)).await;
    assert_eq!((task.attempts, task.next_at, task.last_error.as_deref()), (0, None, Some("stopping")));
}
