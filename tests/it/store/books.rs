//! The books: what a delivery's events come to, written with them or not at all.

use shopctl::pipeline::event::Money;
use shopctl::pipeline::shard_db::{BookedOrder, Bought, Dated, Delivered, Delivery, Entry, EventRow, StockItem};

use super::*;

on_every_backend! {
    entries_come_to_what_they_add_up_to
    later_deliveries_go_on_from_the_books
    a_file_that_is_delivered_late_undoes_no_price_and_no_status
    a_delivery_that_is_repeated_changes_no_book
    an_order_that_stands_there_already_undoes_all_of_its_delivery
    a_big_delivery_fills_many_pages
    the_books_are_read_page_by_page
    an_order_is_read_with_its_returns_whatever_is_missing
    dates_and_lines_are_read_page_by_page
}

fn delivery(number: u32, entries: Vec<Entry>) -> Delivery {
    let rows = entries.len() as u64;
    let source = entries.into_iter().zip(1..).map(move |(entry, line)| {
        Ok(EventRow {
            event_type: 1,
            shop_id: Some(3),
            user_id: None,
            timestamp: Timestamp::from_unix_ms(START_MS),
            source_file: file(number),
            source_line: line,
            entry: Some(entry),
        })
    });
    let mut sha256 = [0; 32];
    sha256[..4].copy_from_slice(&number.to_be_bytes());
    Delivery { key: key(number, 0), sha256: Digest::new(sha256), rows, source: Box::new(source) }
}

fn stock(good_id: i64, delta: i64) -> Entry {
    Entry::Stock { shop_id: 3, good_id, delta }
}

fn price(good_id: i64, minor: i64) -> Entry {
    Entry::Price { shop_id: 3, good_id, price: Money::from_minor(minor) }
}

fn purchase(order_id: i64, good_id: i64, qty: i64, tracked: bool) -> Entry {
    let (shop_id, user_id, price, at) = (3, Some(7), Money::from_minor(1999), Timestamp::from_unix_ms(START_MS + 7));
    Entry::Purchase { order_id, user_id, shop_id, good_id, qty, price, at, stock: tracked.then_some(-qty) }
}

fn back(order_id: i64, good_id: i64, qty: i64) -> Entry {
    let (amount, at) = (Money::from_minor(5), Timestamp::from_unix_ms(START_MS + 9));
    Entry::Return { order_id, shop_id: 3, good_id, qty, amount, at, stock: Some(qty) }
}

async fn deliver(backend: &dyn Backend, delivery: Delivery) -> Result<Delivered> {
    open_one_shard(backend, 0).await.deliver(delivery).await
}

/// Money in hundredths, whatever the column holds.
async fn shop(backend: &dyn Backend) -> Vec<String> {
    let url = backend.shard(shard(0));
    let hundred = if matches!(url, StoreUrl::Sqlite(_)) { "" } else { " * 100" };
    let select = format!(
        "SELECT concat_ws(' ', id, good_id, coalesce(count, '-'), active, coalesce(round(price{hundred}), '-'))
         FROM shop ORDER BY id, good_id"
    );
    backend.texts(&url, &select).await.into_iter().map(|row| row.replace(".0", "")).collect()
}

async fn count(backend: &dyn Backend, table: &str) -> String {
    backend.texts(&backend.shard(shard(0)), &format!("SELECT concat(count(*), '') FROM {table}")).await.remove(0)
}

