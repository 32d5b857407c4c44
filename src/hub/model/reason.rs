//! Why an event is not taken, in codes that programs rely on.

use std::fmt;

/// Why an event is refused. The code is the same at every door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It is no JSON object, or holds a key twice.
    EventInvalid,
    /// `user_id` is missing, no text, empty, over 128 characters, or holds control characters.
    UserIdInvalid,
    /// `event_type` is missing, or none that the hub knows.
    EventTypeUnknown,
    /// `amount` is missing, no number, or over 10^12.
    AmountInvalid,
    /// `amount` is below zero.
    AmountNegative,
    /// `amount` has more than four decimals.
    AmountPrecision,
    /// `timestamp` is missing, not RFC 3339, or outside of the years 1970 to 9999.
    TimestampInvalid,
    /// `timestamp` is too far ahead of the hub's clock.
    TimestampFuture,
    /// The idempotency key is empty, over 255 characters, or holds more than visible ASCII.
    IdempotencyKeyInvalid,
    /// The idempotency key stands for another event.
    IdempotencyKeyReused,
    /// `attributes` is no object, over 8 KiB, or nested deeper than 8.
    AttributesInvalid,
    /// A field that no event has.
    FieldUnknown,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 12] = [
        Self::EventInvalid,
        Self::UserIdInvalid,
        Self::EventTypeUnknown,
        Self::AmountInvalid,
        Self::AmountNegative,
        Self::AmountPrecision,
        Self::TimestampInvalid,
        Self::TimestampFuture,
        Self::IdempotencyKeyInvalid,
        Self::IdempotencyKeyReused,
        Self::AttributesInvalid,
        Self::FieldUnknown,
    ];

    /// The code, as every door writes it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::EventInvalid => "event_invalid",
            Self::UserIdInvalid => "user_id_invalid",
            Self::EventTypeUnknown => "event_type_unknown",
            Self::AmountInvalid => "amount_invalid",
            Self::AmountNegative => "amount_negative",
            Self::AmountPrecision => "amount_precision",
            Self::TimestampInvalid => "timestamp_invalid",
            Self::TimestampFuture => "timestamp_future",
            Self::IdempotencyKeyInvalid => "idempotency_key_invalid",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::AttributesInvalid => "attributes_invalid",
            Self::FieldUnknown => "field_unknown",
        }
    }

    /// The field that is wrong; nothing where it is the event as a whole.
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::EventInvalid | Self::FieldUnknown => None,
            Self::UserIdInvalid => Some("user_id"),
            Self::EventTypeUnknown => Some("event_type"),
            Self::AmountInvalid | Self::AmountNegative | Self::AmountPrecision => Some("amount"),
            Self::TimestampInvalid | Self::TimestampFuture => Some("timestamp"),
            Self::IdempotencyKeyInvalid | Self::IdempotencyKeyReused => Some("idempotency_key"),
            Self::AttributesInvalid => Some("attributes"),
        }
    }
}

/// Characters of a sentence at the most.
const DETAIL_CHARS_MAX: usize = 500;

/// A refusal, for a program and for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejection {
    /// The reason.
    pub reason: Reason,
    /// One sentence: what is wrong and what would be right.
    pub detail: String,
}

impl Rejection {
    /// A refusal for this reason.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARS_MAX) {
            // It may quote what the caller sent.
            detail.truncate(end);
            detail.push('…');
        }
        Self { reason, detail }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own() {
        let codes: BTreeSet<_> = Reason::ALL.map(Reason::code).into();
        assert_eq!(codes.len(), Reason::ALL.len());
    }
}
