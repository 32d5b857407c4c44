//! Reads a splitter's file, and the line numbers in the file beside it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use crate::pipeline::claim::driver::FileTask;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::LineReader;
use crate::pipeline::files::artifact;
use crate::pipeline::task::Output;

/// A splitter's file whose digest is what was reported.
pub(super) struct Input {
    /// Its lines.
    pub(super) lines: LineReader<BufReader<File>>,
    /// The numbers that they had in the event file.
    pub(super) numbers: Index,
    /// What it is.
    pub(super) found: Output,
}

/// The line numbers beside a splitter's file.
pub(super) struct Index {
    lines: Option<BufReader<File>>,
    path: PathBuf,
    text: String,
}

impl Input {
    /// Opens the file of a task and verifies all of it.
    ///
    /// # Errors
    /// [`Fault`] if it is not there or not what was reported.
    pub(super) fn open(task: &FileTask, line_bytes_max: usize) -> Result<Self, Fault> {
        let (input, found) =
            artifact::open_verified(&task.source, task.input.as_ref()).map_err(|e| Fault::of_input(&task.source, e))?;
        Ok(Self { lines: LineReader::new(input, line_bytes_max), numbers: Index::open(task)?, found })
    }
}

impl Index {
    /// The numbers that the lines had in the event file. A splitter that is not ours may leave none: then the lines
    /// are numbered as they stand.
    fn open(task: &FileTask) -> Result<Self, Fault> {
        let path = task.source.with_extension("lines");
        let Some(expected) = task.input.and_then(|input| input.index_sha256) else {
            // Without a report there is nothing to check against; an index beside the file is taken as it is.
            return match artifact::open(&path) {
                Ok(file) => Ok(Self::new(Some(BufReader::new(file)), path)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::new(None, path)),
                Err(e) => Err(e.into()),
            };
        };
        let (lines, found) = artifact::open_verified(&path, None).map_err(|e| Fault::of_input(&path, e))?;
        if found.sha256 != expected {
            let (path, found) = (path.display(), found.sha256);
            return Err(Fault::Permanent(format!("corrupt: {path} has SHA-256 {found}, reported was {expected}")));
        }
        Ok(Self::new(Some(lines), path))
    }

    fn new(lines: Option<BufReader<File>>, path: PathBuf) -> Self {
        Self { lines, path, text: String::new() }
    }

    /// The number of the line at this position; asked once per line.
    pub(super) fn number_of(&mut self, position: u64) -> Result<u64, Fault> {
        let Some(lines) = &mut self.lines else {
            return Ok(position);
        };
        self.text.clear();
        lines.read_line(&mut self.text)?;
        let number = self.text.trim_end().parse();
        number.map_err(|_| {
            Fault::Permanent(format!("corrupt: {} has no number for line {position}", self.path.display()))
        })
    }
}
