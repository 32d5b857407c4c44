//! Taking events, and showing them.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, named_params, params};
use uuid::Uuid;

use super::Error;
use crate::base::db::Result;
use crate::base::timestamp::Timestamp;
use crate::hub::model::{Amount, Event, EventType, UserId};
use crate::hub::store::{Arrival, Order, Outcome, Query, Stored, shard_of};

/// The columns that [`stored`] reads.
pub(super) const COLUMNS: &str = "id, received_at, user_id, event_type, amount, timestamp, attributes, position";

/// Keeps events in one transaction.
pub(super) fn accept(connection: &mut Connection, arrivals: &[Arrival], keys_since: Timestamp) -> Result<Vec<Outcome>> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcomes = arrivals.iter().map(|arrival| take(&tx, arrival, keys_since)).collect::<Result<_>>()?;
    tx.commit()?;
    Ok(outcomes)
}

/// Keeps one event. The unique index decides whether its key is new.
fn take(tx: &Transaction<'_>, arrival: &Arrival, keys_since: Timestamp) -> Result<Outcome> {
    if insert(tx, arrival)? {
        return Ok(Outcome::Stored);
    }
    let Some(key) = &arrival.event.idempotency_key else {
        return Err(Error::broken(format!("the id {} is there already", arrival.id)));
    };
    let known: Option<(Vec<u8>, i64, Vec<u8>)> = tx
        .prepare_cached("SELECT id, received_at, fingerprint FROM hub_event WHERE scope = ?1 AND idempotency_key = ?2")?
        .query_row(params![arrival.scope, key.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((id, received_at, fingerprint)) = known else {
        return Err(Error::broken(format!("the id {} is there already", arrival.id)));
    };
    if received_at < keys_since.unix_ms() {
        tx.prepare_cached("UPDATE hub_event SET scope = NULL, idempotency_key = NULL WHERE id = ?1")?.execute([&id])?;
        return if insert(tx, arrival)? { Ok(Outcome::Stored) } else { Err(Error::broken("a key cannot be freed")) };
    }
    if fingerprint == arrival.fingerprint().0 { Ok(Outcome::Duplicate(uuid(&id)?)) } else { Ok(Outcome::Reused) }
}

/// Writes the row; false if the key or the id is there.
fn insert(tx: &Transaction<'_>, arrival: &Arrival) -> Result<bool> {
    let event = &arrival.event;
    let key = event.idempotency_key.as_ref().map(|key| key.as_str());
    let inserted = tx
        .prepare_cached(
            "INSERT INTO hub_event (id, received_at, shard, user_id, event_type, amount, timestamp, attributes, scope,
               idempotency_key, fingerprint)
             VALUES (:id, :received_at, :shard, :user_id, :event_type, :amount, :timestamp, :attributes, :scope,
               :key, :fingerprint)
             ON CONFLICT DO NOTHING",
        )?
        .execute(named_params! {
            ":id": arrival.id.as_bytes(),
            ":received_at": arrival.received_at.unix_ms(),
            ":shard": shard_of(&event.user_id),
            ":user_id": event.user_id.as_str(),
            ":event_type": event.event_type.as_str(),
            ":amount": event.amount.units(),
            ":timestamp": event.timestamp.unix_ms(),
            ":attributes": event.attributes,
            ":scope": key.map(|_| arrival.scope.as_str()),
            ":key": key,
            ":fingerprint": arrival.fingerprint().0,
        })?;
    Ok(inserted == 1)
}

/// An event by its id.
pub(super) fn find(connection: &mut Connection, id: Uuid) -> Result<Option<Stored>> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM hub_event WHERE id = ?1"))?;
    let mut rows = select.query([id.as_bytes()])?;
    rows.next()?.map(stored).transpose()
}

/// A page of events. Each shape of a query has an index that holds its order.
pub(super) fn list(connection: &mut Connection, query: &Query) -> Result<Vec<Stored>> {
    let mut conditions = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |text: &str, bound: Vec<Value>| {
        conditions.push(text.to_owned());
        values.extend(bound);
    };
    if let Some(user) = &query.user_id {
        condition("user_id = ?", vec![Value::Text(user.as_str().to_owned())]);
    }
    if let Some(event_type) = &query.event_type {
        condition("event_type = ?", vec![Value::Text(event_type.as_str().to_owned())]);
    }
    if let Some(from) = query.from {
        condition("timestamp >= ?", vec![Value::Integer(from.unix_ms())]);
    }
    if let Some(to) = query.to {
        condition("timestamp < ?", vec![Value::Integer(to.unix_ms())]);
    }
    let (direction, behind) = match query.order {
        Order::Newest => ("DESC", "(timestamp, id) < (?, ?)"),
        Order::Oldest => ("ASC", "(timestamp, id) > (?, ?)"),
    };
    if let Some(after) = query.after {
        let id = Value::Blob(after.id.as_bytes().to_vec());
        condition(behind, vec![Value::Integer(after.timestamp.unix_ms()), id]);
    }
    let filter = if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let select =
        format!("SELECT {COLUMNS} FROM hub_event {filter} ORDER BY timestamp {direction}, id {direction} LIMIT ?");
    values.push(Value::Integer(i64::try_from(query.limit).unwrap_or(i64::MAX)));
    let mut select = connection.prepare_cached(&select)?;
    let rows = select.query_and_then(rusqlite::params_from_iter(values), stored)?;
    rows.collect()
}

/// Deletes old events that nothing waits for.
pub(super) fn expire(connection: &mut Connection, before: Timestamp, limit: u64) -> Result<u64> {
    // Ids of version 7 begin with the moment at which they were given: the oldest come first.
    let deleted = connection
        .prepare_cached(
            "DELETE FROM hub_event WHERE id IN (
               SELECT id FROM hub_event WHERE received_at < ?1 AND position IS NOT NULL AND is_counted = 1
               ORDER BY id LIMIT ?2)",
        )?
        .execute(params![before.unix_ms(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
}

/// The event of a row with [`COLUMNS`].
pub(super) fn stored(row: &Row<'_>) -> Result<Stored> {
    let broken = |column: &str| Error::broken(format!("column {column} of hub_event holds what no event has"));
    let id: Vec<u8> = row.get("id")?;
    let position: Option<String> = row.get("position")?;
    Ok(Stored {
        id: uuid(&id)?,
        received_at: Timestamp::from_unix_ms(row.get("received_at")?),
        event: Event {
            user_id: UserId::new(row.get::<_, String>("user_id")?).ok_or_else(|| broken("user_id"))?,
            event_type: EventType::new(row.get::<_, String>("event_type")?).ok_or_else(|| broken("event_type"))?,
            amount: Amount::from_units(row.get("amount")?).ok_or_else(|| broken("amount"))?,
            timestamp: Timestamp::from_unix_ms(row.get("timestamp")?),
            attributes: row.get("attributes")?,
            idempotency_key: None,
        },
        position: position.map(|text| text.parse().map_err(|_| broken("position"))).transpose()?,
    })
}

/// The id of a column.
pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Uuid::from_slice(bytes).map_err(|_| Error::broken("column id of hub_event holds no id".to_owned()))
}