async fn entries_come_to_what_they_add_up_to(backend: &dyn Backend) {
    let entries = vec![
        purchase(1, 10, 2, false),
        stock(10, 100),
        price(10, 250),
        purchase(2, 10, 30, true),
        back(2, 10, 4),
        price(11, -5),
        price(10, 199),
        Entry::Status { shop_id: 3, active: false },
    ];
    deliver(backend, delivery(1, entries)).await.unwrap();
    assert_eq!(shop(backend).await, ["3 0 - 0 -", "3 10 74 0 199", "3 11 - 0 -5"]);
    let url = backend.shard(shard(0));
    let history =
        "SELECT concat_ws(' ', order_id, user_id, good_id, shop_id, qty, created_at) FROM purchase_history ORDER BY 1";
    assert_eq!(
        backend.texts(&url, history).await,
        ["1 7 10 3 2 2025-01-01 00:00:00.007", "2 7 10 3 30 2025-01-01 00:00:00.007"]
    );
    let returns = "SELECT concat_ws(' ', order_id, qty, created_at) FROM order_return";
    assert_eq!(backend.texts(&url, returns).await, ["2 4 2025-01-01 00:00:00.009"]);
}

async fn later_deliveries_go_on_from_the_books(backend: &dyn Backend) {
    deliver(backend, delivery(1, vec![Entry::Status { shop_id: 3, active: false }, stock(10, 5)])).await.unwrap();
    deliver(backend, delivery(2, vec![price(12, 300), stock(10, -2)])).await.unwrap();
    assert_eq!(
        shop(backend).await,
        ["3 0 - 0 -", "3 10 3 0 -", "3 12 - 0 300"],
        "a new good of a closed shop is closed"
    );
    let open = Entry::Status { shop_id: 3, active: true };
    deliver(backend, delivery(3, vec![open, price(12, 301)])).await.unwrap();
    assert_eq!(shop(backend).await, ["3 0 - 1 -", "3 10 3 1 -", "3 12 - 1 301"]);
}

async fn a_file_that_is_delivered_late_undoes_no_price_and_no_status(backend: &dyn Backend) {
    let status = |active| Entry::Status { shop_id: 3, active };
    deliver(backend, delivery(2, vec![price(10, 200), status(false)])).await.unwrap();
    deliver(backend, delivery(1, vec![price(10, 100), price(11, 100), stock(10, 5), status(true)])).await.unwrap();
    assert_eq!(shop(backend).await, ["3 0 - 0 -", "3 10 5 0 200", "3 11 - 0 100"]);
    deliver(backend, delivery(3, vec![price(10, 300), status(true)])).await.unwrap();
    assert_eq!(shop(backend).await, ["3 0 - 1 -", "3 10 5 1 300", "3 11 - 1 100"]);
}

async fn a_delivery_that_is_repeated_changes_no_book(backend: &dyn Backend) {
    let entries = vec![stock(10, 5), purchase(1, 10, 2, true), back(1, 10, 1)];
    assert_eq!(deliver(backend, delivery(1, entries.clone())).await.unwrap(), Delivered::Now);
    assert_eq!(deliver(backend, delivery(1, entries)).await.unwrap(), Delivered::Before);
    assert_eq!(shop(backend).await, ["3 10 4 1 -"]);
    assert_eq!(
        (count(backend, "purchase_history").await, count(backend, "order_return").await),
        ("1".into(), "1".into())
    );
}

async fn an_order_that_stands_there_already_undoes_all_of_its_delivery(backend: &dyn Backend) {
    deliver(backend, delivery(1, vec![stock(10, 5), purchase(1, 10, 2, true)])).await.unwrap();
    let again =
        deliver(backend, delivery(2, vec![stock(10, 50), purchase(2, 10, 1, true), purchase(1, 10, 1, true)])).await;
    assert_eq!(code(again), "broken");
    assert_eq!(shop(backend).await, ["3 10 3 1 -"]);
    assert_eq!((count(backend, "purchase_history").await, count(backend, "events").await), ("1".into(), "2".into()));
}

async fn a_big_delivery_fills_many_pages(backend: &dyn Backend) {
    let entries = (1..=1500_i64).flat_map(|n| [stock(n % 40 + 1, 3), purchase(n, n % 40 + 1, 2, true)]).collect();
    deliver(backend, delivery(1, entries)).await.unwrap();
    let sums = "SELECT concat_ws(' ', count(*), sum(count)) FROM shop";
    assert_eq!(backend.texts(&backend.shard(shard(0)), sums).await, ["40 1500"]);
    assert_eq!(count(backend, "purchase_history").await, "1500");
}

