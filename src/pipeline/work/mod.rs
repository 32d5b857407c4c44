//! The worker: decides one shard's file by the rules of trade, and prepares what the sender delivers (docs/semantics.md, 4).
//!
//! It reads `shard-splitter/` and writes `shard-worker-<shard>/`: the prepared lines in the order of (timestamp, line),
//! and the rejects. What it has to remember is durable before the task is reported.
//!
//! The steps for a file:
//! 1. read its lines, put what they say beside them, and sort them;
//! 2. decide them window by window (`deciding.rs` has the picture): the [`bank`] is asked for the debits, and the
//!    [cache-service](cache_service) is told which orders were decided (`services.rs`);
//! 3. hand in the early returns, take up those that are due (`gathered.rs`), and decide these (`early.rs`);
//! 4. publish the files and pay the credits;
//! 5. commit the state together with the report.
//!
//! Calls that can run beside other work run in the background (`background.rs`), in the order of these steps. A crash
//! before the commit repeats all steps from the same state: bank and cache-service answer the same task as before, so that
//! the same is decided. After the commit the report is answered from the state.

mod archive;
mod background;
pub mod bank;
pub mod cache_service;
mod calls;
mod deciding;
mod early;
mod gathered;
mod input;
mod lazy;
mod outcome;
pub mod rebuild;
pub mod remote;
mod services;
mod spill;
pub mod start;
pub mod state;
mod state_cache;
#[cfg(test)]
mod tests;
mod window;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use self::archive::Archive;
use self::background::BackgroundCaller;
use self::bank::Bank;
use self::cache_service::CacheService;
use self::deciding::{Deciding, Lists};
use self::gathered::Gathered;
use self::input::Input;
pub use self::lazy::LazyWorker;
pub(crate) use self::lazy::find_decided;
use self::outcome::FileOutcome;
use self::services::Services;
use self::state_cache::StateCache;
use self::window::Window;
pub use self::window::WindowLimits;
use super::claim::driver::{FileTask, Finished, Job};
use super::claim::fault::Fault;
use super::claim::lease::Lease;
use super::files::artifact::{self, Lock};
use super::files::folder::{Artifact, Folder};
use super::files::sort::{Sorter, Spot};
use super::split::LINES_PER_CHECK;
use crate::base::clock::Clock;
use crate::base::db;
use crate::pipeline::event::reject::require_line_feed;
use crate::pipeline::event::{Event, Next, Reason, Reasons, Reject, ShardId};
use crate::pipeline::rules::{RuleError, TradePolicy};
use crate::pipeline::task::{Claimed, Class, Digest, Output, Stage, TaskKey};
use crate::pipeline::work::state::{FinishedFile, WorkerState, open_worker_state};

/// Earlier tasks that are confirmed to the cache-service before the next one begins.
const CONFIRM_MAX: u32 = 64;

/// The worker of one shard.
pub struct Worker {
    folder: Folder,
    shard: ShardId,
    terms: WorkTerms,
    state: Box<dyn WorkerState>,
    bank: Box<dyn Bank>,
    cache: Box<dyn CacheService>,
    clock: Clock,
    /// The day on which keys were last forgotten.
    swept: Option<i64>,
    /// No rebuild makes the state again while this is held.
    _held: File,
}

/// How a worker works.
#[derive(Debug, Clone, Copy)]
pub struct WorkTerms {
    /// Bytes of a line, at the most.
    pub line_bytes_max: usize,
    /// Days that keys are remembered.
    pub key_retention_days: u32,
    /// What the rules leave open.
    pub policy: TradePolicy,
    /// How much is decided together.
    pub window: WindowLimits,
}

impl Worker {
    /// Opens the worker of a shard with the state that it keeps in its own folder.
    ///
    /// # Errors
    /// When the state cannot be opened.
    pub fn open(
        folder: Folder,
        shard: ShardId,
        terms: WorkTerms,
        clock: Clock,
        bank: Box<dyn Bank>,
        cache: Box<dyn CacheService>,
    ) -> db::Result<Self> {
        let path = Self::own_state(&folder, shard).map_err(db::Error::Input)?;
        let held = Self::hold_state(&path, Lock::Shared).map_err(db::Error::Input)?.ok_or_else(|| {
            db::Error::unavailable(format!("{} is being made again by 'work --rebuild'; wait for it", path.display()))
        })?;
        let state = open_worker_state(&path)?;
        Ok(Self { folder, shard, terms, state, bank, cache, clock, swept: None, _held: held })
    }

