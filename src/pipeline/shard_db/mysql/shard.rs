//! A shard's database: marker and rows in one transaction (docs/semantics.md, 5).

use std::time::Duration;

use async_trait::async_trait;
use mysql_async::{Conn, TxOpts, Value};

use super::census::TakeCensus;
use super::trace::Ask;
use super::{books, stock};
use crate::base::clock::Clock;
use crate::base::db::mysql::bulk;
use crate::base::db::mysql::database::{Database, Tx, Work};
use crate::base::db::mysql::value::{count, count_value, get, moment_value};
use crate::base::db::url::Server;
use crate::base::db::{Error, Result};
use crate::pipeline::event::ShardId;
use crate::pipeline::schemas::SHARD;
use crate::pipeline::shard_db::books::Page;
use crate::pipeline::shard_db::rows_digest::{RowImage, RowsDigest};
use crate::pipeline::shard_db::trace::{Question, TraceAnswer};
use crate::pipeline::shard_db::{
    BookedOrder, Census, Dated, Delivered, Delivery, EventRow, RowSource, ShardStore, StockItem,
};
use crate::pipeline::task::{Class, Digest, FileName, TaskKey};

/// Rows that are read at once and go into one INSERT, at the most.
const ROWS_MAX: usize = 1000;
/// The bytes of a row in a statement, at the most: nine values with their types, or a good of the books.
const ROW_BYTES_MAX: usize = 160;
/// How long one statement of a delivery may take.
const STATEMENT_MAX: Duration = Duration::from_secs(60);

/// [`ShardStore`] in a database of a server.
pub(crate) struct MysqlShard {
    database: Database,
}

impl MysqlShard {
    /// The shard's database at this place; it is not asked anything yet.
    pub(crate) fn new(server: &Server, clock: Clock) -> Self {
        Self { database: Database::new(server, &SHARD, clock) }
    }

    #[cfg(test)]
    pub(crate) fn of(database: Database) -> Self {
        Self { database }
    }

    /// Everything but the commit.
    async fn write(tx: &mut Tx<'_>, delivery: Delivery) -> Result<Delivered> {
        let Delivery { key, sha256, rows, mut source } = delivery;
        if !mark(tx, &key, &sha256, rows).await? {
            return Ok(Delivered::Before);
        }
        // The books of so many rows go into one statement too.
        let at_once = (tx.bytes_max() / ROW_BYTES_MAX).clamp(1, ROWS_MAX);
        let (mut written, mut digest) = (0, RowsDigest::default());
        loop {
            let (rest, chunk) = next_rows(source, at_once).await?;
            source = rest;
            if chunk.is_empty() {
                break;
            }
            written += chunk.len() as u64;
            chunk.iter().for_each(|row| digest.add(&RowImage::of(row, key.shard)));
            insert(tx, &key, &chunk).await?;
            let page = Page::of(chunk.iter().filter_map(|row| row.entry));
            books::write(tx, page, &key).await?;
        }
        if written != rows {
            let why = format!("the prepared file of {key} has {written} lines, {rows} were announced");
            return Err(Error::Input(std::io::Error::new(std::io::ErrorKind::InvalidData, why)));
        }
        keep_digest(tx, &key, &digest.digest()).await?;
        Ok(Delivered::Now)
    }

    async fn begin<'c>(&self, connection: &'c mut Conn) -> Result<Tx<'c>> {
        self.database.begin(connection, TxOpts::default(), self.database.limit(STATEMENT_MAX)).await
    }

    /// The answer to a COMMIT was lost: whether it was carried out, a new connection tells. It waits for the old
    /// transaction if that still holds the marker.
    async fn was_committed(&self, key: &TaskKey, sha256: &Digest) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let mut tx = self.begin(&mut connection).await?;
        let found = marker(&mut tx, key).await;
        tx.roll_back().await;
        Ok(found?.is_some_and(|present| present == sha256.to_string()))
    }
}

#[async_trait]
impl ShardStore for MysqlShard {
    async fn ping(&self) -> Result<()> {
        self.database.ping("UPDATE sent_file SET sha256 = sha256 WHERE filename = ''").await
    }

    async fn deliver(&self, delivery: Delivery) -> Result<Delivered> {
        let (key, sha256) = (delivery.key.clone(), delivery.sha256);
        let mut connection: Conn = self.database.connection().await?;
        let mut tx = self.begin(&mut connection).await?;
        match Self::write(&mut tx, delivery).await {
            Ok(Delivered::Before) => {
                tx.roll_back().await;
                Ok(Delivered::Before)
            }
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
            Ok(Delivered::Now) => match tx.commit().await {
                Ok(()) => Ok(Delivered::Now),
                Err(lost) => {
                    log::warn!(file = key.file.as_str(), shard = key.shard.get(); "the answer to a commit was lost: {lost}");
                    drop(connection);
                    if self.was_committed(&key, &sha256).await? { Ok(Delivered::Now) } else { Err(lost) }
                }
            },
        }
    }

