//! What the relay asks.

use std::collections::BTreeSet;
use std::time::Duration;

use shopctl::base::bus::Position;
use shopctl::hub::store::{Backlog, Published, SHARDS, ShardLease, shard_of};
use uuid::Uuid;

use super::super::{PATIENCE, arrival, at, event, user};
use super::Ground;

const LEASE: Duration = Duration::from_secs(10);

fn owner(number: u128) -> Uuid {
    Uuid::from_u128(1000 + number)
}

fn shards(leases: &[ShardLease]) -> BTreeSet<u32> {
    leases.iter().map(|lease| lease.shard).collect()
}

fn published(number: u128, lease: ShardLease) -> Published {
    Published { id: Uuid::from_u128(number), lease, position: Position { partition: 0, offset: number } }
}

pub(super) async fn new_events_come_in_the_order_in_which_they_were_taken(ground: &dyn Ground) {
    let store = ground.open().await;
    let numbers = [5, 3, 9, 1, 7];
    for number in numbers {
        store.accept(vec![arrival(number, event(&format!("user{number}")))], at(0)).await.unwrap();
    }
    let leases = store.lease_shards(owner(0), LEASE).await.unwrap();
    assert_eq!(leases.len(), usize::try_from(SHARDS).unwrap(), "the only relay has all shards");
    let listed =
        |events: Vec<shopctl::hub::store::Stored>| events.iter().map(|event| event.id.as_u128()).collect::<Vec<_>>();
    assert_eq!(listed(store.list_new(&leases, 100).await.unwrap()), [1, 3, 5, 7, 9]);
    assert_eq!(listed(store.list_new(&leases, 2).await.unwrap()), [1, 3]);
    assert_eq!(store.backlog(100).await.unwrap(), Backlog { events: 5, oldest: Some(at(1)) });
    assert_eq!(store.backlog(3).await.unwrap().events, 3, "counted up to the limit");
    let lease = |number: u128| {
        let shard = shard_of(&user(&format!("user{number}")));
        *leases.iter().find(|lease| lease.shard == shard).unwrap()
    };
    assert_eq!(store.mark_published(&[published(1, lease(1)), published(5, lease(5))]).await.unwrap(), 2);
    // One that came late, with an earlier time, is not passed.
    store.accept(vec![arrival(2, event("late"))], at(0)).await.unwrap();
    assert_eq!(listed(store.list_new(&leases, 100).await.unwrap()), [2, 3, 7, 9]);
    let of_one = store.list_new(&[lease(3)], 100).await.unwrap();
    assert!(of_one.iter().all(|event| shard_of(&event.event.user_id) == lease(3).shard), "of other shards");
    assert!(listed(of_one).contains(&3));
    assert_eq!(store.find_event(Uuid::from_u128(5)).await.unwrap().unwrap().position.unwrap().offset, 5);
}

pub(super) async fn shards_are_shared_and_taken_over(ground: &dyn Ground) {
    let store = ground.open().await;
    let all: BTreeSet<_> = (0..SHARDS).collect();
    assert_eq!(shards(&store.lease_shards(owner(0), LEASE).await.unwrap()), all);
    assert!(store.lease_shards(owner(1), LEASE).await.unwrap().is_empty(), "all are held");
    ground.clock().advance_ms(9_000);
    let kept = store.lease_shards(owner(0), LEASE).await.unwrap();
    ground.clock().advance_ms(2_000);
    assert!(store.lease_shards(owner(1), LEASE).await.unwrap().is_empty(), "the leases were renewed");
    ground.clock().advance_ms(9_000);
    // The first one says nothing any more.
    let taken = store.lease_shards(owner(1), LEASE).await.unwrap();
    assert_eq!(shards(&taken), all);
    assert!(taken.iter().zip(&kept).all(|(new, old)| new.token > old.token), "every lease has a token of its own");
    store.release_shards(owner(1)).await.unwrap();
    let back = store.lease_shards(owner(2), LEASE).await.unwrap();
    assert_eq!(shards(&back), all);
}

pub(super) async fn a_mark_under_an_old_lease_counts_nothing(ground: &dyn Ground) {
    let store = ground.open().await;
    store.accept(vec![arrival(1, event("a"))], at(0)).await.unwrap();
    let shard = shard_of(&user("a"));
    let held = |leases: Vec<ShardLease>| *leases.iter().find(|lease| lease.shard == shard).unwrap();
    let old = held(store.lease_shards(owner(0), LEASE).await.unwrap());
    ground.clock().advance_ms(10_001);
    let new = held(store.lease_shards(owner(1), LEASE).await.unwrap());
    assert_eq!(store.mark_published(&[published(1, old)]).await.unwrap(), 0);
    assert_eq!(store.find_event(Uuid::from_u128(1)).await.unwrap().unwrap().position, None);
    assert_eq!(store.mark_published(&[published(1, new)]).await.unwrap(), 1);
    assert_eq!(store.mark_published(&[published(1, new)]).await.unwrap(), 0, "it is there already");
}

pub(super) async fn what_is_published_again_is_new_again(ground: &dyn Ground) {
    let store = ground.open().await;
    store.accept((1..=3).map(|number| arrival(number, event("a"))).collect(), at(0)).await.unwrap();
    let leases = store.lease_shards(owner(0), LEASE).await.unwrap();
    let lease = *leases.iter().find(|lease| lease.shard == shard_of(&user("a"))).unwrap();
    let all = [1, 2, 3].map(|number| published(number, lease));
    assert_eq!(store.mark_published(&all).await.unwrap(), 3);
    assert_eq!(store.republish(at(2)).await.unwrap(), 2);
    let new: Vec<_> = store.list_new(&leases, 10).await.unwrap().iter().map(|event| event.id.as_u128()).collect();
    assert_eq!(new, [2, 3]);
}

pub(super) async fn who_waits_is_told_of_new_events(ground: &dyn Ground) {
    let (store, other) = (ground.open().await, ground.open().await);
    let leases = store.lease_shards(owner(0), LEASE).await.unwrap();
    let mut ear = store.ear();
    let waits = tokio::spawn(async move {
        loop {
            ear.reset();
            if !store.list_new(&leases, 1).await.unwrap().is_empty() {
                return;
            }
            ear.wait(PATIENCE * 2).await;
        }
    });
    other.accept(vec![arrival(1, event("a"))], at(0)).await.unwrap();
    tokio::time::timeout(PATIENCE, waits).await.expect("it was not woken").unwrap();
}
