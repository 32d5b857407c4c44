//! A snapshot of a worker's state: a read transaction, which the worker does not wait for.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use crate::base::db::Result;
use crate::base::db::sqlite::db::Db;
use crate::pipeline::columns::sqlite::file_column;
use crate::pipeline::schemas::WORKER;
use crate::pipeline::shard_db::sqlite::{order_of, stock_item_of};
use crate::pipeline::shard_db::stock::FIRST_ITEM;
use crate::pipeline::shard_db::{BookedOrder, OrderOutcome, StockItem, WorkerSnapshot};
use crate::pipeline::task::FileName;

/// Page cache of a look, in KiB.
const LOOK_CACHE_KIB: i64 = 1024;

/// [`WorkerSnapshot`] at a worker's SQLite file.
pub(crate) struct SqliteWorkerSnapshot {
    db: Db,
}

impl SqliteWorkerSnapshot {
    /// Opens the state and holds on to the moment.
    pub(crate) async fn open(path: &Path) -> Result<Self> {
        let db = Db::open(path, &WORKER).await?;
        db.call(|connection| {
            // The audit reads it once: pages are not needed again, and all shards are read together.
            connection.pragma_update(None, "cache_size", -LOOK_CACHE_KIB)?;
            connection.execute_batch("BEGIN")?;
            // The moment is that of the first look.
            finished(connection, None, 1).map(drop)
        })
        .await?;
        Ok(Self { db })
    }
}

#[async_trait]
impl WorkerSnapshot for SqliteWorkerSnapshot {
    async fn list_finished(&self, after: Option<FileName>, limit: u32) -> Result<Vec<FileName>> {
        self.db.call(move |connection| finished(connection, after.as_ref(), limit)).await
    }

    async fn list_stock(&self, after: Option<(i64, i64)>, limit: u32) -> Result<Vec<StockItem>> {
        self.db.call(move |connection| stock_items(connection, after, limit)).await
    }

    async fn list_orders(&self, after: Option<i64>, limit: u32) -> Result<Vec<BookedOrder>> {
        self.db.call(move |connection| orders(connection, after, limit)).await
    }

    async fn list_outcomes(&self, after: Option<i64>, limit: u32) -> Result<Vec<OrderOutcome>> {
        self.db.call(move |connection| outcomes(connection, after, limit)).await
    }
}

fn finished(connection: &Connection, after: Option<&FileName>, limit: u32) -> Result<Vec<FileName>> {
    let mut select =
        connection.prepare_cached("SELECT filename FROM finished WHERE filename > ?1 ORDER BY filename LIMIT ?2")?;
    let mut rows = select.query(params![after.map_or("", FileName::as_str), limit])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        files.push(file_column(row, "filename")?);
    }
    Ok(files)
}

fn stock_items(connection: &Connection, after: Option<(i64, i64)>, limit: u32) -> Result<Vec<StockItem>> {
    let mut select = connection.prepare_cached(
        "SELECT k.shop_id, k.good_id, stock.count, price.price, COALESCE(shop.active, 1) AS active
         FROM (SELECT shop_id, good_id FROM stock WHERE (shop_id, good_id) > (?1, ?2)
               UNION SELECT shop_id, good_id FROM price WHERE (shop_id, good_id) > (?1, ?2)
               UNION SELECT shop_id, 0 FROM shop WHERE (shop_id, 0) > (?1, ?2)
               ORDER BY shop_id, good_id LIMIT ?3) k
         LEFT JOIN stock ON stock.shop_id = k.shop_id AND stock.good_id = k.good_id
         LEFT JOIN price ON price.shop_id = k.shop_id AND price.good_id = k.good_id
         LEFT JOIN shop ON shop.shop_id = k.shop_id
         ORDER BY k.shop_id, k.good_id",
    )?;
    let (shop, good) = after.unwrap_or(FIRST_ITEM);
    let mut rows = select.query(params![shop, good, limit])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(stock_item_of(row, "shop_id")?);
    }
    Ok(items)
}

fn orders(connection: &Connection, after: Option<i64>, limit: u32) -> Result<Vec<BookedOrder>> {
    let mut select = connection.prepare_cached(
        "SELECT order_id, user_id, shop_id, good_id, qty, price, returned FROM orders
         WHERE order_id > ?1 AND state = 'accepted' ORDER BY order_id LIMIT ?2",
    )?;
    let mut rows = select.query(params![after.unwrap_or(i64::MIN), limit])?;
    let mut orders = Vec::new();
    while let Some(row) = rows.next()? {
        orders.push(order_of(row)?);
    }
    Ok(orders)
}

fn outcomes(connection: &Connection, after: Option<i64>, limit: u32) -> Result<Vec<OrderOutcome>> {
    let mut select = connection.prepare_cached(
        "SELECT order_id, shop_id, state = 'accepted' AS is_accepted FROM orders
         WHERE order_id > ?1 ORDER BY order_id LIMIT ?2",
    )?;
    let mut rows = select.query(params![after.unwrap_or(i64::MIN), limit])?;
    let mut outcomes = Vec::new();
    while let Some(row) = rows.next()? {
        let (order_id, shop_id) = (row.get("order_id")?, row.get("shop_id")?);
        outcomes.push(OrderOutcome { order_id, shop_id, is_accepted: row.get("is_accepted")? });
    }
    Ok(outcomes)
}
