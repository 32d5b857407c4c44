//! The order directory and the early returns in SQLite. There is one writer at a time, so the write lock of a
//! transaction is the lock of all orders.

mod read;
mod take;

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, Transaction as Tx, TransactionBehavior, named_params, params};

use crate::base::clock::Clock;
use crate::base::db::sqlite::db::{Db, count_value, timestamp_text};
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::cache::sql::RECORD_AWAITED;
use crate::pipeline::cache::store::{CachePolicy, CacheStore, Forgotten, Take, put_outcome};
use crate::pipeline::schemas::CACHE;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::ENTRIES_MAX;
use crate::pipeline::trade::{
    Backlog, EarlyReturn, Held, NewOrder, Order, OrderId, PutOutcome, Recorded, Taken, TradeRefusal,
};

/// [`CacheStore`] in one SQLite file.
pub(crate) struct SqliteCache {
    db: Db,
    clock: Clock,
    policy: CachePolicy,
}

impl SqliteCache {
    /// Opens the database, creating it where needed.
    pub(crate) async fn open(path: &Path, clock: Clock, policy: CachePolicy) -> Result<Self> {
        Ok(Self { db: Db::open(path, &CACHE).await?, clock, policy })
    }

    /// Runs a change in a transaction of its own.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Tx<'_>, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let now = self.clock.now();
        self.db
            .call(move |connection| {
                // Dropped without a commit, on whatever error, the transaction rolls back.
                let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let done = change(&tx, now)?;
                tx.commit()?;
                Ok(done)
            })
            .await
    }

    /// Reads the state of one moment.
    async fn read<T: Send + 'static>(&self, look: impl FnOnce(&Connection) -> Result<T> + Send + 'static) -> Result<T> {
        self.db.call(move |connection| look(&*connection.transaction()?)).await
    }
}

#[async_trait]
impl CacheStore for SqliteCache {
    async fn ping(&self) -> Result<()> {
        self.db.ping("order_directory").await
    }

    async fn record_orders(&self, by: &TaskKey, orders: &[NewOrder]) -> Result<Vec<Recorded>> {
        let (by, orders) = (by.clone(), orders.to_vec());
        self.write(move |tx, now| Ok(record(tx, &by, &orders, now)?.recorded)).await
    }

    async fn record_and_take(&self, by: &TaskKey, orders: &[NewOrder]) -> Result<(Vec<Recorded>, Vec<Taken>)> {
        let (by, orders) = (by.clone(), orders.to_vec());
        let change = move |tx: &Tx<'_>, now| {
            let Written { recorded, were_there, were_awaited } = record(tx, &by, &orders, now)?;
            let taken = take::of_orders(tx, &by, &were_there, &were_awaited, ENTRIES_MAX, now)?;
            Ok((recorded, taken))
        };
        self.write(change).await
    }

    async fn look_up(&self, orders: &[OrderId]) -> Result<Vec<Order>> {
        let orders = orders.to_vec();
        self.read(move |connection| {
            let mut known = Vec::new();
            for order in std::collections::BTreeSet::from_iter(orders) {
                known.extend(read::standing(connection, order)?);
            }
            Ok(known)
        })
        .await
    }

    async fn list_orders(&self, after: Option<OrderId>, limit: u32) -> Result<Vec<Order>> {
        self.db.call(move |connection| read::list_orders(connection, after, limit)).await
    }

    async fn put(&self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>> {
        let (by, returns, policy) = (by.clone(), returns.to_vec(), self.policy);
        self.write(move |tx, now| put(tx, &by, &returns, policy, now)).await
    }

    async fn take(&self, by: &TaskKey, what: Take<'_>, limit: u32) -> Result<Vec<Taken>> {
        let (by, limit, policy) = (by.clone(), limit as usize, self.policy);
        match what {
            Take::Orders(orders) => {
                let orders = orders.to_vec();
                self.write(move |tx, now| take::of_orders(tx, &by, &orders, &orders, limit, now)).await
            }
            Take::Shard => self.write(move |tx, now| take::once(tx, &by, Take::Shard, limit, policy, now)).await,
            Take::Expired(undecided) => {
                let undecided = undecided.cloned();
                let what =
                    move |tx: &Tx<'_>, now| take::once(tx, &by, Take::Expired(undecided.as_ref()), limit, policy, now);
                self.write(what).await
            }
        }
    }

    async fn confirm(&self, by: &TaskKey) -> Result<u64> {
        let by = by.clone();
        self.write(move |tx, now| take::confirm(tx, &by, now)).await
    }

    async fn list_held(&self, order: OrderId, limit: u32) -> Result<Vec<Held>> {
        self.read(move |connection| read::list_held(connection, order, limit)).await
    }

    async fn list_pending(&self, after: Option<(FileName, u64)>, limit: u32) -> Result<Vec<Held>> {
        self.db.call(move |connection| read::list_pending(connection, after, limit)).await
    }

    async fn backlog(&self) -> Result<Backlog> {
        let now = self.clock.now();
        self.read(move |connection| read::backlog(connection, now)).await
    }

    async fn forget(&self, limit: u32) -> Result<Forgotten> {
        let retention_ms = self.policy.retention_ms;
        self.write(move |tx, now| take::forget(tx, now.plus_ms(-retention_ms), limit)).await
    }
}

