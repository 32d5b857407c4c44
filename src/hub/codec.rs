//! An event on the bus: JSON with the names that the readers of the stream know, `event_id` first.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::model::{Amount, Event, EventType, UserId};
use super::store::{Delivery, Stored};
use crate::base::bus::{Delivered, Message};
use crate::base::timestamp::Timestamp;

/// The event as it is written.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    event_id: Uuid,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    amount: &'a RawValue,
    timestamp: Cow<'a, str>,
    received_at: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a RawValue>,
}

/// An event as it came from the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// When the hub took it.
    pub received_at: Timestamp,
    /// The event, with its id and its position.
    pub delivery: Delivery,
}

/// The message of an event. Its key is the user: a user's events keep their order.
pub fn encode(event: &Stored) -> Option<Message> {
    let (amount, attributes) = (event.event.amount.to_string(), event.event.attributes.as_deref());
    let wire = Wire {
        event_id: event.id,
        user_id: event.event.user_id.as_str().into(),
        event_type: event.event.event_type.as_str().into(),
        // Both are JSON already: the digits of an amount, and what passed the rules.
        amount: serde_json::from_str(&amount).ok()?,
        timestamp: event.event.timestamp.rfc3339_ms().into(),
        received_at: event.received_at.rfc3339_ms().into(),
        attributes: attributes.map(serde_json::from_str).transpose().ok()?,
    };
    let key = event.event.user_id.as_str().as_bytes().to_vec();
    Some(Message { id: event.id, key, value: serde_json::to_vec(&wire).ok()?, headers: Vec::new() })
}

/// The event of a message; nothing for a message that is none.
pub fn decode(delivered: &Delivered) -> Option<Shown> {
    let wire: Wire<'_> = serde_json::from_slice(&delivered.message.value).ok()?;
    let event = Event {
        user_id: UserId::new(wire.user_id)?,
        event_type: EventType::new(wire.event_type)?,
        amount: Amount::parse(wire.amount.get()).ok()?,
        timestamp: Timestamp::read(&wire.timestamp).ok()?,
        attributes: wire.attributes.map(|attributes| attributes.get().to_owned()),
        idempotency_key: None,
    };
    let delivery = Delivery { id: wire.event_id, position: delivered.position, event };
    Some(Shown { received_at: Timestamp::read(&wire.received_at).ok()?, delivery })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bus::Position;

    #[test]
    fn an_event_comes_back_as_it_was() {
        let event = Event {
            user_id: UserId::new("ü \"1\"").unwrap(),
            event_type: EventType::new("purchase").unwrap(),
            amount: Amount::parse("900719925474.0993").unwrap(),
            timestamp: Timestamp::from_unix_ms(1_705_314_600_001),
            attributes: Some(r#"{"a":[1.10]}"#.into()),
            idempotency_key: None,
        };
        let received_at = Timestamp::from_unix_ms(1_705_314_700_000);
        let stored = Stored { id: Uuid::from_u128(7), received_at, event: event.clone(), position: None };
        let message = encode(&stored).unwrap();
        let text = String::from_utf8(message.value.clone()).unwrap();
        assert!(text.contains(r#""amount":900719925474.0993,"timestamp":"2024-01-15T10:30:00.001Z""#), "{text}");
        let position = Position { partition: 0, offset: 5 };
        let delivered = Delivered { position, published_at: received_at, message };
        let delivery = Delivery { id: stored.id, position, event };
        assert_eq!(decode(&delivered), Some(Shown { received_at, delivery }));
    }
}
