//! What a worker remembers: keys, byte for byte, as durable as its transaction.

use shopctl::pipeline::event::{Money, Reason};
use shopctl::pipeline::rules::{OrderStatus, Remembered, TradeOrder};
use shopctl::pipeline::shard_db::{Bought, StockItem};
use shopctl::pipeline::work::state::{FinishedFile, open_worker_snapshot};

use super::*;

const PRINT: [u8; 16] = [1; 16];
const OTHER_PRINT: [u8; 16] = [2; 16];
const TODAY: i64 = 20_000;

fn remember(state: &mut dyn WorkerState, key: &[u8], number: u32, line: u64) -> Remembered {
    state.remember(key, &file(number), line, &PRINT, TODAY).unwrap()
}

#[test]
fn a_key_is_new_once() {
    let mut state = Sqlite::fresh_state();
    state.1.begin().unwrap();
    assert_eq!(remember(&mut *state.1, b"a", 1, 1), Remembered::New);
    assert_eq!(remember(&mut *state.1, b"a", 1, 1), Remembered::Here);
    assert_eq!(remember(&mut *state.1, b"a", 1, 2), Remembered::Elsewhere { file: file(1), line: 1 });
    assert_eq!(remember(&mut *state.1, b"a", 2, 1), Remembered::Elsewhere { file: file(1), line: 1 });
    let other = state.1.remember(b"a", &file(2), 1, &OTHER_PRINT, TODAY).unwrap();
    assert_eq!(other, Remembered::OtherContent { file: file(1), line: 1 });
    let here = state.1.remember(b"a", &file(1), 1, &OTHER_PRINT, TODAY).unwrap();
    assert_eq!(here, Remembered::Here, "our own line again is our own, whatever it says");
    state.1.commit().unwrap();
}

#[test]
fn a_rollback_forgets_and_a_commit_keeps() {
    let (sqlite, mut state) = Sqlite::fresh_state();
    state.roll_back().unwrap();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"kept", 1, 1), Remembered::New);
    state.commit().unwrap();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"dropped", 1, 2), Remembered::New);
    state.roll_back().unwrap();
    state.roll_back().unwrap();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"unfinished", 1, 3), Remembered::New);
    drop(state);
    let mut state = sqlite.worker();
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"kept", 1, 1), Remembered::Here);
    assert_eq!(remember(&mut *state, b"dropped", 1, 2), Remembered::New);
    assert_eq!(remember(&mut *state, b"unfinished", 1, 3), Remembered::New, "a crash forgets what was not committed");
    state.roll_back().unwrap();
}

#[test]
fn keys_compare_byte_for_byte() {
    let (_sqlite, mut state) = Sqlite::fresh_state();
    let keys: [&[u8]; 9] = [
        b"evt-a",
        b"EVT-A",
        b"evt-a ",
        b"",
        b"\0",
        b"\0\0",
        "evt-\u{e4}".as_bytes(),
        "evt-a\u{308}".as_bytes(),
        b"\xff",
    ];
    state.begin().unwrap();
    for (line, key) in (1..).zip(keys) {
        assert_eq!(remember(&mut *state, key, 1, line), Remembered::New, "{key:?}");
    }
    state.commit().unwrap();
    state.begin().unwrap();
    for (line, key) in (1..).zip(keys) {
        assert_eq!(remember(&mut *state, key, 1, line), Remembered::Here, "{key:?}");
    }
    state.commit().unwrap();
}

#[test]
fn old_keys_are_forgotten_by_day() {
    let (_sqlite, mut state) = Sqlite::fresh_state();
    state.begin().unwrap();
    for (key, day) in [(b"a", TODAY - 2), (b"b", TODAY - 1), (b"c", TODAY)] {
        state.remember(key, &file(1), 1, &PRINT, day).unwrap();
    }
    state.commit().unwrap();
    assert_eq!(state.forget_before(TODAY - 2).unwrap(), 0);
    assert_eq!(state.forget_before(TODAY).unwrap(), 2);
    assert_eq!(state.forget_before(TODAY).unwrap(), 0);
    state.begin().unwrap();
    assert_eq!(remember(&mut *state, b"b", 2, 1), Remembered::New);
    assert_eq!(remember(&mut *state, b"c", 2, 1), Remembered::Elsewhere { file: file(1), line: 1 });
    state.roll_back().unwrap();
}

