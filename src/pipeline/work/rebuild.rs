//! Makes a worker's state again from what its decisions left behind.
//!
//! The order of the calls is the order of precedence: first what was rejected, then what the books of the shard say,
//! then the prepared files that are not in the books yet, in the order in which they were decided. A key that is known
//! with its content comes before one that only the books tell.

use std::path::Path;

use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Event, Kind, Money, Payload, Reason, ShardId};
use crate::pipeline::files::prepared;
use crate::pipeline::files::rejected::{Raw, Rejected};
use crate::pipeline::rules::money::is_paid;
use crate::pipeline::rules::{LinePlace, OrderStatus, Remembered, TradeOrder, duplicate};
use crate::pipeline::shard_db::{BookedOrder, Dated, Entry, StockItem};
use crate::pipeline::task::FileName;
use crate::pipeline::work::state::{FinishedFile, UNKNOWN_CONTENT, WorkerState, open_worker_state};

/// The state in the making.
pub struct Rebuild {
    state: Box<dyn WorkerState>,
    shard: ShardId,
    /// Keys are kept as long as if they had come today.
    today: i64,
    /// What was found so far.
    pub rebuilt: Rebuilt,
}

/// What a state was made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Files that are decided.
    pub files: u64,
    /// Accepted orders.
    pub orders: u64,
    /// Rejected lines that were purchases.
    pub refused: u64,
    /// Goods and shops.
    pub stock_items: u64,
    /// Keys that are known with their content.
    pub keys: u64,
    /// Keys of orders and returns whose lines are gone: every content counts as theirs.
    pub keys_without_content: u64,
}

