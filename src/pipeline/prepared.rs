//! The prepared line: what the worker leaves for the sender (contracts 2).
//!
//! `{"event_type":..,"shop_id":..,"user_id":..,"timestamp":"..","shard":..,"payload":{...}}` with the place where the
//! line stood behind it; `user_id` is absent where there is none, `shop_id` is null. What the event comes to beside what
//! it says itself is its `effect`: `price` apiece of a purchase, `refund` of a return, `stock` where the good is counted.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::{Event, Moment, Money, ShardId};
use crate::rules::{Effect, Place};
use crate::store::EventRow;
use crate::task::FileName;

#[derive(Serialize)]
struct Line<'a> {
    event_type: u8,
    shop_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i64>,
    timestamp: String,
    shard: u8,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<EffectText>,
    source_file: &'a str,
    source_line: u64,
}

/// Amounts are texts: no reader's float comes in between.
#[derive(Serialize)]
struct EffectText {
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stock: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<String>,
}

/// What the sender needs of a prepared line. Others may write prepared files too: the place is optional then.
#[derive(Deserialize)]
struct Minimal<'a> {
    event_type: u8,
    #[serde(default)]
    shop_id: Option<i64>,
    #[serde(default)]
    user_id: Option<i64>,
    timestamp: &'a str,
    shard: u8,
    #[serde(default)]
    source_file: Option<FileName>,
    #[serde(default)]
    source_line: Option<u64>,
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
    place: Place<'_>,
) -> io::Result<()> {
    let text = |money: Money| money.to_string();
    let effect = (*effect != Effect::default()).then(|| EffectText {
        price: effect.price.map(text),
        stock: effect.stock,
        refund: effect.refund.map(text),
    });
    let line = Line {
        event_type: event.payload.kind().number(),
        shop_id: event.payload.shop_id(),
        user_id: event.payload.user_id(),
        timestamp: event.at.to_string(),
        shard: shard.get(),
        payload: serde_json::from_str(event.raw_payload).map_err(io::Error::from)?,
        effect,
        source_file: place.file.as_str(),
        source_line: place.line,
    };
    serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// Reads one prepared line of a shard's file; `position` is its number in the prepared file.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn read(line: &[u8], file: &FileName, shard: ShardId, position: u64) -> Result<EventRow, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("line {position} is no UTF-8: {e}"))?;
    let line: Minimal<'_> = serde_json::from_str(text).map_err(|e| format!("line {position}: {e}"))?;
    if line.event_type > 4 || line.shard != shard.get() {
        return Err(format!("line {position}: event_type {} for shard {}", line.event_type, line.shard));
    }
    let timestamp = Moment::parse(line.timestamp).ok_or_else(|| format!("line {position}: no valid timestamp"))?;
    Ok(EventRow {
        event_type: line.event_type,
        shop_id: line.shop_id,
        user_id: line.user_id,
        timestamp,
        source_file: line.source_file.unwrap_or_else(|| file.clone()),
        source_line: line.source_line.unwrap_or(position),
        entry: None,
    })
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
        write(&mut out, &event, &Effect::default(), shard, Place { file: &file, line: 17 }).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert_eq!(
            line,
            "{\"event_type\":1,\"shop_id\":-3,\"timestamp\":\"2025-01-01 00:00:00.007\",\"shard\":1,\"payload\":{\"order_id\":1,\"shop_id\":-3,\"good_id\":2,\"qty\":1, \"note\":\"x\"},\"source_file\":\"20250101000000\",\"source_line\":17}\n"
        );
        let row = read(line.trim_end().as_bytes(), &file, shard, 3).unwrap();
        assert_eq!((row.shop_id, row.user_id, row.source_line), (Some(-3), None, 17));
        assert!(read(line.trim_end().as_bytes(), &file, ShardId::new(0).unwrap(), 3).is_err());
        let effect = Effect { price: Some(Money::from_minor(1250)), stock: Some(-1), refund: None };
        let mut out = Vec::new();
        write(&mut out, &event, &effect, shard, Place { file: &file, line: 17 }).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.contains(r#"},"effect":{"price":"12.50","stock":-1},"source_file":"#), "{line}");
        assert!(read(line.trim_end().as_bytes(), &file, shard, 3).is_ok());
    }

    #[test]
    fn the_least_that_the_contract_allows_is_enough() {
        let (file, shard) = ("20250101000000".parse().unwrap(), ShardId::new(0).unwrap());
        let line = br#"{"event_type":4,"shop_id":2,"timestamp":"2025-01-01 00:00:00.000","shard":0}"#;
        assert_eq!(read(line, &file, shard, 5).unwrap().source_line, 5);
        assert!(read(b"{}", &file, shard, 5).unwrap_err().contains("line 5"));
    }
}
