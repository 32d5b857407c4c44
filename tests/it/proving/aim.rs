//! Hits a role while it is at work, and tells from what is left whether it was.

use std::time::{Duration, Instant};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::recovery::leased;
use crate::support::database::Rows;
use crate::support::pause;
use crate::support::pipeline::{Pipeline, Role, SERVICES};

/// How long a kill waits for its victim to be at work.
const AIM: Duration = Duration::from_millis(400);
const PROBE_EVERY: Duration = Duration::from_micros(300);
/// A kill comes so much later than work is seen, at the most, and work is seen again then: calls are shorter than tasks.
const LATER_MICROS: (u64, u64) = (1000, 4000);

/// A role that is dead.
pub(super) struct Killed {
    pub(super) at: Instant,
    /// It held a claimed task, or had a call for work and never answered it.
    pub(super) in_flight: bool,
}

/// Waits, but not for long, until this says that the victim is at work, and some moment of that work has come. Answers
/// whether it has.
pub(super) fn wait_at_work(rng: &mut ChaCha8Rng, later_micros: u64, is_at_work: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < AIM {
        if is_at_work() {
            pause(Duration::from_micros(rng.random_range(0..later_micros)));
            if is_at_work() {
                return true;
            }
        }
        pause(PROBE_EVERY);
    }
    false
}

/// Kills a stage or a service, if possible while it is at work. Its claims outlive a stage in the database, and the
/// calls that a service had never get an answer: both are counted when it is dead.
pub(super) fn kill(pipeline: &mut Pipeline, tracking: &dyn Rows, role: Role, rng: &mut ChaCha8Rng) -> Killed {
    let id = pipeline.role(role).id();
    if !SERVICES.contains(&role) {
        wait_at_work(rng, LATER_MICROS.1, || !leased(tracking, &[id]).is_empty());
        pipeline.kill9(role);
        return Killed { at: Instant::now(), in_flight: !leased(tracking, &[id]).is_empty() };
    }
    wait_at_work(rng, LATER_MICROS.0, || pipeline.proxy_of(role).is_working());
    let before = pipeline.proxy_of(role).lost_so_far();
    pipeline.kill9(role);
    let at = Instant::now();
    Killed { at, in_flight: pipeline.proxy_of(role).lost() > before }
}
