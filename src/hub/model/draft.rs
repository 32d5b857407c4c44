//! An event as a door got it, before any rule was asked.

/// A field as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Field {
    /// It is not there.
    #[default]
    Missing,
    /// A text.
    Text(String),
    /// A number, as the text of a JSON number.
    Number(String),
    /// An object, as the text of its JSON.
    Object(String),
    /// Something that no field of an event is; the words say what.
    Other(&'static str),
}

impl Field {
    /// What this is, in the words of an error message.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Object(_) => "an object",
            Self::Other(what) => what,
        }
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Option<String>> for Field {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Missing, Self::Text)
    }
}

/// A float of a client that has nothing better. Its shortest form is what was meant; what is no number stays refused.
impl From<f64> for Field {
    fn from(number: f64) -> Self {
        Self::Number(number.to_string())
    }
}

/// An event as it came through a door, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Draft {
    /// `user_id`.
    pub user_id: Field,
    /// `event_type`.
    pub event_type: Field,
    /// `amount`.
    pub amount: Field,
    /// `timestamp`.
    pub timestamp: Field,
    /// `idempotency_key`, or what the door has instead of it.
    pub idempotency_key: Field,
    /// `attributes`.
    pub attributes: Field,
    /// The first field that no event has.
    pub unknown: Option<String>,
}
