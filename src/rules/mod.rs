//! What the worker decides about one event, as pure functions over a state trait (semantics 4).
//!
//! The rules stand in the order in which they are asked; the first that fails decides. Shape comes before all of them
//! and is [`crate::event::shape`]. Each further rule is a file of its own here, asked by [`decide`].

pub mod duplicate;

use crate::event::{Event, Reject};
use crate::store::{Remembered, Result};
use crate::task::FileName;

/// What the rules know of the events before this one.
pub trait State {
    /// Notes a key with the content's fingerprint unless it is known; says what is known of it.
    fn remember(&mut self, key: &[u8], line: u64, fingerprint: &[u8; 16]) -> Result<Remembered>;
}

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It goes on to the sender.
    Accept,
    /// It says what an earlier line said.
    Duplicate {
        /// Where that line stood.
        file: FileName,
        /// Its number there.
        line: u64,
    },
    /// It is refused.
    Reject(Reject),
}

/// Decides one event that stands at `line` of its event file.
///
/// # Errors
/// Whatever the state fails with: an event is never refused because something around us does not work.
pub fn decide(event: &Event<'_>, line: u64, state: &mut impl State) -> Result<Decision> {
    duplicate::check(event, line, state)
}
