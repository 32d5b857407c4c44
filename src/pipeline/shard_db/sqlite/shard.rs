//! A shard's database: marker and rows in one transaction.

use std::path::Path;

use async_trait::async_trait;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{books, census, trace};
use crate::base::clock::Clock;
use crate::base::db::sqlite::db::{Db, count_column, count_value, timestamp_text};
use crate::base::db::{Error, Result};
use crate::pipeline::event::ShardId;
use crate::pipeline::schemas::SHARD;
use crate::pipeline::shard_db::books::Page;
use crate::pipeline::shard_db::rows_digest::{RowImage, RowsDigest};
use crate::pipeline::shard_db::trace::{Question, TraceAnswer};
use crate::pipeline::shard_db::{BookedOrder, Census, Dated, Delivered, Delivery, ShardStore, StockItem};
use crate::pipeline::task::{Class, Digest, FileName, TaskKey};

/// Entries that are gathered before they are written into the books.
const ENTRIES_PER_PAGE: usize = 1000;

/// [`ShardStore`] in one SQLite file.
pub(crate) struct SqliteShard {
    db: Db,
    clock: Clock,
}

impl SqliteShard {
    /// Opens the database, creating it where needed.
    pub(crate) async fn open(path: &Path, clock: Clock) -> Result<Self> {
        Ok(Self { db: Db::open(path, &SHARD).await?, clock })
    }
}

#[async_trait]
impl ShardStore for SqliteShard {
    async fn ping(&self) -> Result<()> {
        self.db.ping("sent_file").await
    }

    async fn deliver(&self, delivery: Delivery) -> Result<Delivered> {
        let now = timestamp_text(self.clock.now());
        self.db.call(move |connection| deliver(connection, delivery, &now)).await
    }

    async fn census(&self, shard: ShardId) -> Result<Census> {
        self.db
            .call(move |connection| {
                // One read transaction: a delivery between two looks would seem to be a difference.
                let snapshot = connection.transaction()?;
                census::take(&snapshot, shard)
            })
            .await
    }

    async fn ask(&self, shard: ShardId, question: Question) -> Result<TraceAnswer> {
        self.db.call(move |connection| trace::answer(connection, shard, &question)).await
    }

    async fn count_sent(&self, shard: ShardId) -> Result<u64> {
        let select = "SELECT COUNT(*) AS n FROM sent_file WHERE shard = ?1";
        self.db
            .call(move |connection| connection.query_row_and_then(select, [shard.get()], |row| count_column(row, "n")))
            .await
    }

    async fn list_stock(&self, after: Option<(i64, i64)>, limit: u32) -> Result<Vec<StockItem>> {
        self.db.call(move |connection| books::list_stock(connection, after, limit)).await
    }

    async fn list_orders(&self, after: Option<i64>, limit: u32) -> Result<Vec<BookedOrder>> {
        self.db.call(move |connection| books::list_orders(connection, after, limit)).await
    }

    async fn list_purchase_dates(&self, after: Option<i64>, limit: u32) -> Result<Vec<Dated>> {
        self.db.call(move |connection| books::list_dates(connection, books::PURCHASE_DATES, after, limit)).await
    }

    async fn list_return_dates(&self, after: Option<i64>, limit: u32) -> Result<Vec<Dated>> {
        self.db.call(move |connection| books::list_dates(connection, books::RETURN_DATES, after, limit)).await
    }

    async fn list_lines(&self, file: &FileName, after: u64, limit: u32) -> Result<Vec<u64>> {
        let file = file.clone();
        self.db.call(move |connection| books::list_lines(connection, &file, after, limit)).await
    }
}

fn deliver(connection: &mut Connection, delivery: Delivery, now: &str) -> Result<Delivered> {
    // Dropped without a commit, on whatever error, the transaction rolls back.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !mark(&transaction, &delivery, now)? {
        return Ok(Delivered::Before);
    }
    let Delivery { key, rows, source, .. } = delivery;
    let (mut written, mut digest) = (0, RowsDigest::default());
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (event_type, shop_id, user_id, timestamp, shard, created_at, source_file, source_line,
               delivered_with)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        let mut entries = Vec::new();
        for row in source {
            let row = row?;
            entries.extend(row.entry);
            if entries.len() >= ENTRIES_PER_PAGE {
                books::write(&transaction, Page::of(entries.drain(..)), &key)?;
            }
            digest.add(&RowImage::of(&row, key.shard));
            insert.execute(params![
                row.event_type,
                row.shop_id,
                row.user_id,
                timestamp_text(row.timestamp),
                key.shard.get(),
                now,
                row.source_file.as_str(),
                count_value(row.source_line),
                key.file.as_str()
            ])?;
            written += 1;
        }
        books::write(&transaction, Page::of(entries.drain(..)), &key)?;
    }
    if written != rows {
        let why = format!("the prepared file of {key} has {written} lines, {rows} were announced");
        return Err(Error::Input(std::io::Error::new(std::io::ErrorKind::InvalidData, why)));
    }
    keep_digest(&transaction, &key, &digest.digest())?;
    transaction.commit()?;
    Ok(Delivered::Now)
}

/// Writes into the marker what its rows are.
fn keep_digest(transaction: &Transaction<'_>, key: &TaskKey, digest: &Digest) -> Result<()> {
    transaction
        .prepare_cached("UPDATE sent_file SET rows_sha256 = ?3 WHERE filename = ?1 AND shard = ?2")?
        .execute(params![key.file.as_str(), key.shard.get(), digest.to_string()])?;
    Ok(())
}

/// Writes the marker; false if it was there.
fn mark(transaction: &Transaction<'_>, delivery: &Delivery, now: &str) -> Result<bool> {
    let (file, shard, digest) = (delivery.key.file.as_str(), delivery.key.shard.get(), delivery.sha256.to_string());
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO sent_file (filename, shard, sha256, rows, sent_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (filename, shard) DO NOTHING",
        )?
        .execute(params![file, shard, digest, count_value(delivery.rows), now])?;
    if inserted == 1 {
        return Ok(true);
    }
    let present: String = transaction
        .prepare_cached("SELECT sha256 FROM sent_file WHERE filename = ?1 AND shard = ?2")?
        .query_row(params![file, shard], |row| row.get(0))?;
    if present == digest {
        return Ok(false);
    }
    let what = format!("{} was delivered before with other content (SHA-256 {present})", delivery.key);
    Err(Error::broken(Class::MarkerConflict.tag(what)))
}
