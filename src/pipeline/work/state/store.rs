//! What one shard's worker remembers (docs/semantics.md, 4): keys, orders, stock, prices, open shops, and finished files.

use std::sync::Arc;

use super::snapshot::SqliteWorkerSnapshot;
use super::sqlite::SqliteWorkerState;
use crate::base::db::Result;
use crate::pipeline::event::Money;
use crate::pipeline::rules::{Remembered, TradeOrder};
use crate::pipeline::shard_db::WorkerSnapshot;
use crate::pipeline::task::{Counts, Digest, FileName, Output};

/// The fingerprint of a key whose content is not known any more: every other content is taken for the same.
pub(crate) const UNKNOWN_CONTENT: [u8; 16] = [0; 16];

/// A file that is worked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedFile {
    /// What the file was.
    pub input: Digest,
    /// What was reported.
    pub counts: Counts,
    /// The prepared file.
    pub output: Output,
    /// The rejects file, if there is one.
    pub rejects: Option<Digest>,
}

/// A worker's durable state. Everything between [`WorkerState::begin`] and [`WorkerState::commit`] becomes durable
/// together or not at all.
pub trait WorkerState: Send {
    /// Begins the transaction of one file.
    fn begin(&mut self) -> Result<()>;

    /// Notes a key at a position unless it is known; in one statement.
    fn remember(
        &mut self,
        key: &[u8],
        file: &FileName,
        line: u64,
        fingerprint: &[u8; 16],
        day: i64,
    ) -> Result<Remembered>;

    /// Forgets a key.
    fn forget(&mut self, key: &[u8]) -> Result<()>;

    /// An order, if its purchase ever came.
    fn find_order(&mut self, order_id: i64) -> Result<Option<TradeOrder>>;

    /// Writes an order, whatever stood there.
    fn put_order(&mut self, order_id: i64, order: &TradeOrder) -> Result<()>;

    /// How many of a good a shop has; none where they are not counted.
    fn find_stock(&mut self, shop_id: i64, good_id: i64) -> Result<Option<i64>>;

    /// Writes how many of a good a shop has.
    fn put_stock(&mut self, shop_id: i64, good_id: i64, count: i64) -> Result<()>;

    /// What a good costs in a shop, if that was ever said.
    fn find_price(&mut self, shop_id: i64, good_id: i64) -> Result<Option<Money>>;

    /// Writes what a good costs in a shop.
    fn put_price(&mut self, shop_id: i64, good_id: i64, price: Money) -> Result<()>;

    /// Whether a shop is open, if that was ever said.
    fn find_shop(&mut self, shop_id: i64) -> Result<Option<bool>>;

    /// Writes whether a shop is open.
    fn put_shop(&mut self, shop_id: i64, active: bool) -> Result<()>;

    /// What was reported of a file, if it is worked through.
    fn find_finished(&mut self, file: &FileName) -> Result<Option<FinishedFile>>;

    /// Notes a file as worked through, in the transaction of its changes.
    fn put_finished(&mut self, file: &FileName, finished: &FinishedFile, day: i64) -> Result<()>;

    /// Files that are worked through and not confirmed to the order directory, the oldest first.
    fn list_unconfirmed(&mut self, limit: u32) -> Result<Vec<FileName>>;

    /// Notes that a file is confirmed to the order directory.
    fn confirm(&mut self, file: &FileName) -> Result<()>;

    /// Makes the file's changes durable.
    fn commit(&mut self) -> Result<()>;

    /// Drops the file's changes; does nothing outside a transaction.
    fn roll_back(&mut self) -> Result<()>;

    /// Forgets keys that were noted before this day (days since 1970-01-01), and confirmed files that were finished
    /// before it; answers how many keys.
    fn forget_before(&mut self, day: i64) -> Result<u64>;
}

/// Opens a worker's own state, creating and migrating it where needed. It is always embedded: it is asked once per line.
///
/// # Errors
/// When the database cannot be opened.
pub fn open_worker_state(path: &std::path::Path) -> Result<Box<dyn WorkerState>> {
    Ok(Box::new(SqliteWorkerState::open(path)?))
}

/// Looks at a worker's state as it is now. It must be there.
///
/// # Errors
/// When the database cannot be opened.
pub async fn open_worker_snapshot(path: &std::path::Path) -> Result<Arc<dyn WorkerSnapshot>> {
    Ok(Arc::new(SqliteWorkerSnapshot::open(path).await?))
}
