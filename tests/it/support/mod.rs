//! What the whole-process tests share: processes, a proxy before the API, a pipeline of both, and an oracle.

pub(crate) mod cases;
pub(crate) mod commits;
pub(crate) mod database;
pub(crate) mod events;
pub(crate) mod mariadb;
pub(crate) mod mount;
pub(crate) mod oracle;
pub(crate) mod pipeline;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod syscalls;
pub(crate) mod trade;

use std::time::{Duration, Instant};

/// No wait of these tests is longer, however slow the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at something that cannot wake us.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// Waits until the condition holds; panics with `what` when the deadline passes.
pub(crate) fn eventually(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}");
        pause(PROBE_EVERY);
    }
}

/// Lets others go on for a millisecond, between two looks at something.
pub(crate) fn pause_briefly() {
    pause(Duration::from_millis(1));
}

/// Lets other threads and processes go on for a while. That something has happened meanwhile is nothing to rely on: for
/// that there is [`eventually`].
pub(crate) fn pause(duration: Duration) {
    let until = Instant::now() + duration;
    while let Some(rest) = until.checked_duration_since(Instant::now()).filter(|rest| !rest.is_zero()) {
        std::thread::park_timeout(rest);
    }
}
