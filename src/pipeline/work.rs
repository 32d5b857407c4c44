//! The worker: checks one shard's file against the rules and prepares what the sender delivers (semantics 4).
//!
//! Reads `shard-splitter/`, writes `shard-worker-<shard>/`: the prepared lines in the order of (timestamp, line), and
//! the rejects. What it has to remember is durable before the task is reported.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use super::artifact::{self, Draft, Taken};
use super::driver::{FileTask, Finished, Job};
use super::fault::Fault;
use super::folder::{Artifact, Folder};
use super::lease::Lease;
use super::order::Sorter;
use super::prepared;
use super::rejects::RejectsDraft;
use super::split::LINES_PER_CHECK;
use crate::clock::Clock;
use crate::event::reject::require_line_feed;
use crate::event::{Event, LineReader, Next, Reason, Reject, ShardId};
use crate::rules::{self, Decision, State};
use crate::store::{self, Remembered, WorkerState};
use crate::task::{Claimed, Counts, FileName, Stage};

const DAY_MS: i64 = 86_400_000;

/// The worker of one shard.
pub struct Worker {
    folder: Folder,
    shard: ShardId,
    line_bytes_max: usize,
    state: Box<dyn WorkerState>,
    clock: Clock,
    key_retention_days: i64,
    /// The day on which keys were last forgotten.
    swept: Option<i64>,
}

/// The rules' state for the time of one file.
struct FileState<'a> {
    state: &'a mut dyn WorkerState,
    file: &'a FileName,
    day: i64,
}

impl State for FileState<'_> {
    fn remember(&mut self, key: &[u8], line: u64, fingerprint: &[u8; 16]) -> store::Result<Remembered> {
        self.state.remember(key, self.file, line, fingerprint, self.day)
    }
}

/// The files of one task in the making.
struct Outcome {
    prepared: Draft,
    rejects: RejectsDraft,
    counts: Counts,
}

impl Worker {
    /// Opens the worker of a shard with the state that it keeps in its own folder.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn open(
        folder: Folder,
        shard: ShardId,
        line_bytes_max: usize,
        key_retention_days: u32,
        clock: Clock,
    ) -> store::Result<Self> {
        // Its folder is a plain one, or the state would be kept who knows where.
        let state = folder.worker_state(shard);
        artifact::create_folder(state.parent().unwrap_or(folder.path())).map_err(store::Error::Input)?;
        let state = store::open_worker_state(&state)?;
        Ok(Self {
            folder,
            shard,
            line_bytes_max,
            state,
            clock,
            key_retention_days: key_retention_days.into(),
            swept: None,
        })
    }

    /// Works on one file.
    ///
    /// # Errors
    /// [`Fault`]; the state is as before then.
    pub fn work_on(&mut self, task: &FileTask, lease: &Lease) -> Result<Finished, Fault> {
        let day = self.clock.now().unix_ms().div_euclid(DAY_MS);
        self.forget_old_keys(day)?;
        self.state.begin()?;
        let result = self.work_in_transaction(task, day, lease);
        if result.is_err() {
            self.state.roll_back()?;
        }
        result
    }

    fn work_in_transaction(&mut self, task: &FileTask, day: i64, lease: &Lease) -> Result<Finished, Fault> {
        let own = self.folder.worker(self.shard);
        artifact::create_folder(&own)?;
        let mut outcome = self.begin(task)?;
        let sorted = self.read_shapes(task, &own, &mut outcome, lease)?;
        let (shard, file) = (self.shard, &task.key.file);
        let mut state = FileState { state: self.state.as_mut(), file, day };
        let mut handled = 0_u64;
        sorted.for_each(|number, line| {
            handled += 1;
            if handled.is_multiple_of(LINES_PER_CHECK) {
                lease.check()?;
            }
            outcome.decide(number, line, shard, file, &mut state)
        })?;
        lease.check()?;
        // The files first, then the state: a crash in between repeats the same decisions from the same state.
        outcome.rejects.publish()?;
        let output = outcome.prepared.publish(Taken::Replace)?;
        self.state.commit()?;
        Ok(Finished { key: task.key.clone(), counts: outcome.counts, output: Some(output) })
    }

    fn begin(&self, task: &FileTask) -> Result<Outcome, Fault> {
        let (file, shard) = (task.key.file.clone(), self.shard);
        let prepared = Draft::create(&self.folder.path_of(&Artifact::Prepared(file.clone(), shard)), task.token)?;
        let rejects = self.folder.path_of(&Artifact::WorkRejects(file.clone(), shard));
        let rejects = RejectsDraft::new(rejects, task.token, file, Stage::ShardWorker);
        Ok(Outcome { prepared, rejects, counts: Counts::default() })
    }

    /// The first rule, and the order for all others.
    fn read_shapes<'a>(
        &self,
        task: &FileTask,
        own: &'a std::path::Path,
        outcome: &mut Outcome,
        lease: &Lease,
    ) -> Result<Sorter<'a>, Fault> {
        let (input, _) = artifact::open_verified(&task.source, task.input.as_ref()).map_err(Fault::of_input)?;
        let mut numbers = self.open_index(task)?;
        let mut lines = LineReader::new(input, self.line_bytes_max);
        let mut sorter = Sorter::new(own);
        loop {
            if lines.lines().is_multiple_of(LINES_PER_CHECK) {
                lease.check()?;
            }
            let next = lines.next_line()?;
            let Some(next) = next else {
                return Ok(sorter);
            };
            outcome.counts.read += 1;
            match next {
                Next::Line { number, bytes, terminated } => {
                    let number = numbers.number_of(number)?;
                    match shape(bytes, terminated) {
                        Ok(event) => sorter.push(event.at, number, bytes)?,
                        Err(reject) => outcome.reject(number, &reject, bytes)?,
                    }
                }
                Next::TooLong { number } => {
                    let number = numbers.number_of(number)?;
                    let detail = format!("the line has more than {} bytes", self.line_bytes_max);
                    let reject = Reject::new(Reason::TooLong, detail);
                    outcome.counts.rejected += 1;
                    outcome.rejects.write_streamed(number, &reject, |sink| lines.rest_of_line(sink).map(|_| ()))?;
                }
            }
        }
    }

    /// The numbers that the lines had in the event file. A splitter that is not ours may leave none: then the lines
    /// are numbered as they stand.
    fn open_index(&self, task: &FileTask) -> Result<Index, Fault> {
        let path = task.source.with_extension("lines");
        let Some(expected) = task.input.and_then(|input| input.index_sha256) else {
            // Without a report there is nothing to check against; an index beside the file is taken as it is.
            return match artifact::open(&path) {
                Ok(file) => Ok(Index { lines: Some(BufReader::new(file)), path }),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Index { lines: None, path }),
                Err(e) => Err(e.into()),
            };
        };
        let (lines, found) = artifact::open_verified(&path, None).map_err(Fault::of_input)?;
        if found.sha256 != expected {
            let (path, found) = (path.display(), found.sha256);
            return Err(Fault::Corrupt(format!("corrupt: {path} has SHA-256 {found}, reported was {expected}")));
        }
        Ok(Index { lines: Some(lines), path })
    }

    /// Once a day.
    fn forget_old_keys(&mut self, day: i64) -> Result<(), Fault> {
        if self.swept != Some(day) {
            let forgotten = self.state.forget_before(day - self.key_retention_days)?;
            self.swept = Some(day);
            if forgotten > 0 {
                log::info!(stage = Stage::ShardWorker.name(), shard = self.shard.get(), keys = forgotten; "forgot old keys");
            }
        }
        Ok(())
    }
}