impl Rebuild {
    /// Begins a state in this file, which must not be there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(path: &Path, shard: ShardId, today: i64) -> Result<Self> {
        let mut state = open_worker_state(path)?;
        state.begin()?;
        Ok(Self { state, shard, today, rebuilt: Rebuilt::default() })
    }

    /// Takes a line of a rejects file: a purchase that was refused is remembered as such.
    ///
    /// # Errors
    /// Whatever the state fails with, as for all of these.
    pub fn rejected(&mut self, line: &[u8]) -> Result<()> {
        let Some((order_id, order)) = refused(line) else {
            return Ok(());
        };
        self.rebuilt.refused += 1;
        let is_final = matches!(
            self.state.find_order(order_id)?,
            Some(TradeOrder { standing: OrderStatus::Accepted | OrderStatus::Refused(_), .. })
        );
        if is_final { Ok(()) } else { self.state.put_order(order_id, &order) }
    }

    /// Takes a good or a shop of the books.
    ///
    /// # Errors
    /// As for [`Rebuild::rejected`].
    pub fn stock_item(&mut self, item: &StockItem) -> Result<()> {
        self.rebuilt.stock_items += 1;
        let StockItem { shop_id, good_id, count, price, is_open } = *item;
        if good_id == 0 {
            return self.state.put_shop(shop_id, is_open);
        }
        if let Some(count) = count {
            self.state.put_stock(shop_id, good_id, count)?;
        }
        price.map_or(Ok(()), |price| self.state.put_price(shop_id, good_id, price))
    }

    /// Takes an order of the books.
    ///
    /// # Errors
    /// As for [`Rebuild::rejected`]; [`Error::Broken`] if the books contradict themselves.
    pub fn order(&mut self, order: &BookedOrder) -> Result<()> {
        let BookedOrder { order_id, bought, returned } = *order;
        let Some(bought) = bought.filter(|bought| returned <= bought.qty) else {
            return Err(Error::broken(format!(
                "{returned} of order {order_id} came back by order_return, which is more than purchase_history has of it; put the books back from a backup"
            )));
        };
        self.rebuilt.orders += 1;
        let crate::pipeline::shard_db::Bought { user_id, shop_id, good_id, qty, price } = bought;
        let standing = OrderStatus::Accepted;
        self.state.put_order(order_id, &TradeOrder { user_id, shop_id, good_id, qty, price, returned, standing })
    }

    /// Takes a line of an event file that was accepted and is in the books.
    ///
    /// # Errors
    /// As for [`Rebuild::rejected`]; [`Error::Broken`] if it is no event.
    pub fn accepted(&mut self, line: &[u8], place: LinePlace<'_>) -> Result<()> {
        let event = Event::parse(line).map_err(|reject| {
            Error::broken(format!(
                "line {} of {} was accepted and is no event: {}",
                place.line, place.file, reject.detail
            ))
        })?;
        let Some(key) = duplicate::key_of(&event) else {
            return Ok(());
        };
        self.rebuilt.keys += 1;
        self.state.remember(&key, place.file, place.line, &event.fingerprint, self.today).map(drop)
    }

    /// Takes a line of a prepared file: its key, and what it does to the books if it is not in them yet.
    ///
    /// # Errors
    /// As for [`Rebuild::accepted`].
    pub fn prepared(&mut self, line: &[u8], file: &FileName, position: u64, is_delivered: bool) -> Result<()> {
        let broken = |why: String| Error::broken(format!("the prepared file of {file}: {why}"));
        let row = prepared::read(line, file, self.shard, position).map_err(broken)?;
        let original = prepared::original(line).map_err(broken)?;
        self.accepted(&original, LinePlace { file: &row.source_file, line: row.source_line })?;
        match row.entry {
            Some(entry) if !is_delivered => self.enter(entry),
            _ => Ok(()),
        }
    }

    /// Takes the date of a purchase or a return of the books: its key, if it had none of its own.
    ///
    /// # Errors
    /// As for [`Rebuild::rejected`].
    pub fn dated(&mut self, kind: Kind, dated: &Dated) -> Result<()> {
        let key = duplicate::order_key(kind, dated.order_id, dated.at);
        // No line of any file: where it stood is not known.
        let nowhere = FileName::of(Timestamp::from_unix_ms(0));
        if self.state.remember(&key, &nowhere, 0, &UNKNOWN_CONTENT, self.today)? == Remembered::New {
            self.rebuilt.keys_without_content += 1;
        }
        Ok(())
    }

    /// Takes a file that is decided.
    ///
    /// # Errors
    /// As for [`Rebuild::rejected`].
    pub fn finished(&mut self, file: &FileName, finished: &FinishedFile, day: i64) -> Result<()> {
        self.rebuilt.files += 1;
        self.state.put_finished(file, finished, day)
    }

    /// Makes all of it durable, and closes the file.
    ///
    /// # Errors
    /// As for [`Rebuild::rejected`].
    pub fn commit(mut self) -> Result<Rebuilt> {
        self.state.commit()?;
        Ok(self.rebuilt)
    }

    fn enter(&mut self, entry: Entry) -> Result<()> {
        match entry {
            Entry::Stock { shop_id, good_id, delta } => self.change_stock(shop_id, good_id, Some(delta)),
            Entry::Price { shop_id, good_id, price } => self.state.put_price(shop_id, good_id, price),
            Entry::Status { shop_id, active } => self.state.put_shop(shop_id, active),
            Entry::Purchase { order_id, user_id, shop_id, good_id, qty, price, stock, .. } => {
                self.rebuilt.orders += 1;
                let (returned, standing) = (0, OrderStatus::Accepted);
                let order = TradeOrder { user_id, shop_id, good_id, qty, price, returned, standing };
                self.state.put_order(order_id, &order)?;
                self.change_stock(shop_id, good_id, stock)
            }
            Entry::Return { order_id, shop_id, good_id, qty, stock, .. } => {
                let order = self.state.find_order(order_id)?;
                let order =
                    order.filter(|order| order.standing == OrderStatus::Accepted && qty <= order.qty - order.returned);
                let order = order.ok_or_else(|| {
                    Error::broken(format!(
                        "a prepared file has {qty} of order {order_id} come back, which was never sold so"
                    ))
                })?;
                self.state.put_order(order_id, &TradeOrder { returned: order.returned + qty, ..order })?;
                self.change_stock(shop_id, good_id, stock)
            }
        }
    }

    fn change_stock(&mut self, shop_id: i64, good_id: i64, delta: Option<i64>) -> Result<()> {
        let Some(delta) = delta else {
            return Ok(());
        };
        let count = self.state.find_stock(shop_id, good_id)?.unwrap_or(0).saturating_add(delta);
        self.state.put_stock(shop_id, good_id, count)
    }
}

