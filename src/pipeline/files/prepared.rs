//! The prepared line: what the worker leaves for the sender (docs/contracts.md, 2).
//!
//! `{"event_type":..,"shop_id":..,"user_id":..,"timestamp":"..","shard":..,"payload":{...}}`, followed by `effect` and
//! by the place where the line stood. Where there is none, `user_id` is absent and `shop_id` is null. `effect` holds
//! what the worker adds to the event: the `price` apiece of a purchase, the `refund` of a return and the `shop` of its
//! purchase, and the `stock` where the good is counted. The books are kept from it.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Event, Kind, Money, ShardId};
use crate::pipeline::rules::{Effect, LinePlace};
use crate::pipeline::shard_db::{Entry, EventRow};
use crate::pipeline::task::FileName;

/// What stands before the payload, which goes in between byte for byte.
#[derive(Serialize)]
struct Head {
    event_type: u8,
    shop_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i64>,
    timestamp: String,
    shard: u8,
}

/// What stands behind the payload.
#[derive(Serialize)]
struct Tail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<EffectText>,
    source_file: &'a str,
    source_line: u64,
}

/// Amounts are texts: no reader's float comes in between.
#[derive(Serialize, Deserialize, Default)]
struct EffectText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stock: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refund: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shop: Option<i64>,
}

/// What the sender needs of a prepared line. Others may write prepared files too: the place is optional then. `P` is
/// [`PreparedTerms`] to read the payload in the same pass, or [`RawValue`] to keep its text.
#[derive(Deserialize)]
#[serde(bound(deserialize = "P: Deserialize<'de>"))]
struct Minimal<'a, P> {
    event_type: u8,
    #[serde(default)]
    shop_id: Option<i64>,
    #[serde(default)]
    user_id: Option<i64>,
    timestamp: &'a str,
    shard: u8,
    #[serde(default)]
    payload: Option<P>,
    #[serde(default)]
    effect: EffectText,
    #[serde(default)]
    source_file: Option<FileName>,
    #[serde(default)]
    source_line: Option<u64>,
}

/// What the books need of a payload.
#[derive(Deserialize)]
struct PreparedTerms<'a> {
    order_id: Option<i64>,
    good_id: Option<i64>,
    qty: Option<i64>,
    #[serde(borrow)]
    new_price: Option<&'a RawValue>,
    active: Option<bool>,
}

/// Writes one prepared line.
///
/// # Errors
/// Whatever the writer fails with.
pub fn write(
    out: &mut impl Write,
    event: &Event<'_>,
    effect: &Effect,
    shard: ShardId,
    place: LinePlace<'_>,
) -> io::Result<()> {
    let text = |money: Money| money.to_string();
    let effect = (*effect != Effect::default()).then(|| EffectText {
        price: effect.price.map(text),
        stock: effect.stock,
        refund: effect.refund.map(text),
        shop: effect.shop,
    });
    let head = Head {
        event_type: event.payload.kind().number(),
        shop_id: event.payload.shop_id(),
        user_id: event.payload.user_id(),
        timestamp: event.at.to_string(),
        shard: shard.get(),
    };
    let tail = Tail { effect, source_file: place.file.as_str(), source_line: place.line };
    let (head, tail) = (serde_json::to_vec(&head)?, serde_json::to_vec(&tail)?);
    // Two objects become one: the brace of the first that closes it, and that of the second that opens it, go.
    out.write_all(head.strip_suffix(b"}").unwrap_or(&head))?;
    out.write_all(b",\"payload\":")?;
    out.write_all(event.raw_payload.as_bytes())?;
    out.write_all(b",")?;
    out.write_all(tail.strip_prefix(b"{").unwrap_or(&tail))?;
    out.write_all(b"\n")
}