/// The line numbers beside a splitter's file.
struct Index {
    lines: Option<BufReader<File>>,
    path: PathBuf,
}

impl Index {
    fn number_of(&mut self, position: u64) -> Result<u64, Fault> {
        let Some(lines) = &mut self.lines else {
            return Ok(position);
        };
        let mut text = String::new();
        lines.read_line(&mut text)?;
        let number = text.trim_end().parse();
        number
            .map_err(|_| Fault::Corrupt(format!("corrupt: {} has no number for line {position}", self.path.display())))
    }
}

fn shape(line: &[u8], terminated: bool) -> Result<Event<'_>, Reject> {
    require_line_feed(terminated)?;
    Event::parse(line)
}

impl Outcome {
    fn reject(&mut self, number: u64, reject: &Reject, raw: &[u8]) -> Result<(), Fault> {
        self.counts.rejected += 1;
        Ok(self.rejects.write(number, reject, raw)?)
    }

    fn decide(
        &mut self,
        number: u64,
        line: &[u8],
        shard: ShardId,
        file: &FileName,
        state: &mut FileState<'_>,
    ) -> Result<(), Fault> {
        let event = match Event::parse(line) {
            Ok(event) => event,
            // It was read before: this is the same text.
            Err(reject) => return self.reject(number, &reject, line),
        };
        match rules::decide(&event, number, state)? {
            Decision::Accept => {
                prepared::write(&mut self.prepared, &event, shard, file, number)?;
                self.counts.written += 1;
            }
            Decision::Duplicate { .. } => self.counts.duplicate += 1,
            Decision::Reject(reject) => self.reject(number, &reject, line)?,
        }
        Ok(())
    }
}

impl Job for Worker {
    fn stage(&self) -> Stage {
        Stage::ShardWorker
    }

    fn work(&mut self, claimed: &[Claimed], lease: &Lease) -> Result<Vec<Finished>, Fault> {
        claimed
            .iter()
            .map(|claimed| {
                let key = claimed.key.clone();
                let source = self.folder.locate(&Artifact::Split(key.file.clone(), key.shard));
                self.work_on(&FileTask { key, source, input: claimed.input, token: claimed.token }, lease)
            })
            .collect()
    }
}
