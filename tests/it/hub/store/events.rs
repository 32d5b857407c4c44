//! Taking events, and showing them.

use shopctl::base::bus::Position;
use shopctl::hub::model::{Amount, Event};
use shopctl::hub::store::{Order, Outcome, Place, Published, Query, ShardLease, Stored, shard_of};
use uuid::Uuid;

use super::super::{arrival, at, event, event_type, user, with_key};
use super::Ground;

pub(super) async fn an_event_comes_back_as_it_was(ground: &dyn Ground) {
    let store = ground.open().await;
    let whole = Event {
        user_id: user("ü 'quoted\""),
        event_type: event_type("refund"),
        amount: Amount::parse("1000000000000").unwrap(),
        timestamp: at(-1),
        attributes: Some(r#"{"a":[1.10,"\u0000"]}"#.into()),
        idempotency_key: None,
    };
    let outcomes = store.accept(vec![arrival(7, with_key("k", whole.clone()))], at(0)).await.unwrap();
    assert_eq!(outcomes, [Outcome::Stored]);
    let kept = ground.open().await.find_event(Uuid::from_u128(7)).await.unwrap();
    assert_eq!(kept, Some(Stored { id: Uuid::from_u128(7), received_at: at(7), event: whole, position: None }));
    assert_eq!(store.find_event(Uuid::from_u128(8)).await.unwrap(), None);
}

pub(super) async fn a_key_that_comes_again_is_a_duplicate_or_reused(ground: &dyn Ground) {
    let store = ground.open().await;
    let other = Event { amount: Amount::parse("2").unwrap(), ..event("a") };
    let batch = vec![
        arrival(1, with_key("k", event("a"))),
        arrival(2, with_key("k", event("a"))),
        arrival(3, with_key("k", other)),
        arrival(4, event("a")),
        arrival(5, event("a")),
    ];
    let first = Uuid::from_u128(1);
    let expected = [Outcome::Stored, Outcome::Duplicate(first), Outcome::Reused, Outcome::Stored, Outcome::Stored];
    assert_eq!(store.accept(batch, at(0)).await.unwrap(), expected);
    let again = store.accept(vec![arrival(6, with_key("k", event("a")))], at(0)).await.unwrap();
    assert_eq!(again, [Outcome::Duplicate(first)]);
    let kept = store.list_events(&Query { limit: 100, ..Query::default() }).await.unwrap();
    assert_eq!(kept.len(), 3, "a duplicate is no second event");
}

pub(super) async fn keys_of_other_callers_are_other_keys(ground: &dyn Ground) {
    let store = ground.open().await;
    let mine = arrival(1, with_key("k", event("a")));
    let mut theirs = arrival(2, with_key("k", event("b")));
    theirs.scope = "another".into();
    assert_eq!(store.accept(vec![mine, theirs], at(0)).await.unwrap(), [Outcome::Stored, Outcome::Stored]);
}

pub(super) async fn a_key_is_forgotten_in_time(ground: &dyn Ground) {
    let store = ground.open().await;
    let keep = |number: u128, name: &str| vec![arrival(number, with_key("k", event(name)))];
    store.accept(keep(5, "a"), at(0)).await.unwrap();
    // Taken at 5: remembered as long as keys since 5 are.
    assert_eq!(store.accept(keep(6, "b"), at(5)).await.unwrap(), [Outcome::Reused]);
    assert_eq!(store.accept(keep(7, "b"), at(6)).await.unwrap(), [Outcome::Stored]);
    assert_eq!(store.accept(keep(8, "b"), at(6)).await.unwrap(), [Outcome::Duplicate(Uuid::from_u128(7))]);
}

pub(super) async fn two_that_use_a_key_at_once_keep_one_event(ground: &dyn Ground) {
    let stores = [ground.open().await, ground.open().await];
    for round in 0..20_u128 {
        let key = format!("k{round}");
        let take = |index: u128| {
            let arrival = arrival(round * 2 + index + 1, with_key(&key, event("a")));
            let store = &stores[usize::try_from(index).unwrap()];
            async move { store.accept(vec![arrival], at(0)).await.unwrap()[0] }
        };
        let (one, other) = tokio::join!(take(0), take(1));
        let kept = [one, other].iter().filter(|outcome| **outcome == Outcome::Stored).count();
        assert_eq!(kept, 1, "{one:?} {other:?}");
    }
}

pub(super) async fn pages_are_complete_in_both_directions(ground: &dyn Ground) {
    let store = ground.open().await;
    // Times repeat, so that ids decide; users and types are mixed.
    let made = |number: u128| Event {
        user_id: user(if number.is_multiple_of(3) { "a" } else { "b" }),
        event_type: event_type(if number.is_multiple_of(2) { "purchase" } else { "return" }),
        timestamp: at(i64::try_from(number * 7 % 10).unwrap()),
        ..event("a")
    };
    store.accept((1..=60).map(|number| arrival(number, made(number))).collect(), at(0)).await.unwrap();
    let filters = [
        Query::default(),
        Query { user_id: Some(user("a")), ..Query::default() },
        Query { event_type: Some(event_type("return")), ..Query::default() },
        Query { user_id: Some(user("b")), event_type: Some(event_type("purchase")), ..Query::default() },
        Query { from: Some(at(3)), to: Some(at(7)), ..Query::default() },
        Query { user_id: Some(user("a")), from: Some(at(3)), ..Query::default() },
    ];
    for filter in filters {
        for order in [Order::Newest, Order::Oldest] {
            let wanted = |event: &Event| {
                filter.user_id.as_ref().is_none_or(|user| *user == event.user_id)
                    && filter.event_type.as_ref().is_none_or(|kind| *kind == event.event_type)
                    && filter.from.is_none_or(|from| event.timestamp >= from)
                    && filter.to.is_none_or(|to| event.timestamp < to)
            };
            let mut expected: Vec<_> = (1..=60)
                .filter(|number| wanted(&made(*number)))
                .map(|number| (made(number).timestamp, Uuid::from_u128(number)))
                .collect();
            expected.sort();
            if order == Order::Newest {
                expected.reverse();
            }
            let mut query = Query { order, limit: 7, ..filter.clone() };
            let mut found = Vec::new();
            loop {
                let page = store.list_events(&query).await.unwrap();
                found.extend(page.iter().map(|event| (event.event.timestamp, event.id)));
                let Some(last) = page.last().filter(|_| page.len() == 7) else { break };
                query.after = Some(Place { timestamp: last.event.timestamp, id: last.id });
            }
            assert_eq!(found, expected, "{query:?}");
        }
    }
}

pub(super) async fn old_events_that_nothing_waits_for_are_deleted(ground: &dyn Ground) {
    let store = ground.open().await;
    store.accept((1..=4).map(|number| arrival(number, event("a"))).collect(), at(0)).await.unwrap();
    let owner = Uuid::from_u128(99);
    let leases = store.lease_shards(owner, super::super::PATIENCE).await.unwrap();
    let lease: ShardLease = *leases.iter().find(|lease| lease.shard == shard_of(&user("a"))).unwrap();
    let position = |number: u128| Position { partition: 0, offset: number };
    // 1 and 2 are on the bus, 2 and 3 are counted.
    let published = [1, 2].map(|number| Published { id: Uuid::from_u128(number), lease, position: position(number) });
    assert_eq!(store.mark_published(&published).await.unwrap(), 2);
    let delivery = |number: u128| shopctl::hub::store::Delivery {
        id: Uuid::from_u128(number),
        position: position(number),
        event: event("a"),
    };
    assert_eq!(store.count(&[delivery(2), delivery(3)]).await.unwrap().counted, 2);
    assert_eq!(store.expire_events(at(2), 10).await.unwrap(), 0, "it is not old enough");
    assert_eq!(store.expire_events(at(100), 10).await.unwrap(), 1);
    let left = store.list_events(&Query { limit: 10, order: Order::Oldest, ..Query::default() }).await.unwrap();
    let left: Vec<_> = left.iter().map(|event| event.id.as_u128()).collect();
    assert_eq!(left, [1, 3, 4], "events that wait for the bus or for their minute stay");
}
