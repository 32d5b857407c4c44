//! What is asked of the bank, and under which keys. The bank keeps the first outcome of every key, refusals too, so that
//! a task that is done again is answered as before.
//!
//! - `purchase:<order_id>:<shop_id>`: the debit of a purchase. With the shop, because two shards may meet the same
//!   order number: with one key for both, the second purchase would be taken for a repetition of the first, and be
//!   made without being paid.
//! - `reversal:<order_id>:<shop_id>`: gives back the debit of a purchase that then failed for want of stock.
//! - `return:<order_id>:<timestamp>:<file>:<line>`: a refund. With the line's place, because two returns of one order
//!   may happen at the same moment under keys of their own, and each has to be paid.

use super::{LinePlace, Result, RuleError};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Money, Payload};
use crate::pipeline::trade::{Amount, Operation, OperationKey, OperationKind, Outcome, UserId};

/// How the keys of debits for purchases begin.
pub(crate) const PURCHASE: &str = "purchase:";
/// How the keys of credits begin that give such a debit back.
pub(crate) const REVERSAL: &str = "reversal:";

/// What the bank said to the debit of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Funds {
    /// There was no debit.
    NotAsked,
    /// What came of it.
    Answered(Outcome),
    /// The key stands for something else already.
    Conflict,
}

/// The debit of a purchase; none where nothing is to be paid.
///
/// # Errors
/// [`RuleError::Logic`] for what no bank can be asked, as for all of these: the shape of events leaves no room for it.
pub fn debit(order_id: i64, shop_id: i64, user_id: Option<i64>, amount: Money) -> Result<Option<Operation>> {
    operation(user_id, OperationKind::Debit, amount, || {
        (format!("{PURCHASE}{order_id}:{shop_id}"), format!("order {order_id} in shop {shop_id}"))
    })
}

/// Gives back the debit of a purchase.
///
/// # Errors
/// As for [`debit`].
pub fn reversal(order_id: i64, shop_id: i64, user_id: Option<i64>, amount: Money) -> Result<Option<Operation>> {
    operation(user_id, OperationKind::Credit, amount, || {
        (format!("{REVERSAL}{order_id}:{shop_id}"), format!("order {order_id} in shop {shop_id} was out of stock"))
    })
}

/// The refund of a return that stood at this place; none where nothing is given back.
///
/// # Errors
/// As for [`debit`].
pub fn refund(
    order_id: i64,
    at: Timestamp,
    place: LinePlace<'_>,
    user_id: Option<i64>,
    amount: Money,
) -> Result<Option<Operation>> {
    let LinePlace { file, line } = place;
    operation(user_id, OperationKind::Credit, amount, || {
        (format!("return:{order_id}:{at}:{file}:{line}"), format!("return of order {order_id}"))
    })
}

/// The bank moves amounts above zero only. Key and reason are made only for a user who pays.
fn operation(
    user_id: Option<i64>,
    kind: OperationKind,
    amount: Money,
    name: impl FnOnce() -> (String, String),
) -> Result<Option<Operation>> {
    let Some(user_id) = user_id.filter(|_| amount.minor() > 0) else {
        return Ok(None);
    };
    let (key, reason) = name();
    let cannot = || RuleError::Logic(format!("no bank can be asked for '{key}': user {user_id}, {amount}"));
    let user = UserId::new(user_id).ok_or_else(cannot)?;
    let amount = Amount::from_minor(amount.minor()).ok_or_else(cannot)?;
    let key = OperationKey::new(key.as_str()).ok_or_else(cannot)?;
    Ok(Some(Operation { key, user, kind, amount, reason }))
}

/// Whether an account is asked for this purchase: for a user, and not for nothing. Where the price is the shop's, it is
/// taken for one above zero.
pub(crate) fn is_paid(payload: &Payload<'_>) -> bool {
    match payload {
        Payload::Purchase { user_id, price_at_order, .. } => {
            user_id.is_some() && price_at_order.is_none_or(|price| price.minor() > 0)
        }
        _ => false,
    }
}

/// So many times this price, if an account can hold that.
pub fn times(price: Money, qty: i64) -> Option<Money> {
    price.minor().checked_mul(qty).map(Money::from_minor).filter(|total| *total <= Money::MAX)
}
