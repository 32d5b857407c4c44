//! Many askers at once: every task goes to exactly one of them.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::*;

on_every_backend! {
    sixteen_askers_get_each_task_once
}

/// Files, each with two shards: 300 tasks.
const FILES: u32 = 150;
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
