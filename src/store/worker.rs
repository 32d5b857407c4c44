//! What one shard's worker remembers (semantics 4).

use super::Result;
use crate::task::FileName;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// It was not known and is now, at this position.
    New,
    /// It is known from this very position: the file is being worked on again.
    Here,
    /// It is known from elsewhere with the same content.
    Elsewhere {
        /// The file where it stood.
        file: FileName,
        /// The line there.
        line: u64,
    },
    /// It is known from elsewhere with other content.
    OtherContent {
        /// The file where it stood.
        file: FileName,
        /// The line there.
        line: u64,
    },
}

/// A worker's durable state. Everything between [`WorkerState::begin`] and [`WorkerState::commit`] becomes durable
/// together or not at all.
pub trait WorkerState: Send {
    /// Begins the transaction of one file.
    fn begin(&mut self) -> Result<()>;

    /// Notes a key at a position unless it is known; in one statement.
    fn remember(
        &mut self,
        key: &[u8],
        file: &FileName,
        line: u64,
        fingerprint: &[u8; 16],
        day: i64,
    ) -> Result<Remembered>;

    /// Makes the file's changes durable.
    fn commit(&mut self) -> Result<()>;

    /// Drops the file's changes; does nothing outside a transaction.
    fn roll_back(&mut self) -> Result<()>;

    /// Forgets keys that were noted before this day (days since 1970-01-01); answers how many.
    fn forget_before(&mut self, day: i64) -> Result<u64>;
}
