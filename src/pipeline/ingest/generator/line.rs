//! Writes an event as a line, its keys in the order of the contract and absent fields left out.

use std::fmt::Display;

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Money, Payload};

/// The line of an event, without line feed.
pub(super) fn event(payload: &Payload<'_>, saved_at: Timestamp, timestamp: Timestamp) -> String {
    envelope(payload.kind().number(), &body(payload), saved_at, timestamp)
}

/// A line put together from its parts, whether they make sense or not.
pub(super) fn envelope(
    event_type: impl Display,
    payload: &str,
    saved_at: impl Display,
    timestamp: impl Display,
) -> String {
    format!(
        r#"{{"event_type":{event_type},"payload":{{{payload}}},"saved_at":"{saved_at}","timestamp":"{timestamp}"}}"#
    )
}

/// The payload's fields. Texts are not escaped: they are the simulation's own constants.
fn body(payload: &Payload<'_>) -> String {
    match payload {
        Payload::Restock { shop_id, good_id, delta_count, reason, sub_event_type } => format!(
            r#""shop_id":{shop_id},"good_id":{good_id},"delta_count":{delta_count},"reason":"{reason}","sub_event_type":"{sub_event_type}""#
        ),
        Payload::Purchase { order_id, user_id, shop_id, good_id, qty, price_at_order } => {
            let user = before("user_id", user_id.as_ref());
            let price = after("price_at_order", *price_at_order);
            format!(r#""order_id":{order_id},{user}"shop_id":{shop_id},"good_id":{good_id},"qty":{qty}{price}"#)
        }
        Payload::PriceChange { shop_id, good_id, new_price, old_price } => {
            let (new, old) = (money(*new_price), after("old_price", *old_price));
            format!(r#""shop_id":{shop_id},"good_id":{good_id},"new_price":{new}{old}"#)
        }
        Payload::Return { order_id, user_id, shop_id, good_id, qty, refund_amount } => {
            let (user, shop) = (before("user_id", user_id.as_ref()), before("shop_id", shop_id.as_ref()));
            let refund = after("refund_amount", *refund_amount);
            format!(r#""order_id":{order_id},{user}{shop}"good_id":{good_id},"qty":{qty}{refund}"#)
        }
        Payload::ShopStatus { shop_id, active } => format!(r#""shop_id":{shop_id},"active":{active}"#),
    }
}

/// An optional field that others follow.
fn before(name: &str, value: Option<&i64>) -> String {
    value.map(|value| format!(r#""{name}":{value},"#)).unwrap_or_default()
}

/// An optional amount that ends the payload.
fn after(name: &str, value: Option<Money>) -> String {
    value.map(|value| format!(r#","{name}":{}"#, money(value))).unwrap_or_default()
}

/// As a JSON writer of the shops does it: as many decimals as the amount needs.
fn money(amount: Money) -> String {
    let text = amount.to_string();
    // There are always two decimals, so no zero of the whole part is cut.
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::Event;

    fn written(payload: &Payload<'_>) -> String {
        let at = Timestamp::parse("2025-10-15 17:41:40.021").unwrap();
        let line = event(payload, at.plus_ms(-3), at);
        assert_eq!(Event::parse(line.as_bytes()).unwrap().payload, *payload);
        let (head, tail) =
            (r#"{"event_type":"#, r#","saved_at":"2025-10-15 17:41:40.018","timestamp":"2025-10-15 17:41:40.021"}"#);
        line.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)).unwrap().to_owned()
    }

    #[test]
    fn keys_stand_in_the_order_of_the_contract() {
        let restock = Payload::Restock {
            shop_id: 1,
            good_id: 2,
            delta_count: -3,
            reason: "stocktake".into(),
            sub_event_type: "loss".into(),
        };
        assert_eq!(
            written(&restock),
            r#"0,"payload":{"shop_id":1,"good_id":2,"delta_count":-3,"reason":"stocktake","sub_event_type":"loss"}"#
        );
        let price = Payload::PriceChange {
            shop_id: 1,
            good_id: 2,
            new_price: Money::from_minor(1999),
            old_price: Some(Money::from_minor(2100)),
        };
        assert_eq!(written(&price), r#"2,"payload":{"shop_id":1,"good_id":2,"new_price":19.99,"old_price":21}"#);
        let closed = Payload::ShopStatus { shop_id: 1, active: false };
        assert_eq!(written(&closed), r#"4,"payload":{"shop_id":1,"active":false}"#);
    }

    #[test]
    fn absent_fields_are_left_out() {
        let purchase = |user_id, price_at_order| {
            written(&Payload::Purchase { order_id: 9, user_id, shop_id: 1, good_id: 2, qty: 3, price_at_order })
        };
        assert_eq!(
            purchase(Some(7), Some(Money::from_minor(250))),
            r#"1,"payload":{"order_id":9,"user_id":7,"shop_id":1,"good_id":2,"qty":3,"price_at_order":2.5}"#
        );
        assert_eq!(purchase(None, None), r#"1,"payload":{"order_id":9,"shop_id":1,"good_id":2,"qty":3}"#);
        let returned = |user_id, shop_id, refund_amount| {
            written(&Payload::Return { order_id: 9, user_id, shop_id, good_id: 2, qty: 3, refund_amount })
        };
        assert_eq!(
            returned(Some(7), Some(1), Some(Money::from_minor(750))),
            r#"3,"payload":{"order_id":9,"user_id":7,"shop_id":1,"good_id":2,"qty":3,"refund_amount":7.5}"#
        );
        assert_eq!(returned(None, None, None), r#"3,"payload":{"order_id":9,"good_id":2,"qty":3}"#);
    }

    #[test]
    fn money_has_the_decimals_it_needs() {
        for (minor, text) in [(0, "0"), (5, "0.05"), (10, "0.1"), (10_000, "100"), (19_998, "199.98")] {
            assert_eq!(money(Money::from_minor(minor)), text);
        }
    }
}
