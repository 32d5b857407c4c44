//! A page of entries into the books, inside the transaction of their delivery.

use rusqlite::{ErrorCode, Transaction, params};

use super::db::moment_text;
use crate::event::Money;
use crate::store::books::{Change, Entry, Page};
use crate::store::{Error, Result};
use crate::task::TaskKey;

/// Writes a page.
pub(super) fn write(transaction: &Transaction<'_>, page: Page, key: &TaskKey) -> Result<()> {
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
