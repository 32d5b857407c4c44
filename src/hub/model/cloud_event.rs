//! Events that come as CloudEvents 1.0. The event of the hub is the `data`; what is missing there is taken from the
//! attributes around it: `subject` is the user, the last part of `type` the type, `time` the timestamp. `source` and `id`
//! together are the idempotency key, as the specification says that they name an event once and for all.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::draft::{Draft, Field};
use super::json::NotJson;
use super::reason::{Reason, Rejection};

/// What a key cannot hold as it is, and the mark between source and id.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'#');
/// The one version that is known.
const VERSION: &str = "1.0";

/// The attributes of a CloudEvent that the hub reads.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// `specversion`.
    pub version: Option<String>,
    /// `id`.
    pub id: Option<String>,
    /// `source`.
    pub source: Option<String>,
    /// `type`.
    pub event_type: Option<String>,
    /// `subject`.
    pub subject: Option<String>,
    /// `time`.
    pub time: Option<String>,
}

/// An event in the structured mode.
#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(default)]
    specversion: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    source: Option<String>,
    #[serde(default, rename = "type")]
    event_type: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

/// Reads an event in the structured mode: attributes and data in one JSON object.
///
/// # Errors
/// [`NotJson`] for a text that is no JSON; within it a [`Rejection`] for what is no CloudEvent of version 1.0.
pub fn from_structured(text: &str) -> Result<Result<Draft, Rejection>, NotJson> {
    let event: Structured<'_> = match serde_json::from_str(text) {
        Ok(event) => event,
        Err(e) if e.is_data() => return Ok(Err(refused(&e.to_string()))),
        Err(e) => return Err(NotJson(e.to_string())),
    };
    let context = Context {
        version: event.specversion,
        id: event.id,
        source: event.source,
        event_type: event.event_type,
        subject: event.subject,
        time: event.time,
    };
    match event.data {
        Some(data) => from_parts(context, data.get()),
        None => from_parts(context, "{}"),
    }
}

/// Reads an event in the binary mode: the attributes came as headers, the body is the data.
///
/// # Errors
/// As [`from_structured`].
pub fn from_parts(context: Context, data: &str) -> Result<Result<Draft, Rejection>, NotJson> {
    let draft = Draft::from_json(data)?;
    Ok(draft.and_then(|draft| complete(draft, context)))
}

fn complete(mut draft: Draft, context: Context) -> Result<Draft, Rejection> {
    if context.version.as_deref() != Some(VERSION) {
        return Err(refused("specversion must be 1.0"));
    }
    let needed = |value: Option<String>, name: &str| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| refused(&format!("the attribute {name} is missing")))
    };
    let (id, source) = (needed(context.id, "id")?, needed(context.source, "source")?);
    let event_type = needed(context.event_type, "type")?;
    let fill = |field: &mut Field, value: Option<String>| {
        if *field == Field::Missing {
            *field = value.into();
        }
    };
    fill(&mut draft.user_id, context.subject);
    fill(&mut draft.event_type, event_type.rsplit('.').next().map(str::to_owned));
    fill(&mut draft.timestamp, context.time);
    fill(&mut draft.idempotency_key, Some(key(&source, &id)));
    Ok(draft)
}

/// Source and id as one key: no two pairs have the same.
fn key(source: &str, id: &str) -> String {
    let part = |text| utf8_percent_encode(text, ESCAPED);
    format!("{}#{}", part(source), part(id))
}

fn refused(why: &str) -> Rejection {
    Rejection::new(Reason::EventInvalid, format!("this is no CloudEvent 1.0: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_data_lacks_is_taken_from_the_attributes() {
        let text = r#"{"specversion":"1.0","id":"7","source":"/tills/3","type":"shop.till.refund","subject":"user9",
            "time":"2024-01-15T10:30:00Z","datacontenttype":"application/json","data":{"amount":1.50}}"#;
        let draft = from_structured(text).unwrap().unwrap();
        assert_eq!(draft.user_id, Field::Text("user9".into()));
        assert_eq!(draft.event_type, Field::Text("refund".into()));
        assert_eq!(draft.amount, Field::Number("1.50".into()));
        assert_eq!(draft.idempotency_key, Field::Text("/tills/3#7".into()));
        let data = r#"{"user_id":"u","event_type":"return","amount":"2","timestamp":"x","idempotency_key":"mine"}"#;
        let context = Context {
            version: Some("1.0".into()),
            id: Some("1".into()),
            source: Some("s".into()),
            event_type: Some("t".into()),
            ..Context::default()
        };
        let whole = from_parts(context, data).unwrap().unwrap();
        assert_eq!(whole.event_type, Field::Text("return".into()), "the data wins");
        assert_eq!(whole.idempotency_key, Field::Text("mine".into()));
    }

    #[test]
    fn keys_of_other_pairs_differ() {
        assert_ne!(key("a#b", "c"), key("a", "b#c"));
        assert_eq!(key("/ä", "x y"), "/%C3%A4#x%20y");
    }

    #[test]
    fn what_is_no_cloud_event_is_refused() {
        for text in [
            r#"{"id":"7","source":"s","type":"t","data":{}}"#,
            r#"{"specversion":"0.3","id":"7","source":"s","type":"t","data":{}}"#,
            r#"{"specversion":"1.0","source":"s","type":"t","data":{}}"#,
            r#"{"specversion":"1.0","id":"7","source":"","type":"t","data":{}}"#,
            r#"{"specversion":"1.0","id":7,"source":"s","type":"t"}"#,
        ] {
            assert_eq!(from_structured(text).unwrap().unwrap_err().reason, Reason::EventInvalid, "{text}");
        }
        assert!(from_structured("{").is_err());
    }
}
