//! Reads the directory and the returns that are kept.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mysql_async::{Row, Value};

use crate::base::db::mysql::bulk;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, count_value, get, moment, optional_timestamp};
use crate::base::db::{Error, Result};
use crate::pipeline::columns::mysql::{file_name, shard};
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::{Backlog, EarlyReturn, Held, HeldState, Order, OrderId, OrderState, Taken};

/// Orders as they stand, without those that are only awaited.
pub(super) async fn standing(tx: &mut Tx<'_>, orders: &[OrderId]) -> Result<BTreeMap<OrderId, Order>> {
    let select = "SELECT order_id, shop_id, shard, state, filename FROM order_directory
         WHERE order_id IN ({list}) AND state <> 'awaited'";
    let list: Vec<Value> = orders.iter().map(|order| Value::from(order.get())).collect();
    let mut standing = BTreeMap::new();
    for row in &bulk::select(tx, select, &[], &list).await? {
        let order = order_of(row)?;
        standing.insert(order.order, order);
    }
    Ok(standing)
}

fn order_of(row: &Row) -> Result<Order> {
    let state: String = get(row, "state")?;
    Ok(Order {
        order: order_id(row)?,
        shop_id: get(row, "shop_id")?,
        shard: shard(row, "shard")?,
        state: OrderState::from_name(&state).ok_or_else(|| Error::broken(format!("column state holds '{state}'")))?,
        file: file_name(row, "filename")?,
    })
}

/// These orders, as far as they are known.
pub(super) struct LookUp<'a>(pub(super) &'a [OrderId]);

#[async_trait]
impl Work for LookUp<'_> {
    type Out = Vec<Order>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Order>> {
        Ok(standing(tx, self.0).await?.into_values().collect())
    }
}

/// The orders that are known, by number.
pub(super) struct ListOrders {
    pub(super) after: Option<OrderId>,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for ListOrders {
    type Out = Vec<Order>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Order>> {
        let select = "SELECT order_id, shop_id, shard, state, filename FROM order_directory
             WHERE order_id > ? AND state <> 'awaited' ORDER BY order_id LIMIT ?";
        let rows = tx.rows(select, (self.after.map_or(i64::MIN, OrderId::get), self.limit)).await?;
        rows.iter().map(order_of).collect()
    }
}

/// The kept returns of an order, the oldest first.
pub(super) struct ListHeld {
    pub(super) order: OrderId,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for ListHeld {
    type Out = Vec<Held>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Held>> {
        let select = "SELECT * FROM pending_return WHERE order_id = ? ORDER BY filename, line LIMIT ?";
        let rows = tx.rows(select, (self.order.get(), self.limit)).await?;
        rows.iter().map(held_of).collect()
    }
}

/// Kept returns whose task is not done.
pub(super) struct ListPending {
    pub(super) after: Option<(FileName, u64)>,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for ListPending {
    type Out = Vec<Held>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Held>> {
        // What was returned is left out: it may be long.
        let select = "SELECT filename, line, put_shard, happened_at, put_at, expires_at, taken_file, taken_shard,
               taken_as, done_at
             FROM pending_return WHERE done_at IS NULL AND (filename > ? OR (filename = ? AND line > ?))
             ORDER BY filename, line LIMIT ?";
        let (file, line) = self.after.as_ref().map_or(("", 0), |(file, line)| (file.as_str(), *line));
        let rows = tx.rows(select, (file, file, count_value(line), self.limit)).await?;
        rows.iter().map(held_of).collect()
    }
}

fn held_of(row: &Row) -> Result<Held> {
    Ok(Held {
        file: file_name(row, "filename")?,
        line: count(row, "line")?,
        shard: shard(row, "put_shard")?,
        happened_at: moment(row, "happened_at")?,
        held_at: moment(row, "put_at")?,
        expires_at: moment(row, "expires_at")?,
        state: state_of(row)?,
        done_at: optional_timestamp(row, "done_at")?,
    })
}

fn state_of(row: &Row) -> Result<HeldState> {
    let Some(kind) = get::<Option<String>>(row, "taken_as")? else {
        return Ok(HeldState::Waiting);
    };
    let by = TaskKey { file: file_name(row, "taken_file")?, shard: shard(row, "taken_shard")? };
    Ok(if kind == "expired" { HeldState::Expired(by) } else { HeldState::Released(by) })
}

/// How many returns are pending.
pub(super) async fn pending(tx: &mut Tx<'_>) -> Result<u64> {
    let row = tx.first("SELECT COUNT(*) AS n FROM pending_return WHERE done_at IS NULL", ()).await?;
    row.map_or(Ok(0), |row| count(&row, "n"))
}

/// How much is kept.
pub(super) struct LookAtBacklog;

#[async_trait]
impl Work for LookAtBacklog {
    type Out = Backlog;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Backlog> {
        let select = "SELECT COUNT(*) AS waiting, MIN(p.put_at) AS oldest,
               COUNT(CASE WHEN p.expires_at <= UTC_TIMESTAMP(3) AND d.state = 'awaited' THEN 1 END) AS overdue,
               COUNT(CASE WHEN p.expires_at <= UTC_TIMESTAMP(3) OR d.state <> 'awaited' THEN 1 END) AS due
             FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id WHERE p.taken_file IS NULL";
        let mut backlog = Backlog { pending: pending(tx).await?, ..Backlog::default() };
        if let Some(row) = tx.first(select, ()).await? {
            backlog.waiting = count(&row, "waiting")?;
            backlog.overdue = count(&row, "overdue")?;
            backlog.due = count(&row, "due")?;
            backlog.oldest = optional_timestamp(&row, "oldest")?;
        }
        Ok(backlog)
    }
}

/// A return with where it came from.
pub(super) fn taken(row: &Row) -> Result<Taken> {
    let entry = EarlyReturn {
        line: count(row, "line")?,
        order: order_id(row)?,
        happened_at: moment(row, "happened_at")?,
        raw: get(row, "raw")?,
    };
    Ok(Taken { file: file_name(row, "filename")?, entry })
}

pub(super) fn order_id(row: &Row) -> Result<OrderId> {
    let number: i64 = get(row, "order_id")?;
    OrderId::new(number).ok_or_else(|| Error::broken(format!("column order_id holds {number}")))
}
