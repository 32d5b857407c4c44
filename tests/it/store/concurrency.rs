//! Many askers at once: every task goes to exactly one of them.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::*;

on_every_backend! {
    sixteen_askers_get_each_task_once
    sixteen_askers_for_the_same_row_get_it_once
}

/// Files, each with two shards: 300 tasks.
const FILES: u32 = 150;
/// Files of the race for one row at a time.
const FILES_IN_ORDER: u32 = 12;
const ASKERS: u32 = 16;

async fn sixteen_askers_get_each_task_once(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in 0..FILES {
        world.ready(number, 2).await;
    }
    let mut askers = JoinSet::new();
    for asker in 0..ASKERS {
        let tracking = Arc::clone(&world.tracking);
        askers.spawn(take_until_empty(tracking, asker));
    }
    let claimed: Vec<Claimed> = askers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 300);
    let keys: BTreeSet<TaskKey> = names(&claimed).into_iter().collect();
    assert_eq!(keys.len(), 300, "no task went to two askers");
    // The second pass: all leases run out, everything is claimed again, and no task's token comes twice.
    world.clock.advance_ms(LEASE_MS + 1);
    let again = take_until_empty(Arc::clone(&world.tracking), ASKERS).await;
    let tokens: BTreeSet<(TaskKey, u64)> =
        claimed.into_iter().chain(again).map(|task| (task.key, task.token)).collect();
    assert_eq!(tokens.len(), 600);
}

/// The sender's way: per shard there is one task to have, and all workers ask for it at the same moment. It is had once,
/// and once more when its lease is over.
async fn sixteen_askers_for_the_same_row_get_it_once(backend: &dyn Backend) {
    let world = World::open(backend).await;
    for number in 0..FILES_IN_ORDER {
        world.ready(number, 2).await;
        for of_shard in 0..2 {
            world.finish(&key(number, of_shard), &[SPLIT, WORK]).await;
        }
    }
    let mut tokens = BTreeSet::new();
    for number in 0..FILES_IN_ORDER {
        let first = race_for_a_file(&world, number, "first").await;
        world.clock.advance_ms(LEASE_MS + 1);
        let again = race_for_a_file(&world, number, "again").await;
        for task in &first {
            let late = world.apply(&task.key, SEND, Call::Done(Some(task.token))).await;
            assert_eq!(code(late), "stale_lease", "another worker has it by now");
        }
        for task in &again {
            assert_eq!(world.apply(&task.key, SEND, Call::Done(Some(task.token))).await.unwrap(), Status::Done);
        }
        let won = first.into_iter().chain(again).map(|task| (task.key, task.token));
        assert_eq!(won.filter(|won| tokens.insert(won.clone())).count(), 4, "no token of a task comes twice");
    }
}

/// All ask at once, until the two tasks that there are have been had.
async fn race_for_a_file(world: &World, number: u32, pass: &str) -> Vec<Claimed> {
    let mut won = Vec::new();
    let mut rounds = 0..10;
    while won.len() < 2
        && let Some(round) = rounds.next()
    {
        let start = Arc::new(tokio::sync::Barrier::new(ASKERS as usize));
        let mut askers = JoinSet::new();
        for asker in 0..ASKERS {
            let (tracking, start) = (Arc::clone(&world.tracking), Arc::clone(&start));
            let claim_id = format!("{pass}-{number}-{round}-{asker}");
            let claim = Claim {
                stage: SEND,
                worker: format!("asker {asker}"),
                limit: 1 + asker % 3,
                shard: None,
                claim_id,
                takes_over: true,
            };
            askers.spawn(async move {
                start.wait().await;
                tracking.claim(&claim).await.unwrap()
            });
        }
        won.extend(askers.join_all().await.into_iter().flatten());
    }
    won.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(names(&won), [key(number, 0), key(number, 1)], "each went to one asker");
    won
}

async fn take_until_empty(tracking: Arc<dyn Tracking>, asker: u32) -> Vec<Claimed> {
    let mut all = Vec::new();
    loop {
        let claim = Claim {
            stage: SPLIT,
            worker: format!("asker {asker}"),
            limit: 1 + asker % 3,
            shard: None,
            claim_id: format!("{asker}-{}", all.len()),
            takes_over: true,
        };
        let claimed = tracking.claim(&claim).await.unwrap();
        if claimed.is_empty() {
            return all;
        }
        all.extend(claimed);
        tokio::task::yield_now().await;
    }
}
