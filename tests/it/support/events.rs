//! Makes event lines: generated ones with their mishaps, and single ones of every type.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use serde_json::Value;
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::ingest::generator::{Generator, Rates};

/// Lines that misbehave as often as in a bad week.
pub(crate) const MISHAPS: Rates = Rates { duplicates: 0.03, malformed: 0.02, out_of_order: 0.05 };

/// Days that inputs are made of.
const DAYS: u64 = 3_650;

/// So many generated lines, in which returns name the shop of their purchase.
pub(crate) fn generated(seed: u64, rates: Rates, count: usize) -> Vec<u8> {
    with_shops(&plain(seed, rates, count))
}

/// The lines of a file, packed or not.
pub(crate) fn read(path: &str) -> Vec<u8> {
    let mut file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut lines = Vec::new();
    if file.fill_buf().unwrap().starts_with(&[0x1f, 0x8b]) {
        flate2::bufread::MultiGzDecoder::new(file).read_to_end(&mut lines).unwrap();
    } else {
        file.read_to_end(&mut lines).unwrap();
    }
    lines
}

/// So many generated lines.
pub(crate) fn plain(seed: u64, rates: Rates, count: usize) -> Vec<u8> {
    // Orders are numbered by their moment, so each seed has a day of its own: no two inputs know the same order.
    let day = i64::try_from(seed % DAYS).unwrap();
    let mut now = Timestamp::parse("2016-03-01 08:00:00.000").unwrap().plus_ms(day * 86_400_000);
    let mut generator = Generator::new(seed, rates, now);
    let mut lines = Vec::new();
    for _ in 0..count.div_ceil(500) {
        now = now.plus_ms(10_000);
        generator.write_events(now, 500, &mut lines);
    }
    let cut = memchr::memchr_iter(b'\n', &lines).nth(count - 1).unwrap() + 1;
    lines.truncate(cut);
    lines
}

/// The same lines, with the shop in every return whose purchase is among them: a return without one may change shards,
/// and no rule says when the other shard takes it up.
fn with_shops(lines: &[u8]) -> Vec<u8> {
    let event = |line: &[u8]| serde_json::from_slice::<Value>(line).ok();
    let mut shops = HashMap::new();
    for event in lines.split_inclusive(|byte| *byte == b'\n').filter_map(event) {
        let payload = &event["payload"];
        if let (Some(1), Some(order), Some(shop)) =
            (event["event_type"].as_i64(), payload["order_id"].as_i64(), payload["shop_id"].as_i64())
        {
            shops.insert(order, shop);
        }
    }
    let mut named = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let order = event(line).filter(|event| event["event_type"] == 3 && event["payload"]["shop_id"].is_null());
        let order = order.and_then(|event| event["payload"]["order_id"].as_i64());
        match order.and_then(|order| Some((order, shops.get(&order)?))) {
            None => named.extend_from_slice(line),
            Some((order, shop)) => {
                let text = std::str::from_utf8(line).unwrap();
                let order = format!(r#""order_id":{order},"#);
                assert!(text.contains(&order), "{text}");
                named.extend_from_slice(text.replacen(&order, &format!(r#"{order}"shop_id":{shop},"#), 1).as_bytes());
            }
        }
    }
    named
}

/// A purchase that no rule refuses.
pub(crate) fn purchase(order: i64, shop: i64) -> String {
    let payload =
        format!(r#""order_id":{order},"user_id":7,"shop_id":{shop},"good_id":3,"qty":2,"price_at_order":9.99"#);
    event(1, &payload)
}

/// A line with this payload.
pub(crate) fn event(kind: u8, payload: &str) -> String {
    format!(
        r#"{{"event_type":{kind},"payload":{{{payload}}},"saved_at":"2025-03-01 08:00:00.000","timestamp":"2025-03-01 08:00:00.001"}}"#
    )
}
