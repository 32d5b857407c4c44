//! What can go wrong in a store, in the words that callers act on.

use crate::pipeline::task::{Class, Refusal};
use crate::pipeline::trade;

/// A store's answer, or why there is none.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was named does not exist.
    #[error("{0} is unknown")]
    Gone(String),
    /// The state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was asked of the accounts or of the pending returns is not done.
    #[error(transparent)]
    Declined(#[from] trade::Refusal),
    /// The request cannot be meant so.
    #[error("{0}")]
    Invalid(String),
    /// Another process holds the lock; the same call may succeed in a moment.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// The database cannot be reached, is full or read-only: nothing is wrong with the request.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The data or the schema is not what it must be: a person has to look.
    #[error("the database is broken: {0}")]
    Broken(String),
    /// What was handed in could not be read to its end.
    #[error("the input failed: {0}")]
    Input(#[from] std::io::Error),
}

impl Error {
    /// Whether the database takes no changes.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Unavailable(why) if Class::find(why) == Some(Class::DatabaseReadOnly))
    }

    /// Whether waiting may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy(_) | Self::Unavailable(_) => true,
            Self::Declined(refusal) => refusal.is_temporary(),
            _ => false,
        }
    }
}
