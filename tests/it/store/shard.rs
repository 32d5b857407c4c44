//! A shard's database: marker and rows together, and every value as it was.

use std::io;

use shopctl::pipeline::shard_db::{Delivered, Delivery, EventRow};

use super::*;

on_every_backend! {
    rows_and_marker_come_together
    delivered_twice_adds_nothing
    a_failing_source_writes_nothing
    a_marker_that_cannot_be_written_leaves_no_row
    another_number_of_rows_writes_nothing
    another_content_is_refused
    a_row_that_stands_there_already_writes_nothing
    shards_are_told_apart
    values_are_stored_as_they_are
    a_big_file_is_delivered_whole
    the_digest_of_the_rows_is_the_same_on_every_database
    a_row_that_was_changed_is_told_by_its_delivery
}

fn row(number: u32, line: u64) -> EventRow {
    EventRow {
        event_type: 1,
        shop_id: Some(3),
        user_id: None,
        timestamp: Timestamp::from_unix_ms(START_MS + 7),
        source_file: file(number),
        source_line: line,
        entry: None,
    }
}

fn delivery(number: u32, rows: u64, byte: u8) -> Delivery {
    let source = Box::new((1..=rows).map(move |line| Ok(row(number, line))));
    Delivery { key: key(number, 0), sha256: Digest::new([byte; 32]), rows, source }
}

async fn rows_and_marker_come_together(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    assert_eq!(store.deliver(delivery(1, 3, 1)).await.unwrap(), Delivered::Now);
    assert_eq!(store.deliver(delivery(2, 0, 2)).await.unwrap(), Delivered::Now, "an empty file has a marker too");
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 3);
    let sent = store.census(shard(0)).await.unwrap().sent;
    let sent: Vec<_> = sent.into_iter().map(|sent| (sent.file, sent.rows, sent.present)).collect();
    assert_eq!(sent, [(file(1), 3, 3), (file(2), 0, 0)]);
}

async fn delivered_twice_adds_nothing(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    assert_eq!(store.deliver(delivery(1, 3, 1)).await.unwrap(), Delivered::Now);
    for _again in 0..2 {
        assert_eq!(store.deliver(delivery(1, 3, 1)).await.unwrap(), Delivered::Before);
    }
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 3);
}

async fn a_failing_source_writes_nothing(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    let lines = [Ok(row(1, 1)), Ok(row(1, 2)), Err(io::Error::other("the disk is gone")), Ok(row(1, 4))];
    let broken = Delivery { source: Box::new(lines.into_iter()), ..delivery(1, 4, 1) };
    assert_eq!(code(store.deliver(broken).await), "input");
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 0);
    assert_eq!(store.census(shard(0)).await.unwrap().sent, []);
    assert_eq!(store.deliver(delivery(1, 4, 1)).await.unwrap(), Delivered::Now, "the next try is whole");
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 4);
}

/// Rows that were committed without their marker would be delivered again.
async fn a_marker_that_cannot_be_written_leaves_no_row(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    let url = backend.shard(shard(0));
    let refuse = match url {
        StoreUrl::Sqlite(_) => "BEGIN SELECT RAISE(ABORT, 'no marker'); END",
        StoreUrl::Mysql(_) => "FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no marker'",
    };
    backend.change(&url, &format!("CREATE TRIGGER no_marker BEFORE INSERT ON sent_file {refuse}")).await;
    let refused = store.deliver(delivery(1, 3, 1)).await.unwrap_err();
    assert!(refused.to_string().contains("no marker"), "{refused}");
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 0);
    backend.change(&url, "DROP TRIGGER no_marker").await;
    assert_eq!(store.deliver(delivery(1, 3, 1)).await.unwrap(), Delivered::Now);
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 3);
}

async fn another_number_of_rows_writes_nothing(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    for promised in [2, 4] {
        let wrong = Delivery { rows: promised, ..delivery(1, 3, 1) };
        assert_eq!(code(store.deliver(wrong).await), "input");
        assert_eq!(store.census(shard(0)).await.unwrap().rows, 0);
        assert_eq!(store.census(shard(0)).await.unwrap().sent, []);
    }
}

