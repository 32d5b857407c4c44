//! The wall clock, handed to whoever needs it, so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::base::moment::Moment;

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
    pub fn manual(at: Moment) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.unix_ms())))
    }

    /// The present moment, cut to the millisecond.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    pub fn now(&self) -> Moment {
        match self {
            Self::System => Moment::from_datetime(time::OffsetDateTime::now_utc()),
            Self::Manual(ms) => Moment::from_unix_ms(ms.load(Ordering::SeqCst)),
        }
    }

    /// What a manual clock shows; nothing for the system's clock.
    pub fn pinned(&self) -> Option<Moment> {
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
