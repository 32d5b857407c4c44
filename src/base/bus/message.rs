//! What is on a bus.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::position::Position;
use crate::base::timestamp::Timestamp;

/// A topic: its name, how many partitions it has, and how much of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    name: String,
    partitions: u32,
    kept_max: Option<u64>,
}

/// The name of a group of members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(String);

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id, by which receivers know it when it comes again.
    pub id: Uuid,
    /// Messages of one key keep their order.
    pub key: Vec<u8>,
    /// What it says.
    pub value: Vec<u8>,
    /// What is said about it.
    pub headers: Vec<(String, String)>,
}

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Where it stands.
    pub position: Position,
    /// When the bus took it.
    pub published_at: Timestamp,
    /// The message.
    pub message: Message,
}

impl Topic {
    /// Partitions of a topic at the most.
    pub const PARTITIONS_MAX: u32 = 1024;

    /// A topic; nothing for a name that a bus would not take, or a number of partitions that no topic has.
    pub fn new(name: &str, partitions: u32) -> Option<Self> {
        let fits = is_name(name) && (1..=Self::PARTITIONS_MAX).contains(&partitions);
        fits.then(|| Self { name: name.to_owned(), partitions, kept_max: None })
    }

    /// The same topic, of which a partition keeps about so many messages. Without this all are kept.
    #[must_use]
    pub fn keeping(self, messages: u64) -> Self {
        Self { kept_max: Some(messages.max(1)), ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// How many messages a partition keeps at least; nothing where all are kept.
    pub fn kept_max(&self) -> Option<u64> {
        self.kept_max
    }

    /// The partition of a key. It is the same in every process and version: a key that moved would lose its order.
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        let digest = Sha256::digest(key);
        let number = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        // Less than `partitions`, which is a u32.
        u32::try_from(number % u64::from(self.partitions)).unwrap_or_default()
    }
}

impl Group {
    /// A group; nothing for a name that a bus would not take.
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What SQLite, Redis and Kafka all take: 1 to 200 letters, digits, `.`, `_` and `-`.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=200).contains(&text.len()) && text.bytes().all(is_plain) && !matches!(text, "." | "..")
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_same_partition_for_ever() {
        let topic = Topic::new("events", 3).unwrap();
        let partitions: Vec<_> = (0..8).map(|number| topic.partition_of(format!("user{number}").as_bytes())).collect();
        // Written down once: another result would break the order of keys in logs that exist.
        assert_eq!(partitions, PINNED);
        assert!(partitions.iter().all(|partition| *partition < 3));
    }

    const PINNED: [u32; 8] = [0, 0, 2, 0, 1, 0, 0, 1];

    #[test]
    fn names_that_a_bus_would_not_take_are_refused() {
        for name in ["", "a b", "..", "a/b", "ä", &"x".repeat(201)] {
            assert!(Topic::new(name, 1).is_none() && Group::new(name).is_none(), "{name}");
        }
        assert!(Topic::new("events", 0).is_none() && Topic::new("events", 1025).is_none());
        assert!(Topic::new("orders-events.dlq", 3).is_some());
    }
}
