//! What can go wrong on a bus, in the words that callers act on.

use super::position::Cursor;
use crate::base::db;

/// A bus's answer, or why there is none.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a bus did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bus cannot be reached or takes nothing: nothing is wrong with what was asked, and waiting may help.
    #[error("the bus is not available: {0}")]
    Unavailable(String),
    /// A partition went to another member of the group.
    #[error("the partition went to another member of the group")]
    Lost,
    /// Messages after the place where the reader would begin are not kept any more, or the bus never had such a place.
    #[error("the bus does not have all messages after this position; the oldest that it has is after '{oldest}'")]
    OutOfRange {
        /// Where the oldest message that is kept begins.
        oldest: Cursor,
    },
    /// The topic is there with another number of partitions.
    #[error("the topic has {found} partitions, the settings say {wanted}: drain it, then change the number")]
    Partitions {
        /// What the bus has.
        found: u32,
        /// What was asked for.
        wanted: u32,
    },
    /// The request cannot be meant so.
    #[error("{0}")]
    Invalid(String),
    /// What the bus holds is not what it must be: a person has to look.
    #[error("the bus is broken: {0}")]
    Broken(String),
}

/// Why one message is not taken, while the bus goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is larger than the bus takes.
    #[error("the message has {bytes} bytes, the bus takes {max}")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What is taken.
        max: usize,
    },
}

impl Error {
    /// Whether waiting may help.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<db::Error> for Error {
    fn from(error: db::Error) -> Self {
        if error.is_temporary() { Self::Unavailable(error.to_string()) } else { Self::Broken(error.to_string()) }
    }
}
