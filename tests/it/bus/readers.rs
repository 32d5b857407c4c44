//! Readers outside of any group.

use shopctl::base::bus::{Cursor, Error, Position, Start, Topic};

use super::{AT_ONCE, Ground, PATIENCE, publish, read_exactly, round_robin, topic};

pub(super) async fn a_reader_goes_on_after_its_position(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(3));
    let published = publish(&*bus, &topic, &round_robin(9, 10)).await;
    let mut reader = bus.read(&topic, Start::First).await.unwrap();
    let mut messages = read_exactly(&mut *reader, 37).await;
    let cursor: Cursor = messages.iter().map(|message| message.position).collect();
    // The text is what subscribers keep.
    let cursor = cursor.to_string().parse().unwrap();
    let mut resumed = bus.read(&topic, Start::After(cursor)).await.unwrap();
    messages.extend(read_exactly(&mut *resumed, 53).await);
    let mut positions: Vec<_> = messages.iter().map(|message| message.position).collect();
    positions.sort();
    let mut expected = published;
    expected.sort();
    assert_eq!(positions, expected, "each message once");
    let mut end = bus.read(&topic, Start::End).await.unwrap();
    assert!(end.next(1, AT_ONCE).await.unwrap().is_empty());
}

pub(super) async fn a_reader_that_waits_is_woken(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(1));
    let other = ground.open().await;
    let mut reader = bus.read(&topic, Start::End).await.unwrap();
    let waits = tokio::spawn(async move { reader.next(1, PATIENCE).await.unwrap() });
    publish(&*other, &topic, &round_robin(1, 1)).await;
    assert_eq!(waits.await.unwrap().len(), 1);
}

pub(super) async fn another_number_of_partitions_is_refused(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(3));
    bus.create(&topic).await.unwrap();
    bus.create(&topic).await.unwrap();
    let wider = Topic::new(topic.name(), 4).unwrap();
    let refused = ground.open().await.create(&wider).await;
    assert!(matches!(refused, Err(Error::Partitions { found: 3, wanted: 4 })), "{refused:?}");
}

pub(super) async fn a_position_that_the_bus_does_not_have_is_refused(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(1));
    publish(&*bus, &topic, &round_robin(1, 3)).await;
    let beyond = Position { partition: 0, offset: u128::MAX / 2 };
    let refused = bus.read(&topic, Start::After(beyond.into())).await.err();
    let Some(Error::OutOfRange { oldest }) = refused else { panic!("{refused:?}") };
    let mut reader = bus.read(&topic, Start::After(oldest)).await.unwrap();
    assert_eq!(reader.next(10, AT_ONCE).await.unwrap().len(), 3);
}
