//! The first rule: shape. Known type, required fields, types, ranges, a valid timestamp (docs/rules.md#1-shape).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::raw::{RawEvent, RawPayload, Scalar};
use super::reject::{Reason, Reject};
use super::{Kind, Money};
use crate::base::timestamp::Timestamp;

/// Bytes of an idempotency key.
pub const KEY_BYTES_MAX: usize = 255;

/// An event whose shape is right.
#[derive(Debug, PartialEq)]
pub struct Event<'a> {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub payload: Payload<'a>,
    /// The key that its sender gave it.
    pub idempotency_key: Option<Cow<'a, str>>,
    /// The payload's text, byte for byte.
    pub raw_payload: &'a str,
    /// See [`RawPayload::fingerprint`].
    pub fingerprint: [u8; 16],
}

/// The typed payloads (docs/contracts.md, 1).
#[derive(Debug, PartialEq)]
pub enum Payload<'a> {
    /// Type 0.
    Restock {
        /// Whose stock.
        shop_id: i64,
        /// Of what.
        good_id: i64,
        /// How much more (or less).
        delta_count: i64,
        /// In the sender's words.
        reason: Cow<'a, str>,
        /// `restock`, `defect` or `loss`.
        sub_event_type: Cow<'a, str>,
    },
    /// Type 1.
    Purchase {
        /// The order.
        order_id: i64,
        /// Who pays; absent for a cash sale.
        user_id: Option<i64>,
        /// Where.
        shop_id: i64,
        /// What.
        good_id: i64,
        /// How many, at least 1.
        qty: i64,
        /// For how much apiece, if not for the shop's price.
        price_at_order: Option<Money>,
    },
    /// Type 2.
    PriceChange {
        /// Where.
        shop_id: i64,
        /// Of what.
        good_id: i64,
        /// From now on.
        new_price: Money,
        /// Until now.
        old_price: Option<Money>,
    },
    /// Type 3.
    Return {
        /// Of which purchase.
        order_id: i64,
        /// Who gets the money back, if named.
        user_id: Option<i64>,
        /// Where, if named.
        shop_id: Option<i64>,
        /// What.
        good_id: i64,
        /// How many, at least 1.
        qty: i64,
        /// How much, if named.
        refund_amount: Option<Money>,
    },
    /// Type 4.
    ShopStatus {
        /// Which shop.
        shop_id: i64,
        /// Open from now on, or closed.
        active: bool,
    },
}

impl Payload<'_> {
    /// The kind of this payload.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Restock { .. } => Kind::Restock,
            Self::Purchase { .. } => Kind::Purchase,
            Self::PriceChange { .. } => Kind::PriceChange,
            Self::Return { .. } => Kind::Return,
            Self::ShopStatus { .. } => Kind::ShopStatus,
        }
    }

    /// The shop, where one is named.
    pub fn shop_id(&self) -> Option<i64> {
        match *self {
            Self::Restock { shop_id, .. }
            | Self::Purchase { shop_id, .. }
            | Self::PriceChange { shop_id, .. }
            | Self::ShopStatus { shop_id, .. } => Some(shop_id),
            Self::Return { shop_id, .. } => shop_id,
        }
    }

    /// The user, where one is named.
    pub fn user_id(&self) -> Option<i64> {
        match *self {
            Self::Purchase { user_id, .. } | Self::Return { user_id, .. } => user_id,
            _ => None,
        }
    }

    /// The order, for purchases and returns.
    pub fn order_id(&self) -> Option<i64> {
        match *self {
            Self::Purchase { order_id, .. } | Self::Return { order_id, .. } => Some(order_id),
            _ => None,
        }
    }
}