/// The order that a rejected line refused, and whether it may come again.
fn refused(line: &[u8]) -> Option<(i64, TradeOrder)> {
    let Rejected { reason, raw: Raw::Whole(raw), .. } = Rejected::parse(line).ok()? else {
        return None;
    };
    let event = Event::parse(&raw).ok()?;
    // Where the price was the shop's, it was paid for in all likelihood.
    let was_paid = is_paid(&event.payload);
    let Payload::Purchase { order_id, user_id, shop_id, good_id, qty, price_at_order } = event.payload else {
        return None;
    };
    let standing = match reason {
        Reason::InsufficientFunds | Reason::OrderConflict => OrderStatus::Refused(reason),
        Reason::InsufficientStock if was_paid => OrderStatus::Refused(reason),
        Reason::InsufficientStock | Reason::ShopClosed | Reason::UnknownPrice | Reason::InvalidPrice => {
            OrderStatus::Rejected
        }
        // These are decided before the order is looked at.
        _ => return None,
    };
    let price = price_at_order.filter(|price| price.minor() >= 0).unwrap_or(Money::from_minor(0));
    Some((order_id, TradeOrder { user_id, shop_id, good_id, qty, price, returned: 0, standing }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(reason: &str, user: &str, price: &str) -> Vec<u8> {
        let raw = format!(
            r#"{{"event_type":1,"payload":{{"order_id":4,"user_id":{user},"shop_id":2,"good_id":3,"qty":1,"price_at_order":{price}}},"timestamp":"2025-01-01 00:00:00.000"}}"#
        );
        serde_json::json!({"file": "20250101000000", "line": 7, "stage": "shard-worker", "reason": reason, "detail": "", "raw": raw})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn what_was_refused_for_good_is_told_from_what_may_come_again() {
        let standing = |reason, user, price| refused(&line(reason, user, price)).map(|(_, order)| order.standing);
        let for_good = |reason| Some(OrderStatus::Refused(reason));
        assert_eq!(standing("insufficient_funds", "7", "1.5"), for_good(Reason::InsufficientFunds));
        assert_eq!(standing("insufficient_stock", "7", "1.5"), for_good(Reason::InsufficientStock));
        assert_eq!(standing("insufficient_stock", "7", "null"), for_good(Reason::InsufficientStock));
        assert_eq!(standing("order_conflict", "7", "1.5"), for_good(Reason::OrderConflict));
        assert_eq!(standing("insufficient_stock", "null", "1.5"), Some(OrderStatus::Rejected));
        assert_eq!(standing("insufficient_stock", "7", "0"), Some(OrderStatus::Rejected));
        assert_eq!(standing("shop_closed", "7", "1.5"), Some(OrderStatus::Rejected));
        assert_eq!(standing("invalid_price", "7", "-1"), Some(OrderStatus::Rejected));
        for reason in ["key_conflict", "malformed", "no such reason"] {
            assert_eq!(standing(reason, "7", "1.5"), None, "{reason}");
        }
        assert!(refused(b"{").is_none());
    }

    fn fresh(folder: &Path) -> Rebuild {
        Rebuild::begin(&folder.join("state.sqlite"), ShardId::new(0).unwrap(), 20_000).unwrap()
    }

    #[test]
    fn what_was_sold_in_the_end_stays_sold_and_what_was_refused_for_good_stays_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut rebuild = fresh(folder.path());
        rebuild.rejected(&line("insufficient_funds", "7", "1.5")).unwrap();
        rebuild.rejected(&line("shop_closed", "7", "1.5")).unwrap();
        let standing = |rebuild: &mut Rebuild| rebuild.state.find_order(4).unwrap().unwrap().standing;
        assert_eq!(standing(&mut rebuild), OrderStatus::Refused(Reason::InsufficientFunds));
        let bought = crate::pipeline::shard_db::Bought {
            user_id: Some(7),
            shop_id: 2,
            good_id: 3,
            qty: 1,
            price: Money::from_minor(150),
        };
        rebuild.order(&BookedOrder { order_id: 4, bought: Some(bought), returned: 1 }).unwrap();
        assert_eq!(standing(&mut rebuild), OrderStatus::Accepted);
        let too_many = rebuild.order(&BookedOrder { order_id: 5, bought: Some(bought), returned: 2 });
        assert!(matches!(too_many, Err(Error::Broken(_))));
    }

    #[test]
    fn a_key_without_its_content_knows_its_event_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut rebuild = fresh(folder.path());
        let at = Timestamp::from_unix_ms(5);
        rebuild.dated(Kind::Return, &Dated { cursor: 1, order_id: 4, at }).unwrap();
        let file = FileName::of(Timestamp::from_unix_ms(1_000));
        let mut ask = |kind, order_id| {
            let key = duplicate::order_key(kind, order_id, at);
            rebuild.state.remember(&key, &file, 1, &[9; 16], 20_000).unwrap()
        };
        assert!(matches!(ask(Kind::Return, 4), Remembered::Elsewhere { line: 0, .. }));
        assert_eq!((ask(Kind::Purchase, 4), ask(Kind::Return, 5)), (Remembered::New, Remembered::New));
    }
}
