//! Rule 3: purchases. The order is new, the shop open, the price known, the money there, and then the stock
//! (docs/rules.md#3-purchase).

use super::money::{self, Funds};
use super::{
    Decision, Effect, LinePlan, LineVerdict, OrderStatus, Result, RuleError, TradeOrder, TradePolicy, TradeState,
};
use crate::pipeline::event::{Money, Payload, Reason, Reject};
use crate::pipeline::trade::{Operation, Outcome};

/// What a purchase says.
#[derive(Debug, Clone, Copy)]
pub struct Purchase {
    order_id: i64,
    user_id: Option<i64>,
    shop_id: i64,
    good_id: i64,
    qty: i64,
    price_at_order: Option<Money>,
}

/// What is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurchaseTerms {
    /// Apiece.
    price: Money,
    /// For all.
    total: Money,
}

impl Purchase {
    /// The purchase that this payload is.
    pub fn of(payload: &Payload<'_>) -> Option<Self> {
        let Payload::Purchase { order_id, user_id, shop_id, good_id, qty, price_at_order } = *payload else {
            return None;
        };
        Some(Self { order_id, user_id, shop_id, good_id, qty, price_at_order })
    }

    /// Which order.
    pub fn order_id(&self) -> i64 {
        self.order_id
    }

    /// Why the order cannot be bought (again), from what became of it before.
    ///
    /// # Errors
    /// Whatever the state fails with.
    pub(crate) fn refused_before(&self, state: &mut impl TradeState) -> Result<Option<Reject>> {
        let order_id = self.order_id;
        Ok(match state.order(order_id)?.map(|order| order.standing) {
            None | Some(OrderStatus::Rejected) => None,
            Some(OrderStatus::Accepted) => Some(Reject::new(
                Reason::OrderConflict,
                format!("order {order_id} is bought already, under another key"),
            )),
            // The bank has an answer under the order's key; a debit that was given back must not count as paid.
            Some(OrderStatus::Refused(reason)) => {
                let detail = format!("order {order_id} was refused for this before; sell it under a new order_id");
                Some(Reject::new(reason, detail))
            }
        })
    }

    /// What is to be paid for it, or why it cannot be bought now.
    ///
    /// # Errors
    /// Whatever the state fails with.
    pub fn terms(&self, state: &mut impl TradeState) -> Result<std::result::Result<PurchaseTerms, Reject>> {
        let Self { shop_id, good_id, qty, .. } = *self;
        if !state.is_open(shop_id)? {
            return Ok(Err(Reject::new(Reason::ShopClosed, format!("shop {shop_id} is closed"))));
        }
        let price = match self.price_at_order {
            Some(price) => price,
            None => match state.price(shop_id, good_id)? {
                Some(price) => price,
                None => {
                    let detail =
                        format!("there is no price_at_order, and shop {shop_id} has no price for good {good_id}");
                    return Ok(Err(Reject::new(Reason::UnknownPrice, detail)));
                }
            },
        };
        if price.minor() < 0 {
            return Ok(Err(Reject::new(Reason::InvalidPrice, format!("price_at_order is {price}, the least is 0"))));
        }
        let Some(total) = money::times(price, qty) else {
            let detail = format!("{qty} times {price} is more than an account can hold");
            return Ok(Err(Reject::new(Reason::InvalidPrice, detail)));
        };
        Ok(Ok(PurchaseTerms { price, total }))
    }

    /// What is asked of the bank; nothing for a cash sale or a gift.
    ///
    /// # Errors
    /// As for all of [`money`].
    pub fn debit(&self, terms: &PurchaseTerms) -> Result<Option<Operation>> {
        money::debit(self.order_id, self.shop_id, self.user_id, terms.total)
    }

    /// Decides it, with the bank's answer.
    ///
    /// # Errors
    /// Whatever the state fails with; [`RuleError::Logic`] if the bank had to be asked and was not.
    pub fn settle(
        &self,
        terms: &std::result::Result<PurchaseTerms, Reject>,
        plan: &LinePlan,
        funds: Funds,
        policy: TradePolicy,
        state: &mut impl TradeState,
    ) -> Result<LineVerdict> {
        if plan.is_copy
            && let Some(reject) = self.refused_before(state)?
        {
            return Ok(Decision::Reject(reject).into());
        }
        let terms = match terms {
            Ok(terms) => *terms,
            Err(reject) => return Ok(self.reject(reject.clone(), Money::from_minor(0), false, state)),
        };
        let is_paid = match funds {
            Funds::NotAsked if self.debit(&terms)?.is_some() => {
                return Err(RuleError::Logic(format!("order {} was to be settled before it was paid", self.order_id)));
            }
            Funds::NotAsked => false,
            Funds::Answered(Outcome::Applied) => true,
            Funds::Answered(Outcome::InsufficientFunds) => {
                let user = self.user_id.unwrap_or_default();
                let detail = format!("user {user} has not the {} that order {} costs", terms.total, self.order_id);
                let reject = Reject::new(Reason::InsufficientFunds, detail);
                return Ok(self.reject(reject, terms.price, true, state));
            }
            Funds::Conflict => {
                let detail = format!("order {} was paid before by another user or with another amount", self.order_id);
                return Ok(self.reject(Reject::new(Reason::OrderConflict, detail), terms.price, true, state));
            }
        };
        let left = match self.take_off(policy, state)? {
            Ok(left) => left,
            Err(reject) => {
                let mut verdict = self.reject(reject, terms.price, is_paid, state);
                if is_paid {
                    verdict.credit = money::reversal(self.order_id, self.shop_id, self.user_id, terms.total)?;
                }
                return Ok(verdict);
            }
        };
        if let Some(count) = left {
            state.set_stock(self.shop_id, self.good_id, count);
        }
        state.set_order(self.order_id, self.order(terms.price, OrderStatus::Accepted));
        let effect = Effect { price: Some(terms.price), stock: left.map(|_| -self.qty), ..Effect::default() };
        Ok(Decision::Accept(effect).into())
    }

    /// What is left in stock, where that is counted.
    fn take_off(
        &self,
        policy: TradePolicy,
        state: &mut impl TradeState,
    ) -> Result<std::result::Result<Option<i64>, Reject>> {
        let Self { shop_id, good_id, qty, .. } = *self;
        let detail = match state.stock(shop_id, good_id)? {
            None if !policy.untracked_is_none => return Ok(Ok(None)),
            None => format!("good {good_id} was never delivered to shop {shop_id}"),
            Some(count) if count >= qty => return Ok(Ok(Some(count - qty))),
            Some(count) => format!("shop {shop_id} has {count} of good {good_id}, order {} takes {qty}", self.order_id),
        };
        Ok(Err(Reject::new(Reason::InsufficientStock, detail)))
    }

    /// Refuses it: for good if money was asked for.
    fn reject(&self, reject: Reject, price: Money, for_good: bool, state: &mut impl TradeState) -> LineVerdict {
        let standing = if for_good { OrderStatus::Refused(reject.reason) } else { OrderStatus::Rejected };
        state.set_order(self.order_id, self.order(price, standing));
        Decision::Reject(reject).into()
    }

    fn order(&self, price: Money, standing: OrderStatus) -> TradeOrder {
        let Self { user_id, shop_id, good_id, qty, .. } = *self;
        TradeOrder { user_id, shop_id, good_id, qty, price, returned: 0, standing }
    }
}
