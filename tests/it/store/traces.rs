//! What a person asks a shard's database about lines, an order or a file.

use shopctl::pipeline::event::Money;
use shopctl::pipeline::shard_db::trace::{BookedPurchase, BookedReturn, Question, TraceAnswer};
use shopctl::pipeline::shard_db::{Delivery, Entry, EventRow};

use super::*;

on_every_backend! {
    lines_are_found_by_their_place_however_many_are_asked_for
    an_order_is_found_in_the_books_and_its_row_by_its_moment
    a_file_is_found_by_its_marker
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn row(number: u32, line: u64, ms: i64, entry: Option<Entry>) -> EventRow {
    let (event_type, shop_id, user_id) = (1, Some(3), Some(7));
    EventRow { event_type, shop_id, user_id, timestamp: at(ms), source_file: file(number), source_line: line, entry }
}

async fn deliver(store: &dyn ShardStore, number: u32, rows: Vec<EventRow>) {
    let (count, digest) = (rows.len() as u64, Digest::new([u8::try_from(number).unwrap(); 32]));
    let source = Box::new(rows.into_iter().map(Ok));
    store.deliver(Delivery { key: key(number, 0), sha256: digest, rows: count, source }).await.unwrap();
}

async fn lines_are_found_by_their_place_however_many_are_asked_for(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    deliver(store.as_ref(), 1, (1..=100).map(|line| row(1, line, 7, None)).collect()).await;
    for wanted in [0, 1, 31, 32, 33, 100] {
        let lines = (1..=wanted).flat_map(|line| [(file(1), line), (file(2), line)]).collect();
        let answer = store.ask(shard(0), Question { lines, ..Question::default() }).await.unwrap();
        let mut found: Vec<u64> = answer.rows.iter().map(|row| row.source_line).collect();
        found.sort_unstable();
        assert_eq!(found, (1..=wanted).collect::<Vec<_>>());
        assert!(answer.rows.iter().all(|row| row.timestamp == at(7) && row.created_at == at(0) && row.id > 0));
    }
}

async fn an_order_is_found_in_the_books_and_its_row_by_its_moment(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    let price = Money::from_minor(1999);
    let sold = |order_id, ms| Entry::Purchase {
        order_id,
        user_id: Some(7),
        shop_id: 3,
        good_id: 9,
        qty: 2,
        price,
        at: at(ms),
        stock: None,
    };
    let amount = Money::from_minor(5);
    let back = Entry::Return { order_id: 47, shop_id: 3, good_id: 9, qty: 1, amount, at: at(60), stock: None };
    let rows = vec![row(1, 4, 50, Some(sold(47, 50))), row(1, 5, 51, Some(sold(470, 51))), row(1, 6, 60, Some(back))];
    deliver(store.as_ref(), 1, rows).await;
    let ask = async |order| store.ask(shard(0), Question { order: Some(order), ..Question::default() }).await.unwrap();
    let found = ask(47).await;
    let purchase = BookedPurchase { user_id: Some(7), shop_id: 3, good_id: 9, qty: 2, price, at: at(50) };
    assert_eq!(found.purchase, Some(purchase));
    assert_eq!(found.returns, [BookedReturn { qty: 1, amount, at: at(60) }]);
    let rows: Vec<_> = found.rows.iter().map(|row| (row.source_file.clone(), row.source_line)).collect();
    assert_eq!(rows, [(file(1), 4)], "its event file need not be there any more");
    assert_eq!(ask(4).await, TraceAnswer::default());
    let twice = Question { lines: vec![(file(1), 4)], order: Some(47), file: None };
    assert_eq!(store.ask(shard(0), twice).await.unwrap().rows.len(), 1, "found in two ways, it is one row");
}

async fn a_file_is_found_by_its_marker(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    deliver(store.as_ref(), 1, vec![row(1, 1, 7, None), row(2, 9, 7, None)]).await;
    let ask = async |number, of| {
        let question = Question { file: Some(file(number)), ..Question::default() };
        store.ask(shard(of), question).await.unwrap().marker
    };
    let marker = ask(1, 0).await.unwrap();
    assert_eq!((marker.rows, marker.present, marker.sent_at), (2, 1, at(0)));
    assert_eq!((ask(2, 0).await, ask(1, 1).await), (None, None));
}
