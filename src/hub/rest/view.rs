//! Events and minutes as REST shows them.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::base::bus::Cursor;
use crate::base::timestamp::Timestamp;
use crate::hub::codec::Shown;
use crate::hub::model::Event;
use crate::hub::store::{KeptMinute, Stored};

/// An event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EventResponse {
    /// The hub's id.
    id: Uuid,
    /// Where it is in the stream: an opaque text that sorts. Absent while it is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// When the hub took it.
    received_at: String,
    /// The user.
    user_id: String,
    /// What happened.
    event_type: String,
    /// Exact: no more digits than the caller gave.
    #[schema(value_type = f64)]
    amount: Box<RawValue>,
    /// When it happened.
    timestamp: String,
    /// What else the caller said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    attributes: Option<Box<RawValue>>,
}

/// The events of one type that happened in one minute.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct MinuteResponse {
    /// Its begin.
    minute: String,
    /// The type.
    event_type: String,
    /// How many events.
    count: u64,
    /// Their sum, exact.
    #[schema(value_type = f64)]
    sum: Box<RawValue>,
    /// The smallest amount.
    #[schema(value_type = f64)]
    min: Box<RawValue>,
    /// The largest amount.
    #[schema(value_type = f64)]
    max: Box<RawValue>,
    /// The smallest position of its events.
    first: String,
    /// The largest position of its events.
    last: String,
}

/// Digits, or stored JSON, as JSON. Both were written by us, so nothing is lost.
fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

impl EventResponse {
    pub(super) fn stored(stored: Stored) -> Self {
        let position = stored.position.map(|position| position.to_string());
        Self::new(stored.id, stored.received_at, position, stored.event)
    }

    /// An event of a subscription; its position is where the subscription is with it.
    pub(super) fn shown(shown: &Shown, cursor: &Cursor) -> Self {
        let delivery = &shown.delivery;
        Self::new(delivery.id, shown.received_at, Some(cursor.to_string()), delivery.event.clone())
    }

    fn new(id: Uuid, received_at: Timestamp, position: Option<String>, event: Event) -> Self {
        Self {
            id,
            position,
            received_at: received_at.rfc3339_ms(),
            user_id: event.user_id.as_str().to_owned(),
            event_type: event.event_type.to_string(),
            amount: raw(event.amount.to_string()),
            timestamp: event.timestamp.rfc3339_ms(),
            attributes: event.attributes.map(raw),
        }
    }
}

impl From<KeptMinute> for MinuteResponse {
    fn from(KeptMinute { minute, first, last }: KeptMinute) -> Self {
        Self {
            minute: minute.begin.rfc3339_ms(),
            event_type: minute.event_type.to_string(),
            count: minute.count,
            sum: raw(minute.sum.to_string()),
            min: raw(minute.min.to_string()),
            max: raw(minute.max.to_string()),
            first: first.to_string(),
            last: last.to_string(),
        }
    }
}