    /// Keeps other processes off a state until the file that is returned is dropped. Workers share the lock, as one may
    /// be frozen while another takes over; a rebuild has it alone. Nothing when the lock cannot be had now.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn hold_state(state: &Path, lock: Lock) -> std::io::Result<Option<File>> {
        artifact::lock_folder(state.parent().unwrap_or(state), lock)
    }

    /// The path of the state, which need not be there yet. Its folder is a plain one: a link could lead anywhere.
    ///
    /// # Errors
    /// When the folder cannot be made, or there is a link on the way.
    pub fn own_state(folder: &Folder, shard: ShardId) -> std::io::Result<std::path::PathBuf> {
        let state = folder.worker_state(shard);
        artifact::create_folder(state.parent().unwrap_or(folder.path()))?;
        Ok(state)
    }

    /// Works on one file.
    ///
    /// # Errors
    /// [`Fault`]; the state is as before then.
    pub fn work_on(&mut self, task: &FileTask, lease: &Lease) -> Result<Finished, Fault> {
        lease.check()?;
        let day = self.clock.now().day();
        self.forget_old_keys(day)?;
        self.confirm_earlier(task);
        artifact::create_folder(&self.folder.worker(self.shard))?;
        let input = Input::open(task, self.terms.line_bytes_max)?;
        // An attempt that panicked may have left its transaction open.
        self.state.roll_back()?;
        self.state.begin()?;
        // Only now, behind the lock: the task's previous owner may have been about to commit.
        let finished = self.state.find_finished(&task.key.file);
        let result = match finished {
            Ok(None) => self.work_in_transaction(task, input, day, lease),
            Ok(Some(finished)) => {
                self.state.roll_back()?;
                return self.answer_again(task, &finished, &input.found);
            }
            Err(e) => Err(e.into()),
        };
        if result.is_err() {
            self.state.roll_back()?;
        }
        result
    }

    /// The task is reported done: what it took from the cache-service is pending no more. If that does not answer
    /// now, the next task says it again.
    pub fn reported(&mut self, key: &TaskKey) {
        let confirmed = self.cache.confirm(key).and_then(|()| Ok(self.state.confirm(&key.file)?));
        if let Err(fault) = confirmed {
            log::warn!(stage = Stage::ShardWorker.name(), file = key.file.as_str(), shard = key.shard.get();
                "the cache-service is told later that this is done: {fault}");
        }
    }

    fn work_in_transaction(
        &mut self,
        task: &FileTask,
        input: Input,
        day: i64,
        lease: &Lease,
    ) -> Result<Finished, Fault> {
        let own = self.folder.worker(self.shard);
        let (key, found) = (&task.key, input.found);
        let mut outcome = FileOutcome::begin(&self.folder, task)?;
        let sorted = read_shapes(input, key, &own, &mut outcome, lease)?;
        let (books, lists) = (StateCache::new(self.state.as_mut(), day), Lists::new(&own));
        let (bank, cache) = (self.bank.as_mut(), self.cache.as_mut());
        let mut deciding = Deciding::new(&key.file, books, outcome, lists, self.terms.policy, lease);
        let mut gathered = Gathered::new(key, &own);
        std::thread::scope(|scope| {
            let mut services = Services::start(scope, bank, cache, key, lease)?;
            let mut window = Window::new(self.terms.window);
            sorted.for_each(|spot, record| {
                if window.is_full_for(record) {
                    deciding.decide(&window, &mut services, &mut gathered)?;
                    window.clear();
                }
                window.push(spot.line, record);
                Ok::<_, Fault>(())
            })?;
            deciding.decide(&window, &mut services, &mut gathered)?;
            services.orders.finish(&mut gathered)
        })?;
        gathered.warn_of_strangers();
        gathered.hold(deciding.lists.held.take(), cache, lease)?;
        gathered.take(cache)?;
        deciding.decide_gathered(gathered)?;
        let Deciding { outcome, lists, .. } = deciding;
        lease.check()?;
        let kept = Archive::of(&self.folder, self.shard);
        let is_over = AtomicBool::new(false);
        let mut reasons = Reasons::default();
        let finished = std::thread::scope(|scope| {
            let pay = |credits| services::pay(credits, bank, lease, &is_over);
            let mut paying = BackgroundCaller::start(scope, "bank", pay)?;
            paying.ask(lists.credits);
            reasons = outcome.reasons().clone();
            let published = publish(key, outcome, found.sha256, &kept);
            // Where the files cannot be published, the rest is paid with the next attempt.
            is_over.store(published.is_err(), Ordering::Relaxed);
            let paid = paying.next_answer();
            published.and_then(|published| paid.map(|()| published))
        })?;
        lease.check()?;
        self.finish(task, finished, reasons, day)
    }

    /// Commits the task, only once its files are there and all credits are paid: a crash before it repeats the same
    /// decisions from the same state.
    fn finish(
        &mut self,
        task: &FileTask,
        finished: FinishedFile,
        reasons: Reasons,
        day: i64,
    ) -> Result<Finished, Fault> {
        self.state.put_finished(&task.key.file, &finished, day)?;
        self.state.commit()?;
        Ok(Finished { key: task.key.clone(), counts: finished.counts, output: Some(finished.output), reasons })
    }

    /// The file is worked through already, and the report of it was lost.
    fn answer_again(&self, task: &FileTask, finished: &FinishedFile, found: &Output) -> Result<Finished, Fault> {
        let (file, shard) = (task.key.file.clone(), self.shard);
        if found.sha256 != finished.input {
            return Err(Fault::Permanent(format!(
                "input_changed: {} has SHA-256 {}, but was worked through with {}; put repaired lines into a new event file",
                task.source.display(),
                found.sha256,
                finished.input
            )));
        }
        let kept = Archive::of(&self.folder, shard);
        kept.require(&Artifact::Prepared(file.clone(), shard), finished.output.sha256)?;
        if let Some(rejects) = finished.rejects {
            kept.require(&Artifact::WorkRejects(file, shard), rejects)?;
        }
        let reasons = Reasons::default();
        Ok(Finished { key: task.key.clone(), counts: finished.counts, output: Some(finished.output), reasons })
    }

    /// What could not be said when it was time.
    fn confirm_earlier(&mut self, task: &FileTask) {
        let files = match self.state.list_unconfirmed(CONFIRM_MAX) {
            Ok(files) => files,
            Err(e) => return log::warn!("cannot see which tasks are not confirmed: {e}"),
        };
        for file in files.into_iter().filter(|file| *file != task.key.file) {
            self.reported(&TaskKey { file, shard: self.shard });
        }
    }

    /// Once a day.
    fn forget_old_keys(&mut self, day: i64) -> Result<(), Fault> {
        if self.swept != Some(day) {
            let forgotten = self.state.forget_before(day - i64::from(self.terms.key_retention_days))?;
            Archive::of(&self.folder, self.shard).sweep(self.clock.now())?;
            self.swept = Some(day);
            if forgotten > 0 {
                log::info!(stage = Stage::ShardWorker.name(), shard = self.shard.get(), keys = forgotten; "forgot old keys");
            }
        }
        Ok(())
    }
}

