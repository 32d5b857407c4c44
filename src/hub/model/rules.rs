//! The rules of an event: from a draft to an event, or the first rule that is broken.

use std::collections::BTreeSet;
use std::time::Duration;

use super::amount::Amount;
use super::draft::{Draft, Field};
use super::event::{Event, EventType, IdempotencyKey, UserId};
use super::json::FIELDS;
use super::reason::{Reason, Rejection};
use crate::base::timestamp::{Timestamp, TimestampError};

/// Bytes of `attributes` at the most.
pub const ATTRIBUTES_BYTES_MAX: usize = 8 * 1024;
/// Levels of `attributes` at the most, itself included.
pub const ATTRIBUTES_DEPTH_MAX: usize = 8;
/// The types of the seed.
pub const EVENT_TYPES: [&str; 3] = ["purchase", "return", "refund"];
/// A name of a field that is shown in an error is cut after so many characters.
const NAME_SHOWN_MAX: usize = 64;
/// How alike two names must be for one to be suggested, from 0 to 1.
const ALIKE: f64 = 0.7;

/// What an event is checked against. Every door asks the same, in the same order, so that an event that breaks several
/// rules gets the same verdict everywhere.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The types that the hub knows.
    pub event_types: BTreeSet<EventType>,
    /// How far ahead of the hub's clock an event may be.
    pub future_max: Duration,
}

impl Rules {
    /// Makes an event of a draft.
    ///
    /// # Errors
    /// The [`Rejection`] of the first rule that is broken, in the order of the fields.
    pub fn check(&self, draft: Draft, now: Timestamp) -> Result<Event, Rejection> {
        if let Some(name) = draft.unknown {
            return Err(unknown_field(&name));
        }
        Ok(Event {
            user_id: user_id(draft.user_id)?,
            event_type: self.event_type(draft.event_type)?,
            amount: amount(&draft.amount)?,
            timestamp: self.timestamp(&draft.timestamp, now)?,
            idempotency_key: idempotency_key(draft.idempotency_key)?,
            attributes: attributes(&draft.attributes)?,
        })
    }

    fn event_type(&self, field: Field) -> Result<EventType, Rejection> {
        let Field::Text(text) = field else {
            return Err(self.unknown_type(&format!("is {}", field.what())));
        };
        let known = EventType::new(text.as_str()).filter(|name| self.event_types.contains(name));
        known.ok_or_else(|| self.unknown_type(&format!("'{}' is unknown", shown(&text))))
    }

    fn unknown_type(&self, what: &str) -> Rejection {
        let names: Vec<_> = self.event_types.iter().map(EventType::as_str).collect();
        Rejection::new(Reason::EventTypeUnknown, format!("event_type {what}; it is one of {}", names.join(", ")))
    }

    fn timestamp(&self, field: &Field, now: Timestamp) -> Result<Timestamp, Rejection> {
        let Field::Text(text) = field else {
            let detail = format!("timestamp is {}; write RFC 3339, as in 2024-01-15T10:30:00Z", field.what());
            return Err(Rejection::new(Reason::TimestampInvalid, detail));
        };
        let at = read_timestamp(text).map_err(|e| {
            Rejection::new(Reason::TimestampInvalid, format!("timestamp '{}' is no time of an event: {e}", shown(text)))
        })?;
        let latest = now.plus(self.future_max);
        if at > latest {
            let ahead = self.future_max.as_secs();
            let detail = format!("timestamp '{}' is more than {ahead} s ahead of the hub's clock", shown(text));
            return Err(Rejection::new(Reason::TimestampFuture, detail));
        }
        Ok(at)
    }
}

/// RFC 3339 with any offset; without one it is UTC. The years are 1970 to 9999.
fn read_timestamp(text: &str) -> Result<Timestamp, TimestampError> {
    let at = match Timestamp::read(text) {
        Err(TimestampError::Form) => Timestamp::read(&format!("{text}Z"))?,
        read => read?,
    };
    if at.unix_ms() < 0 { Err(TimestampError::Range) } else { Ok(at) }
}

fn user_id(field: Field) -> Result<UserId, Rejection> {
    let rule = format!("a text of 1 to {} characters without control characters", UserId::CHARS_MAX);
    let wrong = |what: &str| Rejection::new(Reason::UserIdInvalid, format!("user_id is {what}; it must be {rule}"));
    match field {
        Field::Text(text) if text.is_empty() => Err(wrong("empty")),
        Field::Text(text) => UserId::new(text).ok_or_else(|| wrong("too long or holds control characters")),
        other => Err(wrong(other.what())),
    }
}

