//! The sender: writes prepared files into the shard databases, each once (docs/semantics.md, 5).
//!
//! Reads `shard-worker-<shard>/`, writes the shard's database and a receipt into `mysql-sender/`. The marker of a
//! file is in the same transaction as its rows: if it is there, the rows are, and the task is reported done again.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::claim::driver::{FileTask, Finished, Job};
use super::claim::fault::Fault;
use super::claim::lease::Lease;
use super::files::artifact::{self, Draft, Taken};
use super::files::folder::{Artifact, Folder};
use super::files::prepared;
use crate::base::clock::Clock;
use crate::base::db;
use crate::pipeline::event::{LineReader, Next, Reasons, ShardId};
use crate::pipeline::settings::Database;
use crate::pipeline::shard_db::store::open_shard;
use crate::pipeline::shard_db::{Delivered, Delivery, EventRow, RowSource, ShardStore};
use crate::pipeline::task::{Claimed, Counts, Output, Stage, TaskKey};
use crate::pipeline::timed::{Observer, Timing};

/// Times a transaction is run again when the database was busy (docs/semantics.md, 5).
const BUSY_TRIES: u32 = 8;
/// Bytes of a prepared line beyond those of the event line: the fields around the payload.
const LINE_BYTES_EXTRA: usize = 4096;

/// The shard databases of a process. Each is opened once, when it is first needed, and shared by all senders, so that
/// the number of connections per database does not depend on the number of senders.
pub struct Shards {
    database: Database,
    clock: Clock,
    opened: Mutex<HashMap<ShardId, Opened>>,
    observer: Option<Observer>,
}

/// A database that is opened, or will be.
type Opened = Arc<OnceCell<Arc<dyn ShardStore>>>;

/// The sender for any number of shards.
pub struct Sender {
    folder: Folder,
    shards: Arc<Shards>,
    line_bytes_max: usize,
}

#[derive(Serialize)]
struct Receipt<'a> {
    filename: &'a str,
    shard: u8,
    rows: u64,
    sha256: String,
}

impl Shards {
    /// The databases that the template of the settings names; none is opened yet.
    pub fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock, opened: Mutex::default(), observer: None }
    }

    /// The same with an observer of deliveries.
    pub(crate) fn observed(self, observer: Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Tells the observer of a call.
    fn told(&self, operation: &'static str, began: Instant, is_ok: bool) {
        if let Some(observer) = &self.observer {
            observer(Timing { store: "shard", operation, is_ok, took: began.elapsed() });
        }
    }

    /// The database of a shard. While it is being opened, only callers that need the same one wait.
    ///
    /// # Errors
    /// [`db::Error`] when it cannot be opened; it is tried again the next time.
    pub async fn get(&self, shard: ShardId) -> db::Result<Arc<dyn ShardStore>> {
        let cell = Arc::clone(self.opened.lock().unwrap_or_else(PoisonError::into_inner).entry(shard).or_default());
        let open = async || {
            let url = self.database.shard(shard).map_err(db::Error::unavailable)?;
            open_shard(&url, self.clock.clone()).await
        };
        cell.get_or_try_init(open).await.cloned()
    }

    /// Closes those that were opened, all at the same time. Nothing can be delivered afterwards.
    pub async fn close(&self) {
        let cells = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        let mut closing = JoinSet::new();
        for store in cells.into_values().filter_map(|cell| cell.get().cloned()) {
            closing.spawn(async move { store.close().await });
        }
        closing.join_all().await;
    }
}

impl Sender {
    /// A sender that delivers into these databases.
    pub fn new(folder: Folder, shards: Arc<Shards>, line_bytes_max: usize) -> Self {
        Self { folder, shards, line_bytes_max: line_bytes_max.saturating_add(LINE_BYTES_EXTRA) }
    }

