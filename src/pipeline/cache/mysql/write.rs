//! Writes orders, and keeps returns that are handed in. Both write, then look, under the locks of their orders.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use mysql_async::{Value, params};

use super::{read, take};
use crate::base::db::mysql::bulk;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, get, moment, moment_value};
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::cache::sql::RECORD_AWAITED;
use crate::pipeline::cache::store::{CachePolicy, put_outcome};
use crate::pipeline::columns::mysql::shard;
use crate::pipeline::task::TaskKey;
use crate::pipeline::trade::ENTRIES_MAX;
use crate::pipeline::trade::{EarlyReturn, NewOrder, OrderId, PutOutcome, Recorded, Taken, TradeRefusal};

/// Writes orders, and takes what waited for them if it is asked to.
pub(super) struct Record<'a> {
    pub(super) by: &'a TaskKey,
    pub(super) orders: &'a [NewOrder],
    pub(super) is_taking: bool,
}

#[async_trait]
impl Work for Record<'_> {
    type Out = (Vec<Recorded>, Vec<Taken>);

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(Vec<Recorded>, Vec<Taken>)> {
        // The first one of an order in the call is the one that is written.
        let mut firsts: BTreeMap<OrderId, &NewOrder> = BTreeMap::new();
        for order in self.orders {
            firsts.entry(order.order).or_insert(order);
        }
        self.insert(tx, &firsts).await?;
        let were_awaited = self.write_over_awaited(tx, &firsts).await?;
        let ids: Vec<OrderId> = firsts.keys().copied().collect();
        let standing = read::standing(tx, &ids).await?;
        let recorded = self.orders.iter().map(|order| {
            let standing = standing.get(&order.order);
            let standing =
                standing.ok_or_else(|| Error::broken(format!("order {} was written and is gone", order.order)))?;
            Ok(Recorded::of(order, self.by, standing.clone()))
        });
        let recorded = recorded.collect::<Result<_>>()?;
        if !self.is_taking {
            return Ok((recorded, Vec::new()));
        }
        let take = take::OfOrders { by: self.by, orders: &ids, new: &were_awaited, limit: ENTRIES_MAX };
        Ok((recorded, take.run(tx).await?))
    }
}

impl Record<'_> {
    /// Writes the orders that are not in the directory, and locks all others.
    async fn insert(&self, tx: &mut Tx<'_>, orders: &BTreeMap<OrderId, &NewOrder>) -> Result<()> {
        let rows = orders.values().map(|order| {
            vec![
                Value::from(order.order.get()),
                Value::from(order.shop_id),
                Value::from(self.by.shard.get()),
                Value::from(order.state.name()),
                Value::from(self.by.file.as_str()),
            ]
        });
        let head = "INSERT INTO order_directory (order_id, shop_id, shard, state, filename, created_at, recorded_at)";
        let row = "(?, ?, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))";
        // The assignment changes nothing; it locks a row that is there, one by one in the order of the values.
        let tail = " ON DUPLICATE KEY UPDATE order_id = order_id";
        bulk::insert(tx, head, row, tail, rows.collect()).await.map(drop)
    }

    /// Writes the orders that were `awaited` by a return; answers which ones.
    async fn write_over_awaited(&self, tx: &mut Tx<'_>, orders: &BTreeMap<OrderId, &NewOrder>) -> Result<Vec<OrderId>> {
        let list: Vec<Value> = orders.keys().map(|order| Value::from(order.get())).collect();
        let select = "SELECT order_id FROM order_directory WHERE order_id IN ({list}) AND state = 'awaited'";
        let mut awaited = BTreeSet::new();
        for row in &bulk::select(tx, select, &[], &list).await? {
            awaited.insert(read::order_id(row)?);
        }
        for order in awaited.iter().filter_map(|id| orders.get(id)) {
            let values = params! {
                "shop_id" => order.shop_id,
                "shard" => self.by.shard.get(),
                "state" => order.state.name(),
                "filename" => self.by.file.as_str(),
                "order_id" => order.order.get(),
            };
            tx.change(&RECORD_AWAITED.replace("{now}", "UTC_TIMESTAMP(3)"), values).await?;
        }
        Ok(awaited.into_iter().collect())
    }
}