fn amount(field: &Field) -> Result<Amount, Rejection> {
    let (Field::Text(text) | Field::Number(text)) = field else {
        return Err(Rejection::new(Reason::AmountInvalid, format!("amount is {}; write a number", field.what())));
    };
    Amount::parse(text).map_err(|reason| {
        let rule = match reason {
            Reason::AmountNegative => "is below zero",
            Reason::AmountPrecision => "has more than 4 decimals",
            _ => "is no number from 0 to 1000000000000",
        };
        Rejection::new(reason, format!("amount '{}' {rule}", shown(text)))
    })
}

fn idempotency_key(field: Field) -> Result<Option<IdempotencyKey>, Rejection> {
    let wrong = |what: &str| {
        let rule = format!("1 to {} visible ASCII characters", IdempotencyKey::CHARS_MAX);
        Rejection::new(Reason::IdempotencyKeyInvalid, format!("the idempotency key is {what}; it must be {rule}"))
    };
    match field {
        Field::Missing => Ok(None),
        Field::Text(text) => IdempotencyKey::new(text).map(Some).ok_or_else(|| wrong("another text")),
        other => Err(wrong(other.what())),
    }
}

fn attributes(field: &Field) -> Result<Option<String>, Rejection> {
    let wrong = |what: &str| Rejection::new(Reason::AttributesInvalid, format!("attributes is {what}"));
    match field {
        Field::Missing => Ok(None),
        Field::Object(text) => {
            let compact = compact(text);
            if compact.len() > ATTRIBUTES_BYTES_MAX {
                return Err(wrong(&format!("{} bytes long; at most {ATTRIBUTES_BYTES_MAX} are taken", compact.len())));
            }
            let depth = depth(&compact);
            if depth > ATTRIBUTES_DEPTH_MAX {
                return Err(wrong(&format!("nested {depth} levels deep; at most {ATTRIBUTES_DEPTH_MAX} are taken")));
            }
            Ok(Some(compact))
        }
        other => Err(wrong(&format!("{}; it must be an object", other.what()))),
    }
}

/// The text of a JSON value without the white space between its parts.
fn compact(json: &str) -> String {
    let mut is_text = false;
    let mut is_escaped = false;
    json.chars()
        .filter(|char| {
            let was_text = is_text;
            match char {
                '"' if !is_escaped => is_text = !is_text,
                _ => {}
            }
            is_escaped = was_text && *char == '\\' && !is_escaped;
            was_text || !matches!(char, ' ' | '\t' | '\n' | '\r')
        })
        .collect()
}

/// Levels of a JSON value, itself included.
fn depth(json: &str) -> usize {
    let (mut deepest, mut level, mut is_text, mut is_escaped) = (0_usize, 0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            b'"' if !is_escaped => is_text = !is_text,
            b'{' | b'[' if !is_text => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' if !is_text => level = level.saturating_sub(1),
            _ => {}
        }
        is_escaped = is_text && byte == b'\\' && !is_escaped;
    }
    deepest
}

fn unknown_field(name: &str) -> Rejection {
    // How alike two names are takes time that grows with both; a long one is alike to none.
    let alike = FIELDS
        .into_iter()
        .filter(|_| name.len() <= NAME_SHOWN_MAX)
        .map(|field| (strsim::jaro_winkler(field, name), field));
    let nearest = alike.filter(|(likeness, _)| *likeness >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    let advice = match nearest {
        Some((_, field)) => format!("did you mean '{field}'?"),
        None => "put what else there is to say under 'attributes'".to_owned(),
    };
    Rejection::new(Reason::FieldUnknown, format!("no event has the field '{}'; {advice}", shown(name)))
}

/// What a caller wrote, cut and without control characters, as it may stand in an error.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(NAME_SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(NAME_SHOWN_MAX).is_some() {
        short.push('…');
    }
    short
}

