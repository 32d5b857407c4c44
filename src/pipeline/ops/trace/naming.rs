//! Whether a line names an order, and what it says of it. Pure.

use serde::{Deserialize, Serialize};

use crate::pipeline::event::raw::{RawEvent, RawPayload, Scalar};
use crate::pipeline::event::{Kind, ShardCount, ShardId};
use crate::pipeline::ops::dead_letters::LineAt;
use crate::pipeline::task::FileName;

/// What a line says, as far as a person wants to know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `purchase`, `return`, or the number of another type; nothing where the line cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// When it happened, in the line's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    /// The shop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shop_id: Option<i64>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    /// The good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub good_id: Option<i64>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qty: Option<i64>,
    /// The price or the refund that it names, in its own digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
}

impl Said {
    /// The shard that a line of this order goes to, if it goes to any.
    pub fn shard(&self, order: i64, count: ShardCount) -> Option<ShardId> {
        let is_return = self.kind == Some(kind_name(Kind::Return));
        self.shop_id.or(is_return.then_some(order)).map(|key| count.shard_of(key))
    }
}

/// Reads a line; nothing if it does not name the order. One that cannot be read names it if its text does.
pub fn named(line: &[u8], order: i64) -> Option<Said> {
    let Ok(event) = RawEvent::<RawPayload<'_>>::parse(line) else {
        return names_in_text(line, order).then(Said::default);
    };
    let payload = event.payload.as_ref()?;
    if payload.order_id != Scalar::Int(order) {
        return None;
    }
    let kind = int(&event.event_type).and_then(Kind::from_number);
    let text = |digits: Option<&str>| digits.filter(|digits| *digits != "null").map(str::to_owned);
    Some(Said {
        kind: kind.map(kind_name),
        timestamp: match &event.timestamp {
            Scalar::Text(text) => Some(text.as_ref().to_owned()),
            _ => None,
        },
        shop_id: int(&payload.shop_id),
        user_id: int(&payload.user_id),
        good_id: int(&payload.good_id),
        qty: int(&payload.qty),
        amount: text(payload.price_at_order).or_else(|| text(payload.refund_amount)),
    })
}

fn int(scalar: &Scalar<'_>) -> Option<i64> {
    match scalar {
        Scalar::Int(number) => Some(*number),
        _ => None,
    }
}

/// What a type of event is called.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Restock => "restock",
        Kind::Purchase => "purchase",
        Kind::PriceChange => "price change",
        Kind::Return => "return",
        Kind::ShopStatus => "shop status",
    }
}

/// `order_id` and behind it the number, whatever else is wrong with the line.
fn names_in_text(line: &[u8], order: i64) -> bool {
    let digits = order.to_string();
    memchr::memmem::find_iter(line, b"order_id").any(|at| {
        let rest = &line[at + b"order_id".len()..];
        let gap = rest.iter().take_while(|byte| b"\"': \t=".contains(byte)).count();
        let rest = &rest[gap..];
        rest.starts_with(digits.as_bytes()) && !rest.get(digits.len()).is_some_and(u8::is_ascii_digit)
    })
}

#[derive(Deserialize)]
struct Prepared {
    payload: PreparedPayload,
    #[serde(default)]
    source_file: Option<FileName>,
    #[serde(default)]
    source_line: Option<u64>,
}

#[derive(Deserialize)]
struct PreparedPayload {
    #[serde(default)]
    order_id: Option<i64>,
}

/// Where the line of a prepared line stood, if it names the order. `own` is its own place: what it means where it says
/// nothing.
pub fn prepared(line: &[u8], order: i64, own: &LineAt) -> Option<LineAt> {
    let line: Prepared = serde_json::from_slice(line).ok()?;
    (line.payload.order_id == Some(order)).then(|| LineAt {
        file: line.source_file.unwrap_or_else(|| own.file.clone()),
        line: line.source_line.unwrap_or(own.line),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Said> {
        named(line.as_bytes(), 47)
    }

    #[test]
    fn only_the_order_itself_is_named() {
        let line = |payload: &str| format!(r#"{{"event_type":1,"payload":{{{payload}}},"timestamp":"t"}}"#);
        let found =
            of(&line(r#""order_id":47,"shop_id":3,"user_id":7,"good_id":9,"qty":2,"price_at_order":1.50"#)).unwrap();
        let (kind, timestamp, amount) = (Some("purchase"), Some("t".to_owned()), Some("1.50".to_owned()));
        let said = Said { kind, timestamp, shop_id: Some(3), user_id: Some(7), good_id: Some(9), qty: Some(2), amount };
        assert_eq!(found, said);
        for other in
            [r#""order_id":470,"shop_id":3"#, r#""order_id":147"#, r#""qty":47,"order_id":1"#, r#""order_id":"47""#]
        {
            assert_eq!(of(&line(other)), None, "{other}");
        }
    }

    #[test]
    fn a_return_without_a_shop_goes_by_its_order() {
        let (count, shard) = (ShardCount::new(3).unwrap(), ShardId::new);
        let purchase = Said { kind: Some("purchase"), shop_id: Some(-1), ..Said::default() };
        let back = Said { kind: Some("return"), ..Said::default() };
        assert_eq!((purchase.shard(47, count), back.shard(47, count)), (shard(2), shard(2)));
        assert_eq!(Said { shop_id: Some(4), ..back }.shard(47, count), shard(1));
        assert_eq!(Said { shop_id: None, ..purchase }.shard(47, count), None);
    }

    #[test]
    fn a_broken_line_names_what_its_text_names() {
        for text in [r#"{"order_id":47"#, r#"{"payload":{"order_id" : 47,,}"#, "order_id=47"] {
            assert_eq!(of(text), Some(Said::default()), "{text}");
        }
        for text in [r#"{"order_id":470"#, "47", r#"{"order_id":4,7"#] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_prepared_line_says_where_it_came_from() {
        let own = LineAt { file: "20250101000000".parse().unwrap(), line: 5 };
        let line = |rest: &str| format!(r#"{{"event_type":1,"payload":{{"order_id":47}}{rest}}}"#);
        assert_eq!(prepared(line("").as_bytes(), 47, &own), Some(own.clone()));
        assert_eq!(prepared(line("").as_bytes(), 4, &own), None);
        let other = line(r#","source_file":"20250101000007","source_line":9"#);
        assert_eq!(prepared(other.as_bytes(), 47, &own).unwrap().to_string(), "20250101000007:9");
    }
}
