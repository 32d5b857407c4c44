//! The bodies of the APIs of balance-daemon ([`balance`]) and cache-service ([`cache`]) (docs/contracts.md, 5). The
//! APIs and their clients speak in these types; the order of the fields is the order in the JSON.

pub mod balance;
pub mod cache;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::base::timestamp::Timestamp;

/// Reads a moment, `YYYY-MM-DD HH:MM:SS.mmm`.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    Timestamp::parse(&text).ok_or_else(|| D::Error::custom("a moment is expected, like 2025-01-01 00:00:00.000"))
}

/// Writes a moment.
fn write_moment<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
