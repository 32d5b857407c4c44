//! A page of entries into the books, inside the transaction of their delivery.

use rusqlite::{ErrorCode, Transaction, params};

use super::db::moment_text;
use crate::event::Money;
use crate::store::books::{Change, Entry, Page};
use crate::store::{Error, Result};
use crate::task::TaskKey;

/// Writes a page.
pub(super) fn write(transaction: &Transaction<'_>, page: Page, key: &TaskKey) -> Result<()> {
    for ((shop_id, good_id), Change { delta, price }) in page.goods {
        // A good that is new to the books is as open as its shop.
        transaction
            .prepare_cached(
                "INSERT INTO shop (id, good_id, count, active, price)
                 VALUES (?1, ?2, ?3, COALESCE((SELECT active FROM shop WHERE id = ?1 AND good_id = 0), 1), ?4)
                 ON CONFLICT (id, good_id) DO UPDATE SET
                   count = CASE WHEN ?3 IS NULL THEN count ELSE COALESCE(count, 0) + ?3 END,
                   price = COALESCE(?4, price)",
            )?
            .execute(params![shop_id, good_id, delta, price.map(Money::minor)])?;
    }
    for (shop_id, active) in page.active {
        transaction
            .prepare_cached("INSERT INTO shop (id, good_id, active) VALUES (?1, 0, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![shop_id, active])?;
        transaction.prepare_cached("UPDATE shop SET active = ?2 WHERE id = ?1")?.execute(params![shop_id, active])?;
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
            let values = params![order_id, user_id, good_id, shop_id, qty, price.minor(), moment_text(at)];
            match transaction.prepare_cached(insert)?.execute(values) {
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    Err(Error::Broken(format!("order {order_id} of {key} stands in purchase_history already")))
                }
                result => Ok(result.map(drop)?),
            }
        }
        Entry::Return { order_id, qty, amount, at, .. } => {
            let insert = "INSERT INTO order_return (order_id, qty, amount, created_at) VALUES (?1, ?2, ?3, ?4)";
            transaction.prepare_cached(insert)?.execute(params![order_id, qty, amount.minor(), moment_text(at)])?;
            Ok(())
        }
        // These are in the goods and the statuses of the page.
        Entry::Stock { .. } | Entry::Price { .. } | Entry::Status { .. } => Ok(()),
    }
}
