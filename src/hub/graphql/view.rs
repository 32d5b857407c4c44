//! Events and minutes as GraphQL shows them. An amount is a float for clients that have nothing better, and its exact digits
//! beside it.

use async_graphql::{ID, SimpleObject};

use super::scalar::{DateTime, Json};
use crate::base::bus::Cursor;
use crate::base::timestamp::Timestamp;
use crate::hub::codec::Shown;
use crate::hub::model;
use crate::hub::store::{KeptMinute, Place, Stored};
use crate::hub::totals::{self, Totals};

/// An event.
#[derive(Debug, Clone, SimpleObject)]
pub(super) struct Event {
    /// The hub's id.
    id: ID,
    /// Whose it is.
    user_id: String,
    /// What happened: purchase, return, refund, or another one that the hub was told of.
    event_type: String,
    /// How much, as the nearest float.
    amount: f64,
    /// How much, exact.
    amount_exact: String,
    /// When it happened.
    timestamp: DateTime,
    /// When the hub took it.
    received_at: DateTime,
    /// Where it is in the stream: an opaque text that sorts. Null while it is not there yet.
    position: Option<String>,
    /// What else the caller said.
    attributes: Option<Json>,
}

/// A page of events.
#[derive(Debug, SimpleObject)]
pub(super) struct EventConnection {
    /// The events, the newest first, by the time at which they happened.
    edges: Vec<EventEdge>,
    /// Whether there are more.
    page_info: PageInfo,
}

/// An event of a page.
#[derive(Debug, SimpleObject)]
pub(super) struct EventEdge {
    /// The event.
    node: Event,
    /// Its place, for `after`.
    cursor: String,
}

/// Whether there are more events.
#[derive(Debug, SimpleObject)]
pub(super) struct PageInfo {
    /// Whether there is another page.
    has_next_page: bool,
    /// Where it begins, for `after`.
    end_cursor: Option<String>,
}

/// The events of one type that happened in one minute.
#[derive(Debug, SimpleObject)]
pub(super) struct Minute {
    /// Its begin.
    minute: DateTime,
    /// The type.
    event_type: String,
    /// How many events.
    event_count: u64,
    /// Their sum, as the nearest float.
    sum: f64,
    /// Their sum, exact.
    sum_exact: String,
    /// The smallest amount.
    min: f64,
    /// The smallest amount, exact.
    min_exact: String,
    /// The largest amount.
    max: f64,
    /// The largest amount, exact.
    max_exact: String,
    /// The smallest position of its events.
    first: String,
    /// The largest position of its events.
    last: String,
}

/// What the last minutes add up to, by the time at which events happened.
#[derive(Debug, Clone, SimpleObject)]
pub(super) struct AggregatedMetrics {
    /// The sum, as the nearest float.
    total_amount: f64,
    /// The sum, exact.
    total_amount_exact: String,
    /// How many events.
    event_count: u64,
    /// The name of the window, such as last_1_minutes: so many whole minutes, and the running one.
    time_window: String,
    /// The begin of the window.
    from: DateTime,
    /// Its end, not included.
    to: DateTime,
    /// The same by type, in the order of the names.
    by_type: Vec<TypeTotal>,
}

/// What the events of one type add up to.
#[derive(Debug, Clone, SimpleObject)]
pub(super) struct TypeTotal {
    /// The type.
    event_type: String,
    /// The sum, as the nearest float.
    total_amount: f64,
    /// The sum, exact.
    total_amount_exact: String,
    /// How many events.
    event_count: u64,
}

impl Event {
    /// An event of a subscription; its position is where the subscription is with it.
    pub(super) fn shown(shown: &Shown, cursor: &Cursor) -> Self {
        let delivery = &shown.delivery;
        Self::new(delivery.id, shown.received_at, Some(cursor.to_string()), &delivery.event)
    }

    fn new(id: uuid::Uuid, received_at: Timestamp, position: Option<String>, event: &model::Event) -> Self {
        Self {
            id: ID(id.to_string()),
            user_id: event.user_id.as_str().to_owned(),
            event_type: event.event_type.to_string(),
            amount: event.amount.to_f64(),
            amount_exact: event.amount.to_string(),
            timestamp: event.timestamp.into(),
            received_at: received_at.into(),
            position,
            attributes: event.attributes.as_deref().and_then(Json::of_text),
        }
    }
}

impl From<&Stored> for Event {
    fn from(stored: &Stored) -> Self {
        let position = stored.position.map(|position| position.to_string());
        Self::new(stored.id, stored.received_at, position, &stored.event)
    }
}

impl EventConnection {
    /// A page of so many events; one more tells that there is another page.
    pub(super) fn page(mut events: Vec<Stored>, size: usize) -> Self {
        let has_next_page = events.len() > size;
        events.truncate(size);
        let edges: Vec<EventEdge> = events
            .iter()
            .map(|stored| EventEdge { node: stored.into(), cursor: Place::of(stored).to_string() })
            .collect();
        let end_cursor = edges.last().map(|edge| edge.cursor.clone());
        Self { edges, page_info: PageInfo { has_next_page, end_cursor } }
    }
}

impl From<KeptMinute> for Minute {
    fn from(KeptMinute { minute, first, last }: KeptMinute) -> Self {
        Self {
            minute: minute.begin.into(),
            event_type: minute.event_type.to_string(),
            event_count: minute.count,
            sum: minute.sum.to_f64(),
            sum_exact: minute.sum.to_string(),
            min: minute.min.to_f64(),
            min_exact: minute.min.to_string(),
            max: minute.max.to_f64(),
            max_exact: minute.max.to_string(),
            first: first.to_string(),
            last: last.to_string(),
        }
    }
}

impl From<&Totals> for AggregatedMetrics {
    fn from(totals: &Totals) -> Self {
        Self {
            total_amount: totals.sum.to_f64(),
            total_amount_exact: totals.sum.to_string(),
            event_count: totals.count,
            time_window: totals.time_window(),
            from: totals.from.into(),
            to: totals.to.into(),
            by_type: totals.by_type.iter().map(TypeTotal::from).collect(),
        }
    }
}

impl From<&totals::TypeTotal> for TypeTotal {
    fn from(total: &totals::TypeTotal) -> Self {
        Self {
            event_type: total.event_type.to_string(),
            total_amount: total.sum.to_f64(),
            total_amount_exact: total.sum.to_string(),
            event_count: total.count,
        }
    }
}
