//! Returns that come before their purchase.

use super::*;

#[test]
fn a_return_waits_for_its_purchase_across_files() {
    let floor = Floor::new(1_000);
    let first = floor.work(1, 0, &[give_back(1, 1, 5)]);
    assert_eq!((first.counts.held, first.counts.written), (1, 0));
    let second = floor.work(2, 0, &[buy(1, Some(7), 2, 2, 9)]);
    assert_eq!(second.counts, Counts { read: 1, written: 2, released: 1, ..Counts::default() });
    assert_eq!(second.places(), [("20250101000002", 1), ("20250101000001", 1)], "after the file's own events");
    assert_eq!(second.prepared[1]["effect"]["refund"], "1.00");
    assert_eq!((floor.world.balance(7), floor.world.waiting()), (900, 0));
    assert_eq!(floor.world.confirmed(), 2);
}

#[test]
fn a_return_waits_for_its_purchase_within_a_file() {
    let floor = Floor::new(1_000);
    let left = floor.work(1, 0, &[give_back(1, 1, 1), give_back(1, 2, 3), buy(1, Some(7), 2, 2, 9)]);
    assert_eq!((left.counts.held, left.counts.released, left.counts.written), (0, 0, 2));
    assert_eq!(left.reasons(), [(2, "return_exceeds_purchase")], "in the order of their moments");
}

#[test]
fn a_return_finds_the_shard_of_its_order() {
    let floor = Floor::new(1_000);
    // Order 4 is bought in shop 3 (shard 1); its returns name no shop and go to shard 4 mod 2 = 0.
    let early = floor.work(1, 0, &[give_back(4, 1, 1)]);
    assert_eq!(early.counts.held, 1);
    let sold = floor.work(1, 1, &[buy(4, Some(7), 3, 3, 2)]);
    assert_eq!((sold.counts.released, sold.counts.written), (1, 2));
    let late = floor.work(2, 0, &[give_back(4, 1, 3)]);
    assert_eq!(late.counts.held, 1, "known elsewhere: handed over");
    let flush = floor.work(2, 1, &[]);
    assert_eq!(flush.counts, Counts { written: 1, released: 1, ..Counts::default() }, "an empty file takes it along");
    assert_eq!(floor.world.balance(7), 900);
}

#[test]
fn a_return_whose_purchase_never_comes_is_an_orphan_once_its_time_is_up() {
    let floor = Floor::new(1_000);
    assert_eq!(floor.work(1, 0, &[give_back(1, 1, 1)]).counts.held, 1);
    floor.world.pass(299_999);
    assert_eq!(floor.work(2, 0, &[]).counts, Counts::default());
    floor.world.pass(1);
    assert_eq!(floor.work(3, 1, &[]).counts, Counts::default(), "it is not this shard's");
    let left = floor.work(3, 0, &[]);
    assert_eq!(left.counts, Counts { rejected: 1, released: 1, ..Counts::default() });
    assert_eq!(left.rejects, [("20250101000001".to_owned(), 1, "orphan_return".to_owned())]);
    let late = floor.work(4, 0, &[buy(1, Some(7), 2, 1, 9), give_back(1, 1, 10)]);
    assert_eq!(late.counts.written, 2, "sent again it is a return like any other");
}

#[test]
fn a_return_whose_time_is_up_at_once_is_settled_by_the_task_that_handed_it_in() {
    let floor = Floor::new(1_000);
    floor.world.let_nothing_wait();
    let left = floor.work(1, 0, &[give_back(1, 1, 1)]);
    assert_eq!(left.counts, Counts { read: 1, rejected: 1, held: 1, released: 1, ..Counts::default() });
    assert_eq!(left.reasons(), [(1, "orphan_return")]);
    assert_eq!(floor.world.waiting(), 0, "it does not wait for a file that may never come");
}

#[test]
fn a_rejected_purchase_releases_its_returns_too() {
    let floor = Floor::new(0);
    floor.work(1, 0, &[give_back(1, 1, 1)]);
    let left = floor.work(2, 0, &[buy(1, Some(7), 2, 1, 9)]);
    assert_eq!(left.reasons(), [(1, "insufficient_funds"), (1, "purchase_rejected")]);
    assert_eq!(left.counts.released, 1);
}

#[test]
fn an_order_that_one_file_decides_twice_releases_its_returns_once() {
    let floor = Floor::new(1_000);
    floor.work(1, 0, &[give_back(1, 1, 1)]);
    let no_price = r#""order_id":1,"shop_id":2,"good_id":3,"qty":1,"idempotency_key":"too early""#;
    let left = floor.work(2, 0, &[event(1, 8, no_price), buy(1, Some(7), 2, 1, 9)]);
    assert_eq!(left.reasons(), [(1, "unknown_price")]);
    assert_eq!((left.counts.written, left.counts.released), (2, 1));
    assert_eq!(floor.world.balance(7), 1_000, "bought and given back, once each");
}

#[test]
fn two_copies_of_an_early_return_are_one_return() {
    let floor = Floor::new(1_000);
    let back = give_back(1, 1, 5);
    assert_eq!(floor.work(1, 0, &[back.clone(), back.clone()]).counts.held, 2);
    let left = floor.work(2, 0, &[buy(1, Some(7), 2, 2, 9)]);
    assert_eq!(left.counts, Counts { read: 1, written: 2, duplicate: 1, released: 2, ..Counts::default() });
    assert_eq!(floor.world.balance(7), 900);
}

#[test]
fn an_order_that_the_lost_state_knew_is_named() {
    let floor = Floor::new(1_000);
    floor.work(1, 0, &[buy(1, Some(7), 2, 2, 1)]);
    std::fs::remove_dir_all(floor.folder().worker_state(shard_id(0)).parent().unwrap()).unwrap();
    let left = floor.work(2, 0, &[give_back(1, 1, 5)]);
    assert_eq!(left.reasons(), [(1, "orphan_return")], "it does not wait for ever");
}