    async fn census(&self, shard: ShardId) -> Result<Census> {
        self.database.scan(&TakeCensus(shard)).await
    }

    async fn ask(&self, shard: ShardId, question: Question) -> Result<TraceAnswer> {
        self.database.read(&Ask { shard, question }).await
    }

    async fn count_sent(&self, shard: ShardId) -> Result<u64> {
        self.database.read(&CountSent(shard)).await
    }

    async fn list_stock(&self, after: Option<(i64, i64)>, limit: u32) -> Result<Vec<StockItem>> {
        self.database.read(&stock::ListStock { after, limit }).await
    }

    async fn list_orders(&self, after: Option<i64>, limit: u32) -> Result<Vec<BookedOrder>> {
        self.database.read(&stock::ListOrders { after, limit }).await
    }

    async fn list_purchase_dates(&self, after: Option<i64>, limit: u32) -> Result<Vec<Dated>> {
        self.database.read(&stock::ListDates { select: stock::PURCHASE_DATES, after, limit }).await
    }

    async fn list_return_dates(&self, after: Option<i64>, limit: u32) -> Result<Vec<Dated>> {
        self.database.read(&stock::ListDates { select: stock::RETURN_DATES, after, limit }).await
    }

    async fn list_lines(&self, file: &FileName, after: u64, limit: u32) -> Result<Vec<u64>> {
        self.database.read(&stock::ListLines { file, after, limit }).await
    }

    async fn close(&self) {
        self.database.close().await;
    }
}

/// The next rows of a source, which may block on a disk.
async fn next_rows(mut source: RowSource, count: usize) -> Result<(RowSource, Vec<EventRow>)> {
    let read = tokio::task::spawn_blocking(move || {
        let rows: std::io::Result<Vec<EventRow>> = source.by_ref().take(count).collect();
        rows.map(|rows| (source, rows))
    });
    match read.await {
        Ok(result) => Ok(result?),
        Err(e) => Err(Error::broken(format!("the rows' source ended abnormally: {e}"))),
    }
}

/// Writes the marker; false if it was there. While another transaction holds it, this one waits for its end.
async fn mark(tx: &mut Tx<'_>, key: &TaskKey, sha256: &Digest, rows: u64) -> Result<bool> {
    let values = (key.file.as_str(), key.shard.get(), sha256.to_string(), count_value(rows));
    let insert =
        "INSERT INTO sent_file (filename, shard, sha256, `rows`, sent_at) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(3))";
    if tx.insert(insert, values).await? {
        return Ok(true);
    }
    match marker(tx, key).await? {
        Some(present) if present == sha256.to_string() => Ok(false),
        Some(present) => {
            let what = format!("{key} was delivered before with other content (SHA-256 {present})");
            Err(Error::broken(Class::MarkerConflict.tag(what)))
        }
        None => Err(Error::busy(format!("the marker of {key} was there and is gone"))),
    }
}

/// Writes into the marker what its rows are.
async fn keep_digest(tx: &mut Tx<'_>, key: &TaskKey, digest: &Digest) -> Result<()> {
    let update = "UPDATE sent_file SET rows_sha256 = ? WHERE filename = ? AND shard = ?";
    tx.change(update, (digest.to_string(), key.file.as_str(), key.shard.get())).await.map(drop)
}

async fn marker(tx: &mut Tx<'_>, key: &TaskKey) -> Result<Option<String>> {
    let select = "SELECT sha256 FROM sent_file WHERE filename = ? AND shard = ? LOCK IN SHARE MODE";
    let row = tx.first(select, (key.file.as_str(), key.shard.get())).await?;
    row.map(|row| get(&row, "sha256")).transpose()
}

async fn insert(tx: &mut Tx<'_>, key: &TaskKey, rows: &[EventRow]) -> Result<()> {
    let columns = (
        "INSERT INTO events (event_type, shop_id, user_id, `timestamp`, shard, created_at, source_file, source_line,
           delivered_with)",
        "(?, ?, ?, ?, ?, UTC_TIMESTAMP(3), ?, ?, ?)",
        "",
    );
    let values = rows.iter().map(|row| {
        vec![
            Value::from(row.event_type),
            Value::from(row.shop_id),
            Value::from(row.user_id),
            moment_value(row.timestamp),
            Value::from(key.shard.get()),
            Value::from(row.source_file.as_str()),
            Value::from(count_value(row.source_line)),
            Value::from(key.file.as_str()),
        ]
    });
    if bulk::insert_by(tx, ROWS_MAX, columns, values.collect()).await? {
        return Ok(());
    }
    let what = format!("a row of {key} stands in events already, although its file was never delivered");
    Err(Error::broken(Class::MarkerConflict.tag(what)))
}

/// How many files are delivered.
struct CountSent(ShardId);

