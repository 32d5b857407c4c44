//! The window: lines that are held and decided together. They are enough to keep the bank busy, and few enough for
//! memory.
//!
//! A line is kept as a record: its facts and its bytes, so that it is not read as JSON again.

use std::ops::Range;

use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::{Event, facts};
use crate::pipeline::task::Class;

/// How much is decided together. What is decided does not depend on it.
#[derive(Debug, Clone, Copy)]
pub struct WindowLimits {
    /// Lines held, at the most.
    pub lines: usize,
    /// Bytes of lines held, beside the first one.
    pub bytes: usize,
    /// Lines whose debits the bank is asked for at once; no more than it takes.
    pub chunk: usize,
}

impl Default for WindowLimits {
    fn default() -> Self {
        Self { lines: 32_768, bytes: 8 * 1024 * 1024, chunk: 1_024 }
    }
}

/// Lines in the order in which they are decided.
pub(super) struct Window {
    limits: WindowLimits,
    bytes: Vec<u8>,
    /// Each line's number in the event file, and where its record is.
    lines: Vec<(u64, Range<usize>)>,
}

/// A line of a window.
pub(super) struct Item<'a> {
    /// Its number in the event file.
    pub(super) line: u64,
    /// Its bytes.
    pub(super) raw: &'a [u8],
    /// What it says.
    pub(super) event: Event<'a>,
}

/// Writes the record of a line over what is in `record`.
pub(super) fn pack(event: &Event<'_>, raw: &[u8], record: &mut Vec<u8>) {
    record.clear();
    record.extend_from_slice(&[0; 8]);
    facts::write(event, raw, record);
    let len = record.len() as u64 - 8;
    record[..8].copy_from_slice(&len.to_le_bytes());
    record.extend_from_slice(raw);
}

/// A record's line and what it says.
fn unpack(record: &[u8]) -> Option<(&[u8], Event<'_>)> {
    let (len, rest) = record.split_first_chunk::<8>()?;
    let (facts, raw) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
    Some((raw, facts::read(facts, raw)?))
}

impl Window {
    /// An empty window.
    pub(super) fn new(limits: WindowLimits) -> Self {
        Self { limits, bytes: Vec::new(), lines: Vec::new() }
    }

    /// Whether there is no room for this record: then the window has to be decided and cleared first.
    pub(super) fn is_full_for(&self, record: &[u8]) -> bool {
        let limits = self.limits;
        !self.lines.is_empty() && (self.lines.len() >= limits.lines || self.bytes.len() + record.len() > limits.bytes)
    }

    /// Adds the record of a line.
    pub(super) fn push(&mut self, line: u64, record: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.lines.push((line, start..self.bytes.len()));
    }

    /// How many lines are planned at once.
    pub(super) fn chunk(&self) -> usize {
        self.limits.chunk
    }

    /// The line at this position; nothing behind the last one.
    ///
    /// # Errors
    /// [`Fault::Retryable`] if its record is not what [`pack`] wrote.
    pub(super) fn item(&self, position: usize) -> Result<Option<Item<'_>>, Fault> {
        let Some((line, range)) = self.lines.get(position) else {
            return Ok(None);
        };
        let (raw, event) = unpack(&self.bytes[range.clone()]).ok_or_else(|| {
            Fault::Retryable(Class::Internal.tag(format!("the facts of line {line} are not those that were put aside")))
        })?;
        Ok(Some(Item { line: *line, raw, event }))
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
    }
}