impl<'a> Event<'a> {
    /// Reads one line without its line feed and checks its shape.
    ///
    /// ```
    /// use shopctl::pipeline::event::{Event, Kind};
    ///
    /// let line = br#"{"event_type":1,"payload":{"order_id":1,"shop_id":7,"good_id":3,"qty":2,"price_at_order":9.99},
    ///     "timestamp":"2025-01-01 08:00:00.000"}"#;
    /// let event = Event::parse(line).unwrap();
    /// assert_eq!((event.payload.kind(), event.payload.shop_id()), (Kind::Purchase, Some(7)));
    ///
    /// let reject = Event::parse(br#"{"event_type":1,"payload":{}}"#).unwrap_err();
    /// assert_eq!(reject.reason.code(), "malformed");
    /// ```
    ///
    /// # Errors
    /// A [`Reject`]: see [`RawEvent::parse`] for what is no JSON, else `malformed` with the field that is wrong.
    pub fn parse(line: &'a [u8]) -> Result<Self, Reject> {
        let top = RawEvent::<&'a RawValue>::parse(line)?;
        let raw_payload = top.payload.ok_or_else(|| malformed("payload is missing"))?;
        let payload: RawPayload<'a> = serde_json::from_str(raw_payload.get()).map_err(|e| malformed(e.to_string()))?;
        let (kind, at) = head(&top.event_type, &top.timestamp)?;
        let (fingerprint, is_nested) = (payload.fingerprint(kind.number()), payload.is_nested());
        let (idempotency_key, raw_payload) = (idempotency_key(&payload)?, raw_payload.get());
        let event = Self { at, fingerprint, idempotency_key, payload: typed(kind, payload)?, raw_payload };
        if is_nested {
            // A field that this kind does not use may be nested as deep as a payload may be. The line as a whole may not.
            RawEvent::<RawPayload<'_>>::parse(line)?;
        }
        Ok(event)
    }
}

/// Checks the shape of a line that was read in one pass.
///
/// # Errors
/// As [`Event::parse`] for what is JSON.
pub fn check(top: RawEvent<'_, RawPayload<'_>>) -> Result<(), Reject> {
    let payload = top.payload.ok_or_else(|| malformed("payload is missing"))?;
    let (kind, _) = head(&top.event_type, &top.timestamp)?;
    idempotency_key(&payload)?;
    typed(kind, payload).map(drop)
}

fn head(event_type: &Scalar<'_>, timestamp: &Scalar<'_>) -> Result<(Kind, Timestamp), Reject> {
    let number = required_int("event_type", event_type)?;
    let kind = Kind::from_number(number).ok_or_else(|| malformed(format!("event_type {number} is unknown")))?;
    Ok((kind, moment("timestamp", timestamp)?))
}

fn typed<'a>(kind: Kind, p: RawPayload<'a>) -> Result<Payload<'a>, Reject> {
    Ok(match kind {
        Kind::Restock => Payload::Restock {
            shop_id: required_int("shop_id", &p.shop_id)?,
            good_id: id("good_id", &p.good_id)?,
            delta_count: required_int("delta_count", &p.delta_count)?,
            reason: text("reason", p.reason)?,
            sub_event_type: sub_event_type(p.sub_event_type)?,
        },
        Kind::Purchase => Payload::Purchase {
            order_id: id("order_id", &p.order_id)?,
            user_id: optional("user_id", &p.user_id, id)?,
            shop_id: required_int("shop_id", &p.shop_id)?,
            good_id: id("good_id", &p.good_id)?,
            qty: id("qty", &p.qty)?,
            price_at_order: money("price_at_order", p.price_at_order)?,
        },
        Kind::PriceChange => Payload::PriceChange {
            shop_id: required_int("shop_id", &p.shop_id)?,
            good_id: id("good_id", &p.good_id)?,
            new_price: money("new_price", p.new_price)?.ok_or_else(|| malformed("new_price is missing"))?,
            old_price: money("old_price", p.old_price)?,
        },
        Kind::Return => Payload::Return {
            order_id: id("order_id", &p.order_id)?,
            user_id: optional("user_id", &p.user_id, id)?,
            shop_id: optional("shop_id", &p.shop_id, required_int)?,
            good_id: id("good_id", &p.good_id)?,
            qty: id("qty", &p.qty)?,
            refund_amount: refund_amount(p.refund_amount)?,
        },
        Kind::ShopStatus => {
            Payload::ShopStatus { shop_id: required_int("shop_id", &p.shop_id)?, active: flag("active", &p.active)? }
        }
    })
}