#[async_trait]
impl Work for CountSent {
    type Out = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        let row = tx.first("SELECT COUNT(*) AS n FROM sent_file WHERE shard = ?", (self.0.get(),)).await?;
        row.map_or(Ok(0), |row| count(&row, "n"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::base::db::mysql::testing::{TestDatabase, on_every_server};
    use crate::base::timestamp::Timestamp;
    use crate::pipeline::event::Money;
    use crate::pipeline::shard_db::Entry;
    use crate::pipeline::task::FileName;

    /// How long a connection may say nothing in these tests, in seconds.
    const SILENCE_SECS: u64 = 2;
    /// More than anything here takes, waits for locks included.
    const WAIT_MAX: Duration = Duration::from_secs(60);

    /// A server that takes so little.
    const PACKET_BYTES: usize = 64 << 10;

    on_every_server! {
        a_delivery_that_goes_silent_holds_no_other_up
        statements_of_a_delivery_stay_under_a_quarter_of_what_the_server_takes
    }

    fn row(line: u64) -> EventRow {
        EventRow {
            event_type: 4,
            shop_id: Some(3),
            user_id: None,
            timestamp: Timestamp::from_unix_ms(1_735_689_600_007),
            source_file: "20250101000000".parse().unwrap(),
            source_line: line,
            entry: None,
        }
    }

    fn delivery(rows: u64) -> Delivery {
        let key = TaskKey { file: "20250101000000".parse().unwrap(), shard: ShardId::new(0).unwrap() };
        let source = Box::new((1..=rows).map(|line| Ok(row(line))));
        Delivery { key, sha256: Digest::new([1; 32]), rows, source }
    }

    /// A sender that is paused in mid-transaction, or whose machine is gone: the server takes the marker back from it.
    async fn a_delivery_that_goes_silent_holds_no_other_up(variable: &str) {
        let place = TestDatabase::made(variable, "silence", &SHARD).await;
        let paused = Database::of_short_silence(&place.server, &SHARD, SILENCE_SECS);
        let paused = std::sync::Arc::new(MysqlShard::of(paused));
        let (began, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let mut began = Some(began);
        // The marker is written when the first row is asked for.
        let source = (1..=3).map(move |line| {
            if let Some(began) = began.take() {
                began.send(()).unwrap();
                may_go_on.recv().unwrap();
            }
            Ok(row(line))
        });
        let silent = Delivery { source: Box::new(source), ..delivery(3) };
        let of_task = std::sync::Arc::clone(&paused);
        let delivering = tokio::spawn(async move { of_task.deliver(silent).await });
        timeout(WAIT_MAX, has_begun).await.unwrap().unwrap();
        let other = MysqlShard::new(&place.server, Clock::System);
        assert_eq!(timeout(WAIT_MAX, other.deliver(delivery(3))).await.unwrap().unwrap(), Delivered::Now);
        go_on.send(()).unwrap();
        let late = timeout(WAIT_MAX, delivering).await.unwrap().unwrap();
        assert!(matches!(late, Err(Error::Busy(_))), "{late:?}");
        assert_eq!(paused.deliver(delivery(3)).await.unwrap(), Delivered::Before);
        assert_eq!(other.census(ShardId::new(0).unwrap()).await.unwrap().rows, 3);
        paused.close().await;
        other.close().await;
        place.drop().await;
    }

    /// Every kind of entry in the books, more of each than fit.
    async fn statements_of_a_delivery_stay_under_a_quarter_of_what_the_server_takes(variable: &str) {
        let place = TestDatabase::made(variable, "small_packets", &SHARD).await;
        let store = MysqlShard::of(Database::of_small_packets(&place.server, &SHARD, PACKET_BYTES));
        let (file, at): (FileName, _) = ("20250101000000".parse().unwrap(), Timestamp::from_unix_ms(1_735_689_600_007));
        let far = i64::MAX / 2;
        let of_file = file.clone();
        let row = move |line: u64| {
            let (id, price) = (far - i64::try_from(line).unwrap(), Money::from_minor(999_999_999_999_999_999));
            let (order_id, user_id, shop_id, good_id, stock) = (id, Some(id), id, id, Some(i64::MIN / 4));
            let entry = match line % 5 {
                0 => Entry::Stock { shop_id, good_id, delta: i64::MIN / 4 },
                1 => Entry::Price { shop_id, good_id, price },
                2 => Entry::Status { shop_id, active: false },
                3 => Entry::Purchase { order_id, user_id, shop_id, good_id, qty: id, price, at, stock },
                _ => Entry::Return { order_id, shop_id, good_id, qty: id, amount: price, at, stock },
            };
            Ok(EventRow {
                event_type: 1,
                shop_id: Some(id),
                user_id: Some(id),
                timestamp: at,
                source_file: of_file.clone(),
                source_line: line,
                entry: Some(entry),
            })
        };
        let source = Box::new((1..=2777).map(row));
        let key = TaskKey { file, shard: ShardId::new(0).unwrap() };
        let delivery = Delivery { key, sha256: Digest::new([1; 32]), rows: 2777, source };
        assert_eq!(store.deliver(delivery).await.unwrap(), Delivered::Now);
        store.close().await;
        place.drop().await;
    }
}
