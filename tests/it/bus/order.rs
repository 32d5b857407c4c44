//! Order: messages of a key arrive in the order in which they were published, whatever happens to members.

use std::collections::{BTreeMap, HashSet};

use shopctl::base::bus::{Delivered, Member, Refused, VALUE_BYTES_MAX};

use super::{AT_ONCE, Ground, PATIENCE, ack, join, message, publish, read_exactly, round_robin, said, topic};

/// The numbers of each key in the order in which they came first.
fn first_arrivals(messages: &[Delivered]) -> BTreeMap<usize, Vec<usize>> {
    let mut seen = HashSet::new();
    let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for delivered in messages.iter().filter(|delivered| seen.insert(delivered.message.id)) {
        let (key, number) = said(delivered);
        keys.entry(key).or_default().push(number);
    }
    keys
}

fn assert_in_order(messages: &[Delivered], keys: usize, each: usize) {
    let arrived = first_arrivals(messages);
    assert_eq!(arrived.len(), keys);
    for (key, numbers) in arrived {
        assert_eq!(numbers, (0..each).collect::<Vec<_>>(), "key {key}");
    }
}

pub(super) async fn a_thousand_keys_keep_their_order(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(3));
    publish(&*bus, &topic, &round_robin(1000, 4)).await;
    let mut member = join(&*bus, &topic, "all").await;
    let messages = read_exactly(&mut *member, 4000).await;
    assert_in_order(&messages, 1000, 4);
    let partitions: HashSet<_> = messages.iter().map(|message| message.position.partition).collect();
    assert_eq!(partitions.len(), 3, "the keys are spread over the partitions");
    let headers = &messages[0].message.headers;
    assert_eq!(headers[1], ("ümlaut".to_owned(), "ä\n".to_owned()));
    member.leave().await.unwrap();
}

pub(super) async fn the_order_of_a_key_survives_the_death_of_members(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(3));
    publish(&*bus, &topic, &round_robin(20, 30)).await;
    let mut arrived = Vec::new();
    let mut acked = 0;
    for round in 0..6 {
        let other = ground.open().await;
        let mut member = join(&*other, &topic, "mortal").await;
        let messages = read_exactly(&mut *member, 60).await;
        // It acknowledges a part, and dies with the rest in its hands.
        ack(&mut *member, &messages[..30 + round]).await.unwrap();
        acked += 30 + round;
        arrived.extend(messages);
        drop(member);
        ground.lapse().await;
    }
    let mut last = join(&*bus, &topic, "mortal").await;
    arrived.extend(read_exactly(&mut *last, 600 - acked).await);
    assert_in_order(&arrived, 20, 30);
    assert!(last.next(1, AT_ONCE).await.unwrap().is_empty(), "what was acknowledged came again");
}

pub(super) async fn joins_and_leaves_lose_nothing(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(4));
    publish(&*bus, &topic, &round_robin(16, 25)).await;
    let mut arrived = Vec::new();
    let mut members: Vec<Box<dyn Member>> = Vec::new();
    let mut round = 0_usize;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while first_arrivals(&arrived).values().map(Vec::len).sum::<usize>() < 400 {
        assert!(tokio::time::Instant::now() < deadline, "{} messages came", arrived.len());
        round += 1;
        if members.len() < 5 {
            members.push(join(&*bus, &topic, "storm").await);
        }
        for member in &mut members {
            let messages = member.next(7, AT_ONCE).await.unwrap();
            // A partition that went to another one is no failure: its messages come again there.
            let _lost = ack(&mut **member, &messages).await;
            arrived.extend(messages);
        }
        if round.is_multiple_of(3) {
            members.swap_remove(round % members.len()).leave().await.unwrap();
        }
        if round.is_multiple_of(7) {
            drop(members.swap_remove(round % members.len()));
            ground.lapse().await;
        }
    }
    assert_in_order(&arrived, 16, 25);
}

pub(super) async fn a_large_message_passes_and_one_too_large_is_refused_alone(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(1));
    let sized = |bytes: usize| shopctl::base::bus::Message { value: vec![7; bytes], ..message(1, 1) };
    let batch = [sized(1), sized(VALUE_BYTES_MAX + 1), sized(VALUE_BYTES_MAX)];
    let results = bus.publish(&topic, &batch).await.unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert_eq!(results[1], Err(Refused::TooLarge { bytes: VALUE_BYTES_MAX + 1, max: VALUE_BYTES_MAX }));
    let mut member = join(&*bus, &topic, "large").await;
    let messages = read_exactly(&mut *member, 2).await;
    assert_eq!(messages[1].message.value.len(), VALUE_BYTES_MAX);
}
