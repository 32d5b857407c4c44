//! Messages to drafts, and what is kept to messages.

use serde_json::value::RawValue;

use super::pb::event_hub::{self as pb, Ack, Event, Summary};
use crate::base::bus::Cursor;
use crate::hub::codec::Shown;
use crate::hub::model::{self, Draft, Field, Reason, Rejection};
use crate::hub::service::Verdict;
use crate::hub::store::Stored;
use crate::hub::totals::Totals;

/// Rejections of a summary at the most.
const REJECTIONS_MAX: usize = 100;

/// A field of the event. An empty one is the same as none: the wire does not tell them apart.
fn text(value: String) -> Field {
    if value.is_empty() { Field::Missing } else { Field::Text(value) }
}

fn object(value: &str) -> Field {
    if value.is_empty() {
        return Field::Missing;
    }
    serde_json::from_str::<&RawValue>(value).map_or(Field::Other("no JSON"), Field::from_json)
}

/// The draft of a message. `key` is the idempotency key of the call's metadata.
pub(super) fn draft(event: Event, key: Option<&str>) -> Result<Draft, Rejection> {
    let amount = match (text(event.amount), event.amount_double) {
        (amount, None) => amount,
        (Field::Missing, Some(number)) => Field::from(number),
        (_, Some(_)) => {
            let detail = "amount and amount_double are both set; one of them is enough";
            return Err(Rejection::new(Reason::AmountInvalid, detail));
        }
    };
    let own_key = text(event.idempotency_key);
    let key = key.map_or(Field::Missing, |key| Field::Text(key.to_owned()));
    if own_key != Field::Missing && key != Field::Missing && own_key != key {
        let detail = "the metadata idempotency-key and the field idempotency_key differ";
        return Err(Rejection::new(Reason::IdempotencyKeyInvalid, detail));
    }
    Ok(Draft {
        user_id: text(event.user_id),
        event_type: text(event.event_type),
        amount,
        timestamp: text(event.timestamp),
        idempotency_key: if own_key == Field::Missing { key } else { own_key },
        attributes: object(&event.attributes),
        unknown: None,
    })
}

/// The answer to an event of a stream.
pub(super) fn ack(verdict: Verdict, client_ref: String) -> Ack {
    let ack = Ack { r#ref: client_ref, ..Ack::default() };
    match verdict {
        Verdict::Accepted(id) => Ack { id: id.to_string(), ..ack },
        Verdict::Duplicate(id) => Ack { id: id.to_string(), duplicate: true, ..ack },
        Verdict::Rejected(rejection) => {
            Ack { reason: rejection.reason.code().to_owned(), detail: rejection.detail, ..ack }
        }
    }
}

/// Adds the verdict of the next event to a summary.
pub(super) fn add(summary: &mut Summary, verdict: Verdict) {
    let index = summary.accepted + summary.duplicates + summary.rejected;
    match verdict {
        Verdict::Accepted(_) => summary.accepted += 1,
        Verdict::Duplicate(_) => summary.duplicates += 1,
        Verdict::Rejected(rejection) => {
            summary.rejected += 1;
            if summary.rejections.len() < REJECTIONS_MAX {
                let (reason, detail) = (rejection.reason.code().to_owned(), rejection.detail);
                summary.rejections.push(pb::Rejection { index, reason, detail });
            }
        }
    }
}

fn event(event: &model::Event) -> Event {
    Event {
        user_id: event.user_id.as_str().to_owned(),
        event_type: event.event_type.to_string(),
        amount: event.amount.to_string(),
        timestamp: event.timestamp.rfc3339_ms(),
        attributes: event.attributes.clone().unwrap_or_default(),
        ..Event::default()
    }
}

/// An event that is kept.
pub(super) fn stored(stored: &Stored) -> Event {
    Event {
        id: stored.id.to_string(),
        position: stored.position.map(|position| position.to_string()).unwrap_or_default(),
        received_at: stored.received_at.rfc3339_ms(),
        ..event(&stored.event)
    }
}

/// An event of a subscription.
pub(super) fn shown(shown: &Shown, cursor: &Cursor) -> Event {
    Event {
        id: shown.delivery.id.to_string(),
        position: cursor.to_string(),
        received_at: shown.received_at.rfc3339_ms(),
        ..event(&shown.delivery.event)
    }
}

/// What minutes add up to.
pub(super) fn totals(totals: &Totals) -> pb::AggregatedMetricsResponse {
    let by_type = totals.by_type.iter().map(|total| pb::TypeTotal {
        event_type: total.event_type.to_string(),
        total_amount: total.sum.to_string(),
        event_count: total.count,
    });
    pb::AggregatedMetricsResponse {
        total_amount: totals.sum.to_string(),
        event_count: totals.count,
        time_window: totals.time_window(),
        from: totals.from.rfc3339_ms(),
        to: totals.to.rfc3339_ms(),
        by_type: by_type.collect(),
    }
}
