//! The event hub.

mod clients;
mod doors;
mod flow;
mod graphql;
mod store;

use std::time::Duration;

use shopctl::base::timestamp::Timestamp;
use shopctl::hub::model::{Amount, Event, EventType, IdempotencyKey, UserId};
use shopctl::hub::store::Arrival;
use uuid::Uuid;

/// The longest that something which must come is waited for. Nothing depends on how long it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// 2024-01-15T10:30:00Z, where every test's clock begins.
const START_MS: i64 = 1_705_314_600_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn event_type(name: &str) -> EventType {
    EventType::new(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A purchase of 1.50 that happens at the start.
fn event(name: &str) -> Event {
    Event {
        user_id: user(name),
        event_type: event_type("purchase"),
        amount: Amount::parse("1.50").unwrap(),
        timestamp: at(0),
        attributes: None,
        idempotency_key: None,
    }
}

fn with_key(key: &str, event: Event) -> Event {
    Event { idempotency_key: IdempotencyKey::new(key), ..event }
}

/// An arrival with an id that says which it is.
fn arrival(number: u128, event: Event) -> Arrival {
    let received_at = at(i64::try_from(number).unwrap());
    Arrival { id: Uuid::from_u128(number), received_at, scope: "hub_writer".into(), event }
}
