//! Groups: every partition has one member, and what is not acknowledged comes again.

use shopctl::base::bus::{Error, Start};

use super::{AT_ONCE, Ground, PATIENCE, ack, group, join, publish, read_exactly, round_robin, said, topic};

pub(super) async fn what_is_not_acknowledged_comes_again(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(2));
    publish(&*bus, &topic, &round_robin(4, 5)).await;
    let mut one = join(&*bus, &topic, "again").await;
    let first = read_exactly(&mut *one, 20).await;
    drop(one);
    ground.lapse().await;
    let mut other = join(&*bus, &topic, "again").await;
    let mut again = read_exactly(&mut *other, 20).await;
    let by_position = |message: &shopctl::base::bus::Delivered| message.position;
    again.sort_by_key(by_position);
    let mut expected = first;
    expected.sort_by_key(by_position);
    assert_eq!(again, expected);
}

pub(super) async fn an_acknowledgement_survives_a_restart(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(1));
    publish(&*bus, &topic, &round_robin(1, 10)).await;
    let mut member = join(&*bus, &topic, "kept").await;
    let messages = read_exactly(&mut *member, 10).await;
    ack(&mut *member, &messages[..4]).await.unwrap();
    drop((member, bus));
    ground.restart().await;
    ground.lapse().await;
    let bus = ground.open().await;
    let mut member = join(&*bus, &topic, "kept").await;
    let rest = read_exactly(&mut *member, 6).await;
    assert_eq!(rest.iter().map(|message| said(message).1).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
}

pub(super) async fn two_groups_get_everything_each(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(2));
    publish(&*bus, &topic, &round_robin(3, 10)).await;
    for name in ["one", "other"] {
        let mut member = join(&*bus, &topic, name).await;
        let messages = read_exactly(&mut *member, 30).await;
        ack(&mut *member, &messages).await.unwrap();
        assert!(member.next(1, AT_ONCE).await.unwrap().is_empty());
    }
}

pub(super) async fn the_lag_is_what_is_not_acknowledged(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(2));
    let behind = async || bus.lag(&topic, &group("behind")).await.unwrap().messages;
    publish(&*bus, &topic, &round_robin(5, 4)).await;
    assert_eq!(behind().await, 20, "a group that never came has everything before it");
    let mut member = join(&*bus, &topic, "behind").await;
    let messages = read_exactly(&mut *member, 20).await;
    assert_eq!(behind().await, 20, "what is read is not yet acknowledged");
    ack(&mut *member, &messages).await.unwrap();
    assert_eq!(behind().await, 0);
    publish(&*bus, &topic, &round_robin(1, 3)).await;
    assert_eq!(behind().await, 3);
}

pub(super) async fn a_member_that_lost_its_partition_is_told(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(1));
    publish(&*bus, &topic, &round_robin(1, 5)).await;
    let mut sleeper = join(&*bus, &topic, "told").await;
    let messages = read_exactly(&mut *sleeper, 5).await;
    ground.lapse().await;
    let mut other = join(&*bus, &topic, "told").await;
    assert_eq!(read_exactly(&mut *other, 5).await.len(), 5);
    let late = ack(&mut *sleeper, &messages).await;
    assert!(matches!(late, Err(Error::Lost)), "{late:?}");
    assert_eq!(bus.lag(&topic, &group("told")).await.unwrap().messages, 5, "the late acknowledgement counted");
    // The member that has the partition is not disturbed.
    ack(&mut *other, &messages).await.unwrap();
    assert_eq!(bus.lag(&topic, &group("told")).await.unwrap().messages, 0);
}

pub(super) async fn partitions_are_shared_evenly(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(4));
    let mut one = join(&*bus, &topic, "even").await;
    let mut other = join(&*bus, &topic, "even").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    // Until both have two partitions: every round a message for each of many keys, and who got which partition.
    loop {
        publish(&*bus, &topic, &round_robin(40, 1)).await;
        let mut seen = [std::collections::BTreeSet::new(), std::collections::BTreeSet::new()];
        for (member, seen) in [&mut one, &mut other].into_iter().zip(&mut seen) {
            loop {
                let messages = member.next(100, AT_ONCE).await.unwrap();
                if messages.is_empty() {
                    break;
                }
                seen.extend(messages.iter().map(|message| message.position.partition));
                ack(&mut **member, &messages).await.unwrap();
            }
        }
        if seen[0].len() == 2 && seen[1].len() == 2 && seen[0].is_disjoint(&seen[1]) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the shares are {seen:?}");
        ground.pass().await;
    }
}

pub(super) async fn a_new_group_begins_where_it_is_told(ground: &dyn Ground) {
    let (bus, topic) = (ground.open().await, topic(1));
    publish(&*bus, &topic, &round_robin(1, 3)).await;
    let mut member = bus.join(&topic, &group("late"), Start::End).await.unwrap();
    assert!(member.next(1, AT_ONCE).await.unwrap().is_empty());
    publish(&*bus, &topic, &round_robin(1, 2)).await;
    let messages = read_exactly(&mut *member, 2).await;
    ack(&mut *member, &messages[..1]).await.unwrap();
    member.leave().await.unwrap();
    // A group that is known goes on where it was.
    let mut again = bus.join(&topic, &group("late"), Start::End).await.unwrap();
    assert_eq!(read_exactly(&mut *again, 1).await[0], messages[1]);
}
