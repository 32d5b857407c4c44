//! Rows that a shard's database and a worker's state name alike: an order and a stock item.

use rusqlite::Row;

use crate::base::db::Result;
use crate::pipeline::event::Money;
use crate::pipeline::shard_db::{BookedOrder, Bought, StockItem};

/// A stock item whose shop stands in this column.
pub(crate) fn stock_item_of(row: &Row<'_>, shop: &str) -> Result<StockItem> {
    Ok(StockItem {
        shop_id: row.get(shop)?,
        good_id: row.get("good_id")?,
        count: row.get("count")?,
        price: row.get::<_, Option<i64>>("price")?.map(Money::from_minor),
        is_open: row.get("active")?,
    })
}

/// An order; without a quantity nothing is known of its purchase.
pub(crate) fn order_of(row: &Row<'_>) -> Result<BookedOrder> {
    let bought = match row.get::<_, Option<i64>>("qty")? {
        None => None,
        Some(qty) => Some(Bought {
            user_id: row.get("user_id")?,
            shop_id: row.get("shop_id")?,
            good_id: row.get("good_id")?,
            qty,
            price: Money::from_minor(row.get("price")?),
        }),
    };
    Ok(BookedOrder { order_id: row.get("order_id")?, bought, returned: row.get("returned")? })
}
