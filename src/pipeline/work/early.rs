//! Returns that came before their purchase: those of this file are handed in, and those that are due are taken up.
//!
//! The order of the steps is what lets none be missed: first the directory learns which orders this file decided, then
//! it is given the returns whose purchase nobody here knows, and then asked for those that are due. Whoever brings a
//! return, here or in another shard, either finds the order or leaves the return where the order's shard finds it.

use super::deciding::{CALL_BYTES_MAX, Deciding, wrong_count};
use super::directory::{DecidedOrder, Directory, Due, ENTRIES_MAX, EarlyReturn, Kept};
use super::spool::Spool;
use crate::event::{Event, Moment, Reason, Reject};
use crate::pipeline::fault::Fault;
use crate::pipeline::lease::Lease;
use crate::pipeline::order::{Sorter, Spot};
use crate::rules::{self, Decision, Place};
use crate::task::{Counts, TaskKey};

/// Tells the directory which orders this file decided.
pub(super) fn record(
    orders: Spool<(i64, i64, bool)>,
    directory: &mut dyn Directory,
    by: &TaskKey,
    lease: &Lease,
) -> Result<(), Fault> {
    let mut elsewhere = 0;
    orders.drain(ENTRIES_MAX, CALL_BYTES_MAX, |batch| {
        lease.check()?;
        let order = |(order_id, shop_id, accepted)| DecidedOrder { order_id, shop_id, accepted };
        let orders: Vec<_> = batch.into_iter().map(order).collect();
        elsewhere += directory.record(by, &orders)?;
        Ok(())
    })?;
    if elsewhere > 0 {
        log::warn!(stage = "shard-worker", file = by.file.as_str(), shard = by.shard.get(), orders = elsewhere;
            "orders of this file are known as those of another shard: their numbers are used twice");
    }
    Ok(())
}

/// Hands in the returns whose purchase is unknown, takes up those that are due, and answers all that have to be decided
/// now, in their order.
pub(super) fn gather<'a>(
    held: Spool<(u64, i64, i64, String)>,
    directory: &mut dyn Directory,
    by: &TaskKey,
    counts: &mut Counts,
    mut due: Sorter<'a>,
    lease: &Lease,
) -> Result<Sorter<'a>, Fault> {
    held.drain(ENTRIES_MAX, CALL_BYTES_MAX, |batch| {
        lease.check()?;
        let entry = |(line, at, order_id, raw)| EarlyReturn { line, order_id, at: Moment::from_unix_ms(at), raw };
        let returns: Vec<_> = batch.into_iter().map(entry).collect();
        let kept = directory.put(by, &returns)?;
        if kept.len() != returns.len() {
            return Err(wrong_count("order directory", kept.len(), returns.len()));
        }
        for (entry, kept) in returns.iter().zip(kept) {
            match kept {
                Kept::Held => counts.held += 1,
                // Its purchase stands later in this very file.
                Kept::Ours => due.push(entry.at, Spot::new(&by.file, entry.line), entry.raw.as_bytes())?,
            }
        }
        Ok(())
    })?;
    for what in [Due::Ours, Due::Expired] {
        for taken in directory.take(by, what)? {
            counts.released += 1;
            let spot = Spot::new(&taken.file, taken.entry.line);
            due.push(taken.entry.at, spot, taken.entry.raw.as_bytes())?;
        }
    }
    Ok(due)
}

impl Deciding<'_> {
    /// Decides returns that were gathered. What is unknown now stays unknown: it is rejected.
    pub(super) fn decide_gathered(&mut self, due: Sorter<'_>) -> Result<(), Fault> {
        due.for_each(|spot, raw| {
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
