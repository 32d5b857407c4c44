//! Delays the takeover of leases that expired while the tracking database was unreachable, so that their owners can
//! renew them.
//!
//! When the tracking database or this service was away for longer than a lease, all leases have expired. Their owners
//! worked on meanwhile and are about to report. Handing their tasks to other workers at that moment would cost each
//! task an attempt for nothing (docs/semantics.md, 2: an outage costs no attempt).
//!
//! A claim that does not wait is not delayed. It comes from a one-shot run, which an operator wants now: the run does
//! not come again, and takes the tasks that there are.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::db::Result;

/// The longest delay: an owner repeats its report every 5 s.
const GRACE_MAX: Duration = Duration::from_secs(6);
/// The delay is at most this part of a lease, so that the tasks of a dead owner do not wait much longer.
const GRACES_PER_LEASE: u32 = 10;
/// The store, or this process, was away if the store has not answered for so long; it is asked every 5 s.
const AWAY: Duration = Duration::from_secs(15);

/// Tracks how long the store has answered without a break; cloning shares it.
#[derive(Clone)]
pub(super) struct TakeoverDelay(Arc<Mutex<Seen>>);

struct Seen {
    length: Duration,
    /// Since when the store answers, or this service runs.
    steady_since: Instant,
    /// When it answered last.
    answered: Instant,
}

impl TakeoverDelay {
    /// A delay that begins now: the service may have been away until now.
    pub(super) fn begin(lease: Duration) -> Self {
        Self(Arc::new(Mutex::new(Seen::begin(lease, Instant::now()))))
    }

    /// Waits for an answer of the store. If that is an error, or comes late, the delay begins anew.
    pub(super) async fn watch<T>(&self, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let answer = answer.await;
        self.seen().note(answer.is_ok(), Instant::now());
        answer
    }

    /// Whether tasks may be taken from owners whose lease ran out.
    pub(super) fn is_over(&self) -> bool {
        self.seen().is_over(Instant::now())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn begin(lease: Duration, now: Instant) -> Self {
        Self { length: GRACE_MAX.min(lease / GRACES_PER_LEASE), steady_since: now, answered: now }
    }

    fn note(&mut self, has_answered: bool, now: Instant) {
        if !has_answered || self.is_away(now) {
            self.steady_since = now;
        }
        if has_answered {
            self.answered = now;
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.steady_since) >= self.length && !self.is_away(now)
    }

    fn is_away(&self, now: Instant) -> bool {
        now.duration_since(self.answered) > AWAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(60);

    #[test]
    fn it_is_over_when_the_store_was_there_for_a_while() {
        let begun = Instant::now();
        let mut seen = Seen::begin(LEASE, begun);
        assert!(!seen.is_over(begun), "the service has just begun");
        let later = begun + GRACE_MAX;
        assert!(seen.is_over(later));
        seen.note(true, later);
        assert!(seen.is_over(later));
        seen.note(false, later);
        assert!(!seen.is_over(later), "the store was away");
        assert!(seen.is_over(later + GRACE_MAX));
    }

    #[test]
    fn a_store_that_does_not_answer_is_away() {
        let begun = Instant::now();
        let mut seen = Seen::begin(LEASE, begun);
        assert!(seen.is_over(begun + AWAY));
        let late = begun + AWAY + Duration::from_millis(1);
        assert!(!seen.is_over(late), "it is waited for");
        seen.note(true, late);
        assert!(!seen.is_over(late), "it answered after all");
        assert!(seen.is_over(late + GRACE_MAX));
    }

    #[test]
    fn a_short_lease_has_a_short_grace() {
        let begun = Instant::now();
        assert!(Seen::begin(Duration::from_secs(3), begun).is_over(begun + Duration::from_millis(300)));
    }
}
