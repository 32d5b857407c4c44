//! The sender: writes prepared files into the shard databases, each once (semantics 5).
//!
//! Reads `shard-worker-<shard>/`, writes the shard's database and a receipt into `mysql-sender/`. The marker of a
//! file is in the same transaction as its rows: if it is there, the rows are, and the task is reported done again.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use tokio::runtime::Handle;

use super::artifact::{self, Draft, Taken};
use super::driver::{FileTask, Finished, Job};
use super::fault::Fault;
use super::folder::{Artifact, Folder};
use super::lease::Lease;
use super::prepared;
use crate::clock::Clock;
use crate::config::Database;
use crate::event::{LineReader, Next, ShardId};
use crate::store::{self, Delivered, Delivery, EventRow, RowSource, ShardStore};
use crate::task::{Claimed, Counts, Output, Stage, TaskKey};

/// Times a transaction is run again when the database was busy (semantics 5).
const BUSY_TRIES: u32 = 8;
/// Bytes of a prepared line beyond those of the event line: the fields around the payload.
const LINE_BYTES_EXTRA: usize = 4096;

/// The sender for any number of shards.
pub struct Sender {
    folder: Folder,
    database: Database,
    clock: Clock,
    line_bytes_max: usize,
    stores: HashMap<ShardId, Arc<dyn ShardStore>>,
}

#[derive(Serialize)]
struct Receipt<'a> {
    filename: &'a str,
    shard: u8,
    rows: u64,
    sha256: String,
}

impl Sender {
    /// A sender that opens each shard's database when it is first needed.
    pub fn new(folder: Folder, database: Database, line_bytes_max: usize, clock: Clock) -> Self {
        let line_bytes_max = line_bytes_max.saturating_add(LINE_BYTES_EXTRA);
        Self { folder, database, clock, line_bytes_max, stores: HashMap::new() }
    }

    /// Delivers one file. Call it from a blocking thread of the runtime.
    ///
    /// # Errors
    /// [`Fault`]; either all rows are in the database or none.
    pub fn send(&mut self, task: &FileTask, lease: &Lease) -> Result<(Finished, Delivered), Fault> {
        let store = self.store(task.key.shard)?;
        let mut tries = 0;
        loop {
            lease.check()?;
            // Verified from its first byte to its last before the first row is written.
            let (input, found) = artifact::open_verified(&task.source, task.input.as_ref())
                .map_err(|e| Fault::of_input(&task.source, e))?;
            let lines = LineReader::new(input, self.line_bytes_max);
            let source = rows(lines, task.key.clone(), lease.clone());
            let delivery = Delivery { key: task.key.clone(), sha256: found.sha256, rows: found.lines, source };
            match Handle::current().block_on(store.deliver(delivery)) {
                Ok(delivered) => {
                    self.write_receipt(task, &found)?;
                    let counts = Counts { read: found.lines, written: found.lines, ..Counts::default() };
                    return Ok((Finished { key: task.key.clone(), counts, output: None }, delivered));
                }
                Err(store::Error::Busy(why)) if tries < BUSY_TRIES => {
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

    fn store(&mut self, shard: ShardId) -> Result<Arc<dyn ShardStore>, Fault> {
        if let Some(store) = self.stores.get(&shard) {
            return Ok(Arc::clone(store));
        }
        let url = self.database.shard(shard).map_err(Fault::Surroundings)?;
        let store = Handle::current().block_on(store::open_shard(&url, self.clock.clone()))?;
        self.stores.insert(shard, Arc::clone(&store));
        Ok(store)
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
