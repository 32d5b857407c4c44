//! Compares the books of a shard with the state of its worker. Both follow from the same decisions, so they agree once
//! every file that the worker has decided is delivered.
//!
//! The comparison is safe beside running roles because it reads in a fixed order: first the markers of the delivered
//! files, then a snapshot of the worker's state, then the books. A file is decided before it is delivered, so the
//! snapshot has every file with a marker. If it has no file without one, and no marker was added until the books were
//! read, then snapshot and books are of the same files. Otherwise nothing is compared.

use std::collections::BTreeSet;
use std::path::Path;

use super::pairs::{Keyed, Pairs};
use crate::pipeline::event::{Money, ShardId};
use crate::pipeline::ops::audit::Findings;
use crate::pipeline::shard_db::{BookedOrder, Bought, Census, ShardStore, StockItem, WorkerSnapshot};
use crate::pipeline::task::FileName;
use crate::pipeline::work::state::open_worker_snapshot;

/// Entries per page.
pub(crate) const PAGE: u32 = 1000;

/// The result of comparing a shard's books with its worker's state.
pub(crate) struct ComparedBooks {
    /// Stock, prices and shops.
    pub(crate) stock: Findings,
    /// Orders and their returns.
    pub(crate) orders: Findings,
    /// What users paid for the orders in the books, in minor units; `None` if the orders could not be compared.
    pub(crate) paid: Option<i128>,
}

/// The books of a shard, and what is known of its deliveries.
pub(crate) struct Books<'a> {
    pub(crate) store: &'a dyn ShardStore,
    pub(crate) shard: ShardId,
    /// The delivered files.
    pub(crate) census: &'a Census,
    /// Whether the worker decided the files in the order of their names. Only then are its prices and its shops' statuses
    /// those of the last file, as in the books.
    pub(crate) in_order: bool,
}

impl Keyed for StockItem {
    type Key = (i64, i64);

    fn key(&self) -> (i64, i64) {
        (self.shop_id, self.good_id)
    }
}

impl Keyed for BookedOrder {
    type Key = i64;

    fn key(&self) -> i64 {
        self.order_id
    }
}

impl Books<'_> {
    /// Compares stock and orders with the state in this file.
    pub(crate) async fn compare(&self, state: &Path) -> crate::base::db::Result<ComparedBooks> {
        if !state.exists() {
            return self.without_state().await;
        }
        let state = open_worker_snapshot(state).await?;
        if let Some(file) = self.find_undelivered(state.as_ref()).await? {
            let why = format!("{file} is decided and not delivered");
            return Ok(ComparedBooks::under_way(&why));
        }
        let stock = self.compare_stock_items(state.as_ref()).await?;
        let (orders, paid) = self.compare_orders(state.as_ref()).await?;
        if self.store.count_sent(self.shard).await? == self.census.sent.len() as u64 {
            return Ok(ComparedBooks { stock, orders, paid: Some(paid) });
        }
        Ok(ComparedBooks::under_way("files were delivered meanwhile"))
    }

    /// What to do when a good or an order differs.
    fn next_step(&self) -> String {
        let shard = self.shard;
        format!(
            "one of them was changed by hand: put it back, or take the books for right and make the state again \
             with 'shopctl work --shard {shard} --rebuild --force'"
        )
    }

    async fn without_state(&self) -> crate::base::db::Result<ComparedBooks> {
        let mut found = Findings::nothing("the worker has no state here");
        let has_orders = !self.store.list_orders(None, 1).await?.is_empty();
        if has_orders || !self.store.list_stock(None, 1).await?.is_empty() {
            let shard = self.shard;
            found.differ(format!(
                "the worker's state is gone, the books are there: make it again with 'shopctl work --shard {shard} --rebuild'"
            ));
        }
        let orders = Findings::nothing("the worker has no state here");
        Ok(ComparedBooks { stock: found, orders, paid: (!has_orders).then_some(0) })
    }

    /// The first file that the worker has decided and that has no marker.
    async fn find_undelivered(&self, state: &dyn WorkerSnapshot) -> crate::base::db::Result<Option<FileName>> {
        let sent: BTreeSet<&FileName> = self.census.sent.iter().map(|sent| &sent.file).collect();
        let mut after = None;
        loop {
            let page = state.list_finished(after, PAGE).await?;
            let Some(last) = page.last().cloned() else {
                return Ok(None);
            };
            if let Some(file) = page.into_iter().find(|file| !sent.contains(file)) {
                return Ok(Some(file));
            }
            after = Some(last);
        }
    }

    async fn compare_stock_items(&self, state: &dyn WorkerSnapshot) -> crate::base::db::Result<Findings> {
        let (mut pairs, mut found) = (Pairs::new(), Findings::default());
        loop {
            if let Some(after) = pairs.wants_left() {
                pairs.give_left(self.store.list_stock(after, PAGE).await?);
            }
            if let Some(after) = pairs.wants_right() {
                pairs.give_right(state.list_stock(after, PAGE).await?);
            }
            let Some((books, state)) = pairs.next() else {
                let why = "prices and statuses are left out, because files were decided out of their order";
                found.note = (!self.in_order && found.compared > 0).then(|| why.to_owned());
                return Ok(found);
            };
            found.compared += 1;
            if let Some(what) = stock_item_difference(books, state, self.in_order) {
                found.differ(format!("{what}; {}", self.next_step()));
            }
        }
    }

    /// Also returns what users paid for the orders in the books, in minor units.
    async fn compare_orders(&self, state: &dyn WorkerSnapshot) -> crate::base::db::Result<(Findings, i128)> {
        let (mut pairs, mut found, mut paid) = (Pairs::new(), Findings::default(), 0);
        loop {
            if let Some(after) = pairs.wants_left() {
                pairs.give_left(self.store.list_orders(after, PAGE).await?);
            }
            if let Some(after) = pairs.wants_right() {
                pairs.give_right(state.list_orders(after, PAGE).await?);
            }
            let Some((books, state)) = pairs.next() else {
                return Ok((found, paid));
            };
            found.compared += 1;
            paid += books.map_or(0, paid_for);
            if let Some(what) = order_difference(books, state) {
                found.differ(format!("{what}; {}", self.next_step()));
            }
        }
    }
}