    /// Delivers one file. Call it from a blocking thread of the runtime.
    ///
    /// # Errors
    /// [`Fault`]; either all rows are in the database or none.
    pub fn send(&self, task: &FileTask, lease: &Lease) -> Result<(Finished, Delivered), Fault> {
        let store = Handle::current().block_on(self.shards.get(task.key.shard))?;
        let mut tries = 0;
        loop {
            lease.check()?;
            // Verified from its first byte to its last before the first row is written.
            let (input, found) = artifact::open_verified(&task.source, task.input.as_ref())
                .map_err(|e| Fault::of_input(&task.source, e))?;
            let lines = LineReader::new(input, self.line_bytes_max);
            let source = rows(lines, task.key.clone(), lease.clone());
            let delivery = Delivery { key: task.key.clone(), sha256: found.sha256, rows: found.lines, source };
            let began = Instant::now();
            let delivered = Handle::current().block_on(store.deliver(delivery));
            self.shards.told("deliver", began, delivered.is_ok());
            match delivered {
                Ok(delivered) => {
                    self.write_receipt(task, &found)?;
                    let counts = Counts { read: found.lines, written: found.lines, ..Counts::default() };
                    return Ok((
                        Finished { key: task.key.clone(), counts, output: None, reasons: Reasons::default() },
                        delivered,
                    ));
                }
                Err(db::Error::Busy(why)) if tries < BUSY_TRIES => {
                    tries += 1;
                    log::warn!(stage = Stage::MysqlSender.name(), file = task.key.file.as_str(), shard = task.key.shard.get(),
                        tries; "the transaction is run again: {why}");
                    let pause = std::time::Duration::from_millis(rand::random_range(10..100) * u64::from(tries));
                    Handle::current().block_on(tokio::time::sleep(pause));
                }
                Err(e) => {
                    // If the rows stopped coming because the lease is over or the process stops, that is the reason.
                    lease.check()?;
                    return Err(e.into());
                }
            }
        }
    }

    /// The same bytes for the same delivery: a repeated one changes nothing.
    fn write_receipt(&self, task: &FileTask, found: &Output) -> io::Result<()> {
        let path = self.folder.path_of(&Artifact::Receipt(task.key.file.clone(), task.key.shard));
        let mut draft = Draft::create(&path, task.token)?;
        let receipt = Receipt {
            filename: task.key.file.as_str(),
            shard: task.key.shard.get(),
            rows: found.lines,
            sha256: found.sha256.to_string(),
        };
        serde_json::to_writer(&mut draft, &receipt).map_err(io::Error::from)?;
        draft.write_all(b"\n")?;
        draft.publish(Taken::Replace)?;
        Ok(())
    }
}

/// The rows of a prepared file, read as the database takes them.
fn rows<R: io::BufRead + Send + 'static>(mut lines: LineReader<R>, key: TaskKey, lease: Lease) -> RowSource {
    let mut next_row = move || -> io::Result<Option<EventRow>> {
        let corrupt = |why: String| {
            io::Error::new(io::ErrorKind::InvalidData, format!("corrupt: the prepared file of {key}: {why}"))
        };
        if lines.lines().is_multiple_of(super::split::LINES_PER_CHECK) {
            lease.check().map_err(|fault| io::Error::new(io::ErrorKind::Interrupted, fault.to_string()))?;
        }
        match lines.next_line()? {
            None => Ok(None),
            Some(Next::Line { number, bytes, terminated: true }) => {
                prepared::read(bytes, &key.file, key.shard, number).map(Some).map_err(corrupt)
            }
            Some(Next::Line { number, .. } | Next::TooLong { number }) => {
                Err(corrupt(format!("line {number} is cut short or too long")))
            }
        }
    };
    Box::new(std::iter::from_fn(move || next_row().transpose()))
}

impl Job for Sender {
    fn stage(&self) -> Stage {
        Stage::MysqlSender
    }

    fn work(&mut self, claimed: &[Claimed], lease: &Lease) -> Result<Vec<Finished>, Fault> {
        claimed
            .iter()
            .map(|claimed| {
                let key = claimed.key.clone();
                let source = self.folder.locate(&Artifact::Prepared(key.file.clone(), key.shard));
                let task = FileTask { key, source, input: claimed.input, token: claimed.token };
                self.send(&task, lease).map(|(finished, _)| finished)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::{Sources, load};
    use crate::pipeline::settings::Settings;

    fn shard(number: u64) -> ShardId {
        ShardId::new(number).unwrap()
    }

    #[tokio::test]
    async fn a_database_is_opened_once_and_one_that_cannot_be_holds_back_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let template = format!("sqlite://{}/shard_{{shard}}.sqlite", folder.path().display());
        let flags = vec![("database.shard".to_owned(), template)];
        let settings = load::<Settings>(&Sources { flags, ..Sources::default() }).unwrap().settings;
        let shards = Shards::new(settings.database, Clock::System);
        // A folder in its place.
        let taken = folder.path().join("shard_1.sqlite");
        std::fs::create_dir(&taken).unwrap();
        let (first, broken, second) = tokio::join!(shards.get(shard(0)), shards.get(shard(1)), shards.get(shard(0)));
        let first = first.unwrap();
        assert!(Arc::ptr_eq(&first, &second.unwrap()) && broken.is_err());
        assert!(!Arc::ptr_eq(&first, &shards.get(shard(2)).await.unwrap()));
        std::fs::remove_dir(&taken).unwrap();
        shards.get(shard(1)).await.unwrap().ping().await.unwrap();
        shards.close().await;
    }
}
