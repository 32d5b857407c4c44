//! A dry run: says what an import would make of an input, by the real check of an event's shape. Nothing is written.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use super::input::EventLines;
use super::tally::CsvTally;
use crate::pipeline::event::detail::pattern;
use crate::pipeline::event::raw::{RawEvent, RawPayload};
use crate::pipeline::event::{LineReader, Next, Reason, Reject, ShardCount, shape, shard};

/// Events that are shown.
const SHOWN: usize = 5;
/// Different details that are told apart; they may hold what cells hold.
const DETAILS_MAX: usize = 1000;

/// What an import would do.
#[derive(Debug, Default)]
pub struct Trial {
    /// The first events that would be accepted.
    first: Vec<String>,
    /// Lines that the check of the shape takes.
    pub accepted: u64,
    /// Those it does not, by reason and what their details have in common, with the first of them.
    refused: BTreeMap<(Reason, String), Refused>,
    tally: Option<CsvTally>,
}

/// Lines that are refused for the same.
#[derive(Debug)]
struct Refused {
    lines: u64,
    /// Of the first of them.
    detail: String,
    /// Where it stands.
    example: String,
}

/// What a line says of itself.
#[derive(serde::Deserialize)]
struct Origin {
    row: Option<u64>,
    line: Option<u64>,
    #[serde(default)]
    unmapped: Vec<String>,
}

/// Reads an input to its end.
///
/// # Errors
/// When it cannot be read.
pub fn run(mut input: EventLines, line_bytes_max: usize) -> io::Result<Trial> {
    let mut trial = Trial::default();
    let mut lines = LineReader::new(&mut input, line_bytes_max);
    while let Some(next) = lines.next_line()? {
        match next {
            Next::TooLong { number } => trial.refuse(Reason::TooLong, "the line is too long", format!("line {number}")),
            Next::Line { number, bytes, .. } => match check(bytes) {
                Ok(()) => trial.accept(bytes),
                Err(reject) => trial.refuse(reject.reason, &reject.detail, origin(number, bytes)),
            },
        }
    }
    trial.tally = input.tally().cloned();
    Ok(trial)
}

/// What splitter and worker will say, in this order.
fn check(line: &[u8]) -> Result<(), Reject> {
    let any = ShardCount::new(1).ok_or_else(|| Reject::new(Reason::NoShardKey, "no shards"))?;
    let read = RawEvent::<RawPayload<'_>>::parse(line)?;
    shard::route(&read, any)?;
    shape::check(read)
}

/// Where a line came from, and what was wrong there.
fn origin(number: u64, line: &[u8]) -> String {
    let said = serde_json::from_slice::<Origin>(line).ok();
    let Some((row, said)) = said.and_then(|said| Some((said.row?, said))) else {
        return format!("line {number}");
    };
    let line = said.line.map(|line| format!(" (line {line} of the table)")).unwrap_or_default();
    let why = said.unmapped.join("; ");
    if why.is_empty() { format!("row {row}{line}") } else { format!("row {row}{line}: {why}") }
}

impl Trial {
    fn accept(&mut self, line: &[u8]) {
        self.accepted += 1;
        if self.first.len() < SHOWN {
            self.first.push(String::from_utf8_lossy(line).into_owned());
        }
    }

    fn refuse(&mut self, reason: Reason, detail: &str, example: String) {
        let mut key = (reason, pattern(detail));
        let mut detail = detail.to_owned();
        if self.refused.len() >= DETAILS_MAX && !self.refused.contains_key(&key) {
            detail = "(other details)".to_owned();
            key.1.clone_from(&detail);
        }
        self.refused.entry(key).or_insert(Refused { lines: 0, detail, example }).lines += 1;
    }

    /// Lines that would be refused.
    pub fn refused(&self) -> u64 {
        self.refused.values().map(|refused| refused.lines).sum()
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.first {
            writeln!(f, "{line}")?;
        }
        if let Some(tally) = &self.tally {
            writeln!(f, "\ntable: {tally}")?;
        }
        writeln!(f, "\n{} events would be taken, {} rejected", self.accepted, self.refused())?;
        for ((reason, _), Refused { lines, detail, example }) in &self.refused {
            writeln!(f, "{lines:>10}  {reason}: {detail}\n            for example {example}")?;
        }
        writeln!(f, "nothing was written; prices, stock and money are asked for at the import")
    }
}
