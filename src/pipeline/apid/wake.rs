//! Wakes the claims that wait, so that a finished task is handed to the next stage at once, without polling.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::pipeline::task::Stage;

/// How often a waiting claim looks by itself: for what no call of this instance announces, such as leases that run
/// out, waits that end, and changes through other instances.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One bell per stage; cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Wakeups(Arc<[Notify; 4]>);

impl Wakeups {
    /// A task of this stage changed: its own stage and the next one may have work now.
    pub fn changed(&self, stage: Stage) {
        self.ring(stage);
        if let Some(next) = stage.next() {
            self.ring(next);
        }
    }

    /// Rings when a stage may have work. Ask before looking, so that no ring between the two is missed.
    pub fn next(&self, stage: Stage) -> Notified<'_> {
        self.0[stage.index()].notified()
    }

    fn ring(&self, stage: Stage) {
        self.0[stage.index()].notify_waiters();
    }
}
