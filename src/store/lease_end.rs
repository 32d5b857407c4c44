//! Leases that ran out, as claims find them.

use std::sync::{Mutex, PoisonError};

use crate::task::TaskKey;

/// A lease that ran out before its task was finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEnd {
    /// Which task.
    pub key: TaskKey,
    /// The attempt whose lease it was.
    pub attempt: u32,
    /// Who held it.
    pub worker: Option<String>,
    /// Who has the task now; nothing where it was the last attempt, and the task has failed.
    pub taken_by: Option<String>,
}

/// Those that were found and not told yet.
#[derive(Debug, Default)]
pub(super) struct LeaseEnds(Mutex<Vec<LeaseEnd>>);

impl LeaseEnds {
    /// Adds one.
    pub(super) fn push(&self, end: LeaseEnd) {
        self.extend(vec![end]);
    }

    /// Adds several.
    pub(super) fn extend(&self, ends: Vec<LeaseEnd>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    }

    /// Takes all.
    pub(super) fn take(&self) -> Vec<LeaseEnd> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