impl Default for Rules {
    /// The three types of the seed, and five minutes.
    fn default() -> Self {
        Self {
            event_types: EVENT_TYPES.into_iter().filter_map(EventType::new).collect(),
            future_max: Duration::from_secs(300),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_705_314_600_000;

    fn check(json: &str) -> Result<Event, Rejection> {
        let draft = Draft::from_json(json).unwrap()?;
        Rules::default().check(draft, Timestamp::from_unix_ms(NOW))
    }

    /// An event with one field replaced.
    fn with(field: &str, value: &str) -> String {
        let mut fields = vec![
            ("user_id", r#""user123""#),
            ("event_type", r#""purchase""#),
            ("amount", "150.75"),
            ("timestamp", r#""2024-01-15T10:30:00Z""#),
        ];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }

    #[test]
    fn the_example_of_the_seed_is_an_event() {
        let event = check(&with("amount", "150.75")).unwrap();
        assert_eq!(event.user_id.as_str(), "user123");
        assert_eq!(event.event_type.as_str(), "purchase");
        assert_eq!(event.amount.to_string(), "150.75");
        assert_eq!(event.timestamp.unix_ms(), NOW);
    }

    #[test]
    fn every_broken_rule_has_its_reason() {
        let deep = format!("{}{}", "{\"a\":".repeat(9), "1".to_owned() + &"}".repeat(9));
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(8192));
        for (field, value, reason) in [
            ("user_id", "7", Reason::UserIdInvalid),
            ("user_id", "null", Reason::UserIdInvalid),
            ("user_id", r#""""#, Reason::UserIdInvalid),
            ("user_id", r#""a\u0000""#, Reason::UserIdInvalid),
            ("event_type", r#""PURCHASE""#, Reason::EventTypeUnknown),
            ("event_type", r#""sale""#, Reason::EventTypeUnknown),
            ("event_type", "1", Reason::EventTypeUnknown),
            ("amount", r#""12,5""#, Reason::AmountInvalid),
            ("amount", "true", Reason::AmountInvalid),
            ("amount", "-1", Reason::AmountNegative),
            ("amount", "0.00001", Reason::AmountPrecision),
            ("timestamp", "1705314600", Reason::TimestampInvalid),
            ("timestamp", r#""2024-02-30T10:30:00Z""#, Reason::TimestampInvalid),
            ("timestamp", r#""1969-12-31T23:59:59Z""#, Reason::TimestampInvalid),
            ("timestamp", r#""2024-01-15""#, Reason::TimestampInvalid),
            ("timestamp", r#""2024-01-15T10:35:00.001Z""#, Reason::TimestampFuture),
            ("idempotency_key", r#""a b""#, Reason::IdempotencyKeyInvalid),
            ("idempotency_key", "1", Reason::IdempotencyKeyInvalid),
            ("attributes", "[]", Reason::AttributesInvalid),
            ("attributes", &deep, Reason::AttributesInvalid),
            ("attributes", &large, Reason::AttributesInvalid),
            ("ammount", "1", Reason::FieldUnknown),
        ] {
            assert_eq!(check(&with(field, value)).unwrap_err().reason, reason, "{field} {value}");
        }
        assert!(check(&with("ammount", "1")).unwrap_err().detail.contains("did you mean 'amount'?"));
        assert!(check(&with("zebra", "1")).unwrap_err().detail.contains("'attributes'"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let rejection = check("{}").unwrap_err();
        assert_eq!(rejection.reason, Reason::UserIdInvalid, "the first field");
        assert!(rejection.detail.starts_with("user_id is missing"), "{rejection}");
    }

    #[test]
    fn times_of_any_offset_and_without_one_are_the_same_moment() {
        for text in
            ["2024-01-15T10:30:00Z", "2024-01-15T10:30:00", "2024-01-15T13:30:00.0009+03:00", "2024-01-15 10:30:00"]
        {
            let event = check(&with("timestamp", &format!("\"{text}\""))).unwrap();
            assert_eq!(event.timestamp.unix_ms(), NOW, "{text}");
        }
        assert!(check(&with("timestamp", r#""2024-01-15T10:35:00Z""#)).is_ok(), "the limit itself");
    }

    #[test]
    fn attributes_are_kept_without_the_white_space_between() {
        let event = check(&with("attributes", "{ \"a b\" :\t[1.10, \"x \\\" y\"] }")).unwrap();
        assert_eq!(event.attributes.as_deref(), Some(r#"{"a b":[1.10,"x \" y"]}"#));
        let braces = format!("{{\"a\":\"{}\"}}", "[".repeat(20));
        assert!(check(&with("attributes", &braces)).is_ok(), "brackets within a text are no levels");
    }
}
