//! Notes which workers ask for tasks, so that a stage without a worker can be told from one without work.
//!
//! The note is in the tracking database, because a worker may ask through any instance of the API. It is written only a
//! few times per lease for each stage and shard, because a claim that waits asks every half second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::pipeline::apid::store::Tracking;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{Claim, Stage};

/// The longest time between two notes.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// Notes per lease.
const NOTES_PER_LEASE: u32 = 4;

/// When this instance last noted a worker, by stage and shard; cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Askers(Arc<Mutex<HashMap<Lane, Instant>>>);

/// A stage, and the shard that is asked for.
type Lane = (Stage, Option<ShardId>);

impl Askers {
    /// Notes the worker that asks, unless one was noted a moment ago.
    pub(super) async fn note(&self, tracking: &dyn Tracking, claim: &Claim) {
        let every = NOTE_EVERY.min(Duration::from_millis(tracking.lease_ms()) / NOTES_PER_LEASE);
        if !self.is_due(claim, every, Instant::now()) {
            return;
        }
        // A store that takes no note takes no claim either, and says so to that.
        if let Err(e) = tracking.note_asker(claim.stage, claim.shard, &claim.worker).await {
            log::debug!(stage = claim.stage.name(); "who asks is not noted: {e}");
        }
    }

    fn is_due(&self, claim: &Claim, every: Duration, now: Instant) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = noted.get(&(claim.stage, claim.shard));
        if last.is_some_and(|at| now.duration_since(*at) < every) {
            return false;
        }
        noted.insert((claim.stage, claim.shard), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_asks_again_and_again_is_noted_now_and_then() {
        let (askers, every, now) = (Askers::default(), Duration::from_secs(5), Instant::now());
        let claim = |shard: u64| Claim {
            stage: Stage::ShardWorker,
            worker: "w".to_owned(),
            limit: 1,
            shard: ShardId::new(shard),
            claim_id: "c".to_owned(),
            takes_over: true,
        };
        assert!(askers.is_due(&claim(0), every, now) && askers.is_due(&claim(1), every, now));
        assert!(!askers.is_due(&claim(0), every, now + Duration::from_secs(4)));
        assert!(askers.is_due(&claim(0), every, now + every));
    }
}
