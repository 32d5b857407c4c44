//! Rule 5: stock and prices (docs/rules.md#5-stock-prices-shops).

use super::{Decision, Effect, Result, TradeState};
use crate::pipeline::event::{Money, Reason, Reject};

/// Changes the count of a good. The first time begins with none of it: from then on the good is counted.
///
/// # Errors
/// Whatever the state fails with.
pub fn restock(shop_id: i64, good_id: i64, delta: i64, state: &mut impl TradeState) -> Result<Decision> {
    let before = state.stock(shop_id, good_id)?.unwrap_or(0);
    let reject = match before.checked_add(delta) {
        Some(count) if count >= 0 => {
            state.set_stock(shop_id, good_id, count);
            return Ok(Decision::Accept(Effect { stock: Some(delta), ..Effect::default() }));
        }
        Some(_) => {
            let detail = format!("shop {shop_id} has {before} of good {good_id}, delta_count is {delta}");
            Reject::new(Reason::NegativeStock, detail)
        }
        // Out of range, like any other number that is too large.
        None => Reject::new(Reason::Malformed, format!("with delta_count {delta} the stock is over 64 bits")),
    };
    Ok(Decision::Reject(reject))
}

/// Changes the price of a good.
pub(crate) fn change_price(shop_id: i64, good_id: i64, price: Money, state: &mut impl TradeState) -> Decision {
    if price.minor() < 0 {
        let detail = format!("new_price is {price}, the least is 0");
        return Decision::Reject(Reject::new(Reason::InvalidPrice, detail));
    }
    state.set_price(shop_id, good_id, price);
    Decision::Accept(Effect::default())
}
