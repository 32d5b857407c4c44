//! Scalars beside those of GraphQL.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};

use super::error::invalid;
use crate::base::timestamp::Timestamp;
use crate::hub::model::Field;

/// A moment, RFC 3339, as in 2024-01-15T10:30:00Z.
///
/// It is kept as the text that it came as: whether it is the time of an event is decided by the rules of all doors.
#[derive(Debug, Clone)]
pub(super) struct DateTime(pub(super) String);

/// An amount, exact: a number, or a string of digits such as "150.75" for clients whose numbers are floats.
#[derive(Debug, Clone)]
pub(super) struct Decimal(pub(super) Field);

/// Any JSON object.
#[derive(Debug, Clone)]
pub(super) struct Json(Value);

impl DateTime {
    /// The moment.
    ///
    /// # Errors
    /// A sentence with this name of the parameter: the text is no moment.
    pub(super) fn moment(&self, name: &str) -> async_graphql::Result<Timestamp> {
        Timestamp::read(&self.0).map_err(|e| invalid(format!("{name} is {e}")))
    }
}

impl From<Timestamp> for DateTime {
    fn from(at: Timestamp) -> Self {
        Self(at.rfc3339_ms())
    }
}

impl From<Json> for Field {
    fn from(Json(value): Json) -> Self {
        match &value {
            Value::Null => Self::Missing,
            Value::Object(_) => serde_json::to_string(&value).map_or(Self::Other("no JSON"), Self::Object),
            other => Self::Other(kind(other)),
        }
    }
}

impl Json {
    /// The JSON that this text is.
    pub(super) fn of_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "missing",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Boolean(_) => "a boolean",
        Value::Binary(_) => "binary",
        Value::Enum(_) => "a name",
        Value::List(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A moment, RFC 3339, as in 2024-01-15T10:30:00Z.
#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::String(_))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// An amount, exact: a number, or a string of digits such as "150.75" for clients whose numbers are floats.
#[Scalar]
impl ScalarType for Decimal {
    /// What is no number is refused by the rules, with the same reason as at the other doors.
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(match value {
            Value::String(text) => Field::Text(text),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => Field::from(float),
                None => Field::Number(number.to_string()),
            },
            other => Field::Other(kind(&other)),
        }))
    }

    fn to_value(&self) -> Value {
        match &self.0 {
            Field::Text(text) | Field::Number(text) => Value::String(text.clone()),
            _ => Value::Null,
        }
    }
}

/// Any JSON object.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value))
    }

    fn to_value(&self) -> Value {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_what_was_meant() {
        let amount = |json: &str| Decimal::parse(serde_json::from_str(json).unwrap()).unwrap().0;
        for (json, text) in
            [("150.75", "150.75"), ("0.1", "0.1"), ("3", "3"), ("1e3", "1000"), ("1000000000000", "1000000000000")]
        {
            assert_eq!(amount(json), Field::Number(text.to_owned()), "{json}");
        }
        assert_eq!(amount("\"0.1000\""), Field::Text("0.1000".to_owned()));
        assert_eq!(amount("[1]"), Field::Other("a list"));
    }

    #[test]
    fn attributes_keep_their_order() {
        let text = r#"{"b":[1.5,{"a":null}],"a":"x"}"#;
        assert_eq!(Field::from(Json::of_text(text).unwrap()), Field::Object(text.to_owned()));
        assert_eq!(Field::from(Json::of_text("null").unwrap()), Field::Missing);
    }
}
