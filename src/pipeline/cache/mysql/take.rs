//! Hands out returns, each to one task.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mysql_async::{Row, Value, params};

use super::read;
use crate::base::db::Result;
use crate::base::db::mysql::bulk;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, count_value};
use crate::pipeline::cache::sql::{CLAIM_RETURN, CONFIRM};
use crate::pipeline::cache::store::{CachePolicy, Forgotten, Take, within_bytes};
use crate::pipeline::columns::mysql::file_name;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::{OrderId, Taken};

/// Hands out the returns of these orders: those that the task got before, and of `new` those that wait too.
pub(super) struct OfOrders<'a> {
    pub(super) by: &'a TaskKey,
    pub(super) orders: &'a [OrderId],
    pub(super) new: &'a [OrderId],
    pub(super) limit: usize,
}

#[async_trait]
impl Work for OfOrders<'_> {
    type Out = Vec<Taken>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Taken>> {
        let select = "SELECT p.filename, p.line, p.order_id, OCTET_LENGTH(p.raw) AS bytes
             FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id
             WHERE d.shard = ? AND p.taken_file IS NULL AND p.order_id IN ({list})";
        let mut waiting = Candidates::default();
        let shard = [Value::from(self.by.shard.get())];
        for row in &bulk::select(tx, select, &shard, &values(self.new)).await? {
            waiting.add(row)?;
        }
        claim(tx, self.by, Take::Orders(&[]), waiting, self.limit).await?;
        let select = "SELECT filename, line, order_id, happened_at, raw FROM pending_return
             WHERE taken_file = ? AND taken_shard = ? AND taken_as = 'order' AND order_id IN ({list})";
        let by = [Value::from(self.by.file.as_str()), Value::from(self.by.shard.get())];
        in_order(&bulk::select(tx, select, &by, &values(self.orders)).await?)
    }
}

/// Hands out what the task's shard has for it, the first time; afterwards what it was the first time.
pub(super) struct Once<'a> {
    pub(super) by: &'a TaskKey,
    pub(super) what: Take<'a>,
    pub(super) limit: usize,
    pub(super) policy: CachePolicy,
}

#[async_trait]
impl Work for Once<'_> {
    type Out = Vec<Taken>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Taken>> {
        let (file, shard) = (self.by.file.as_str(), self.by.shard.get());
        let insert = "INSERT INTO pending_claim (filename, shard, kind, claimed_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))";
        let is_first = tx.insert(insert, (file, shard, self.what.name())).await?;
        if is_first {
            let is_overdue = matches!(self.what, Take::Expired(_));
            let candidates = if is_overdue { self.overdue(tx).await? } else { self.known(tx).await? };
            claim(tx, self.by, self.what, candidates, self.limit).await?;
        }
        let select = "SELECT filename, line, order_id, happened_at, raw FROM pending_return
             WHERE taken_file = ? AND taken_shard = ? AND taken_as = ?";
        in_order(&tx.rows(select, (file, shard, self.what.name())).await?)
    }
}

impl Once<'_> {
    /// Returns that wait although their order is known and of this shard.
    async fn known(&self, tx: &mut Tx<'_>) -> Result<Candidates> {
        let select = "SELECT p.filename, p.line, p.order_id, OCTET_LENGTH(p.raw) AS bytes
             FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id
             WHERE p.taken_file IS NULL AND d.shard = ? ORDER BY p.filename, p.line LIMIT ?";
        let mut candidates = Candidates::default();
        for row in &tx.rows(select, (self.by.shard.get(), self.limit)).await? {
            candidates.add(row)?;
        }
        Ok(candidates)
    }

    /// Returns of this shard whose time is up. Their orders are locked, and only those count that are still awaited then:
    /// an order that comes at this moment comes before or after, and the return is released or expired.
    async fn overdue(&self, tx: &mut Tx<'_>) -> Result<Candidates> {
        let select = "SELECT p.filename, p.line, p.order_id, OCTET_LENGTH(p.raw) AS bytes
             FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id
             WHERE p.taken_file IS NULL AND p.put_shard = ? AND p.expires_at <= UTC_TIMESTAMP(3) AND p.filename < ?
               AND d.state = 'awaited'
             ORDER BY p.filename, p.line LIMIT ?";
        let mut candidates = Candidates::default();
        let before = self.what.handed_in_before(self.policy.ttl_ms);
        for row in &tx.rows(select, (self.by.shard.get(), before, self.limit)).await? {
            candidates.add(row)?;
        }
        let rows = candidates.orders().iter().map(|order| vec![Value::from(order.get())]).collect();
        let head = "INSERT INTO order_directory (order_id, state, created_at)";
        let tail = " ON DUPLICATE KEY UPDATE order_id = order_id";
        bulk::insert(tx, head, "(?, 'awaited', UTC_TIMESTAMP(3))", tail, rows).await?;
        let known = read::standing(tx, &candidates.orders()).await?;
        candidates.0.retain(|_, (order, _)| !known.contains_key(order));
        Ok(candidates)
    }
}

