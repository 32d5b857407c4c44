//! Early returns: those of this file are handed in, and those that are due are taken up.
//!
//! No return is missed, because the steps have a fixed order. First the directory learns which orders this file
//! decided. Then it is given the returns whose purchase this shard does not know. Last it is asked for the returns that
//! are due. A worker that hands in a return, here or in another shard, either finds the order or leaves the return
//! where the order's shard finds it.

use std::path::Path;

use super::deciding::{CALL_BYTES_MAX, Deciding, wrong_count};
use super::directory::{Directory, Due, ENTRIES_MAX, EarlyReturn, Kept, TakenReturn, Written};
use super::spill::SpillBuffer;
use crate::base::timestamp::Timestamp;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::event::{Event, Reason, Reject};
use crate::pipeline::files::sort::{Sorter, Spot};
use crate::pipeline::rules::{self, Decision, Place};
use crate::pipeline::task::TaskKey;

/// Returns that have to be decided now, in their order.
pub(super) struct Gathered<'a> {
    due: Sorter<'a>,
    /// Those that are kept from now on.
    pub(super) held: u64,
    /// Those that were kept until now.
    pub(super) released: u64,
    /// Orders that stand in the directory as another shard's.
    elsewhere: u64,
}

impl<'a> Gathered<'a> {
    /// Nothing yet; spills into this folder.
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { due: Sorter::new(folder), held: 0, released: 0, elsewhere: 0 }
    }

    /// The directory knows of orders that this file decided: takes up what waited for them.
    pub(super) fn recorded(&mut self, written: Written) -> Result<(), Fault> {
        self.elsewhere += written.elsewhere;
        self.release(written.taken)
    }

    /// Warns of orders that are known as another shard's.
    pub(super) fn warn_of_strangers(&self, by: &TaskKey) {
        if self.elsewhere > 0 {
            log::warn!(stage = "shard-worker", file = by.file.as_str(), shard = by.shard.get(), orders = self.elsewhere;
                "orders of this file are known as those of another shard: their numbers are used twice");
        }
    }

    /// Hands in the returns whose purchase is unknown.
    pub(super) fn hold(
        &mut self,
        held: SpillBuffer<(u64, i64, i64, String)>,
        directory: &mut dyn Directory,
        by: &TaskKey,
        lease: &Lease,
    ) -> Result<(), Fault> {
        held.drain(ENTRIES_MAX, CALL_BYTES_MAX, |batch| {
            lease.check()?;
            let entry =
                |(line, at, order_id, raw)| EarlyReturn { line, order_id, at: Timestamp::from_unix_ms(at), raw };
            let returns: Vec<_> = batch.into_iter().map(entry).collect();
            let kept = directory.put(by, &returns)?;
            if kept.len() != returns.len() {
                return Err(wrong_count("order directory", kept.len(), returns.len()));
            }
            for (entry, kept) in returns.iter().zip(kept) {
                match kept {
                    Kept::Held => self.held += 1,
                    // Its purchase stands later in this very file.
                    Kept::Ours => self.due.push(entry.at, Spot::new(&by.file, entry.line), entry.raw.as_bytes())?,
                }
            }
            Ok(())
        })
    }

    /// Takes up what is due.
    pub(super) fn take(&mut self, directory: &mut dyn Directory, by: &TaskKey) -> Result<(), Fault> {
        for due in [Due::Ours, Due::Expired] {
            self.release(directory.take(by, due)?)?;
        }
        Ok(())
    }

    fn release(&mut self, taken: Vec<TakenReturn>) -> Result<(), Fault> {
        for TakenReturn { file, entry } in taken {
            self.released += 1;
            self.due.push(entry.at, Spot::new(&file, entry.line), entry.raw.as_bytes())?;
        }
        Ok(())
    }
}

impl Deciding<'_> {
    /// Decides returns that were gathered. What is unknown now stays unknown: it is rejected.
    pub(super) fn decide_gathered(&mut self, gathered: Gathered<'_>) -> Result<(), Fault> {
        self.outcome.counts.held += gathered.held;
        self.outcome.counts.released += gathered.released;
        let mut before = None;
        gathered.due.for_each(|spot, raw| {
            // An order that a file decides twice, refused and then bought, is told twice, and so are its returns: the
            // directory answers the same task the same.
            if before.replace(spot) == Some(spot) {
                self.outcome.counts.released -= 1;
                return Ok(());
            }
            let file = spot.file()?;
            let place = Place { file: &file, line: spot.line };
            let event = match Event::parse(raw) {
                Ok(event) => event,
                // It had a right shape when it was handed in; the rule may have become stricter since.
                Err(reject) => return self.outcome.reject(place, &reject, raw),
            };
            let verdict = rules::decide(&event, place, self.policy, &mut self.books)?;
            if let Some(credit) = &verdict.credit {
                self.owe(credit)?;
            }
            match &verdict.decision {
                Decision::Accept(effect) => self.outcome.accept(&event, effect, place),
                Decision::Duplicate { .. } => {
                    self.outcome.counts.duplicate += 1;
                    Ok(())
                }
                Decision::Reject(reject) => self.outcome.reject(place, reject, raw),
                Decision::Hold => {
                    let order_id = event.payload.order_id().unwrap_or_default();
                    let detail = format!("no purchase of order {order_id} is known here, and none came in time");
                    self.outcome.reject(place, &Reject::new(Reason::OrphanReturn, detail), raw)
                }
            }
        })?;
        Ok(self.books.write_back()?)
    }
}
