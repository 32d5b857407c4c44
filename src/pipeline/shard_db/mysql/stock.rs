//! What the books of a shard say, page by page.

use async_trait::async_trait;
use mysql_async::Row;

use crate::base::db::Result;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, count_value, get, moment};
use crate::pipeline::columns::mysql::money;
use crate::pipeline::shard_db::stock::FIRST_ITEM;
use crate::pipeline::shard_db::{BookedOrder, Bought, Dated, StockItem};
use crate::pipeline::task::FileName;

/// What is known of goods and shops.
pub(crate) struct ListStock {
    pub(crate) after: Option<(i64, i64)>,
    pub(crate) limit: u32,
}

#[async_trait]
impl Work for ListStock {
    type Out = Vec<StockItem>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<StockItem>> {
        let select = "SELECT id, good_id, count, price, active FROM shop WHERE id > ? OR (id = ? AND good_id > ?)
             ORDER BY id, good_id LIMIT ?";
        let (shop, good) = self.after.unwrap_or(FIRST_ITEM);
        let rows = tx.rows(select, (shop, shop, good, self.limit)).await?;
        let stock_item_of = |row: &Row| {
            let is_priced = get::<Option<String>>(row, "price")?.is_some();
            Ok(StockItem {
                shop_id: get(row, "id")?,
                good_id: get(row, "good_id")?,
                count: get(row, "count")?,
                price: if is_priced { Some(money(row, "price")?) } else { None },
                is_open: get(row, "active")?,
            })
        };
        rows.iter().map(stock_item_of).collect()
    }
}

/// Orders with their returns; returns of an order that is not there have a place of their own.
pub(crate) struct ListOrders {
    pub(crate) after: Option<i64>,
    pub(crate) limit: u32,
}

#[async_trait]
impl Work for ListOrders {
    type Out = Vec<BookedOrder>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<BookedOrder>> {
        let select = "SELECT k.order_id, p.user_id, p.shop_id, p.good_id, p.qty, p.price_at_order,
               CAST(COALESCE((SELECT SUM(r.qty) FROM order_return r WHERE r.order_id = k.order_id), 0) AS SIGNED) AS returned
             FROM ((SELECT order_id FROM purchase_history WHERE order_id > ? ORDER BY order_id LIMIT ?)
                   UNION (SELECT DISTINCT order_id FROM order_return WHERE order_id > ? ORDER BY order_id LIMIT ?)
                   ORDER BY order_id LIMIT ?) k
             LEFT JOIN purchase_history p ON p.order_id = k.order_id ORDER BY k.order_id";
        let (after, limit) = (self.after.unwrap_or(i64::MIN), self.limit);
        let rows = tx.rows(select, (after, limit, after, limit, limit)).await?;
        rows.iter().map(order_of).collect()
    }
}

fn order_of(row: &Row) -> Result<BookedOrder> {
    let bought = match get::<Option<i64>>(row, "qty")? {
        None => None,
        Some(qty) => Some(Bought {
            user_id: get(row, "user_id")?,
            shop_id: get(row, "shop_id")?,
            good_id: get(row, "good_id")?,
            qty,
            price: money(row, "price_at_order")?,
        }),
    };
    Ok(BookedOrder { order_id: get(row, "order_id")?, bought, returned: get(row, "returned")? })
}

/// When orders were bought.
pub(crate) const PURCHASE_DATES: &str = "SELECT order_id AS place, order_id, created_at FROM purchase_history
     WHERE order_id > ? ORDER BY order_id LIMIT ?";
/// When orders came back.
pub(crate) const RETURN_DATES: &str =
    "SELECT id AS place, order_id, created_at FROM order_return WHERE id > ? ORDER BY id LIMIT ?";

/// When something happened to orders.
pub(crate) struct ListDates {
    pub(crate) select: &'static str,
    pub(crate) after: Option<i64>,
    pub(crate) limit: u32,
}

#[async_trait]
impl Work for ListDates {
    type Out = Vec<Dated>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Dated>> {
        let rows = tx.rows(self.select, (self.after.unwrap_or(i64::MIN), self.limit)).await?;
        let dated = |row: &Row| {
            Ok(Dated { cursor: get(row, "place")?, order_id: get(row, "order_id")?, at: moment(row, "created_at")? })
        };
        rows.iter().map(dated).collect()
    }
}

/// The lines of an event file that have a row.
pub(crate) struct ListLines<'a> {
    pub(crate) file: &'a FileName,
    pub(crate) after: u64,
    pub(crate) limit: u32,
}

#[async_trait]
impl Work for ListLines<'_> {
    type Out = Vec<u64>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<u64>> {
        let select =
            "SELECT source_line FROM events WHERE source_file = ? AND source_line > ? ORDER BY source_line LIMIT ?";
        let rows = tx.rows(select, (self.file.as_str(), count_value(self.after), self.limit)).await?;
        rows.iter().map(|row| count(row, "source_line")).collect()
    }
}