/// Returns that may be handed out, in the order in which they are locked, with their order and length.
#[derive(Default)]
struct Candidates(BTreeMap<(FileName, u64), (OrderId, usize)>);

impl Candidates {
    fn add(&mut self, row: &Row) -> Result<()> {
        let bytes = usize::try_from(count(row, "bytes")?).unwrap_or(usize::MAX);
        self.0.insert((file_name(row, "filename")?, count(row, "line")?), (read::order_id(row)?, bytes));
        Ok(())
    }

    /// Their orders, each once, by number.
    fn orders(&self) -> Vec<OrderId> {
        let orders: std::collections::BTreeSet<OrderId> = self.0.values().map(|(order, _)| *order).collect();
        orders.into_iter().collect()
    }
}

/// Marks the candidates as the task's own, as far as they fit into one answer and no other task was faster.
async fn claim(tx: &mut Tx<'_>, by: &TaskKey, what: Take<'_>, candidates: Candidates, limit: usize) -> Result<()> {
    let candidates = candidates.0.into_iter().take(limit).collect();
    for ((file, line), _) in within_bytes(candidates, |(_, (_, bytes))| *bytes) {
        let values = params! {
            "by_file" => by.file.as_str(),
            "by_shard" => by.shard.get(),
            "kind" => what.name(),
            "filename" => file.as_str(),
            "line" => count_value(line),
        };
        tx.change(&CLAIM_RETURN.replace("{now}", "UTC_TIMESTAMP(3)"), values).await?;
    }
    Ok(())
}

/// Marks what the task took as done.
pub(super) struct Confirm<'a>(pub(super) &'a TaskKey);

#[async_trait]
impl Work for Confirm<'_> {
    type Out = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let (file, shard) = (self.0.file.as_str(), self.0.shard.get());
        let values = params! { "by_file" => file, "by_shard" => shard };
        let done = tx.change(&CONFIRM.replace("{now}", "UTC_TIMESTAMP(3)"), values).await?;
        let update = "UPDATE pending_claim SET done_at = UTC_TIMESTAMP(3)
             WHERE filename = ? AND shard = ? AND done_at IS NULL";
        tx.change(update, (file, shard)).await?;
        Ok(done)
    }
}

/// Forgets what was done too long ago.
pub(super) struct Forget {
    pub(super) retention_ms: i64,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for Forget {
    type Out = Forgotten;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Forgotten> {
        let retention_us = self.retention_ms.saturating_mul(1000);
        let mut forgotten = Forgotten::default();
        for (table, count) in [("pending_return", &mut forgotten.returns), ("pending_claim", &mut forgotten.claims)] {
            let delete =
                format!("DELETE FROM {table} WHERE done_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND LIMIT ?");
            *count = tx.change(&delete, (retention_us, self.limit)).await?;
        }
        Ok(forgotten)
    }
}

fn values(orders: &[OrderId]) -> Vec<Value> {
    orders.iter().map(|order| Value::from(order.get())).collect()
}

fn in_order(rows: &[Row]) -> Result<Vec<Taken>> {
    let mut taken: Vec<Taken> = rows.iter().map(read::taken).collect::<Result<_>>()?;
    taken.sort_by(|a, b| (&a.file, a.entry.line).cmp(&(&b.file, b.entry.line)));
    Ok(taken)
}
