//! A page of entries into the books, inside the transaction of their delivery; and what the books say.

use rusqlite::{Connection, ErrorCode, Transaction, params};

use super::row::{order_of, stock_item_of};
use crate::base::db::sqlite::db::{count_column, count_value, timestamp_column, timestamp_text};
use crate::base::db::{Error, Result};
use crate::pipeline::event::Money;
use crate::pipeline::shard_db::books::{Change, Entry, Page};
use crate::pipeline::shard_db::stock::FIRST_ITEM;
use crate::pipeline::shard_db::{BookedOrder, Dated, StockItem};
use crate::pipeline::task::{Class, FileName, TaskKey};

/// Writes a page.
pub(crate) fn write(transaction: &Transaction<'_>, page: Page, key: &TaskKey) -> Result<()> {
    let file = key.file.as_str();
    for ((shop_id, good_id), Change { delta, price }) in page.goods {
        // A good that is new to the books is as open as its shop.
        transaction
            .prepare_cached(
                "INSERT INTO shop (id, good_id, count, active, price, price_file)
                 VALUES (?1, ?2, ?3, COALESCE((SELECT active FROM shop WHERE id = ?1 AND good_id = 0), 1), ?4,
                   CASE WHEN ?4 IS NULL THEN '' ELSE ?5 END)
                 ON CONFLICT (id, good_id) DO UPDATE SET
                   count = CASE WHEN ?3 IS NULL THEN count ELSE COALESCE(count, 0) + ?3 END,
                   price = CASE WHEN ?4 IS NULL OR ?5 < price_file THEN price ELSE ?4 END,
                   price_file = CASE WHEN ?4 IS NULL OR ?5 < price_file THEN price_file ELSE ?5 END",
            )?
            .execute(params![shop_id, good_id, delta, price.map(Money::minor), file])?;
    }
    for (shop_id, active) in page.active {
        transaction
            .prepare_cached("INSERT INTO shop (id, good_id, active) VALUES (?1, 0, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![shop_id, active])?;
        // The shop's own row last: it says whether this file is late.
        let update = "UPDATE shop SET active = ?2, active_file = ?3 WHERE id = ?1 AND good_id <> 0
             AND (SELECT own.active_file FROM shop own WHERE own.id = ?1 AND own.good_id = 0) <= ?3";
        transaction.prepare_cached(update)?.execute(params![shop_id, active, file])?;
        let update =
            "UPDATE shop SET active = ?2, active_file = ?3 WHERE id = ?1 AND good_id = 0 AND active_file <= ?3";
        transaction.prepare_cached(update)?.execute(params![shop_id, active, file])?;
    }
    for entry in page.purchases.iter().chain(&page.returns) {
        order(transaction, entry, key)?;
    }
    Ok(())
}

fn order(transaction: &Transaction<'_>, entry: &Entry, key: &TaskKey) -> Result<()> {
    match *entry {
        Entry::Purchase { order_id, user_id, shop_id, good_id, qty, price, at, .. } => {
            let insert =
                "INSERT INTO purchase_history (order_id, user_id, good_id, shop_id, qty, price_at_order, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let values = params![order_id, user_id, good_id, shop_id, qty, price.minor(), timestamp_text(at)];
            match transaction.prepare_cached(insert)?.execute(values) {
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    let what = format!("order {order_id} of {key} stands in purchase_history already");
                    Err(Error::broken(Class::MarkerConflict.tag(what)))
                }
                result => Ok(result.map(drop)?),
            }
        }
        Entry::Return { order_id, qty, amount, at, .. } => {
            let insert = "INSERT INTO order_return (order_id, qty, amount, created_at) VALUES (?1, ?2, ?3, ?4)";
            transaction.prepare_cached(insert)?.execute(params![order_id, qty, amount.minor(), timestamp_text(at)])?;
            Ok(())
        }
        // These are in the goods and the statuses of the page.
        Entry::Stock { .. } | Entry::Price { .. } | Entry::Status { .. } => Ok(()),
    }
}

/// What is known of goods and shops.
pub(crate) fn list_stock(connection: &Connection, after: Option<(i64, i64)>, limit: u32) -> Result<Vec<StockItem>> {
    let mut select = connection.prepare_cached(
        "SELECT id, good_id, count, price, active FROM shop WHERE (id, good_id) > (?1, ?2)
         ORDER BY id, good_id LIMIT ?3",
    )?;
    let (shop, good) = after.unwrap_or(FIRST_ITEM);
    let mut rows = select.query(params![shop, good, limit])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(stock_item_of(row, "id")?);
    }
    Ok(items)
}

/// Orders with their returns; returns of an order that is not there have a place of their own.
pub(crate) fn list_orders(connection: &Connection, after: Option<i64>, limit: u32) -> Result<Vec<BookedOrder>> {
    let mut select = connection.prepare_cached(
        "SELECT k.order_id, p.user_id, p.shop_id, p.good_id, p.qty, p.price_at_order AS price,
           COALESCE((SELECT SUM(r.qty) FROM order_return r WHERE r.order_id = k.order_id), 0) AS returned
         FROM (SELECT order_id FROM (SELECT order_id FROM purchase_history
                 WHERE order_id > ?1 ORDER BY order_id LIMIT ?2)
               UNION SELECT order_id FROM (SELECT DISTINCT order_id FROM order_return
                 WHERE order_id > ?1 ORDER BY order_id LIMIT ?2)
               ORDER BY order_id LIMIT ?2) k
         LEFT JOIN purchase_history p ON p.order_id = k.order_id ORDER BY k.order_id",
    )?;
    let mut rows = select.query(params![after.unwrap_or(i64::MIN), limit])?;
    let mut orders = Vec::new();
    while let Some(row) = rows.next()? {
        orders.push(order_of(row)?);
    }
    Ok(orders)
}

/// When orders were bought.
pub(crate) const PURCHASE_DATES: &str = "SELECT order_id AS cursor, order_id, created_at FROM purchase_history
     WHERE order_id > ?1 ORDER BY order_id LIMIT ?2";
/// When orders came back.
pub(crate) const RETURN_DATES: &str =
    "SELECT id AS cursor, order_id, created_at FROM order_return WHERE id > ?1 ORDER BY id LIMIT ?2";

/// When something happened to orders.
pub(crate) fn list_dates(
    connection: &Connection,
    select: &'static str,
    after: Option<i64>,
    limit: u32,
) -> Result<Vec<Dated>> {
    let mut select = connection.prepare_cached(select)?;
    let mut rows = select.query(params![after.unwrap_or(i64::MIN), limit])?;
    let mut dates = Vec::new();
    while let Some(row) = rows.next()? {
        dates.push(Dated {
            cursor: row.get("cursor")?,
            order_id: row.get("order_id")?,
            at: timestamp_column(row, "created_at")?,
        });
    }
    Ok(dates)
}

/// The lines of an event file that have a row.
pub(crate) fn list_lines(connection: &Connection, file: &FileName, after: u64, limit: u32) -> Result<Vec<u64>> {
    let mut select = connection.prepare_cached(
        "SELECT source_line FROM events WHERE source_file = ?1 AND source_line > ?2 ORDER BY source_line LIMIT ?3",
    )?;
    let mut rows = select.query(params![file.as_str(), count_value(after), limit])?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        lines.push(count_column(row, "source_line")?);
    }
    Ok(lines)
}