fn malformed(detail: impl Into<String>) -> Reject {
    Reject::new(Reason::Malformed, detail)
}

fn wrong(name: &str, value: &Scalar<'_>, expected: &str) -> Reject {
    malformed(format!("{name} is {}, not {expected}", value.what()))
}

fn required_int(name: &str, value: &Scalar<'_>) -> Result<i64, Reject> {
    match value {
        Scalar::Int(value) => Ok(*value),
        Scalar::Absent => Err(malformed(format!("{name} is missing"))),
        other => Err(wrong(name, other, "a 64-bit integer")),
    }
}

/// Ids and quantities: integers from 1.
fn id(name: &str, value: &Scalar<'_>) -> Result<i64, Reject> {
    match required_int(name, value)? {
        value if value >= 1 => Ok(value),
        value => Err(malformed(format!("{name} is {value}, the least is 1"))),
    }
}

fn optional<'a, T>(
    name: &str,
    value: &Scalar<'a>,
    read: impl Fn(&str, &Scalar<'a>) -> Result<T, Reject>,
) -> Result<Option<T>, Reject> {
    match value {
        Scalar::Absent | Scalar::Null => Ok(None),
        value => read(name, value).map(Some),
    }
}

fn flag(name: &str, value: &Scalar<'_>) -> Result<bool, Reject> {
    match value {
        Scalar::Bool(value) => Ok(*value),
        Scalar::Absent => Err(malformed(format!("{name} is missing"))),
        other => Err(wrong(name, other, "true or false")),
    }
}

fn text<'a>(name: &str, value: Scalar<'a>) -> Result<Cow<'a, str>, Reject> {
    match value {
        Scalar::Text(text) => Ok(text),
        Scalar::Absent => Err(malformed(format!("{name} is missing"))),
        other => Err(wrong(name, &other, "a string")),
    }
}