/// Reads one prepared line of a shard's file; `position` is its number in the prepared file.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn read(line: &[u8], file: &FileName, shard: ShardId, position: u64) -> Result<EventRow, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("line {position} is no UTF-8: {e}"))?;
    let line: Minimal<'_, PreparedTerms<'_>> =
        serde_json::from_str(text).map_err(|e| format!("line {position}: {e}"))?;
    if line.event_type > 4 || line.shard != shard.get() {
        return Err(format!("line {position}: event_type {} for shard {}", line.event_type, line.shard));
    }
    let timestamp = Timestamp::read(line.timestamp).map_err(|e| format!("line {position}: timestamp is {e}"))?;
    Ok(EventRow {
        event_type: line.event_type,
        shop_id: line.shop_id,
        user_id: line.user_id,
        timestamp,
        entry: entry(&line, timestamp).map_err(|why| format!("line {position}: {why}"))?,
        source_file: line.source_file.unwrap_or_else(|| file.clone()),
        source_line: line.source_line.unwrap_or(position),
    })
}

/// The event line that a prepared line was made of, as far as the rules ask for it.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn original(line: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(line).map_err(|e| e.to_string())?;
    let line: Minimal<'_, &RawValue> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let Minimal { event_type, timestamp, payload, .. } = line;
    let payload = payload.ok_or_else(|| "there is no payload".to_owned())?.get();
    Ok(format!(r#"{{"event_type":{event_type},"payload":{payload},"timestamp":"{timestamp}"}}"#).into_bytes())
}

/// What a line does to the books; nothing for one whose writer did not say what it comes to.
fn entry(line: &Minimal<'_, PreparedTerms<'_>>, at: Timestamp) -> Result<Option<Entry>, String> {
    let Some(terms) = &line.payload else { return Ok(None) };
    let lacks = |name: &str| format!("the books need its {name}");
    let good_id = || terms.good_id.ok_or_else(|| lacks("good_id"));
    let shop_id = || line.effect.shop.or(line.shop_id).ok_or_else(|| lacks("shop_id"));
    let order_id = || terms.order_id.ok_or_else(|| lacks("order_id"));
    let qty = || terms.qty.ok_or_else(|| lacks("qty"));
    let money = |text: &str| Money::parse(text).map_err(|e| format!("'{text}': {e}"));
    let stock = line.effect.stock;
    let entry = match Kind::from_number(line.event_type.into()) {
        Some(Kind::Restock) => match stock {
            Some(delta) => Entry::Stock { shop_id: shop_id()?, good_id: good_id()?, delta },
            None => return Ok(None),
        },
        Some(Kind::Purchase) => {
            let Some(price) = &line.effect.price else { return Ok(None) };
            let (order_id, user_id, shop_id) = (order_id()?, line.user_id, shop_id()?);
            let (good_id, qty, price) = (good_id()?, qty()?, money(price)?);
            Entry::Purchase { order_id, user_id, shop_id, good_id, qty, price, at, stock }
        }
        Some(Kind::PriceChange) => {
            let price = money(terms.new_price.ok_or_else(|| lacks("new_price"))?.get())?;
            Entry::Price { shop_id: shop_id()?, good_id: good_id()?, price }
        }
        Some(Kind::Return) => {
            let Some(refund) = &line.effect.refund else { return Ok(None) };
            let (order_id, shop_id, good_id) = (order_id()?, shop_id()?, good_id()?);
            Entry::Return { order_id, shop_id, good_id, qty: qty()?, amount: money(refund)?, at, stock }
        }
        Some(Kind::ShopStatus) => {
            Entry::Status { shop_id: shop_id()?, active: terms.active.ok_or_else(|| lacks("active"))? }
        }
        None => return Ok(None),
    };
    Ok(Some(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_line_says_what_the_contract_says_first() {
        let text = r#"{"event_type":1,"payload":{"order_id":1,"shop_id":-3,"good_id":2,"qty":1, "note":"x"},"timestamp":"2025-01-01 00:00:00.007"}"#;
        let event = Event::parse(text.as_bytes()).unwrap();
        let (file, shard): (FileName, _) = ("20250101000000".parse().unwrap(), ShardId::new(1).unwrap());
        let mut out = Vec::new();
        write(&mut out, &event, &Effect::default(), shard, LinePlace { file: &file, line: 17 }).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(
            line,
            "{\"event_type\":1,\"shop_id\":-3,\"timestamp\":\"2025-01-01 00:00:00.007\",\"shard\":1,\"payload\":{\"order_id\":1,\"shop_id\":-3,\"good_id\":2,\"qty\":1, \"note\":\"x\"},\"source_file\":\"20250101000000\",\"source_line\":17}\n"
        );
        let row = read(line.trim_end().as_bytes(), &file, shard, 3).unwrap();
        assert_eq!((row.shop_id, row.user_id, row.source_line), (Some(-3), None, 17));
        assert!(read(line.trim_end().as_bytes(), &file, ShardId::new(0).unwrap(), 3).is_err());
        let effect = Effect { price: Some(Money::from_minor(1250)), stock: Some(-1), ..Effect::default() };
        let mut out = Vec::new();
        write(&mut out, &event, &effect, shard, LinePlace { file: &file, line: 17 }).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.contains(r#"},"effect":{"price":"12.50","stock":-1},"source_file":"#), "{line}");
        let (user_id, price, at) = (None, Money::from_minor(1250), event.at);
        let entry =
            Entry::Purchase { order_id: 1, user_id, shop_id: -3, good_id: 2, qty: 1, price, at, stock: Some(-1) };
        assert_eq!(read(line.trim_end().as_bytes(), &file, shard, 3).unwrap().entry, Some(entry));
    }

    /// The entry of a line with this type, shop, payload and effect.
    fn entered(kind: u8, shop: &str, payload: &str, effect: &str) -> Result<Option<Entry>, String> {
        let (file, shard) = ("20250101000000".parse().unwrap(), ShardId::new(0).unwrap());
        let line = format!(
            r#"{{"event_type":{kind},"shop_id":{shop},"user_id":5,"timestamp":"1970-01-01 00:00:00.000","shard":0,"payload":{{{payload}}},"effect":{{{effect}}}}}"#
        );
        read(line.as_bytes(), &file, shard, 1).map(|row| row.entry)
    }

    #[test]
    fn the_books_are_kept_from_what_an_event_comes_to() {
        let (at, good) = (Timestamp::from_unix_ms(0), r#""good_id":2"#);
        let restock = entered(0, "1", good, r#""stock":7"#).unwrap();
        assert_eq!(restock, Some(Entry::Stock { shop_id: 1, good_id: 2, delta: 7 }));
        let price = entered(2, "1", r#""good_id":2,"new_price":12.5,"old_price":null"#, "").unwrap();
        assert_eq!(price, Some(Entry::Price { shop_id: 1, good_id: 2, price: Money::from_minor(1250) }));
        let status = entered(4, "1", r#""active":false"#, "").unwrap();
        assert_eq!(status, Some(Entry::Status { shop_id: 1, active: false }));
        // The goods go back to where they were bought.
        let terms = r#""order_id":9,"good_id":2,"qty":3"#;
        let (amount, stock) = (Money::from_minor(100), Some(3));
        for shop in ["null", "8"] {
            let back = entered(3, shop, terms, r#""stock":3,"refund":"1.00","shop":1"#).unwrap();
            assert_eq!(back, Some(Entry::Return { order_id: 9, shop_id: 1, good_id: 2, qty: 3, amount, at, stock }));
        }
        // What the writer did not say is not made up; what the books cannot do without is not left out.
        assert_eq!(entered(1, "1", terms, ""), Ok(None));
        assert!(entered(1, "1", r#""good_id":2,"qty":3"#, r#""price":"1.00""#).unwrap_err().contains("order_id"));
        assert!(entered(3, "null", terms, r#""refund":"1.00""#).unwrap_err().contains("shop_id"));
        assert!(entered(2, "1", r#""good_id":2,"new_price":"x""#, "").unwrap_err().contains("line 1"));
    }

    #[test]
    fn the_least_that_the_contract_allows_is_enough() {
        let (file, shard) = ("20250101000000".parse().unwrap(), ShardId::new(0).unwrap());
        let line = br#"{"event_type":4,"shop_id":2,"timestamp":"2025-01-01 00:00:00.000","shard":0}"#;
        assert_eq!(read(line, &file, shard, 5).unwrap().source_line, 5);
        assert!(read(b"{}", &file, shard, 5).unwrap_err().contains("line 5"));
    }
}
