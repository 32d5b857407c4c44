//! The shard rule: `shop_id.rem_euclid(shards_count)`; a return without a shop goes by its order
//! (docs/contracts.md, 1).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Kind;
use super::raw::{RawEvent, RawPayload, Scalar};
use super::reject::{Reason, Reject};

/// The highest shard number: the column is a signed TINYINT.
pub const SHARD_MAX: u8 = 127;

/// The number of a shard, 0 to 127.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ShardId(u8);

/// How many shards there are, 1 to 128. It is stored per file, so that a change never splits one file in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ShardCount(u8);

impl ShardId {
    /// The shard with this number; `None` over 127.
    pub fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| *number <= SHARD_MAX).map(Self)
    }

    /// All shards that there can be, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=SHARD_MAX).map(Self)
    }

    /// The shard's number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl<'de> Deserialize<'de> for ShardId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom(format!("shard {number} is not within 0 to 127")))
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for ShardId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse::<u64>().map_err(|_| format!("'{text}' is not a shard number (0 to 127)"))?;
        Self::new(number).ok_or_else(|| format!("shard {number} is not within 0 to 127"))
    }
}

impl ShardCount {
    /// A count of shards; `None` for 0 and over 128.
    pub fn new(count: u64) -> Option<Self> {
        u8::try_from(count).ok().filter(|count| (1..=SHARD_MAX + 1).contains(count)).map(Self)
    }

    /// The count.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All shards, in order.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.0).map(ShardId)
    }

    /// The shard of a key. `%` would give -1 for -3 % 2 and the event would reach no shard.
    pub fn shard_of(self, key: i64) -> ShardId {
        let shard = key.rem_euclid(i64::from(self.0));
        // The remainder is below the count, which is at most 128.
        ShardId(u8::try_from(shard).unwrap_or(0))
    }
}

/// The shard that an event belongs to.
///
/// # Errors
/// A [`Reject`] when the event has no known type or no usable shard key.
pub fn route(event: &RawEvent<'_, RawPayload<'_>>, count: ShardCount) -> Result<ShardId, Reject> {
    let kind = kind_of(&event.event_type)?;
    let payload = event.payload.as_ref().ok_or_else(|| Reject::new(Reason::NoShardKey, "there is no payload"))?;
    let key = match (&payload.shop_id, kind) {
        (Scalar::Absent | Scalar::Null, Kind::Return) => int_key("order_id", &payload.order_id)?,
        (shop_id, _) => int_key("shop_id", shop_id)?,
    };
    Ok(count.shard_of(key))
}

fn kind_of(event_type: &Scalar<'_>) -> Result<Kind, Reject> {
    let refuse = |what: String| Reject::new(Reason::NoEventType, what);
    match event_type {
        Scalar::Int(number) => {
            Kind::from_number(*number).ok_or_else(|| refuse(format!("event_type {number} is not within 0 to 4")))
        }
        other => Err(refuse(format!("event_type is {}, not a number within 0 to 4", other.what()))),
    }
}

fn int_key(name: &str, value: &Scalar<'_>) -> Result<i64, Reject> {
    match value {
        Scalar::Int(key) => Ok(*key),
        other => Err(Reject::new(Reason::NoShardKey, format!("{name} is {}, not a 64-bit integer", other.what()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route_line(line: &str, count: u64) -> Result<u8, Reason> {
        let event = RawEvent::parse(line.as_bytes()).unwrap();
        route(&event, ShardCount::new(count).unwrap()).map(ShardId::get).map_err(|reject| reject.reason)
    }

    #[test]
    fn even_shops_go_to_shard_0_and_odd_ones_to_1_below_zero_too() {
        for (shop, shard) in [(2, 0), (7, 1), (0, 0), (-2, 0), (-3, 1), (i64::MIN, 0), (i64::MAX, 1)] {
            let line = format!(r#"{{"event_type":0,"payload":{{"shop_id":{shop}}}}}"#);
            assert_eq!(route_line(&line, 2), Ok(shard), "{shop}");
        }
    }

    #[test]
    fn a_return_without_shop_goes_by_its_order() {
        assert_eq!(route_line(r#"{"event_type":3,"payload":{"order_id":5}}"#, 3), Ok(2));
        assert_eq!(route_line(r#"{"event_type":3,"payload":{"order_id":5,"shop_id":null}}"#, 3), Ok(2));
        assert_eq!(route_line(r#"{"event_type":3,"payload":{"order_id":5,"shop_id":4}}"#, 3), Ok(1));
        assert_eq!(route_line(r#"{"event_type":1,"payload":{"order_id":5}}"#, 3), Err(Reason::NoShardKey));
    }

    #[test]
    fn a_key_that_only_looks_like_one_is_refused() {
        for key in [r#""7""#, "7.0", "9223372036854775808", "true", "[7]", "{}", "null"] {
            let line = format!(r#"{{"event_type":1,"payload":{{"shop_id":{key}}}}}"#);
            assert_eq!(route_line(&line, 2), Err(Reason::NoShardKey), "{key}");
        }
        for kind in ["5", "-1", "\"1\"", "1.0", "null"] {
            let line = format!(r#"{{"event_type":{kind},"payload":{{"shop_id":1}}}}"#);
            assert_eq!(route_line(&line, 2), Err(Reason::NoEventType), "{kind}");
        }
    }

    proptest! {
        #[test]
        fn every_shop_has_exactly_one_shard(shop in any::<i64>(), count in 1_u64..=128) {
            let count = ShardCount::new(count).unwrap();
            let shard = count.shard_of(shop);
            prop_assert!(shard.get() < count.get());
            let difference = i128::from(shop) - i128::from(shard.get());
            prop_assert_eq!(difference.rem_euclid(i128::from(count.get())), 0);
        }
    }
}
