//! The facts of a line: its parsed values as bytes that are stored beside it, so that its JSON is parsed once.
//!
//! The form is that of one process: it is never in a file that another one reads. Numbers are little-endian; texts have
//! their length before them; what may be absent has a byte before it.

use std::borrow::Cow;

use super::{Event, Kind, Money, Payload};
use crate::base::timestamp::Timestamp;

/// Writes the facts of an event behind what is in `out`. They belong to the line that the event was read from.
pub fn write(event: &Event<'_>, line: &[u8], out: &mut Vec<u8>) {
    let mut facts = Writer(out);
    facts.byte(event.payload.kind().number());
    facts.number(event.at.unix_ms());
    facts.0.extend_from_slice(&event.fingerprint);
    facts.optional(event.idempotency_key.as_deref(), Writer::text);
    // The payload is a part of the line.
    facts.number(offset(line, event.raw_payload));
    facts.number(event.raw_payload.len() as i64);
    match &event.payload {
        Payload::Restock { shop_id, good_id, delta_count, reason, sub_event_type } => {
            [*shop_id, *good_id, *delta_count].into_iter().for_each(|number| facts.number(number));
            [reason, sub_event_type].into_iter().for_each(|text| facts.text(text));
        }
        Payload::Purchase { order_id, user_id, shop_id, good_id, qty, price_at_order } => {
            [*order_id, *shop_id, *good_id, *qty].into_iter().for_each(|number| facts.number(number));
            facts.optional(*user_id, Writer::number);
            facts.optional(*price_at_order, Writer::money);
        }
        Payload::PriceChange { shop_id, good_id, new_price, old_price } => {
            [*shop_id, *good_id].into_iter().for_each(|number| facts.number(number));
            facts.money(*new_price);
            facts.optional(*old_price, Writer::money);
        }
        Payload::Return { order_id, user_id, shop_id, good_id, qty, refund_amount } => {
            [*order_id, *good_id, *qty].into_iter().for_each(|number| facts.number(number));
            facts.optional(*user_id, Writer::number);
            facts.optional(*shop_id, Writer::number);
            facts.optional(*refund_amount, Writer::money);
        }
        Payload::ShopStatus { shop_id, active } => {
            facts.number(*shop_id);
            facts.byte(u8::from(*active));
        }
    }
}

/// The event of these facts and their line; nothing if they are not what [`write()`] wrote for it.
pub fn read<'a>(facts: &'a [u8], line: &'a [u8]) -> Option<Event<'a>> {
    let mut facts = Reader(facts);
    let kind = Kind::from_number(facts.byte()?.into())?;
    let at = Timestamp::from_unix_ms(facts.number()?);
    let fingerprint = facts.take(16)?.try_into().ok()?;
    let idempotency_key = facts.optional(Reader::text)?.map(Cow::Borrowed);
    let (start, len) = (facts.length()?, facts.length()?);
    let raw_payload = std::str::from_utf8(line.get(start..start.checked_add(len)?)?).ok()?;
    let payload = match kind {
        Kind::Restock => {
            let (shop_id, good_id, delta_count) = (facts.number()?, facts.number()?, facts.number()?);
            let (reason, sub_event_type) = (Cow::Borrowed(facts.text()?), Cow::Borrowed(facts.text()?));
            Payload::Restock { shop_id, good_id, delta_count, reason, sub_event_type }
        }
        Kind::Purchase => {
            let (order_id, shop_id, good_id, qty) =
                (facts.number()?, facts.number()?, facts.number()?, facts.number()?);
            let (user_id, price_at_order) = (facts.optional(Reader::number)?, facts.optional(Reader::money)?);
            Payload::Purchase { order_id, user_id, shop_id, good_id, qty, price_at_order }
        }
        Kind::PriceChange => Payload::PriceChange {
            shop_id: facts.number()?,
            good_id: facts.number()?,
            new_price: facts.money()?,
            old_price: facts.optional(Reader::money)?,
        },
        Kind::Return => {
            let (order_id, good_id, qty) = (facts.number()?, facts.number()?, facts.number()?);
            let (user_id, shop_id) = (facts.optional(Reader::number)?, facts.optional(Reader::number)?);
            let refund_amount = facts.optional(Reader::money)?;
            Payload::Return { order_id, user_id, shop_id, good_id, qty, refund_amount }
        }
        Kind::ShopStatus => Payload::ShopStatus { shop_id: facts.number()?, active: facts.byte()? == 1 },
    };
    facts.0.is_empty().then_some(Event { at, payload, idempotency_key, raw_payload, fingerprint })
}

