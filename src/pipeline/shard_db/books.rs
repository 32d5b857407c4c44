//! What events do to the books of their shard, gathered for a few statements instead of one per event.

use std::collections::BTreeMap;

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::Money;

/// What one event does to the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// More or less of a good; from the first one on its stock is tracked.
    Stock {
        /// Which shop.
        shop_id: i64,
        /// Which good.
        good_id: i64,
        /// How much more.
        delta: i64,
    },
    /// A good costs this from now on.
    Price {
        /// Which shop.
        shop_id: i64,
        /// Which good.
        good_id: i64,
        /// How much.
        price: Money,
    },
    /// A shop opens or closes.
    Status {
        /// Which shop.
        shop_id: i64,
        /// Whether it is open.
        active: bool,
    },
    /// A good was bought.
    Purchase {
        /// The order.
        order_id: i64,
        /// Who paid; absent for a cash sale.
        user_id: Option<i64>,
        /// Where.
        shop_id: i64,
        /// What.
        good_id: i64,
        /// How many.
        qty: i64,
        /// For how much apiece.
        price: Money,
        /// When.
        at: Timestamp,
        /// How much less there is; absent where the stock is not tracked.
        stock: Option<i64>,
    },
    /// A good came back.
    Return {
        /// The order.
        order_id: i64,
        /// Where it was bought.
        shop_id: i64,
        /// What.
        good_id: i64,
        /// How many.
        qty: i64,
        /// How much was paid back.
        amount: Money,
        /// When.
        at: Timestamp,
        /// How much more there is; absent where the stock is not tracked.
        stock: Option<i64>,
    },
}

/// A good of a shop after some entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// By how much the stock changed; nothing where no entry was about it.
    pub(crate) delta: Option<i64>,
    /// The last price.
    pub(crate) price: Option<Money>,
}

/// Entries in their order, gathered. Stock adds up, the last price and the last status stand.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// By (shop, good).
    pub(crate) goods: BTreeMap<(i64, i64), Change>,
    /// By shop.
    pub(crate) active: BTreeMap<i64, bool>,
    /// Purchases only.
    pub(crate) purchases: Vec<Entry>,
    /// Returns only.
    pub(crate) returns: Vec<Entry>,
}

impl Page {
    /// Gathers entries.
    pub(crate) fn of(entries: impl Iterator<Item = Entry>) -> Self {
        let mut page = Self::default();
        for entry in entries {
            page.add(entry);
        }
        page
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Stock { shop_id, good_id, delta } => self.stock(shop_id, good_id, Some(delta)),
            Entry::Price { shop_id, good_id, price } => {
                self.goods.entry((shop_id, good_id)).or_default().price = Some(price);
            }
            Entry::Status { shop_id, active } => drop(self.active.insert(shop_id, active)),
            Entry::Purchase { shop_id, good_id, stock, .. } => {
                self.stock(shop_id, good_id, stock);
                self.purchases.push(entry);
            }
            Entry::Return { shop_id, good_id, stock, .. } => {
                self.stock(shop_id, good_id, stock);
                self.returns.push(entry);
            }
        }
    }

    fn stock(&mut self, shop_id: i64, good_id: i64, delta: Option<i64>) {
        if let Some(delta) = delta {
            let change = self.goods.entry((shop_id, good_id)).or_default();
            change.delta = Some(change.delta.unwrap_or(0).saturating_add(delta));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_adds_up_and_the_last_price_and_status_stand() {
        let money = Money::from_minor;
        let page = Page::of(
            [
                Entry::Stock { shop_id: 1, good_id: 2, delta: 10 },
                Entry::Price { shop_id: 1, good_id: 2, price: money(100) },
                Entry::Stock { shop_id: 1, good_id: 2, delta: -3 },
                Entry::Price { shop_id: 1, good_id: 2, price: money(90) },
                Entry::Status { shop_id: 1, active: false },
                Entry::Status { shop_id: 1, active: true },
            ]
            .into_iter(),
        );
        assert_eq!(page.goods[&(1, 2)], Change { delta: Some(7), price: Some(money(90)) });
        assert!(page.active[&1]);
    }

    #[test]
    fn what_is_not_tracked_changes_no_stock() {
        let purchase = |stock| Entry::Purchase {
            order_id: 1,
            user_id: None,
            shop_id: 1,
            good_id: 2,
            qty: 3,
            price: Money::from_minor(1),
            at: Timestamp::from_unix_ms(0),
            stock,
        };
        assert!(Page::of([purchase(None)].into_iter()).goods.is_empty());
        let page = Page::of([purchase(Some(-3)), purchase(Some(-3))].into_iter());
        assert_eq!((page.goods[&(1, 2)].delta, page.purchases.len()), (Some(-6), 2));
    }
}