/// Gives the files of a task their names, and keeps a copy of each.
fn publish(key: &TaskKey, outcome: FileOutcome, input: Digest, kept: &Archive) -> Result<FinishedFile, Fault> {
    let counts = outcome.counts;
    if !counts.balanced() {
        return Err(Fault::Retryable(Class::Conservation.tag(format!("lines were lost or made in {key}: {counts:?}"))));
    }
    let (output, rejects) = outcome.publish()?;
    kept.keep(&Artifact::Prepared(key.file.clone(), key.shard))?;
    if rejects.is_some() {
        kept.keep(&Artifact::WorkRejects(key.file.clone(), key.shard))?;
    }
    Ok(FinishedFile { input, counts, output, rejects })
}

/// The first rule, and the order for all others. Each line is read as JSON here, and not again.
fn read_shapes<'a>(
    input: Input,
    key: &TaskKey,
    own: &'a Path,
    outcome: &mut FileOutcome,
    lease: &Lease,
) -> Result<Sorter<'a>, Fault> {
    let Input { mut lines, mut numbers, .. } = input;
    let (mut sorter, spot, mut record) = (Sorter::new(own), Spot::new(&key.file, 0), Vec::new());
    loop {
        if lines.lines().is_multiple_of(LINES_PER_CHECK) {
            lease.check()?;
        }
        let Some(next) = lines.next_line()? else {
            return Ok(sorter);
        };
        outcome.counts.read += 1;
        match next {
            Next::Line { number, bytes, terminated } => {
                let line = numbers.number_of(number)?;
                match require_line_feed(terminated).and_then(|()| Event::parse(bytes)) {
                    Ok(event) => {
                        window::pack(&event, bytes, &mut record);
                        sorter.push(event.at, spot.at_line(line), &record)?;
                    }
                    Err(reject) => {
                        outcome.reject(crate::pipeline::rules::LinePlace { file: &key.file, line }, &reject, bytes)?
                    }
                }
            }
            Next::TooLong { number } => {
                let line = numbers.number_of(number)?;
                let reject = Reject::new(Reason::TooLong, format!("the line has more than {} bytes", lines.max()));
                outcome.counts.rejected += 1;
                outcome.rejects.write_streamed(line, &reject, |sink| lines.rest_of_line(sink).map(|_| ()))?;
            }
        }
    }
}

impl From<RuleError> for Fault {
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::State(error) => Self::from(error),
            // The same program decides the same again.
            RuleError::Logic(_) => Self::Permanent(Class::Internal.tag(error)),
        }
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

    fn reported(&mut self, key: &TaskKey) {
        Worker::reported(self, key);
    }
}
