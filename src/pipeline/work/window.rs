//! The window: lines that are held and decided together. They are enough to keep the bank busy, and few enough for
//! memory.

use std::ops::Range;
use std::slice::Chunks;

use crate::pipeline::event::{Event, Reject};

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
    lines: Vec<Line>,
}

/// A line's number in the event file, and where its bytes are.
pub(super) type Line = (u64, Range<usize>);

/// A line of a window.
pub(super) struct Item<'a> {
    /// Its number in the event file.
    pub(super) line: u64,
    /// Its bytes.
    pub(super) raw: &'a [u8],
    /// What it says.
    pub(super) event: Event<'a>,
}

impl Window {
    /// An empty window.
    pub(super) fn new(limits: WindowLimits) -> Self {
        Self { limits, bytes: Vec::new(), lines: Vec::new() }
    }

    /// Whether there is no room for this line: then the window has to be decided and cleared first.
    pub(super) fn is_full_for(&self, raw: &[u8]) -> bool {
        let limits = self.limits;
        !self.lines.is_empty() && (self.lines.len() >= limits.lines || self.bytes.len() + raw.len() > limits.bytes)
    }

    /// Adds a line.
    pub(super) fn push(&mut self, line: u64, raw: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(raw);
        self.lines.push((line, start..self.bytes.len()));
    }

    /// Its lines, as many at a time as are planned at once.
    pub(super) fn chunks(&self) -> Chunks<'_, Line> {
        self.lines.chunks(self.limits.chunk)
    }

    /// Lines of it, read again: they had a right shape.
    pub(super) fn items(&self, lines: &[Line]) -> Result<Vec<Item<'_>>, Reject> {
        let read = |(line, range): &Line| {
            let raw = &self.bytes[range.clone()];
            Ok(Item { line: *line, raw, event: Event::parse(raw)? })
        };
        lines.iter().map(read).collect()
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
    }
}
