//! What a stage reports with `done`: the conservation counts and the output's digest (docs/semantics.md, 1 and 3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Lines or bytes at the most, in any one number of a report; as `maximum` below. Numbers that no file has are refused,
/// so that sums of them never overflow.
pub const COUNT_MAX: u64 = 1 << 48;

/// The conservation law of one task: `read = written + duplicate + rejected + held - released`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    /// Lines that this task took over from the stage before.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub read: u64,
    /// Lines that it passes on.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub written: u64,
    /// Lines that say what an earlier line said.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub duplicate: u64,
    /// Lines in its rejects file.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub rejected: u64,
    /// Lines newly kept as pending.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub held: u64,
    /// Pending lines of earlier files that this task took up.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub released: u64,
}

impl Counts {
    /// Whether the conservation law holds; false also when the numbers overflow.
    pub fn balanced(&self) -> bool {
        let into = self.read.checked_add(self.released);
        let out = [self.duplicate, self.rejected, self.held]
            .into_iter()
            .try_fold(self.written, |sum, count| sum.checked_add(count));
        into.is_some() && into == out
    }

    /// The sums of both; stops at the largest number.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            read: self.read.saturating_add(other.read),
            written: self.written.saturating_add(other.written),
            duplicate: self.duplicate.saturating_add(other.duplicate),
            rejected: self.rejected.saturating_add(other.rejected),
            held: self.held.saturating_add(other.held),
            released: self.released.saturating_add(other.released),
        }
    }
}

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 lower-case hexadecimal digits")]
pub struct BadDigest;

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let mut bytes = [0; 32];
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(BadDigest);
        }
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadDigest)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a stage's output must be when the next stage opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Lines of the file.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub lines: u64,
    /// Bytes of the file.
    #[schema(maximum = 281_474_976_710_656_i64)]
    pub bytes: u64,
    /// SHA-256 of the file.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub sha256: Digest,
    /// SHA-256 of the line index beside a splitter's file, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$")]
    pub index_sha256: Option<Digest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_law_counts_every_line_once() {
        let counts = Counts { read: 10, written: 7, duplicate: 1, rejected: 2, held: 1, released: 1 };
        assert!(counts.balanced());
        assert!(!Counts { written: 8, ..counts }.balanced());
        assert!(!Counts { read: u64::MAX, released: 1, ..Counts::default() }.balanced());
    }

    #[test]
    fn the_document_says_the_bound_that_holds() {
        use utoipa::PartialSchema;
        for schema in [Counts::schema(), Output::schema()] {
            let schema = serde_json::to_value(&schema).unwrap();
            let numbers = schema["properties"].as_object().unwrap().values().filter(|p| p["type"] == "integer");
            let bounds: Vec<_> = numbers.map(|number| number["maximum"].as_u64()).collect();
            assert!(bounds.len() >= 2 && bounds.iter().all(|bound| *bound == Some(COUNT_MAX)), "{schema:#}");
        }
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let text = "00".repeat(31) + "ff";
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<Digest>().is_err());
        assert!("00".parse::<Digest>().is_err());
    }
}
