//! The wall clock. Every part that needs the time gets the clock passed in, so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::base::timestamp::Timestamp;

/// Tells the time.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands still until it is moved.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that shows this moment until [`Clock::advance_ms`].
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.unix_ms())))
    }

    /// The present moment, cut to the millisecond.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::from_datetime(time::OffsetDateTime::now_utc()),
            Self::Manual(ms) => Timestamp::from_unix_ms(ms.load(Ordering::SeqCst)),
        }
    }

    /// What a manual clock shows; nothing for the system's clock.
    pub fn pinned(&self) -> Option<Timestamp> {
        match self {
            Self::System => None,
            Self::Manual(_) => Some(self.now()),
        }
    }

    /// Moves a manual clock; the system's clock is left alone.
    pub fn advance_ms(&self, ms: i64) {
        if let Self::Manual(now) = self {
            now.fetch_add(ms, Ordering::SeqCst);
        }
    }
}
