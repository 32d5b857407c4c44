//! What is asked of the bank, and under which keys. The bank keeps the first outcome of every key, refusals too, so that
//! a task that is done again is answered as before.
//!
//! - `purchase:<order_id>:<shop_id>`: the debit of a purchase. With the shop, because two shards may meet the same
//!   order number: with one key for both, the second purchase would be taken for a repetition of the first, and be
//!   made without being paid.
//! - `reversal:<order_id>:<shop_id>`: gives back the debit of a purchase that then failed for want of stock.
//! - `return:<order_id>:<timestamp>:<file>:<line>`: a refund. With the line's place, because two returns of one order
//!   may happen at the same moment under keys of their own, and each has to be paid.

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::Money;

use super::Place;

/// How the keys of debits for purchases begin.
pub const PURCHASE: &str = "purchase:";
/// How the keys of credits begin that give such a debit back.
pub const REVERSAL: &str = "reversal:";

/// Which way money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Out of the account, if there is enough.
    Debit,
    /// Into the account.
    Credit,
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name, for ever.
    pub key: String,
    /// Whose account.
    pub user_id: i64,
    /// Which way.
    pub direction: Direction,
    /// How much, above zero.
    pub amount: Money,
    /// Why, for people.
    pub reason: String,
}

/// What the bank said to the debit of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Funds {
    /// There was no debit.
    NotAsked,
    /// It is paid.
    Applied,
    /// There is not enough in the account.
    Insufficient,
    /// The key stands for something else already.
    Conflict,
}

/// The debit of a purchase; none where nothing is to be paid.
pub fn debit(order_id: i64, shop_id: i64, user_id: Option<i64>, amount: Money) -> Option<Operation> {
    operation(user_id, Direction::Debit, amount, || {
        (format!("{PURCHASE}{order_id}:{shop_id}"), format!("order {order_id} in shop {shop_id}"))
    })
}

/// Gives back the debit of a purchase.
pub fn reversal(order_id: i64, shop_id: i64, user_id: Option<i64>, amount: Money) -> Option<Operation> {
    operation(user_id, Direction::Credit, amount, || {
        (format!("{REVERSAL}{order_id}:{shop_id}"), format!("order {order_id} in shop {shop_id} was out of stock"))
    })
}

/// The refund of a return that stood at this place; none where nothing is given back.
pub fn refund(
    order_id: i64,
    at: Timestamp,
    place: Place<'_>,
    user_id: Option<i64>,
    amount: Money,
) -> Option<Operation> {
    let Place { file, line } = place;
    operation(user_id, Direction::Credit, amount, || {
        (format!("return:{order_id}:{at}:{file}:{line}"), format!("return of order {order_id}"))
    })
}

/// The bank moves amounts above zero only. Key and reason are made only for a user who pays.
fn operation(
    user_id: Option<i64>,
    direction: Direction,
    amount: Money,
    name: impl FnOnce() -> (String, String),
) -> Option<Operation> {
    let user_id = user_id.filter(|_| amount.minor() > 0)?;
    let (key, reason) = name();
    Some(Operation { key, user_id, direction, amount, reason })
}

/// So many times this price, if an account can hold that.
pub fn times(price: Money, qty: i64) -> Option<Money> {
    price.minor().checked_mul(qty).map(Money::from_minor).filter(|total| *total <= Money::MAX)
}
