//! Minutes: each event in exactly one of them, once.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use shopctl::base::bus::Position;
use shopctl::hub::model::{Amount, Event};
use shopctl::hub::store::{CountReport, Delivery};
use uuid::Uuid;

use super::super::{arrival, at, event, event_type};
use super::Ground;

fn delivery(number: u128, event: &Event) -> Delivery {
    Delivery { id: Uuid::from_u128(number), position: Position { partition: 0, offset: number }, event: event.clone() }
}

/// Events over three minutes, of two types, with amounts that a float would round.
fn made(number: u128) -> Event {
    let amounts = ["0.0001", "900719925474.0993", "12.34"];
    Event {
        event_type: event_type(if number.is_multiple_of(2) { "purchase" } else { "return" }),
        amount: Amount::parse(amounts[usize::try_from(number % 3).unwrap()]).unwrap(),
        timestamp: at(i64::try_from(number * 997 % 180_000).unwrap()),
        ..event("a")
    }
}

pub(super) async fn an_event_is_counted_once_for_ever(ground: &dyn Ground) {
    let store = ground.open().await;
    store.accept(vec![arrival(1, event("a")), arrival(2, event("a"))], at(0)).await.unwrap();
    let (one, other) = (delivery(1, &event("a")), delivery(2, &event("a")));
    let mut moved = one.clone();
    moved.position.offset = 77;
    let report = store.count(&[one.clone(), one, moved.clone()]).await.unwrap();
    assert_eq!(report, CountReport { counted: 1, repeated: 2, unknown: 0 });
    let later = ground.open().await;
    let report = later.count(&[moved, other, delivery(3, &event("a"))]).await.unwrap();
    assert_eq!(report, CountReport { counted: 1, repeated: 1, unknown: 1 });
    let minutes = later.list_minutes(at(0), at(60_000), None).await.unwrap();
    assert_eq!(minutes.len(), 1);
    assert_eq!((minutes[0].minute.count, minutes[0].minute.sum.to_string().as_str()), (2, "3"));
    assert_eq!((minutes[0].first.offset, minutes[0].last.offset), (1, 2));
}

pub(super) async fn minutes_are_the_same_in_any_order(ground: &dyn Ground) {
    const EVENTS: u128 = 300;
    let store = ground.open().await;
    let all: Vec<_> = (1..=EVENTS).map(|number| arrival(number, made(number))).collect();
    store.accept(all, at(0)).await.unwrap();
    // Shuffled, and doubled.
    let mut deliveries: Vec<_> = (1..=EVENTS).chain(1..=EVENTS).map(|number| delivery(number, &made(number))).collect();
    deliveries.shuffle(&mut rand::rngs::StdRng::seed_from_u64(7));
    let mut counted = 0;
    for batch in deliveries.chunks(37) {
        counted += store.count(batch).await.unwrap().counted;
    }
    assert_eq!(u128::from(counted), EVENTS);
    let mut expected: BTreeMap<_, (u64, u128)> = BTreeMap::new();
    for number in 1..=EVENTS {
        let event = made(number);
        let begin = event.timestamp.unix_ms() / 60_000 * 60_000;
        let sum = expected.entry((begin, event.event_type)).or_default();
        sum.0 += 1;
        sum.1 += u128::try_from(event.amount.units()).unwrap();
    }
    let minutes = store.list_minutes(at(0), at(180_000), None).await.unwrap();
    let found: BTreeMap<_, _> = minutes
        .iter()
        .map(|kept| &kept.minute)
        .map(|minute| ((minute.begin.unix_ms(), minute.event_type.clone()), (minute.count, minute.sum.units())))
        .collect();
    assert_eq!(found, expected);
    let returns = store.list_minutes(at(60_000), at(120_000), Some(&event_type("return"))).await.unwrap();
    assert_eq!(returns.len(), 1);
    assert_eq!(returns[0].minute.begin, at(60_000));
}

pub(super) async fn two_that_count_the_same_at_once_count_it_once(ground: &dyn Ground) {
    let (one, other) = (ground.open().await, ground.open().await);
    one.accept((1..=50).map(|number| arrival(number, event("a"))).collect(), at(0)).await.unwrap();
    let deliveries: Vec<_> = (1..=50).map(|number| delivery(number, &event("a"))).collect();
    for batch in deliveries.chunks(10) {
        let (one, other) = tokio::join!(one.count(batch), other.count(batch));
        assert_eq!(one.unwrap().counted + other.unwrap().counted, 10);
    }
    let minutes = one.list_minutes(at(0), at(60_000), None).await.unwrap();
    assert_eq!(minutes[0].minute.count, 50);
}
