//! One file: the order of its lines, its money, and the content of the files that it leaves.

use super::*;

#[test]
fn events_are_decided_in_the_order_of_their_moments() {
    let floor = Floor::new(10_000);
    let left = floor.work(1, 0, &[buy(1, Some(7), 2, 1, 30), opened(2, false, 20), restock(2, 5, 10)]);
    assert_eq!(left.reasons(), [(1, "shop_closed")]);
    assert_eq!(left.places(), [("20250101000001", 3), ("20250101000001", 2)]);
    let next = floor.work(2, 0, &[opened(2, true, 40), buy(1, Some(7), 2, 1, 50)]);
    assert_eq!(next.reasons(), []);
    assert_eq!(next.prepared[1]["effect"], serde_json::json!({ "price": "1.00", "stock": -1 }));
    assert_eq!(floor.world.balance(7), 9_900);
}

#[test]
fn money_is_spent_in_order_and_given_back_from_the_next_file_on() {
    let floor = Floor::new(300);
    let lines = [
        restock(2, 2, 0),
        buy(1, Some(7), 2, 2, 1),
        // Two pieces are gone: paid, refused, paid back, but only after this file.
        buy(2, Some(7), 2, 1, 2),
        buy(3, Some(7), 4, 1, 3),
        give_back(1, 2, 4),
        buy(4, Some(7), 4, 1, 5),
    ];
    let left = floor.work(1, 0, &lines);
    assert_eq!(left.reasons(), [(3, "insufficient_stock"), (4, "insufficient_funds"), (6, "insufficient_funds")]);
    assert_eq!(floor.world.balance(7), 300);
    let next = floor.work(2, 0, &[buy(5, Some(7), 4, 3, 9), buy(2, Some(7), 2, 1, 10), buy(3, Some(7), 4, 1, 11)]);
    assert_eq!(next.reasons(), [(2, "insufficient_stock"), (3, "insufficient_funds")], "refused for good");
    assert_eq!(floor.world.balance(7), 0);
}

#[test]
fn a_key_of_money_that_another_caller_used_costs_its_line_only() {
    let floor = Floor::new(1_000);
    floor.world.spoil("purchase:2:2");
    let left = floor.work(1, 0, &[buy(1, Some(7), 2, 1, 1), buy(2, Some(7), 2, 1, 2), buy(3, Some(7), 2, 1, 3)]);
    assert_eq!((left.reasons(), left.counts.written), (vec![(2, "order_conflict")], 2));
    assert_eq!(floor.world.balance(7), 800);
}

#[test]
fn the_same_order_number_in_two_shards_is_paid_twice() {
    let floor = Floor::new(1_000);
    floor.work(1, 0, &[buy(1, Some(7), 2, 1, 1)]);
    floor.work(1, 1, &[buy(1, Some(7), 3, 1, 1)]);
    assert_eq!(floor.world.balance(7), 800, "each shard sold one");
}

#[test]
fn what_is_not_counted_cannot_be_sold_if_the_settings_say_so() {
    let mut floor = Floor::new(1_000);
    floor.policy.untracked_is_none = true;
    let left = floor.work(1, 0, &[buy(1, Some(7), 2, 1, 1), restock(2, 1, 2), buy(2, Some(7), 2, 1, 3)]);
    assert_eq!((left.reasons(), left.counts.written), (vec![(1, "insufficient_stock")], 2));
    assert_eq!(floor.world.balance(7), 900);
}

#[test]
fn bad_lines_and_copies_are_counted_where_they_stand() {
    let floor = Floor::new(1_000);
    let sale = buy(1, Some(7), 2, 1, 1);
    let left = floor.work(1, 0, &[sale.clone(), "no json".to_owned(), sale.clone(), "x".repeat(200_000)]);
    let expected = Counts { read: 4, written: 1, duplicate: 1, rejected: 2, ..Counts::default() };
    assert_eq!(left.counts, expected);
    assert_eq!(floor.work(2, 0, &[sale]).counts.duplicate, 1);
}
