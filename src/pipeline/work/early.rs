//! Early returns: those of this file are handed in, and those that are due are taken up and decided.
//!
//! No return is missed, because the steps have a fixed order. First the cache-service learns which orders this file
//! decided. Then it is given the returns whose purchase this shard does not know. Last it is asked for the returns that
//! are due. A worker that hands in a return, here or in another shard, either finds the order or leaves the return
//! where the order's shard finds it.

use super::deciding::Deciding;
use super::gathered::Gathered;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::{Event, Reason, Reject};
use crate::pipeline::rules::{self, Decision, LinePlace};

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
            let place = LinePlace { file: &file, line: spot.line };
            let event = match Event::parse(raw) {
                Ok(event) => event,
                // It had a right shape when it was handed in; the rule may have become stricter since.
                Err(reject) => return self.outcome.reject(place, &reject, raw),
            };
            let mut verdict = rules::decide(&event, place, self.policy, &mut self.books)?;
            // It was held once already, and is not again.
            if verdict.decision == Decision::Hold {
                let order_id = event.payload.order_id().unwrap_or_default();
                let detail = format!("no purchase of order {order_id} is known here, and none came in time");
                verdict.decision = Decision::Reject(Reject::new(Reason::OrphanReturn, detail));
            }
            self.carry_out(&event, place, raw, &verdict)
        })?;
        Ok(self.books.write_back()?)
    }
}