impl ComparedBooks {
    /// The result if nothing could be compared; `why` says what was under way.
    fn under_way(why: &str) -> Self {
        Self { stock: Findings::under_way(why), orders: Findings::under_way(why), paid: None }
    }
}

/// What a user paid for an order, in minor units. Cash does not go through the accounts.
pub(crate) fn paid_for(order: BookedOrder) -> i128 {
    let bought = order.bought.filter(|bought| bought.user_id.is_some());
    bought.map_or(0, |bought| i128::from(bought.price.minor()) * i128::from(bought.qty))
}

/// What differs between two stock items. A missing one is the same as an open shop without count and price.
fn stock_item_difference(books: Option<StockItem>, state: Option<StockItem>, in_order: bool) -> Option<String> {
    let StockItem { shop_id, good_id, .. } = books.or(state)?;
    let price = |price: Option<Money>| price.map_or_else(|| "none".to_owned(), |price| price.to_string());
    let count =
        |count: Option<i64>| count.map_or_else(|| "do not count it".to_owned(), |count| format!("count {count}"));
    let (book_count, state_count) = (books.and_then(|item| item.count), state.and_then(|item| item.count));
    if book_count != state_count {
        let (books, state) = (count(book_count), count(state_count));
        return Some(format!("good {good_id} of shop {shop_id}: the books {books}, those of the worker {state}"));
    }
    let (book_price, state_price) = (books.and_then(|item| item.price), state.and_then(|item| item.price));
    if in_order && book_price != state_price {
        let (books, state) = (price(book_price), price(state_price));
        return Some(format!(
            "good {good_id} of shop {shop_id}: its price is {books} in the books, {state} for the worker"
        ));
    }
    let (book_open, state_open) = (books.is_none_or(|item| item.is_open), state.is_none_or(|item| item.is_open));
    // If only one side has a row for a good, the shop's status is compared by the shop's own row (good 0) alone.
    let is_said = good_id == 0 || (books.is_some() && state.is_some());
    if in_order && is_said && book_open != state_open {
        let word = |is_open| if is_open { "open" } else { "closed" };
        let (books, state) = (word(book_open), word(state_open));
        return Some(format!("shop {shop_id} is {books} in the books (good {good_id}), {state} for the worker"));
    }
    None
}

/// What differs about an order.
fn order_difference(books: Option<BookedOrder>, state: Option<BookedOrder>) -> Option<String> {
    let order_id = books.or(state)?.order_id;
    let (booked, known) = (books.and_then(|order| order.bought), state.and_then(|order| order.bought));
    match (booked, known) {
        (None, Some(_)) => {
            return Some(format!("order {order_id} was accepted by the worker and is not in purchase_history"));
        }
        (Some(_), None) => {
            return Some(format!("order {order_id} is in purchase_history, but the worker did not accept it"));
        }
        (Some(booked), Some(known)) if booked != known => {
            let (booked, known) = (say(booked), say(known));
            return Some(format!("order {order_id} is {booked} in purchase_history, {known} for the worker"));
        }
        _ => {}
    }
    let returned = |order: Option<BookedOrder>| order.map_or(0, |order| order.returned);
    let (booked, known) = (returned(books), returned(state));
    (booked != known)
        .then(|| format!("order {order_id}: {booked} came back by order_return, {known} by the worker's orders"))
}

fn say(bought: Bought) -> String {
    let Bought { user_id, shop_id, good_id, qty, price } = bought;
    let user = user_id.map_or_else(|| "no user".to_owned(), |user| format!("user {user}"));
    format!("{qty} of good {good_id} of shop {shop_id} at {price} by {user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(good_id: i64, count: Option<i64>, price: Option<i64>, is_open: bool) -> Option<StockItem> {
        Some(StockItem { shop_id: 2, good_id, count, price: price.map(Money::from_minor), is_open })
    }

    #[test]
    fn a_row_without_count_and_price_equals_no_row() {
        for other in [None, item(3, None, None, true)] {
            assert_eq!(stock_item_difference(item(3, None, None, true), other, true), None);
            assert_eq!(stock_item_difference(other, item(3, None, None, true), true), None);
        }
        // The row of a good whose shop is closed says nothing where the other side has no row of that good.
        assert_eq!(stock_item_difference(item(3, None, None, false), None, true), None);
        assert!(stock_item_difference(item(0, None, None, false), None, true).is_some());
        assert!(stock_item_difference(None, item(3, Some(0), None, true), true).is_some(), "counted, and none there");
    }

    #[test]
    fn files_out_of_order_excuse_prices_and_statuses_and_no_stock() {
        let books = item(3, Some(5), Some(200), true);
        for (other, what) in
            [(item(3, Some(5), Some(300), true), "price"), (item(3, Some(5), Some(200), false), "open")]
        {
            assert!(stock_item_difference(books, other, true).unwrap().contains(what));
            assert_eq!(stock_item_difference(books, other, false), None);
        }
        assert!(stock_item_difference(books, item(3, Some(6), Some(200), true), false).unwrap().contains("count 6"));
    }
}
