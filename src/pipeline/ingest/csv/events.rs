//! Reads a table as event lines, row by row.

use std::io::{self, BufRead, Read};

use super::latest::Latest;
use super::line::{self, MadeLine};
use super::map::{Map, MapError};
use super::rows::CsvRows;
use super::rule::Then;
use super::tally::CsvTally;

/// Reads like a file of event lines.
pub struct Events<R> {
    rows: CsvRows<R>,
    map: Map,
    latest: Latest,
    tally: CsvTally,
    line: Vec<u8>,
    /// Bytes of the line that were taken.
    taken: usize,
}

/// Why a table cannot be read as events.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table itself cannot be read.
    #[error(transparent)]
    Table(#[from] io::Error),
    /// The map is not one for this table.
    #[error(transparent)]
    Map(#[from] MapError),
}

impl<R: Read> Events<R> {
    /// Reads the header and finds the map's columns in it.
    ///
    /// # Errors
    /// [`TableError`] when the table is empty or lacks a column.
    pub fn new(input: R, mut map: Map) -> Result<Self, TableError> {
        let rows = CsvRows::new(input, &map.file)?;
        map.bind(rows.header())?;
        let skips = map.rules.iter().map(|rule| match &rule.then {
            Then::Skip(why) => Some(why.clone()),
            Then::Event { .. } => None,
        });
        let tally = CsvTally::new(skips.collect());
        let latest = Latest::new(map.latest());
        Ok(Self { rows, map, latest, tally, line: Vec::new(), taken: 0 })
    }

    /// What became of the rows so far.
    pub fn tally(&self) -> &CsvTally {
        &self.tally
    }
}

impl<R: Read> BufRead for Events<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.taken == self.line.len() {
            self.line.clear();
            self.taken = 0;
            let Some(row) = self.rows.next_row()? else { break };
            let made = line::write(&row, &self.map, &mut self.latest, &mut self.line);
            if matches!(made, MadeLine::Skipped(_)) {
                self.line.clear();
            }
            self.tally.count(made);
            self.tally.count_lines(row.number, row.lines);
        }
        Ok(&self.line[self.taken..])
    }

    fn consume(&mut self, amount: usize) {
        self.taken = (self.taken + amount).min(self.line.len());
    }
}

impl<R: Read> Read for Events<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
