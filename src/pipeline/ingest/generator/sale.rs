//! Sales: what was bought, what may still be returned, and the purchases that their returns overtake.

use std::collections::VecDeque;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Money, Payload};

/// Sales that customers may still bring back; the oldest are forgotten, so that memory stays bounded.
const RETURNABLE_MAX: usize = 4096;

/// One purchase.
pub(super) struct Sale {
    pub(super) order_id: i64,
    pub(super) user_id: Option<i64>,
    pub(super) shop_id: i64,
    pub(super) good_id: i64,
    pub(super) qty: i64,
    pub(super) price: Money,
    pub(super) at: Timestamp,
    /// How many were brought back.
    pub(super) returned: i64,
    pub(super) last_return: Option<Timestamp>,
}

/// A purchase whose line comes after that of its return.
pub(super) struct Late {
    pub(super) sale: Sale,
    /// The first step at which the line may be written.
    pub(super) due_step: u64,
    /// The first call (file) in which it may be written.
    pub(super) due_call: u64,
}

/// The sales that may still be returned.
#[derive(Default)]
pub(super) struct Returnable(VecDeque<Sale>);

impl Sale {
    /// The event of the purchase.
    pub(super) fn purchase(&self) -> Payload<'static> {
        Payload::Purchase {
            order_id: self.order_id,
            user_id: self.user_id,
            shop_id: self.shop_id,
            good_id: self.good_id,
            qty: self.qty,
            price_at_order: Some(self.price),
        }
    }

    /// Brings some of it back. A return has no key but its order and moment, so that two at one moment would be one:
    /// then, and before the purchase, `None`.
    pub(super) fn bring_back(&mut self, rng: &mut ChaCha8Rng, at: Timestamp) -> Option<Payload<'static>> {
        if at < self.at || self.last_return.is_some_and(|last| at <= last) {
            return None;
        }
        let qty = rng.random_range(1..=self.qty - self.returned);
        self.returned += qty;
        self.last_return = Some(at);
        Some(Payload::Return {
            order_id: self.order_id,
            user_id: self.user_id,
            shop_id: rng.random_ratio(1, 6).then_some(self.shop_id),
            good_id: self.good_id,
            qty,
            refund_amount: Some(Money::from_minor(qty * self.price.minor())),
        })
    }

    fn is_all_back(&self) -> bool {
        self.returned == self.qty
    }
}

impl Returnable {
    /// Takes up a sale whose purchase was written.
    pub(super) fn add(&mut self, sale: Sale) {
        if sale.is_all_back() {
            return;
        }
        if self.0.len() == RETURNABLE_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sale);
    }

    /// A return of one of the sales, if there is one to return.
    pub(super) fn bring_back(&mut self, rng: &mut ChaCha8Rng, at: Timestamp) -> Option<Payload<'static>> {
        if self.0.is_empty() {
            return None;
        }
        let index = rng.random_range(0..self.0.len());
        let sale = self.0.get_mut(index)?;
        let payload = sale.bring_back(rng, at)?;
        if sale.is_all_back() {
            self.0.swap_remove_back(index);
        }
        Some(payload)
    }
}
