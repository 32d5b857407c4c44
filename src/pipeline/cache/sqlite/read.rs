//! Reads the directory and the returns that are kept.

use rusqlite::{Connection, Row, params};

use crate::base::db::sqlite::db::{count_column, count_value, optional_timestamp, timestamp_column, timestamp_text};
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::columns::sqlite::{file_column, shard_column};
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::{Backlog, EarlyReturn, Held, HeldState, Order, OrderId, OrderState, Taken, TradeRefusal};

/// An order as it stands, unless it is only awaited.
pub(super) fn standing(connection: &Connection, order: OrderId) -> Result<Option<Order>> {
    let mut select = connection.prepare_cached(
        "SELECT order_id, shop_id, shard, state, filename FROM order_directory WHERE order_id = ?1 AND state <> 'awaited'",
    )?;
    let mut rows = select.query([order.get()])?;
    rows.next()?.map(order_of).transpose()
}

/// The orders that are known, by number.
pub(super) fn list_orders(connection: &Connection, after: Option<OrderId>, limit: u32) -> Result<Vec<Order>> {
    let mut select = connection.prepare_cached(
        "SELECT order_id, shop_id, shard, state, filename FROM order_directory
         WHERE order_id > ?1 AND state <> 'awaited' ORDER BY order_id LIMIT ?2",
    )?;
    let mut rows = select.query(params![after.map_or(i64::MIN, OrderId::get), limit])?;
    let mut orders = Vec::new();
    while let Some(row) = rows.next()? {
        orders.push(order_of(row)?);
    }
    Ok(orders)
}

fn order_of(row: &Row<'_>) -> Result<Order> {
    let state: String = row.get("state")?;
    Ok(Order {
        order: order_column(row)?,
        shop_id: row.get("shop_id")?,
        shard: shard_column(row, "shard")?,
        state: OrderState::from_name(&state).ok_or_else(|| Error::broken(format!("column state holds '{state}'")))?,
        file: file_column(row, "filename")?,
    })
}

/// Whether this very return is kept already.
pub(super) fn is_kept(connection: &Connection, by: &TaskKey, entry: &EarlyReturn) -> Result<bool> {
    let mut select = connection.prepare_cached(
        "SELECT order_id, happened_at, raw, put_shard FROM pending_return WHERE filename = ?1 AND line = ?2",
    )?;
    let mut rows = select.query(params![by.file.as_str(), count_value(entry.line)])?;
    let Some(row) = rows.next()? else {
        return Ok(false);
    };
    let raw: String = row.get("raw")?;
    let is_same = order_column(row)? == entry.order
        && timestamp_column(row, "happened_at")? == entry.happened_at
        && shard_column(row, "put_shard")? == by.shard
        && raw == entry.raw;
    if is_same { Ok(true) } else { Err(TradeRefusal::LineConflict { file: by.file.clone(), line: entry.line }.into()) }
}

/// How many returns are pending.
pub(super) fn pending(connection: &Connection) -> Result<u64> {
    let select = "SELECT COUNT(*) AS n FROM pending_return WHERE done_at IS NULL";
    connection.query_row_and_then(select, [], |row| count_column(row, "n"))
}

/// The kept returns of an order, the oldest first.
pub(super) fn list_held(connection: &Connection, order: OrderId, limit: u32) -> Result<Vec<Held>> {
    let mut select = connection
        .prepare_cached("SELECT * FROM pending_return WHERE order_id = ?1 ORDER BY filename, line LIMIT ?2")?;
    let mut rows = select.query(params![order.get(), limit])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        held.push(held_of(row)?);
    }
    Ok(held)
}

/// Kept returns whose task is not done.
pub(super) fn list_pending(connection: &Connection, after: Option<(FileName, u64)>, limit: u32) -> Result<Vec<Held>> {
    // What was returned is left out: it may be long.
    let mut select = connection.prepare_cached(
        "SELECT filename, line, put_shard, happened_at, put_at, expires_at, taken_file, taken_shard, taken_as, done_at
         FROM pending_return WHERE done_at IS NULL AND (filename, line) > (?1, ?2) ORDER BY filename, line LIMIT ?3",
    )?;
    let (file, line) = after.as_ref().map_or(("", 0), |(file, line)| (file.as_str(), *line));
    let mut rows = select.query(params![file, count_value(line), limit])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        held.push(held_of(row)?);
    }
    Ok(held)
}

fn held_of(row: &Row<'_>) -> Result<Held> {
    Ok(Held {
        file: file_column(row, "filename")?,
        line: count_column(row, "line")?,
        shard: shard_column(row, "put_shard")?,
        happened_at: timestamp_column(row, "happened_at")?,
        held_at: timestamp_column(row, "put_at")?,
        expires_at: timestamp_column(row, "expires_at")?,
        state: state_of(row)?,
        done_at: optional_timestamp(row, "done_at")?,
    })
}

fn state_of(row: &Row<'_>) -> Result<HeldState> {
    let Some(kind) = row.get::<_, Option<String>>("taken_as")? else {
        return Ok(HeldState::Waiting);
    };
    let by = TaskKey { file: file_column(row, "taken_file")?, shard: shard_column(row, "taken_shard")? };
    Ok(if kind == "expired" { HeldState::Expired(by) } else { HeldState::Released(by) })
}

/// How much is kept.
pub(super) fn backlog(connection: &Connection, now: Timestamp) -> Result<Backlog> {
    let select = "SELECT COUNT(*) AS waiting, MIN(p.put_at) AS oldest,
           COUNT(CASE WHEN p.expires_at <= ?1 AND d.state = 'awaited' THEN 1 END) AS overdue,
           COUNT(CASE WHEN p.expires_at <= ?1 OR d.state <> 'awaited' THEN 1 END) AS due
         FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id WHERE p.taken_file IS NULL";
    connection.query_row_and_then(select, [timestamp_text(now)], |row| {
        Ok(Backlog {
            pending: pending(connection)?,
            waiting: count_column(row, "waiting")?,
            overdue: count_column(row, "overdue")?,
            due: count_column(row, "due")?,
            oldest: optional_timestamp(row, "oldest")?,
        })
    })
}

/// A return with where it came from.
pub(super) fn taken(row: &Row<'_>) -> Result<Taken> {
    let entry = EarlyReturn {
        line: count_column(row, "line")?,
        order: order_column(row)?,
        happened_at: timestamp_column(row, "happened_at")?,
        raw: row.get("raw")?,
    };
    Ok(Taken { file: file_column(row, "filename")?, entry })
}

fn order_column(row: &Row<'_>) -> Result<OrderId> {
    let number: i64 = row.get("order_id")?;
    OrderId::new(number).ok_or_else(|| Error::broken(format!("column order_id holds {number}")))
}
