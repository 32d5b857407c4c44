//! Rule 4: returns, of purchases that were made (docs/rules.md#4-return).
//!
//! The goods go back to the stock item that they were bought from, whatever shop the return names. It is this
//! shard's. The money goes back to who paid; for a cash sale to the user that the return names, if it names one.

use super::{Decision, Effect, LinePlace, LineVerdict, OrderStatus, Result, TradeOrder, TradeState, money};
use crate::pipeline::event::{Event, Money, Payload, Reason, Reject};

/// Decides a return; everything else is none and is held.
///
/// # Errors
/// Whatever the state fails with.
pub fn settle(event: &Event<'_>, place: LinePlace<'_>, state: &mut impl TradeState) -> Result<LineVerdict> {
    let Payload::Return { order_id, user_id, good_id, qty, refund_amount, .. } = event.payload else {
        return Ok(Decision::Hold.into());
    };
    let Some(order) = state.order(order_id)? else {
        return Ok(Decision::Hold.into());
    };
    let refund = match check(order_id, &order, user_id, good_id, qty, refund_amount) {
        Ok(refund) => refund,
        Err(reject) => return Ok(Decision::Reject(reject).into()),
    };
    let count = match state.stock(order.shop_id, good_id)? {
        None => None,
        Some(count) => match count.checked_add(qty) {
            Some(count) => Some(count),
            None => {
                let detail = format!("with {qty} more, the stock of good {good_id} is over 64 bits");
                return Ok(Decision::Reject(Reject::new(Reason::Malformed, detail)).into());
            }
        },
    };
    if let Some(count) = count {
        state.set_stock(order.shop_id, good_id, count);
    }
    // The sum is at most what was bought: that was checked.
    state.set_order(order_id, TradeOrder { returned: order.returned + qty, ..order });
    let effect = Effect { price: None, stock: count.map(|_| qty), refund: Some(refund), shop: Some(order.shop_id) };
    let credit = money::refund(order_id, event.at, place, order.user_id.or(user_id), refund)?;
    Ok(LineVerdict { decision: Decision::Accept(effect), credit })
}

/// How much is given back, or why nothing is.
fn check(
    order_id: i64,
    order: &TradeOrder,
    user_id: Option<i64>,
    good_id: i64,
    qty: i64,
    refund_amount: Option<Money>,
) -> std::result::Result<Money, Reject> {
    if order.standing != OrderStatus::Accepted {
        let detail = format!("the purchase of order {order_id} was rejected: there is nothing to give back");
        return Err(Reject::new(Reason::PurchaseRejected, detail));
    }
    let mismatch = |what: &str, bought: i64, returned: i64| {
        let detail = format!("order {order_id} was of {what} {bought}, the return is of {what} {returned}");
        Err(Reject::new(Reason::ReturnMismatch, detail))
    };
    if good_id != order.good_id {
        return mismatch("good", order.good_id, good_id);
    }
    if let (Some(bought), Some(returned)) = (order.user_id, user_id)
        && bought != returned
    {
        return mismatch("user", bought, returned);
    }
    let (bought, before) = (order.qty, order.returned);
    if qty > bought - before {
        let detail = format!("of the {bought} of order {order_id}, {before} came back before; {qty} are too many");
        return Err(Reject::new(Reason::ReturnExceedsPurchase, detail));
    }
    // At most what all of it cost, which was checked when it was bought.
    let paid = money::times(order.price, qty).unwrap_or(Money::from_minor(0));
    let refund = refund_amount.unwrap_or(paid);
    if refund > paid {
        let detail = format!("{qty} of order {order_id} cost {paid}, the refund_amount is {refund}");
        return Err(Reject::new(Reason::RefundExceedsPayment, detail));
    }
    Ok(refund)
}