async fn another_content_is_refused(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    store.deliver(delivery(1, 3, 1)).await.unwrap();
    assert_eq!(code(store.deliver(delivery(1, 3, 2)).await), "broken");
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 3);
}

async fn a_row_that_stands_there_already_writes_nothing(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    store.deliver(delivery(1, 3, 1)).await.unwrap();
    // Another file that brings a line of the first one: the second guard.
    let source = Box::new([Ok(row(2, 1)), Ok(row(1, 2))].into_iter());
    assert_eq!(code(store.deliver(Delivery { source, ..delivery(2, 2, 2) }).await), "broken");
    assert_eq!(store.census(shard(0)).await.unwrap().rows, 3);
    assert_eq!(store.census(shard(0)).await.unwrap().sent.len(), 1);
}

async fn shards_are_told_apart(backend: &dyn Backend) {
    let (zero, one) = (open_one_shard(backend, 0).await, open_one_shard(backend, 1).await);
    zero.deliver(delivery(1, 3, 1)).await.unwrap();
    assert_eq!((zero.census(shard(0)).await.unwrap().rows, one.census(shard(0)).await.unwrap().rows), (3, 0));
    assert_eq!(zero.census(shard(1)).await.unwrap().sent, []);
    let same_name = Delivery { key: key(1, 1), ..delivery(1, 2, 9) };
    assert_eq!(one.deliver(same_name).await.unwrap(), Delivered::Now);
}

/// The values as another program reads them.
async fn values_are_stored_as_they_are(backend: &dyn Backend) {
    let store = open_one_shard(backend, 5).await;
    let rows = [
        EventRow { event_type: 0, shop_id: Some(i64::MIN), user_id: Some(i64::MAX), ..row(1, 1) },
        EventRow { event_type: 3, shop_id: None, user_id: None, ..row(1, 2) },
        EventRow { event_type: 4, shop_id: Some(-3), user_id: Some(1), ..row(1, 9_007_199_254_740_993) },
    ];
    let source = Box::new(rows.into_iter().map(Ok));
    let delivery = Delivery { key: key(1, 5), rows: 3, source, sha256: Digest::new([0xab; 32]) };
    store.deliver(delivery).await.unwrap();
    let url = backend.shard(shard(5));
    let events = "SELECT concat_ws(' ', event_type, coalesce(shop_id, 'NULL'), coalesce(user_id, 'NULL'), shard,
             source_file, source_line) FROM events ORDER BY source_line";
    assert_eq!(
        backend.texts(&url, events).await,
        [
            "0 -9223372036854775808 9223372036854775807 5 20250101000001 1",
            "3 NULL NULL 5 20250101000001 2",
            "4 -3 1 5 20250101000001 9007199254740993",
        ]
    );
    let times = "SELECT DISTINCT concat_ws(' / ', `timestamp`, created_at) FROM events";
    assert_eq!(backend.texts(&url, times).await, ["2025-01-01 00:00:00.007 / 2025-01-01 00:00:00.000"]);
    let marker = "SELECT concat_ws(' ', filename, shard, sha256, `rows`) FROM sent_file";
    assert_eq!(backend.texts(&url, marker).await, [format!("20250101000001 5 {} 3", "ab".repeat(32))]);
}

/// Full statements and every kind of rest behind them.
async fn a_big_file_is_delivered_whole(backend: &dyn Backend) {
    let store = open_one_shard(backend, 0).await;
    assert_eq!(store.deliver(delivery(1, 2777, 1)).await.unwrap(), Delivered::Now);
    let sums =
        "SELECT concat_ws(' ', count(*), count(DISTINCT source_line), min(source_line), max(source_line)) FROM events";
    assert_eq!(backend.texts(&backend.shard(shard(0)), sums).await, ["2777 2777 1 2777"]);
}