async fn the_books_are_read_page_by_page(backend: &dyn Backend) {
    let minus = |good_id, delta| Entry::Stock { shop_id: -3, good_id, delta };
    let entries = vec![stock(10, 5), price(11, 250), minus(7, 1), Entry::Status { shop_id: 3, active: false }];
    deliver(backend, delivery(1, entries)).await.unwrap();
    let store = open_one_shard(backend, 0).await;
    let (mut all, mut after) = (Vec::new(), None);
    while let page = store.list_stock(after, 1).await.unwrap()
        && let Some(StockItem { shop_id, good_id, count, price, is_open }) = page.first().copied()
    {
        after = Some((shop_id, good_id));
        all.push((shop_id, good_id, count, price.map(Money::minor), is_open));
        assert_eq!(page.len(), 1);
    }
    let expected = [
        (-3, 7, Some(1), None, true),
        (3, 0, None, None, false),
        (3, 10, Some(5), None, false),
        (3, 11, None, Some(250), false),
    ];
    assert_eq!(all, expected);
    assert_eq!((store.count_sent(shard(0)).await.unwrap(), store.count_sent(shard(1)).await.unwrap()), (1, 0));
}

async fn an_order_is_read_with_its_returns_whatever_is_missing(backend: &dyn Backend) {
    let entries =
        vec![purchase(1, 10, 5, true), purchase(2, 10, 2, true), back(1, 10, 1), back(1, 10, 3), back(9, 10, 1)];
    deliver(backend, delivery(1, entries)).await.unwrap();
    let store = open_one_shard(backend, 0).await;
    let of = |qty| Bought { user_id: Some(7), shop_id: 3, good_id: 10, qty, price: Money::from_minor(1999) };
    let order = |order_id, bought, returned| BookedOrder { order_id, bought, returned };
    let expected = [order(1, Some(of(5)), 4), order(2, Some(of(2)), 0), order(9, None, 1)];
    assert_eq!(store.list_orders(None, 100).await.unwrap(), expected);
    for (index, expected) in expected.iter().enumerate() {
        let after = index.checked_sub(1).map(|before| [1, 2, 9][before]);
        assert_eq!(store.list_orders(after, 1).await.unwrap(), [*expected]);
    }
    assert_eq!(store.list_orders(Some(9), 1).await.unwrap(), []);
}

async fn dates_and_lines_are_read_page_by_page(backend: &dyn Backend) {
    deliver(backend, delivery(1, vec![stock(10, 9), purchase(2, 10, 5, true), purchase(1, 10, 2, true)]))
        .await
        .unwrap();
    deliver(backend, delivery(2, vec![back(2, 10, 1), back(1, 10, 1), back(2, 10, 2)])).await.unwrap();
    let store = open_one_shard(backend, 0).await;
    let of =
        |dates: &[Dated]| dates.iter().map(|dated| (dated.order_id, dated.at.unix_ms() - START_MS)).collect::<Vec<_>>();
    let bought = store.list_purchase_dates(None, 1).await.unwrap();
    assert_eq!(of(&bought), [(1, 7)]);
    assert_eq!(of(&store.list_purchase_dates(Some(bought[0].cursor), 9).await.unwrap()), [(2, 7)]);
    let returned = store.list_return_dates(None, 2).await.unwrap();
    assert_eq!(of(&returned), [(2, 9), (1, 9)]);
    let rest = store.list_return_dates(Some(returned[1].cursor), 2).await.unwrap();
    assert_eq!(of(&rest), [(2, 9)]);
    assert_eq!(store.list_return_dates(Some(rest[0].cursor), 2).await.unwrap(), []);
    assert_eq!(store.list_lines(&file(1), 0, 2).await.unwrap(), [1, 2]);
    assert_eq!(store.list_lines(&file(1), 2, 2).await.unwrap(), [3]);
    assert_eq!(store.list_lines(&file(3), 0, 2).await.unwrap(), [] as [u64; 0]);
}