/// What the worker commits while a snapshot is read is not seen, and it need not wait.
#[tokio::test]
async fn a_look_at_the_state_is_of_one_moment() {
    let (sqlite, mut state) = Sqlite::fresh_state();
    let order = |qty, standing| {
        let (user_id, price) = (Some(7), Money::from_minor(150));
        TradeOrder { user_id, shop_id: 2, good_id: 3, qty, price, returned: 1, standing }
    };
    let finish = |state: &mut dyn WorkerState, number: u32| {
        let finished =
            FinishedFile { input: Digest::new([1; 32]), counts: counts(1, 1, 0), output: output(1, 1), rejects: None };
        state.put_finished(&file(number), &finished, TODAY).unwrap();
    };
    state.begin().unwrap();
    for (order_id, standing) in
        [(4, OrderStatus::Accepted), (5, OrderStatus::Rejected), (6, OrderStatus::Refused(Reason::InsufficientFunds))]
    {
        state.put_order(order_id, &order(2, standing)).unwrap();
    }
    state.put_stock(2, 3, 8).unwrap();
    state.put_price(2, 3, Money::from_minor(200)).unwrap();
    state.put_price(2, 5, Money::from_minor(9)).unwrap();
    state.put_shop(2, false).unwrap();
    state.put_stock(-1, 3, 0).unwrap();
    finish(&mut *state, 1);
    finish(&mut *state, 2);
    state.commit().unwrap();

    let look = open_worker_snapshot(&sqlite.0.path().join("worker.sqlite")).await.unwrap();
    state.begin().unwrap();
    state.put_order(3, &order(9, OrderStatus::Accepted)).unwrap();
    state.put_stock(2, 3, 0).unwrap();
    finish(&mut *state, 3);
    state.commit().unwrap();

    let outcomes = look.list_outcomes(None, 10).await.unwrap();
    assert!(outcomes.is_sorted_by_key(|outcome| outcome.order_id), "{outcomes:?}");
    assert_eq!(outcomes[1..], look.list_outcomes(Some(outcomes[0].order_id), 10).await.unwrap());
    let orders = look.list_orders(None, 10).await.unwrap();
    let accepted = outcomes.iter().filter(|outcome| outcome.is_accepted).map(|outcome| outcome.order_id);
    assert!(accepted.eq(orders.iter().map(|order| order.order_id)) && outcomes.len() > orders.len(), "{outcomes:?}");
    let bought = Bought { user_id: Some(7), shop_id: 2, good_id: 3, qty: 2, price: Money::from_minor(150) };
    assert_eq!(orders.len(), 1, "what was rejected is no order: {orders:?}");
    assert_eq!((orders[0].order_id, orders[0].bought, orders[0].returned), (4, Some(bought), 1));
    let item = |shop_id, good_id, count, price: Option<i64>, is_open| StockItem {
        shop_id,
        good_id,
        count,
        price: price.map(Money::from_minor),
        is_open,
    };
    let expected = [
        item(-1, 3, Some(0), None, true),
        item(2, 0, None, None, false),
        item(2, 3, Some(8), Some(200), false),
        item(2, 5, None, Some(9), false),
    ];
    assert_eq!(look.list_stock(None, 10).await.unwrap(), expected);
    assert_eq!(look.list_stock(Some((2, 0)), 1).await.unwrap(), expected[2..3]);
    assert_eq!(look.list_finished(None, 10).await.unwrap(), [file(1), file(2)]);
    assert_eq!(look.list_finished(Some(file(1)), 10).await.unwrap(), [file(2)]);
    let later = open_worker_snapshot(&sqlite.0.path().join("worker.sqlite")).await.unwrap();
    assert_eq!(later.list_orders(None, 10).await.unwrap().len(), 2);
}

impl Sqlite {
    fn fresh_state() -> (Self, Box<dyn WorkerState>) {
        let sqlite = Self::fresh();
        let state = sqlite.worker();
        (sqlite, state)
    }
}
