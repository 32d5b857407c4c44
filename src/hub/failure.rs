//! Why a round of the relay or of the minutes failed, and how long they wait then.

use std::time::Duration;

use crate::base::backoff::Backoff;
use crate::base::{bus, db};

/// The store or the bus did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Store(#[from] db::Error),
    #[error("{0}")]
    Bus(#[from] bus::Error),
}

/// The waits after failures of the store and of the bus.
pub(super) const fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}
