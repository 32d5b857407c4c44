//! A shard's database: the rows of `events` and the marker of every delivered file (docs/contracts.md, 6;
//! docs/semantics.md, 5).

use std::io;
use std::sync::Arc;

use async_trait::async_trait;

#[cfg(feature = "mysql")]
use super::mysql::MysqlShard;
use super::sqlite::SqliteShard;
use super::trace::{Question, TraceAnswer};
use super::{BookedOrder, Census, Dated, Entry, StockItem};
use crate::base::boot::Failure;
use crate::base::clock::Clock;
use crate::base::db::{Result, StoreUrl};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Settings;
use crate::pipeline::task::{Digest, FileName, TaskKey};

/// A row of `events` as the sender hands it over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// 0 to 4.
    pub event_type: u8,
    /// Absent for a return that names none.
    pub shop_id: Option<i64>,
    /// Absent for a cash sale and for events without a user.
    pub user_id: Option<i64>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The event file that the line came from.
    pub source_file: FileName,
    /// The line's number in it, from 1.
    pub source_line: u64,
    /// What it does to the books; nothing for a line that does not say.
    pub entry: Option<Entry>,
}

/// The rows of one file, read as they are needed: memory does not grow with the file.
pub type RowSource = Box<dyn Iterator<Item = io::Result<EventRow>> + Send>;

/// What is delivered: one prepared file, all or nothing.
pub struct Delivery {
    /// Which task.
    pub key: TaskKey,
    /// The prepared file's digest.
    pub sha256: Digest,
    /// How many rows there must be.
    pub rows: u64,
    /// The rows themselves.
    pub source: RowSource,
}

/// What a delivery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The rows are in the database now.
    Now,
    /// They were there before: the marker says so.
    Before,
}

/// One shard's database.
#[async_trait]
pub trait ShardStore: Send + Sync {
    /// Whether the database takes changes.
    async fn ping(&self) -> Result<()>;

    /// Writes the marker with the digest over the rows, the rows, and what they do to the books, in one transaction.
    ///
    /// Broken if the marker is there with another digest, or a row or an order stands there already; Input if the source fails or
    /// has another number of rows than promised. Nothing is written then.
    async fn deliver(&self, delivery: Delivery) -> Result<Delivered>;

    /// What is in the database, all of one moment: it reads every row.
    async fn census(&self, shard: ShardId) -> Result<Census>;

    /// What is there about some lines, an order or a file, all of one moment.
    async fn ask(&self, shard: ShardId, question: Question) -> Result<TraceAnswer>;

    /// How many files are delivered.
    async fn count_sent(&self, shard: ShardId) -> Result<u64>;

    /// What the books know of goods and shops, by (shop, good), beginning after that one.
    async fn list_stock(&self, after: Option<(i64, i64)>, limit: u32) -> Result<Vec<StockItem>>;

    /// The orders of the books by number, beginning after that one.
    async fn list_orders(&self, after: Option<i64>, limit: u32) -> Result<Vec<BookedOrder>>;

    /// When the orders of the books were bought, in pages.
    async fn list_purchase_dates(&self, after: Option<i64>, limit: u32) -> Result<Vec<Dated>>;

    /// When what came back did, in pages.
    async fn list_return_dates(&self, after: Option<i64>, limit: u32) -> Result<Vec<Dated>>;

    /// The lines of an event file that have a row here, in their order, beginning after that one.
    async fn list_lines(&self, file: &FileName, after: u64, limit: u32) -> Result<Vec<u64>>;

    /// Closes its connections, if it has any. Nothing can be asked afterwards.
    async fn close(&self) {}
}

/// The URL of a shard's database, if it is there. On a server those of the settings are, and those that are named.
///
/// # Errors
/// [`Failure`] when the settings have no place for it.
pub fn find_shard_database(
    settings: &Settings,
    shard: ShardId,
    is_named: bool,
) -> std::result::Result<Option<StoreUrl>, Failure> {
    let url = settings.database.shard(shard).map_err(Failure::usage)?;
    let is_expected = is_named || shard.get() < settings.pipeline.shards_count.get();
    Ok(url.embedded_exists().unwrap_or(is_expected).then_some(url))
}

/// Opens one shard's database, as [`open_tracking`](crate::pipeline::apid::open::open_tracking) does.
///
/// # Errors
/// When an embedded database cannot be opened.
pub async fn open_shard(url: &StoreUrl, clock: Clock) -> Result<Arc<dyn ShardStore>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(SqliteShard::open(path, clock).await?)),
        #[cfg(feature = "mysql")]
        StoreUrl::Mysql(server) => Ok(Arc::new(MysqlShard::new(server, clock))),
        #[cfg(not(feature = "mysql"))]
        StoreUrl::Mysql(_) => crate::base::db::without_mysql(),
    }
}
