//! An event that passed the rules.

use std::fmt;

use sha2::{Digest, Sha256};

use super::amount::Amount;
use crate::base::timestamp::Timestamp;

/// The user of an event: 1 to 128 characters without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(String);

/// What happened: one of the types that the hub knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(String);

/// A caller's name for an event: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(String);

/// The digest of what an event says: the same event again has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// An event that passed the rules, before the hub gave it an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The user.
    pub user_id: UserId,
    /// What happened.
    pub event_type: EventType,
    /// How much.
    pub amount: Amount,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What else the caller said: a JSON object without white space.
    pub attributes: Option<String>,
    /// The caller's name for it.
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Event {
    /// The digest of all fields but the key. Every field is preceded by its length, so that no two events are written
    /// alike.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let (amount, timestamp) = (self.amount.units().to_be_bytes(), self.timestamp.unix_ms().to_be_bytes());
        let attributes = self.attributes.as_deref().unwrap_or_default();
        let texts = [self.user_id.as_str().as_bytes(), self.event_type.as_str().as_bytes(), attributes.as_bytes()];
        for bytes in texts.into_iter().chain([&amount[..], &timestamp[..]]) {
            digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(bytes);
        }
        Fingerprint(digest.finalize().into())
    }
}

impl UserId {
    /// Characters at the most.
    pub const CHARS_MAX: usize = 128;

    /// A user's id; nothing for a text that is none.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = !text.is_empty() && text.chars().count() <= Self::CHARS_MAX;
        (fits && !text.chars().any(char::is_control)).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EventType {
    /// Characters at the most.
    pub const CHARS_MAX: usize = 64;

    /// The name of a type: lower-case letters, digits, `_`, `.` and `-`; nothing for another text. Whether the hub knows
    /// it is up to the rules.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        let fits = !text.is_empty() && text.len() <= Self::CHARS_MAX;
        (fits && text.bytes().all(is_plain)).then_some(Self(text))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IdempotencyKey {
    /// Characters at the most.
    pub const CHARS_MAX: usize = 255;

    /// A key; nothing for a text that is none.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = !text.is_empty() && text.len() <= Self::CHARS_MAX;
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            user_id: UserId::new("user123").unwrap(),
            event_type: EventType::new("purchase").unwrap(),
            amount: Amount::parse("150.75").unwrap(),
            timestamp: Timestamp::from_unix_ms(1_705_314_600_000),
            attributes: None,
            idempotency_key: None,
        }
    }

    #[test]
    fn the_fingerprint_tells_every_field_but_the_key() {
        let plain = event().fingerprint();
        assert_eq!(Event { idempotency_key: IdempotencyKey::new("k"), ..event() }.fingerprint(), plain);
        let others = [
            Event { user_id: UserId::new("user124").unwrap(), ..event() },
            Event { event_type: EventType::new("refund").unwrap(), ..event() },
            Event { amount: Amount::parse("150.7501").unwrap(), ..event() },
            Event { timestamp: event().timestamp.plus_ms(1), ..event() },
            Event { attributes: Some("{}".into()), ..event() },
            // The same characters, cut at another place.
            Event {
                user_id: UserId::new("user123p").unwrap(),
                event_type: EventType::new("urchase").unwrap(),
                ..event()
            },
        ];
        for other in others {
            assert_ne!(other.fingerprint(), plain, "{other:?}");
        }
    }

    #[test]
    fn names_have_their_limits() {
        assert!(UserId::new("ü".repeat(128)).is_some() && UserId::new("ü".repeat(129)).is_none());
        assert!(UserId::new("").is_none() && UserId::new("a\u{7f}").is_none() && UserId::new("a\nb").is_none());
        assert!(IdempotencyKey::new("x".repeat(255)).is_some() && IdempotencyKey::new("x".repeat(256)).is_none());
        assert!(IdempotencyKey::new("a b").is_none() && IdempotencyKey::new("ä").is_none());
        assert!(EventType::new("Purchase").is_none() && EventType::new("stock.low-2").is_some());
    }
}
