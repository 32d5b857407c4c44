//! A page of entries into the books, inside the transaction of their delivery: a few statements, however many entries.

use mysql_async::Value;

use crate::base::db::mysql::bulk;
use crate::base::db::mysql::database::Tx;
use crate::base::db::mysql::value::{get, moment_value};
use crate::base::db::{Error, Result};
use crate::pipeline::shard_db::books::{Entry, Page};
use crate::pipeline::task::{Class, TaskKey};

/// The page's goods as a table: bound as one JSON text, because neither server binds arrays.
const GOODS: &str = "JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$[0]', good_id BIGINT PATH '$[1]',
     delta BIGINT PATH '$[2]', price DECIMAL(18,2) PATH '$[3]')) AS page";
/// Entries per INSERT at the most: no page has more of one kind.
const ENTRIES_MAX: usize = 1024;
/// The columns of purchase_history.
const PURCHASE: (&str, &str, &str) = (
    "INSERT INTO purchase_history (order_id, user_id, good_id, shop_id, qty, price_at_order, created_at)",
    "(?, ?, ?, ?, ?, ?, ?)",
    "",
);
/// The columns of order_return.
const RETURN: (&str, &str, &str) = ("INSERT INTO order_return (order_id, qty, amount, created_at)", "(?, ?, ?, ?)", "");

/// Writes a page.
pub(crate) async fn write(tx: &mut Tx<'_>, page: Page, key: &TaskKey) -> Result<()> {
    if !page.goods.is_empty() {
        write_goods(tx, &page, key).await?;
    }
    for (shop_id, active) in &page.active {
        write_status(tx, *shop_id, *active, key).await?;
    }
    if !bulk::insert_by(tx, ENTRIES_MAX, PURCHASE, page.purchases.iter().map(values_of).collect()).await? {
        let what = format!("an order of {key} stands in purchase_history already");
        return Err(Error::broken(Class::MarkerConflict.tag(what)));
    }
    bulk::insert_by(tx, ENTRIES_MAX, RETURN, page.returns.iter().map(values_of).collect()).await.map(drop)
}

/// The shop's own row says whether this file is late.
async fn write_status(tx: &mut Tx<'_>, shop_id: i64, active: bool, key: &TaskKey) -> Result<()> {
    let file = key.file.as_str();
    let own = tx.first("SELECT active_file FROM shop WHERE id = ? AND good_id = 0 FOR UPDATE", (shop_id,)).await?;
    match own.map(|row| get::<String>(&row, "active_file")).transpose()? {
        None => {
            let insert = "INSERT INTO shop (id, good_id, active, active_file) VALUES (?, 0, ?, ?)";
            new_goods(tx.insert(insert, (shop_id, active, file)).await?, key)?;
        }
        Some(last) if last.as_str() > file => return Ok(()),
        Some(_) => {}
    }
    tx.change("UPDATE shop SET active = ?, active_file = ? WHERE id = ?", (active, file, shop_id)).await.map(drop)
}

/// A good that is new to the books is as open as its shop; then stock adds up and the last price stands.
async fn write_goods(tx: &mut Tx<'_>, page: &Page, key: &TaskKey) -> Result<()> {
    let goods = page.goods.iter().map(|((shop_id, good_id), change)| {
        (shop_id, good_id, change.delta, change.price.map(|price| price.to_string()))
    });
    let goods: Vec<_> = goods.collect();
    let goods = serde_json::to_string(&goods).map_err(|e| Error::broken(e.to_string()))?;
    let insert = format!(
        "INSERT INTO shop (id, good_id, active) SELECT page.id, page.good_id, COALESCE(own.active, TRUE)
         FROM {GOODS} LEFT JOIN shop own ON own.id = page.id AND own.good_id = 0
         LEFT JOIN shop present ON present.id = page.id AND present.good_id = page.good_id WHERE present.id IS NULL"
    );
    new_goods(tx.insert(&insert, (&goods,)).await?, key)?;
    let update = format!(
        "UPDATE shop JOIN {GOODS} ON shop.id = page.id AND shop.good_id = page.good_id
         SET shop.count = CASE WHEN page.delta IS NULL THEN shop.count ELSE COALESCE(shop.count, 0) + page.delta END,
             shop.price = CASE WHEN page.price IS NULL OR ? < shop.price_file THEN shop.price ELSE page.price END,
             shop.price_file = CASE WHEN page.price IS NULL OR ? < shop.price_file THEN shop.price_file ELSE ? END"
    );
    let file = key.file.as_str();
    tx.change(&update, (&goods, file, file, file)).await.map(drop)
}

/// Another delivery into the same shard brought the same goods at the same moment: the next run finds them there.
fn new_goods(inserted: bool, key: &TaskKey) -> Result<()> {
    if inserted { Ok(()) } else { Err(Error::busy(format!("another delivery met {key} in the books"))) }
}

fn values_of(entry: &Entry) -> Vec<Value> {
    match *entry {
        Entry::Purchase { order_id, user_id, shop_id, good_id, qty, price, at, .. } => vec![
            Value::from(order_id),
            Value::from(user_id),
            Value::from(good_id),
            Value::from(shop_id),
            Value::from(qty),
            Value::from(price.to_string()),
            moment_value(at),
        ],
        Entry::Return { order_id, qty, amount, at, .. } => {
            vec![Value::from(order_id), Value::from(qty), Value::from(amount.to_string()), moment_value(at)]
        }
        // These are in the goods and the statuses of the page.
        Entry::Stock { .. } | Entry::Price { .. } | Entry::Status { .. } => Vec::new(),
    }
}
