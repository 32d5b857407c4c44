//! Minutes: every event is counted once for ever, in the transaction that marks it as counted.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, named_params, params};

use super::Error;
use crate::base::bus::Position;
use crate::base::db::Result;
use crate::base::timestamp::Timestamp;
use crate::hub::model::{Amount, EventType, Minute, Total};
use crate::hub::store::{CountReport, Delivery, KeptMinute};

/// The columns that [`kept`] reads.
const COLUMNS: &str = "begin, event_type, count, sum, min, max, first_position, last_position";

/// Counts events in their minutes.
pub(super) fn count(connection: &mut Connection, deliveries: &[Delivery]) -> Result<CountReport> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut report = CountReport::default();
    let mut minutes: BTreeMap<(Timestamp, EventType), KeptMinute> = BTreeMap::new();
    for delivery in deliveries {
        if !mark_counted(&tx, delivery)? {
            let is_known = is_known(&tx, delivery)?;
            report.repeated += u64::from(is_known);
            report.unknown += u64::from(!is_known);
            continue;
        }
        report.counted += 1;
        let event = &delivery.event;
        let minute = Minute::of(event.timestamp, event.event_type.clone(), event.amount);
        let one = KeptMinute { minute, first: delivery.position, last: delivery.position };
        let key = (one.minute.begin, event.event_type.clone());
        match minutes.get_mut(&key) {
            Some(minute) => minute.add(&one),
            None => drop(minutes.insert(key, one)),
        }
    }
    for minute in minutes.into_values() {
        write(&tx, minute)?;
    }
    tx.commit()?;
    Ok(report)
}

/// Whether the event was not counted before.
fn mark_counted(tx: &Transaction<'_>, delivery: &Delivery) -> Result<bool> {
    let mut update = tx.prepare_cached("UPDATE hub_event SET is_counted = 1 WHERE id = ?1 AND is_counted = 0")?;
    Ok(update.execute([delivery.id.as_bytes()])? == 1)
}

fn is_known(tx: &Transaction<'_>, delivery: &Delivery) -> Result<bool> {
    Ok(tx.prepare_cached("SELECT 1 FROM hub_event WHERE id = ?1")?.exists([delivery.id.as_bytes()])?)
}

/// Adds to a minute what it did not have.
fn write(tx: &Transaction<'_>, mut minute: KeptMinute) -> Result<()> {
    let select = format!("SELECT {COLUMNS} FROM hub_minute WHERE begin = ?1 AND event_type = ?2");
    let (begin, event_type) = (minute.minute.begin.unix_ms(), minute.minute.event_type.as_str().to_owned());
    let known = tx.prepare_cached(&select)?.query_row(params![begin, event_type], |row| Ok(kept(row))).optional()?;
    if let Some(known) = known {
        minute.add(&known?);
    }
    tx.prepare_cached(
        "INSERT OR REPLACE INTO hub_minute (begin, event_type, count, sum, min, max, first_position, last_position)
         VALUES (:begin, :event_type, :count, :sum, :min, :max, :first, :last)",
    )?
    .execute(named_params! {
        ":begin": begin,
        ":event_type": event_type,
        ":count": i64::try_from(minute.minute.count).unwrap_or(i64::MAX),
        ":sum": minute.minute.sum.units().to_string(),
        ":min": minute.minute.min.units(),
        ":max": minute.minute.max.units(),
        ":first": minute.first.to_string(),
        ":last": minute.last.to_string(),
    })?;
    Ok(())
}

/// The minutes of a range.
pub(super) fn list(
    connection: &mut Connection,
    from: Timestamp,
    to: Timestamp,
    event_type: Option<&EventType>,
) -> Result<Vec<KeptMinute>> {
    let select = format!(
        "SELECT {COLUMNS} FROM hub_minute WHERE begin >= ?1 AND begin < ?2 AND (?3 IS NULL OR event_type = ?3)
         ORDER BY begin, event_type"
    );
    let mut select = connection.prepare_cached(&select)?;
    let event_type = event_type.map(EventType::as_str);
    let rows = select.query_and_then(params![from.unix_ms(), to.unix_ms(), event_type], kept)?;
    rows.collect()
}

/// Deletes old minutes.
pub(super) fn expire(connection: &mut Connection, before: Timestamp, limit: u64) -> Result<u64> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM hub_minute WHERE (begin, event_type) IN (
               SELECT begin, event_type FROM hub_minute WHERE begin < ?1 ORDER BY begin LIMIT ?2)",
        )?
        .execute(params![before.unix_ms(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
    Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
}

fn kept(row: &Row<'_>) -> Result<KeptMinute> {
    let broken = |column: &str| Error::broken(format!("column {column} of hub_minute holds what no minute has"));
    let amount = |column: &str| Amount::from_units(row.get(column)?).ok_or_else(|| broken(column));
    let position = |column: &str| {
        let text: String = row.get(column)?;
        text.parse::<Position>().map_err(|_| broken(column))
    };
    let sum: String = row.get("sum")?;
    Ok(KeptMinute {
        minute: Minute {
            begin: Timestamp::from_unix_ms(row.get("begin")?),
            event_type: EventType::new(row.get::<_, String>("event_type")?).ok_or_else(|| broken("event_type"))?,
            count: u64::try_from(row.get::<_, i64>("count")?).map_err(|_| broken("count"))?,
            sum: Total::from_units(sum.parse().map_err(|_| broken("sum"))?),
            min: amount("min")?,
            max: amount("max")?,
        },
        first: position("first_position")?,
        last: position("last_position")?,
    })
}