/// Keeps returns whose order is not known to the asker's own shard.
pub(super) struct Put<'a> {
    pub(super) by: &'a TaskKey,
    pub(super) returns: &'a [EarlyReturn],
    pub(super) policy: CachePolicy,
}

#[async_trait]
impl Work for Put<'_> {
    type Out = Vec<PutOutcome>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<PutOutcome>> {
        let orders: BTreeSet<OrderId> = self.returns.iter().map(|entry| entry.order).collect();
        let rows = orders.iter().map(|order| vec![Value::from(order.get())]).collect();
        let head = "INSERT INTO order_directory (order_id, state, created_at)";
        let tail = " ON DUPLICATE KEY UPDATE order_id = order_id";
        bulk::insert(tx, head, "(?, 'awaited', UTC_TIMESTAMP(3))", tail, rows).await?;
        // Only now, behind the locks: an order that another task recorded before is seen.
        let ids: Vec<OrderId> = orders.into_iter().collect();
        let standing = read::standing(tx, &ids).await?;
        let mut kept = self.kept(tx).await?;
        let (mut outcomes, mut new) = (Vec::new(), BTreeMap::new());
        for entry in self.returns {
            if kept.get(&entry.line).is_some_and(|known| known != entry) {
                return Err(TradeRefusal::LineConflict { file: self.by.file.clone(), line: entry.line }.into());
            }
            let is_kept = kept.contains_key(&entry.line);
            let outcome = put_outcome(self.by.shard, is_kept, standing.get(&entry.order));
            if outcome == PutOutcome::Held && !is_kept {
                kept.insert(entry.line, entry.clone());
                new.insert(entry.line, entry);
            }
            outcomes.push(outcome);
        }
        if !new.is_empty() {
            self.keep(tx, &new).await?;
        }
        Ok(outcomes)
    }
}

impl Put<'_> {
    /// Returns with these lines that are kept already.
    async fn kept(&self, tx: &mut Tx<'_>) -> Result<BTreeMap<u64, EarlyReturn>> {
        let select = "SELECT line, order_id, happened_at, raw, put_shard FROM pending_return
             WHERE filename = ? AND line IN ({list})";
        let list: Vec<Value> = self.returns.iter().map(|entry| Value::from(entry.line)).collect();
        let mut kept = BTreeMap::new();
        for row in &bulk::select(tx, select, &[Value::from(self.by.file.as_str())], &list).await? {
            let line = count(row, "line")?;
            if shard(row, "put_shard")? != self.by.shard {
                return Err(TradeRefusal::LineConflict { file: self.by.file.clone(), line }.into());
            }
            let (order, happened_at) = (read::order_id(row)?, moment(row, "happened_at")?);
            kept.insert(line, EarlyReturn { line, order, happened_at, raw: get(row, "raw")? });
        }
        Ok(kept)
    }

    async fn keep(&self, tx: &mut Tx<'_>, new: &BTreeMap<u64, &EarlyReturn>) -> Result<()> {
        if read::pending(tx).await? + new.len() as u64 > self.policy.pending_max {
            return Err(TradeRefusal::PendingFull { max: self.policy.pending_max }.into());
        }
        let now: Timestamp = tx.now().await?;
        let rows = new.values().map(|entry| {
            vec![
                Value::from(self.by.file.as_str()),
                Value::from(entry.line),
                Value::from(entry.order.get()),
                moment_value(entry.happened_at),
                Value::from(entry.raw.as_str()),
                Value::from(self.by.shard.get()),
                moment_value(now),
                moment_value(now.plus_ms(self.policy.ttl_ms)),
            ]
        });
        let head = "INSERT INTO pending_return
             (filename, line, order_id, happened_at, raw, put_shard, put_at, expires_at)";
        if bulk::insert(tx, head, "(?, ?, ?, ?, ?, ?, ?, ?)", "", rows.collect()).await? {
            return Ok(());
        }
        Err(Error::busy("a line was handed in by another call at the same moment".to_owned()))
    }
}
