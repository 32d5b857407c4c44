//! What the body of a post is: one event or several, plain or as CloudEvents 1.0.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use crate::base::http::Problem;
use crate::hub::model::cloud_event::{self, Context};
use crate::hub::model::{Draft, Field, NotJson, Reason, Rejection};
use crate::hub::store::ACCEPTED_MAX;

const JSON: &str = "application/json";
const CLOUD_EVENT: &str = "application/cloudevents+json";
const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
/// What clients send by themselves with what is JSON nevertheless, `curl -d` among them.
const UNNAMED: [&str; 3] = ["", "application/x-www-form-urlencoded", "text/plain"];

/// The header that names an event, for callers that cannot put the key into it.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// What the names of the headers of a CloudEvent in the binary mode begin with.
const CLOUD_PREFIX: &str = "ce-";

/// An event, or why it is none.
pub(super) type Read = Result<Draft, Rejection>;

impl From<NotJson> for Problem {
    fn from(fault: NotJson) -> Self {
        Self::bad_request(fault.to_string())
    }
}

/// Reads the event of a post.
pub(super) fn one(headers: &HeaderMap, body: &[u8]) -> Result<Read, Problem> {
    let text = text(body)?;
    let read = match media(headers).as_str() {
        CLOUD_EVENT => cloud_event::from_structured(text)?,
        _ if is_binary(headers) => cloud_event::from_parts(context(headers), text)?,
        JSON => Draft::from_json(text)?,
        other if UNNAMED.contains(&other) => Draft::from_json(text)?,
        CLOUD_EVENTS => return Err(other_route("a batch", "POST /events/batch")),
        other => return Err(unsupported(other)),
    };
    Ok(read.and_then(|draft| with_key(draft, headers)))
}

/// Reads the events of a batch. What is wrong with one of them leaves the others as they are.
pub(super) fn several(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Read>, Problem> {
    if headers.contains_key(IDEMPOTENCY_KEY) {
        return Err(Problem::invalid("the header Idempotency-Key names one event; in a batch each has its own field"));
    }
    let text = text(body)?;
    let events = match media(headers).as_str() {
        media if LINES.contains(&media) => lines(text),
        CLOUD_EVENTS => list(text, cloud_event::from_structured)?,
        JSON => list(text, Draft::from_json)?,
        other if UNNAMED.contains(&other) => list(text, Draft::from_json)?,
        CLOUD_EVENT => return Err(other_route("a single event", "POST /events")),
        other => return Err(unsupported(other)),
    };
    match events.len() {
        0 => Err(Problem::invalid("the batch is empty")),
        1..=ACCEPTED_MAX => Ok(events),
        more => Err(too_many(more)),
    }
}

fn too_many(events: usize) -> Problem {
    Problem { detail: format!("{events} events at once; at most {ACCEPTED_MAX} are taken"), ..Problem::too_large() }
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|e| Problem::bad_request(format!("the body is not UTF-8: {e}")))
}

/// The media type without its parameters, in lower case.
fn media(headers: &HeaderMap) -> String {
    let named = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn list(text: &str, read: fn(&str) -> Result<Read, NotJson>) -> Result<Vec<Read>, Problem> {
    let events: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|e| Problem::bad_request(format!("the body is no JSON list: {e}")))?;
    // Before anything is made of them: a small packed body may hold millions.
    if events.len() > ACCEPTED_MAX {
        return Err(too_many(events.len()));
    }
    // Each is JSON already.
    Ok(events.into_iter().map(|event| read(event.get()).unwrap_or_else(|fault| Err(no_json(&fault)))).collect())
}

fn lines(text: &str) -> Vec<Read> {
    // One more tells that there are too many.
    let lines = text.lines().filter(|line| !line.trim().is_empty()).take(ACCEPTED_MAX + 1);
    lines.map(|line| Draft::from_json(line).unwrap_or_else(|fault| Err(no_json(&fault)))).collect()
}

fn no_json(fault: &NotJson) -> Rejection {
    Rejection::new(Reason::EventInvalid, fault.to_string())
}

/// The key of the header, where the event has none itself.
fn with_key(mut draft: Draft, headers: &HeaderMap) -> Read {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(draft) };
    let key = Field::Text(String::from_utf8_lossy(key.as_bytes()).into_owned());
    if draft.idempotency_key != Field::Missing && draft.idempotency_key != key {
        let detail = "the header Idempotency-Key and the field idempotency_key differ";
        return Err(Rejection::new(Reason::IdempotencyKeyInvalid, detail));
    }
    draft.idempotency_key = key;
    Ok(draft)
}

fn is_binary(headers: &HeaderMap) -> bool {
    headers.contains_key("ce-specversion") || headers.contains_key("ce-id")
}

/// The attributes of a CloudEvent in the binary mode: percent-encoded headers (HTTP binding, 3.1.3.2).
fn context(headers: &HeaderMap) -> Context {
    let value = |name: &str| {
        let header = headers.get(format!("{CLOUD_PREFIX}{name}"))?.to_str().ok()?;
        Some(percent_decode_str(header).decode_utf8_lossy().into_owned())
    };
    Context {
        version: value("specversion"),
        id: value("id"),
        source: value("source"),
        event_type: value("type"),
        subject: value("subject"),
        time: value("time"),
    }
}

fn other_route(what: &str, route: &str) -> Problem {
    let detail = format!("this is {what} of CloudEvents; send it to {route}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

fn unsupported(media: &str) -> Problem {
    let detail = format!("'{media}' is not taken here: send JSON, NDJSON to /events/batch, or CloudEvents 1.0");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}