/// Where a part of a line begins in it.
fn offset(line: &[u8], part: &str) -> i64 {
    (part.as_ptr() as usize).saturating_sub(line.as_ptr() as usize) as i64
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn money(&mut self, money: Money) {
        self.number(money.minor());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as i64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn number(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn money(&mut self) -> Option<Money> {
        self.number().map(Money::from_minor)
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = self.length()?;
        std::str::from_utf8(self.take(len)?).ok()
    }

    /// The outer `None` stands for what is no facts.
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            _ => read(self).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(name: &'static str, values: &'static [&'static str]) -> impl Strategy<Value = String> {
        let value = proptest::sample::select(values).prop_map(move |value| format!(r#","{name}":{value}"#));
        prop_oneof![1 => Just(String::new()), 3 => value]
    }

    /// Lines of all types, with what may be absent, escapes and spaces.
    fn line() -> impl Strategy<Value = String> {
        let number = || any::<i64>().prop_map(|number| if number % 3 == 0 { number } else { number.rem_euclid(9) + 1 });
        let id = || 1..=i64::MAX;
        let more = (
            field("user_id", &["1", "null", "9223372036854775807"]),
            field("price_at_order", &["1", "2.50", "-1", "null", "9999999999999999.99"]),
            field("refund_amount", &["0", "1e2", "null"]),
            field("idempotency_key", &[r#""k""#, r#""\u00e9\"\\""#, r#""é ""#]),
            field("x", &["[1, 2]", r#"{"y": "z"}"#]),
        );
        (0_u8..5, number(), (id(), id(), id()), more, any::<bool>(), 0_u32..1000).prop_map(
            |(kind, number, (order, good, qty), (user, price, refund, key, x), flag, ms)| {
                let own = match kind {
                    0 => format!(r#""shop_id":{number},"good_id":{good},"delta_count":{number},"reason":"\n é","sub_event_type":"loss""#),
                    1 => format!(r#""order_id":{order}{user},"shop_id":{number},"good_id":{good},"qty":{qty}{price}"#),
                    2 => format!(r#""shop_id":{number},"good_id":{good},"new_price":{ms}.{kind}"#),
                    3 if flag => format!(r#""order_id":{order}{user},"good_id":{good},"qty":{qty}{refund}"#),
                    3 => format!(r#""shop_id":{number},"order_id":{order}{user},"good_id":{good},"qty":{qty}{refund}"#),
                    _ => format!(r#""shop_id":{number},"active":{flag}"#),
                };
                format!(r#" {{"payload": {{ {own}{key}{x} }}, "timestamp":"2025-01-01 00:00:00.{ms:03}","event_type":{kind}}}"#)
            },
        )
    }

    proptest! {
        #[test]
        fn the_facts_of_a_line_are_its_event(line in line(), cut in any::<prop::sample::Index>()) {
            let event = Event::parse(line.as_bytes()).unwrap();
            let mut facts = Vec::new();
            write(&event, line.as_bytes(), &mut facts);
            let again = read(&facts, line.as_bytes()).unwrap();
            prop_assert_eq!(&again, &event);
            prop_assert!(read(&facts[..cut.index(facts.len())], line.as_bytes()).is_none());
        }
    }
}
