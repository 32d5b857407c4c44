//! Expired leases, as claims find them.

use std::sync::{Mutex, PoisonError};

use crate::pipeline::task::{Stage, TaskKey};

/// A lease that ran out before its task was finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEnd {
    /// Which task.
    pub key: TaskKey,
    /// The stage that held the lease. The claim of another stage may report the end.
    pub stage: Stage,
    /// The attempt whose lease it was.
    pub attempt: u32,
    /// The worker that held it.
    pub worker: Option<String>,
    /// The worker that has the task now; nothing where it was the last attempt, and the task has failed.
    pub taken_by: Option<String>,
}

/// Those that were found and not told yet.
#[derive(Debug, Default)]
pub(crate) struct LeaseEnds(Mutex<Vec<LeaseEnd>>);

impl LeaseEnds {
    /// Adds these.
    pub(crate) fn extend(&self, ends: Vec<LeaseEnd>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    }

    /// Takes all.
    pub(crate) fn take(&self) -> Vec<LeaseEnd> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
