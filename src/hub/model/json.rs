//! An event as JSON: `{"user_id":"user123","event_type":"purchase","amount":150.75,"timestamp":"2024-01-15T10:30:00Z"}`.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::draft::{Draft, Field};
use super::reason::{Reason, Rejection};

/// The names of the fields.
pub const FIELDS: [&str; 6] = ["user_id", "event_type", "amount", "timestamp", "idempotency_key", "attributes"];

/// The text is no JSON at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body is no JSON: {0}")]
pub struct NotJson(pub String);

impl Draft {
    /// Reads one event. Fields are not checked but for being there once.
    ///
    /// # Errors
    /// [`NotJson`] for a text that is no JSON; within it a [`Rejection`] for JSON that is no object, or has a key twice.
    pub fn from_json(text: &str) -> Result<Result<Self, Rejection>, NotJson> {
        match serde_json::from_str::<Self>(text) {
            Ok(draft) => Ok(Ok(draft)),
            Err(e) if e.is_data() => {
                Ok(Err(Rejection::new(Reason::EventInvalid, format!("the event is refused: {e}"))))
            }
            Err(e) => Err(NotJson(e.to_string())),
        }
    }

    fn field(&mut self, name: &str) -> Option<&mut Field> {
        match name {
            "user_id" => Some(&mut self.user_id),
            "event_type" => Some(&mut self.event_type),
            "amount" => Some(&mut self.amount),
            "timestamp" => Some(&mut self.timestamp),
            "idempotency_key" => Some(&mut self.idempotency_key),
            "attributes" => Some(&mut self.attributes),
            _ => None,
        }
    }
}

impl Field {
    /// The field that this JSON is. `null` is the same as a field that is not there.
    pub fn from_json(value: &RawValue) -> Self {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str(text).map_or(Self::Other("a string that is no text"), Self::Text),
            Some(b'{') => Self::Object(text.to_owned()),
            Some(b'[') => Self::Other("a list"),
            Some(b't' | b'f') => Self::Other("a boolean"),
            Some(b'n') => Self::Missing,
            _ => Self::Number(text.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for Draft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Draft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the fields of an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft, A::Error> {
        let mut draft = Draft::default();
        let mut seen = Vec::with_capacity(FIELDS.len());
        while let Some(name) = map.next_key::<String>()? {
            let value: &RawValue = map.next_value()?;
            if seen.contains(&name) {
                return Err(de::Error::custom(format_args!("the key '{}' is there twice", name.escape_debug())));
            }
            match draft.field(&name) {
                Some(field) => *field = Field::from_json(value),
                // Only the first is kept, so that memory does not grow with keys that no event has.
                None => drop(draft.unknown.get_or_insert_with(|| name.clone())),
            }
            if FIELDS.contains(&name.as_str()) {
                seen.push(name);
            }
        }
        Ok(draft)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Draft {
        Draft::from_json(text).unwrap().unwrap()
    }

    #[test]
    fn the_fields_are_read_as_they_came() {
        let draft = read(
            r#"{"user_id":"u\n1","amount":150.750,"event_type":7,"timestamp":null,"attributes":{"a":[1]},"idempotency_key":[]}"#,
        );
        assert_eq!(draft.user_id, Field::Text("u\n1".into()));
        assert_eq!(draft.amount, Field::Number("150.750".into()), "the digits, not a float");
        assert_eq!(draft.event_type, Field::Number("7".into()));
        assert_eq!(draft.timestamp, Field::Missing);
        assert_eq!(draft.attributes, Field::Object(r#"{"a":[1]}"#.into()));
        assert_eq!(draft.idempotency_key, Field::Other("a list"));
        assert_eq!(draft.unknown, None);
        assert_eq!(read(r#"{"usr":1,"more":2}"#).unknown.as_deref(), Some("usr"));
    }

    #[test]
    fn what_is_no_json_is_told_from_what_is_no_event() {
        for text in ["", "{", "{\"a\":1,}", "nul", "{\"a\":01}"] {
            assert!(Draft::from_json(text).is_err(), "{text}");
        }
        for text in ["[]", "1", "\"x\"", "null", r#"{"amount":1,"amount":2}"#] {
            let rejection = Draft::from_json(text).unwrap().unwrap_err();
            assert_eq!(rejection.reason, Reason::EventInvalid, "{text}");
        }
    }
}
