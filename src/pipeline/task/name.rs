//! The name of an event file: the 14-digit UTC moment of its tick, nothing else (docs/contracts.md, 2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::timestamp::Timestamp;

const DIGITS: usize = 14;

/// A file name that is safe to become part of a path: 14 digits and a real moment. Ordered by time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FileName(String);

/// The text is no file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filename must be 14 digits that name a real UTC moment, like 20250101000000")]
pub struct BadFileName;

impl FileName {
    /// The name of the second that holds this moment.
    pub fn of(at: Timestamp) -> Self {
        let text = at.to_string();
        Self(text.bytes().take(19).filter(u8::is_ascii_digit).map(char::from).collect())
    }

    /// The moment that this name says.
    pub fn moment(&self) -> Timestamp {
        Self::read(&self.0).unwrap_or(Timestamp::from_unix_ms(0))
    }

    /// The name one second later: where to go when this one is taken.
    pub fn next_second(&self) -> Self {
        Self::of(self.moment().plus_ms(1000))
    }

    /// The name one second earlier, between which and this one no other is; none before the very first.
    pub fn previous_second(&self) -> Option<Self> {
        Self::of(self.moment().plus_ms(-1000)).as_str().parse().ok()
    }

    /// The 14 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn read(text: &str) -> Option<Timestamp> {
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (date, time) = text.split_at(8);
        let wire =
            format!("{}-{}-{} {}:{}:{}.000", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]);
        Timestamp::parse(&wire)
    }
}

impl FromStr for FileName {
    type Err = BadFileName;

    fn from_str(text: &str) -> Result<Self, BadFileName> {
        Self::read(text).map(|_| Self(text.to_owned())).ok_or(BadFileName)
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_moments_are_names() {
        for good in ["20250101000000", "20240229235959", "99991231235959"] {
            assert_eq!(good.parse::<FileName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "2025010100000",
            "202501010000000",
            "20250230000000",
            "20250101240000",
            "../../etc/pass",
            "2025010100000/",
            "2025010100000\0",
            "２０２５010100",
            "+0250101000000",
        ] {
            assert_eq!(bad.parse::<FileName>(), Err(BadFileName), "{bad}");
        }
    }

    #[test]
    fn seconds_cross_days() {
        let name: FileName = "20241231235959".parse().unwrap();
        assert_eq!(name.next_second().as_str(), "20250101000000");
        assert_eq!(name.next_second().previous_second(), Some(name));
        assert_eq!("10000101000000".parse::<FileName>().unwrap().previous_second(), None);
    }
}