/// What came of writing orders.
struct Written {
    recorded: Vec<Recorded>,
    /// Those that had a row before: nothing waits for any other.
    were_there: Vec<OrderId>,
    /// Those of them that were awaited until now.
    were_awaited: Vec<OrderId>,
}

/// Writes orders; answers what stands there.
fn record(tx: &Tx<'_>, by: &TaskKey, orders: &[NewOrder], now: Timestamp) -> Result<Written> {
    let (now, record_awaited) = (timestamp_text(now), RECORD_AWAITED.replace("{now}", ":now"));
    let (mut recorded, mut were_there, mut were_awaited) = (Vec::new(), Vec::new(), Vec::new());
    for order in orders {
        let inserted = tx
            .prepare_cached(
                "INSERT INTO order_directory (order_id, shop_id, shard, state, filename, created_at, recorded_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6) ON CONFLICT (order_id) DO NOTHING",
            )?
            .execute(params![
                order.order.get(),
                order.shop_id,
                by.shard.get(),
                order.state.name(),
                by.file.as_str(),
                now
            ])?;
        let mut is_written = inserted > 0;
        if !is_written {
            were_there.push(order.order);
            let changed = tx.prepare_cached(&record_awaited)?.execute(named_params! {
                ":shop_id": order.shop_id, ":shard": by.shard.get(), ":state": order.state.name(),
                ":filename": by.file.as_str(), ":now": now, ":order_id": order.order.get(),
            })?;
            if changed > 0 {
                were_awaited.push(order.order);
                is_written = true;
            }
        }
        recorded.push(if is_written {
            Recorded::written(order, by)
        } else {
            let standing = read::standing(tx, order.order)?;
            let gone = || Error::broken(format!("order {} was there and is gone", order.order));
            Recorded::of(order, by, standing.ok_or_else(gone)?)
        });
    }
    Ok(Written { recorded, were_there, were_awaited })
}

fn put(
    tx: &Tx<'_>,
    by: &TaskKey,
    returns: &[EarlyReturn],
    policy: CachePolicy,
    now: Timestamp,
) -> Result<Vec<PutOutcome>> {
    let (mut outcomes, mut added) = (Vec::new(), 0);
    for entry in returns {
        tx.prepare_cached(
            "INSERT INTO order_directory (order_id, state, created_at) VALUES (?1, 'awaited', ?2)
             ON CONFLICT (order_id) DO NOTHING",
        )?
        .execute(params![entry.order.get(), timestamp_text(now)])?;
        let is_kept = read::is_kept(tx, by, entry)?;
        let outcome = put_outcome(by.shard, is_kept, read::standing(tx, entry.order)?.as_ref());
        if outcome == PutOutcome::Held && !is_kept {
            keep(tx, by, entry, policy, now)?;
            added += 1;
        }
        outcomes.push(outcome);
    }
    // A call that adds nothing is answered however many there are.
    if added > 0 && read::pending(tx)? > policy.pending_max {
        return Err(TradeRefusal::PendingFull { max: policy.pending_max }.into());
    }
    Ok(outcomes)
}

fn keep(tx: &Tx<'_>, by: &TaskKey, entry: &EarlyReturn, policy: CachePolicy, now: Timestamp) -> Result<()> {
    let insert =
        "INSERT INTO pending_return (filename, line, order_id, happened_at, raw, put_shard, put_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    tx.prepare_cached(insert)?.execute(params![
        by.file.as_str(),
        count_value(entry.line),
        entry.order.get(),
        timestamp_text(entry.happened_at),
        entry.raw,
        by.shard.get(),
        timestamp_text(now),
        timestamp_text(now.plus_ms(policy.ttl_ms)),
    ])?;
    Ok(())
}
