//! Early returns that have to be decided with a file: those that waited for its orders, those that are due, and those of
//! the file itself whose purchase stands later in it.

use std::path::Path;

use super::cache_service::CacheService;
use super::calls::{CALL_BYTES_MAX, wrong_count};
use super::spill::SpillBuffer;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::files::sort::{Sorter, Spot};
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::{ENTRIES_MAX, EarlyReturn, PutOutcome, Recorded, Taken};

/// Returns that have to be decided now, in their order.
pub(super) struct Gathered<'a> {
    by: &'a TaskKey,
    pub(super) due: Sorter<'a>,
    /// Those that are kept from now on.
    pub(super) held: u64,
    /// Those that were kept until now.
    pub(super) released: u64,
    /// Orders that stand in the directory as another shard's.
    elsewhere: u64,
}

impl<'a> Gathered<'a> {
    /// Nothing yet, for a task; spills into this folder.
    pub(super) fn new(by: &'a TaskKey, folder: &'a Path) -> Self {
        Self { by, due: Sorter::new(folder), held: 0, released: 0, elsewhere: 0 }
    }

    /// The directory knows of orders that this file decided: takes up what waited for them.
    pub(super) fn recorded(&mut self, recorded: &[Recorded], taken: Vec<Taken>) -> Result<(), Fault> {
        // The state that stands there may be that of an earlier try: the order's shard knows better.
        let elsewhere = recorded.iter().filter(|recorded| recorded.order.shard != self.by.shard).count();
        self.elsewhere += elsewhere as u64;
        self.release(taken)
    }

    /// Warns of orders that are known as another shard's.
    pub(super) fn warn_of_strangers(&self) {
        if self.elsewhere > 0 {
            let by = self.by;
            log::warn!(stage = "shard-worker", file = by.file.as_str(), shard = by.shard.get(), orders = self.elsewhere;
                "orders of this file are known as those of another shard: their numbers are used twice");
        }
    }

    /// Hands in the returns whose purchase is unknown.
    pub(super) fn hold(
        &mut self,
        held: SpillBuffer<EarlyReturn>,
        cache: &mut dyn CacheService,
        lease: &Lease,
    ) -> Result<(), Fault> {
        held.drain(ENTRIES_MAX, CALL_BYTES_MAX, |returns| {
            lease.check()?;
            let outcomes = cache.put(self.by, &returns)?;
            if outcomes.len() != returns.len() {
                return Err(wrong_count("cache-service", outcomes.len(), returns.len()));
            }
            for (entry, outcome) in returns.iter().zip(outcomes) {
                match outcome {
                    PutOutcome::Held => self.held += 1,
                    // Its purchase stands later in this very file.
                    PutOutcome::Known(_) => push(&mut self.due, &self.by.file, entry)?,
                }
            }
            Ok(())
        })
    }

    /// Takes up what is due.
    pub(super) fn take(&mut self, cache: &mut dyn CacheService) -> Result<(), Fault> {
        self.release(cache.take(self.by)?)?;
        self.release(cache.expired(self.by)?)
    }

    fn release(&mut self, taken: Vec<Taken>) -> Result<(), Fault> {
        for Taken { file, entry } in taken {
            self.released += 1;
            push(&mut self.due, &file, &entry)?;
        }
        Ok(())
    }
}

/// Puts a return into its place.
fn push(due: &mut Sorter<'_>, file: &FileName, entry: &EarlyReturn) -> std::io::Result<()> {
    due.push(entry.happened_at, Spot::new(file, entry.line), entry.raw.as_bytes())
}
