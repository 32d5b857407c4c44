//! Tests: a plain model of the shops' rules. The generator's output is replayed against it.

use std::collections::{HashMap, HashSet};

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Event, Money, Payload};

/// What a return says: user, shop, good, quantity, refund.
type Back = (Option<i64>, Option<i64>, i64, i64, i64);

/// An order and what is left of it.
pub(super) struct Bought {
    pub(super) user: Option<i64>,
    pub(super) shop: i64,
    good: i64,
    left: i64,
    price: i64,
}

/// The rules of the shops, as short as they can be.
#[derive(Default)]
pub(super) struct Model {
    open: HashMap<i64, bool>,
    stock: HashMap<(i64, i64), i64>,
    price: HashMap<(i64, i64), Money>,
    pub(super) bought: HashMap<i64, Bought>,
    /// Returns that came before their purchase.
    pub(super) early: HashMap<i64, Vec<Back>>,
    pub(super) overtakes: usize,
    keys: HashSet<(u8, i64, Timestamp)>,
}

impl Model {
    fn apply(&mut self, event: &Event<'_>) {
        match &event.payload {
            Payload::ShopStatus { shop_id, active } => {
                assert_ne!(self.open.insert(*shop_id, *active), Some(*active), "a status that changes nothing");
            }
            Payload::Restock { shop_id, good_id, delta_count, reason, sub_event_type } => {
                let first = !self.stock.contains_key(&(*shop_id, *good_id));
                assert_eq!(first, reason == "opening_stock");
                assert_eq!(*delta_count > 0, sub_event_type == "restock");
                self.add_stock(*shop_id, *good_id, *delta_count);
            }
            Payload::PriceChange { shop_id, good_id, new_price, old_price } => {
                assert!(new_price.minor() > 0 && Some(*new_price) != *old_price);
                assert_eq!(self.price.insert((*shop_id, *good_id), *new_price), *old_price);
            }
            Payload::Purchase { order_id, user_id, shop_id, good_id, qty, price_at_order } => {
                assert!(self.keys.insert((1, *order_id, event.at)));
                assert_eq!(self.open.get(shop_id), Some(&true), "a closed shop sells");
                assert_eq!(self.price.get(&(*shop_id, *good_id)), price_at_order.as_ref());
                assert!((1..=5).contains(qty) && user_id.is_none_or(|user| (1..=50).contains(&user)));
                self.add_stock(*shop_id, *good_id, -qty);
                let price = price_at_order.unwrap().minor();
                let bought = Bought { user: *user_id, shop: *shop_id, good: *good_id, left: *qty, price };
                assert!(self.bought.insert(*order_id, bought).is_none(), "an order id used twice");
                for early in self.early.remove(order_id).unwrap_or_default() {
                    self.bring_back(*order_id, early);
                }
            }
            Payload::Return { order_id, user_id, shop_id, good_id, qty, refund_amount } => {
                assert!(self.keys.insert((3, *order_id, event.at)));
                let back = (*user_id, *shop_id, *good_id, *qty, refund_amount.unwrap().minor());
                if self.bought.contains_key(order_id) {
                    self.bring_back(*order_id, back);
                } else {
                    self.overtakes += 1;
                    self.early.entry(*order_id).or_default().push(back);
                }
            }
        }
    }

    /// Returned goods are not counted as stock, so that the order in which returns arrive does not matter.
    fn add_stock(&mut self, shop: i64, good: i64, delta: i64) {
        let stock = self.stock.entry((shop, good)).or_default();
        *stock += delta;
        assert!(*stock >= 0, "shop {shop} has {stock} of {good}");
    }

    fn bring_back(&mut self, order: i64, (user, shop, good, qty, refund): Back) {
        let bought = self.bought.get_mut(&order).unwrap();
        assert!(shop.is_none_or(|shop| shop == bought.shop));
        assert_eq!((user, good, refund), (bought.user, bought.good, qty * bought.price));
        bought.left -= qty;
        assert!(bought.left >= 0, "more came back than was bought");
    }
}

/// Applies the events in this order; panics at the first that breaks a rule.
pub(super) fn replay<'a>(events: impl IntoIterator<Item = &'a Event<'a>>) -> Model {
    let mut model = Model::default();
    for event in events {
        model.apply(event);
    }
    model
}
