//! The routes of a role, by the limits that their bodies have.

use axum::Router;

/// The routes of a role.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// Calls of one request and one response: bodies, and the time to an answer, have limits.
    pub calls: Router,
    /// Requests and responses that may go on without an end, message by message: limits are those of the messages, and
    /// handlers set them. A peer that is gone is noticed by the connection.
    pub streams: Router,
}

impl From<Router> for Routes {
    fn from(calls: Router) -> Self {
        Self { calls, streams: Router::new() }
    }
}

impl Routes {
    /// These and others.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { calls: self.calls.merge(other.calls), streams: self.streams.merge(other.streams) }
    }

    /// The same, each part changed in the same way.
    #[must_use]
    pub fn map(self, change: impl Fn(Router) -> Router) -> Self {
        Self { calls: change(self.calls), streams: change(self.streams) }
    }
}
