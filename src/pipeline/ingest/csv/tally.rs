//! Counts what became of the rows of a table, each row once.

use std::fmt;

use super::field::KINDS;
use super::line::MadeLine;
use crate::base::text::count;

/// Counts of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvTally {
    /// Rows, the header not counted.
    pub rows: u64,
    /// Those that became an event, by its type.
    pub events: [u64; 5],
    /// Those that could not be mapped: lines that are refused later.
    pub unmapped: u64,
    /// Those that span several lines of the file.
    pub spanning: u64,
    /// Lines of the longest of them, and its number.
    longest: (u64, u64),
    /// Those that were left out, by the rule; nothing for rules that make events.
    skipped: Vec<Option<(String, u64)>>,
}

impl CsvTally {
    pub(super) fn new(skips: Vec<Option<String>>) -> Self {
        let skipped = skips.into_iter().map(|why| why.map(|why| (why, 0))).collect();
        Self { rows: 0, events: [0; 5], unmapped: 0, spanning: 0, longest: (0, 0), skipped }
    }

    pub(super) fn count(&mut self, made: MadeLine) {
        self.rows += 1;
        match made {
            MadeLine::Event(kind) => self.events[usize::from(kind.number())] += 1,
            MadeLine::Unmapped => self.unmapped += 1,
            MadeLine::Skipped(rule) => {
                if let Some(Some((_, rows))) = self.skipped.get_mut(rule) {
                    *rows += 1;
                }
            }
        }
    }

    /// Counts the lines of a row.
    pub(super) fn count_lines(&mut self, row: u64, lines: u64) {
        self.spanning += u64::from(lines > 1);
        if lines > self.longest.0 {
            self.longest = (lines, row);
        }
    }

    /// Rows that were left out, with the reason.
    pub fn skipped(&self) -> impl Iterator<Item = (&str, u64)> {
        self.skipped.iter().flatten().map(|(why, rows)| (why.as_str(), *rows)).filter(|(_, rows)| *rows > 0)
    }
}

/// `300 rows = 280 purchase + 8 return + 3 that cannot be mapped + 9 left out (postage 9)`.
impl fmt::Display for CsvTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = KINDS.iter().zip(self.events).filter(|(_, rows)| *rows > 0);
        let mut parts: Vec<String> = named.map(|((name, _), rows)| format!("{rows} {name}")).collect();
        if self.unmapped > 0 {
            parts.push(format!("{} that cannot be mapped", self.unmapped));
        }
        let skips: Vec<String> = self.skipped().map(|(why, rows)| format!("{why} {rows}")).collect();
        if !skips.is_empty() {
            let rows: u64 = self.skipped().map(|(_, rows)| rows).sum();
            parts.push(format!("{rows} left out ({})", skips.join(", ")));
        }
        f.write_str(&count(self.rows, "row"))?;
        if !parts.is_empty() {
            write!(f, " = {}", parts.join(" + "))?;
        }
        let (lines, row) = self.longest;
        match self.spanning {
            0 => Ok(()),
            1 => write!(f, "; 1 row spans {lines} lines (row {row}): is a quote not closed?"),
            rows => write!(f, "; {rows} rows span several lines, row {row} {lines} of them: is a quote not closed?"),
        }
    }
}