/// Every value that a column takes: what is written is what is read, whatever the dialect.
fn wide_rows() -> Vec<EventRow> {
    let moment = |text: &str| Timestamp::parse(text).unwrap();
    vec![
        EventRow { event_type: 0, shop_id: Some(i64::MIN), user_id: Some(i64::MAX), ..row(1, 1) },
        EventRow {
            event_type: 3,
            shop_id: None,
            user_id: None,
            timestamp: moment("1969-12-31 23:59:59.999"),
            ..row(1, 2)
        },
        EventRow { event_type: 4, shop_id: Some(0), user_id: Some(0), ..row(1, 9_007_199_254_740_993) },
        EventRow { timestamp: moment("1000-01-01 00:00:00.000"), ..row(1, 3) },
        EventRow { timestamp: moment("9999-12-31 23:59:59.999"), ..row(1, 4) },
        // An early return of an earlier file.
        EventRow { event_type: 3, ..row(0, 7) },
    ]
}

/// It stands in databases, and rows are moved from one to another: the value is part of the format.
async fn the_digest_of_the_rows_is_the_same_on_every_database(backend: &dyn Backend) {
    let store = open_one_shard(backend, 5).await;
    let rows = wide_rows();
    let of_rows = |number: u32, rows: Vec<EventRow>| Delivery {
        key: key(number, 5),
        rows: rows.len() as u64,
        source: Box::new(rows.into_iter().map(Ok)),
        sha256: Digest::new([7; 32]),
    };
    store.deliver(of_rows(1, rows)).await.unwrap();
    store.deliver(of_rows(2, Vec::new())).await.unwrap();
    let census = store.census(shard(5)).await.unwrap();
    assert_eq!((census.rows, census.unmarked.len(), census.unattributed.len()), (6, 0, 0));
    assert!(census.sent.iter().all(shopctl::pipeline::shard_db::SentFile::is_as_delivered), "{census:?}");
    let url = backend.shard(shard(5));
    let markers = backend.texts(&url, "SELECT rows_sha256 FROM sent_file ORDER BY filename").await;
    assert_eq!(
        markers,
        ["8d2c3cb74354a1594918d44d58c473d7d10f752498b2c4fd18e52ca9d0c738a3".to_owned(), "0".repeat(64)]
    );
    let deliveries = "SELECT DISTINCT concat_ws(' ', source_file, delivered_with) AS names FROM events ORDER BY names";
    assert_eq!(
        backend.texts(&url, deliveries).await,
        ["20250101000000 20250101000001", "20250101000001 20250101000001"]
    );
}

async fn a_row_that_was_changed_is_told_by_its_delivery(backend: &dyn Backend) {
    let (store, url) = (open_one_shard(backend, 0).await, backend.shard(shard(0)));
    for (number, byte) in [(1, 1), (2, 2)] {
        store.deliver(delivery(number, 3, byte)).await.unwrap();
    }
    let as_delivered = async || {
        let census = store.census(shard(0)).await.unwrap();
        census.sent.iter().map(|sent| (sent.present, sent.is_as_delivered())).collect::<Vec<_>>()
    };
    assert_eq!(as_delivered().await, [(3, true), (3, true)]);
    let of_second = "WHERE source_file = '20250101000002' AND source_line = 2";
    let changes = [
        ("shop_id = 4", "shop_id = 3"),
        ("shop_id = NULL", "shop_id = 3"),
        ("user_id = 0", "user_id = NULL"),
        ("event_type = 2", "event_type = 1"),
        ("shard = 1", "shard = 0"),
        ("`timestamp` = '2025-01-01 00:00:00.008'", "`timestamp` = '2025-01-01 00:00:00.007'"),
    ];
    for (change, back) in changes {
        backend.change(&url, &format!("UPDATE events SET {change} {of_second}")).await;
        assert_eq!(as_delivered().await, [(3, true), (3, false)], "{change}");
        backend.change(&url, &format!("UPDATE events SET {back} {of_second}")).await;
        assert_eq!(as_delivered().await, [(3, true), (3, true)], "{back}");
    }
    // A row that is put back is the same row, whatever its id is now.
    backend.change(&url, &format!("UPDATE events SET id = id + 100 {of_second}")).await;
    assert_eq!(as_delivered().await, [(3, true), (3, true)]);
    backend.change(&url, &format!("UPDATE events SET delivered_with = '20250101000001' {of_second}")).await;
    assert_eq!(as_delivered().await, [(4, false), (2, false)]);
}