fn sub_event_type(value: Scalar<'_>) -> Result<Cow<'_, str>, Reject> {
    let text = text("sub_event_type", value)?;
    if matches!(text.as_ref(), "restock" | "defect" | "loss") {
        return Ok(text);
    }
    Err(malformed("sub_event_type is none of restock, defect, loss"))
}

fn moment(name: &str, value: &Scalar<'_>) -> Result<Timestamp, Reject> {
    let Scalar::Text(text) = value else {
        return Err(wrong(name, value, "a string"));
    };
    Timestamp::read(text).map_err(|e| malformed(format!("{name} is {e}")))
}

fn money(name: &str, text: Option<&str>) -> Result<Option<Money>, Reject> {
    match text {
        None | Some("null") => Ok(None),
        Some(text) => Money::parse(text).map(Some).map_err(|e| malformed(format!("{name} is {e}"))),
    }
}

/// What is given back is never taken: that would be a debit by another name.
fn refund_amount(text: Option<&str>) -> Result<Option<Money>, Reject> {
    match money("refund_amount", text)? {
        Some(amount) if amount.minor() < 0 => Err(malformed(format!("refund_amount is {amount}, the least is 0"))),
        amount => Ok(amount),
    }
}

fn idempotency_key<'a>(payload: &RawPayload<'a>) -> Result<Option<Cow<'a, str>>, Reject> {
    match &payload.idempotency_key {
        Scalar::Absent | Scalar::Null => Ok(None),
        Scalar::Text(key) if key.is_empty() => Err(malformed("idempotency_key is empty")),
        Scalar::Text(key) if key.len() > KEY_BYTES_MAX => {
            Err(malformed(format!("idempotency_key has {} bytes, the most is {KEY_BYTES_MAX}", key.len())))
        }
        Scalar::Text(key) => Ok(Some(key.clone())),
        other => Err(wrong("idempotency_key", other, "a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: u8, payload: &str) -> String {
        format!(r#"{{"event_type":{kind},"payload":{{{payload}}},"timestamp":"2025-10-15 17:41:40.021"}}"#)
    }

    fn detail(line: &str) -> String {
        let reject = Event::parse(line.as_bytes()).unwrap_err();
        assert_eq!(reject.reason, Reason::Malformed, "{line}");
        reject.detail
    }

    #[test]
    fn every_kind_is_read() {
        let cases = [
            line(0, r#""shop_id":-1,"good_id":2,"delta_count":-5,"reason":"damaged","sub_event_type":"defect""#),
            line(1, r#""order_id":1,"user_id":null,"shop_id":1,"good_id":2,"qty":6,"price_at_order":2.55"#),
            line(2, r#""shop_id":1,"good_id":2,"new_price":-1"#),
            line(3, r#""order_id":1,"good_id":2,"qty":1,"refund_amount":27.5"#),
            line(4, r#""shop_id":1,"active":false"#),
        ];
        for (kind, line) in Kind::ALL.iter().zip(cases) {
            assert_eq!(Event::parse(line.as_bytes()).unwrap().payload.kind(), *kind);
        }
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        let cases = [
            (line(1, r#""order_id":1,"shop_id":1,"good_id":2"#), "qty is missing"),
            (line(1, r#""order_id":1,"shop_id":1,"good_id":2,"qty":0"#), "qty is 0, the least is 1"),
            (line(1, r#""order_id":0,"shop_id":1,"good_id":2,"qty":1"#), "order_id is 0, the least is 1"),
            (
                line(1, r#""order_id":1.0,"shop_id":1,"good_id":2,"qty":1"#),
                "order_id is a number that is no 64-bit integer, not a 64-bit integer",
            ),
            (
                line(1, r#""order_id":9223372036854775808,"shop_id":1,"good_id":2,"qty":1"#),
                "order_id is an integer over 64 bits, not a 64-bit integer",
            ),
            (
                line(1, r#""order_id":1,"shop_id":1,"good_id":2,"qty":1,"price_at_order":"2""#),
                "price_at_order is not a number",
            ),
            (line(2, r#""shop_id":1,"good_id":2"#), "new_price is missing"),
            (line(2, r#""shop_id":1,"good_id":2,"new_price":null"#), "new_price is missing"),
            (line(4, r#""shop_id":1,"active":1"#), "active is an integer, not true or false"),
            (
                line(0, r#""shop_id":1,"good_id":2,"delta_count":1,"reason":"x","sub_event_type":"gift""#),
                "sub_event_type is none of restock, defect, loss",
            ),
            (line(4, r#""shop_id":1,"active":true,"idempotency_key":"""#), "idempotency_key is empty"),
        ];
        for (line, expected) in cases {
            assert_eq!(detail(&line), expected);
        }
        let no_day = r#"{"event_type":4,"payload":{"shop_id":1,"active":true},"timestamp":"2025-02-30 00:00:00.000"}"#;
        assert!(detail(no_day).starts_with("timestamp is no time of the form YYYY-MM-DD HH:MM:SS.mmm"));
        let leap = no_day.replace("2025-02-30 00:00:00.000", "2016-12-31T23:59:60Z");
        assert_eq!(detail(&leap), "timestamp is a leap second; databases know no second 60, write 59");
    }

    #[test]
    fn the_payload_is_kept_byte_for_byte() {
        let line = line(4, r#" "active" : true,"shop_id":1, "note":"\u00e9" "#);
        let event = Event::parse(line.as_bytes()).unwrap();
        assert_eq!(event.raw_payload, r#"{ "active" : true,"shop_id":1, "note":"\u00e9" }"#);
    }
}
