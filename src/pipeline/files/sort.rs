//! Sorts events by (timestamp, event file, line), in bounded memory (docs/semantics.md, 4).
//!
//! Lines are collected up to a budget. A larger file is sorted in runs, which are spilled into unnamed temporary files
//! and then merged, so that memory does not grow with the file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use crate::base::timestamp::Timestamp;
use crate::pipeline::task::FileName;

/// Bytes of lines held in memory.
const BUDGET_BYTES: usize = 24 * 1024 * 1024;
/// Lines held in memory: short lines must not outgrow the budget by their bookkeeping.
const BUDGET_LINES: usize = 250_000;
/// Bytes of the buffer of each spilled run.
const RUN_BUFFER_BYTES: usize = 32 * 1024;

/// Where a line stood: the digits of its event file, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    file: u64,
    /// The line's number, from 1.
    pub line: u64,
}

impl Spot {
    /// The spot of a line of a file.
    pub fn new(file: &FileName, line: u64) -> Self {
        // 14 digits, every one of them.
        Self { file: file.as_str().parse().unwrap_or_default(), line }
    }

    /// Another line of the same file.
    pub fn at_line(self, line: u64) -> Self {
        Self { line, ..self }
    }

    /// The event file.
    ///
    /// # Errors
    /// `InvalidData` for what was never one.
    pub fn file(self) -> io::Result<FileName> {
        let name = format!("{:014}", self.file);
        name.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is no event file")))
    }
}

/// A line's place in the order, and where its bytes are.
#[derive(Clone, Copy)]
struct Entry {
    at: Timestamp,
    spot: Spot,
    start: usize,
    len: usize,
}

/// Collects lines in any order.
pub struct Sorter<'a> {
    folder: &'a Path,
    budget: (usize, usize),
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    runs: Vec<BufReader<File>>,
}

/// The head of a spilled run while merging.
type Head = Reverse<(Timestamp, Spot, usize)>;

impl<'a> Sorter<'a> {
    /// A sorter that spills into this folder.
    pub fn new(folder: &'a Path) -> Self {
        Self::with_budget(folder, BUDGET_BYTES, BUDGET_LINES)
    }

    fn with_budget(folder: &'a Path, bytes: usize, lines: usize) -> Self {
        Self { folder, budget: (bytes, lines), bytes: Vec::new(), entries: Vec::new(), runs: Vec::new() }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Whatever spilling fails with.
    pub fn push(&mut self, at: Timestamp, spot: Spot, line: &[u8]) -> io::Result<()> {
        let full = self.bytes.len() + line.len() > self.budget.0 || self.entries.len() >= self.budget.1;
        if full && !self.entries.is_empty() {
            self.spill()?;
        }
        self.entries.push(Entry { at, spot, start: self.bytes.len(), len: line.len() });
        self.bytes.extend_from_slice(line);
        Ok(())
    }

    /// Hands over all lines in order.
    ///
    /// # Errors
    /// The first error of `visit`, or whatever reading a spilled run fails with.
    pub fn for_each<E: From<io::Error>>(
        mut self,
        mut visit: impl FnMut(Spot, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.runs.is_empty() {
            self.sort();
            for entry in &self.entries {
                visit(entry.spot, &self.bytes[entry.start..entry.start + entry.len])?;
            }
            return Ok(());
        }
        if !self.entries.is_empty() {
            self.spill()?;
        }
        // What was held while collecting is not needed while merging.
        self.bytes = Vec::new();
        self.entries = Vec::new();
        self.merge(visit)
    }

    fn sort(&mut self) {
        let in_order = self.entries.is_sorted_by_key(|entry| (entry.at, entry.spot));
        if !in_order {
            self.entries.sort_unstable_by_key(|entry| (entry.at, entry.spot));
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.sort();
        let mut writer = BufWriter::new(tempfile::tempfile_in(self.folder)?);
        for entry in &self.entries {
            writer.write_all(&entry.at.unix_ms().to_le_bytes())?;
            writer.write_all(&entry.spot.file.to_le_bytes())?;
            writer.write_all(&entry.spot.line.to_le_bytes())?;
            writer.write_all(&(entry.len as u64).to_le_bytes())?;
            writer.write_all(&self.bytes[entry.start..entry.start + entry.len])?;
        }
        let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(BufReader::with_capacity(RUN_BUFFER_BYTES, file));
        self.bytes.clear();
        self.entries.clear();
        Ok(())
    }

    fn merge<E: From<io::Error>>(&mut self, mut visit: impl FnMut(Spot, &[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut heads: BinaryHeap<Head> = BinaryHeap::new();
        for (run, reader) in self.runs.iter_mut().enumerate() {
            heads.extend(read_head(reader, run)?);
        }
        let mut line = Vec::new();
        while let Some(Reverse((_, spot, run))) = heads.pop() {
            let Some(reader) = self.runs.get_mut(run) else {
                break;
            };
            let len = read_u64(reader)?;
            line.clear();
            reader.take(len).read_to_end(&mut line)?;
            visit(spot, &line)?;
            heads.extend(read_head(reader, run)?);
        }
        Ok(())
    }
}

/// The place of a run's next line; `None` at its end.
fn read_head(reader: &mut BufReader<File>, run: usize) -> io::Result<Option<Head>> {
    if std::io::BufRead::fill_buf(reader)?.is_empty() {
        return Ok(None);
    }
    let at = Timestamp::from_unix_ms(read_u64(reader)?.cast_signed());
    let spot = Spot { file: read_u64(reader)?, line: read_u64(reader)? };
    Ok(Some(Reverse((at, spot, run))))
}

fn read_u64(reader: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spilled_or_not_the_order_is_the_same(
            moments in proptest::collection::vec((-5_i64..5, 1_u64..4), 0..200),
            bytes in 1_usize..2000,
            lines in 1_usize..50,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::with_budget(folder.path(), bytes, lines);
            let mut expected = Vec::new();
            for (line, (at, file)) in (1_u64..).zip(moments) {
                let text = format!("line {line}").into_bytes();
                let file: FileName = format!("2025010100000{file}").parse().unwrap();
                sorter.push(Timestamp::from_unix_ms(at), Spot::new(&file, line), &text).unwrap();
                expected.push((at, file.to_string(), line, text));
            }
            expected.sort();
            let mut got = Vec::new();
            let visit = |spot: Spot, text: &[u8]| {
                got.push((spot.file()?.to_string(), spot.line, text.to_vec()));
                Ok::<_, io::Error>(())
            };
            sorter.for_each(visit).unwrap();
            let expected: Vec<_> = expected.into_iter().map(|(_, file, line, text)| (file, line, text)).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
