//! Gathers what the files say of an order: memory grows with its own lines only, however many files there are.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use serde::Serialize;

use super::grep::grep;
use super::naming::{self, Said, named};
use crate::base::shutdown::Stop;
use crate::pipeline::event::{Reason, ShardId};
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{self, Artifact, Folder};
use crate::pipeline::ops::dead_letters::scan::{Extent, Go, RejectsFiles};
use crate::pipeline::ops::dead_letters::{LineAt, Raw, RedriveLog};
use crate::pipeline::task::{FileName, Stage};

/// Lines of one order that are kept; the others are counted.
const LINES_MAX: usize = 1000;

/// What the files say of one line.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What it says itself, where it is still to be read.
    pub said: Option<Said>,
    /// Its shard, where it shows; else its file's number of shards tells.
    pub shard: Option<ShardId>,
    /// Its rejection.
    pub rejection: Option<Rejection>,
    /// The task that accepted it.
    pub prepared_with: Option<FileName>,
    /// Where it was redriven from.
    pub from: Option<LineAt>,
    /// Where it was redriven to.
    pub to: Vec<LineAt>,
}

/// That a line was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// The stage that refused it.
    pub stage: Stage,
    /// Why.
    #[serde(serialize_with = "code")]
    pub reason: Reason,
    /// What exactly is wrong.
    pub detail: String,
    /// Together with which file: an early return is decided with a later one.
    pub with: FileName,
}

fn code<S: serde::Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.code())
}

/// What the files say of an order.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Its lines.
    pub lines: BTreeMap<LineAt, Evidence>,
    /// Lines beyond the most that are kept.
    pub more: u64,
    /// What was read.
    pub extent: Extent,
    /// Lines that are too long to be looked into.
    pub too_long: u64,
}

/// Searches one shared folder.
pub struct Search {
    folder: Folder,
    line_bytes_max: usize,
    stop: Stop,
}

impl Search {
    /// A search for lines of at most `line_bytes_max` bytes.
    pub fn new(folder: Folder, line_bytes_max: usize, stop: Stop) -> Self {
        Self { folder, line_bytes_max, stop }
    }

    /// Looks into event files, rejects files, prepared files and the notes of redrives.
    ///
    /// # Errors
    /// Whatever reading fails with; `Interrupted` when it was stopped.
    pub fn gather(&self, order: i64) -> io::Result<Gathered> {
        let mut gathered = Gathered::default();
        let digits = order.to_string();
        let needle = Finder::new(digits.as_bytes());
        self.files(self.folder.events(), &mut gathered, |gathered, artifact, path| match artifact {
            Artifact::Events(file) => self.event_file(gathered, order, &needle, &file, path),
            _ => Ok(()),
        })?;
        for shard in ShardId::all() {
            self.files(self.folder.worker(shard), &mut gathered, |gathered, artifact, path| match artifact {
                Artifact::Prepared(file, _) => self.prepared_file(gathered, order, &needle, (&file, shard), path),
                _ => Ok(()),
            })?;
        }
        self.rejects(order, &mut gathered)?;
        self.redrives(&mut gathered)?;
        Ok(gathered)
    }

    fn files(
        &self,
        own: PathBuf,
        gathered: &mut Gathered,
        mut read: impl FnMut(&mut Gathered, Artifact, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        for found in folder::artifacts(own) {
            if self.stop.is_requested() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped"));
            }
            let (artifact, path) = found?;
            match read(gathered, artifact, &path) {
                // Cleared since the folder was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(())
    }

    fn event_file(
        &self,
        gathered: &mut Gathered,
        order: i64,
        needle: &Finder<'_>,
        file: &FileName,
        path: &Path,
    ) -> io::Result<()> {
        let input = artifact::open(path)?;
        let searched = grep(input, needle, self.line_bytes_max, &mut |line, bytes| {
            if let Some(said) = named(bytes, order) {
                gathered.at(LineAt { file: file.clone(), line }, |evidence| evidence.said = Some(said));
            }
            Ok(())
        })?;
        gathered.extent = gathered.extent.plus(Extent { files: 1, bytes: searched.bytes });
        gathered.too_long += searched.too_long;
        Ok(())
    }

    fn prepared_file(
        &self,
        gathered: &mut Gathered,
        order: i64,
        needle: &Finder<'_>,
        (file, shard): (&FileName, ShardId),
        path: &Path,
    ) -> io::Result<()> {
        let input = artifact::open(path)?;
        // What the worker adds to a line fits twice its length and some words.
        let line_max = self.line_bytes_max.saturating_mul(2).saturating_add(1024);
        let searched = grep(input, needle, line_max, &mut |line, bytes| {
            if let Some(source) = naming::prepared(bytes, order, &LineAt { file: file.clone(), line }) {
                gathered.at(source, |evidence| {
                    evidence.shard = Some(shard);
                    evidence.prepared_with = Some(file.clone());
                });
            }
            Ok(())
        })?;
        gathered.extent = gathered.extent.plus(Extent { files: 1, bytes: searched.bytes });
        Ok(())
    }

    fn rejects(&self, order: i64, gathered: &mut Gathered) -> io::Result<()> {
        let files = RejectsFiles::new(self.folder.clone(), self.line_bytes_max);
        for artifact in files.list()? {
            let (extent, _) = files.read(&artifact, &mut |found| {
                let Ok(line) = found.line else { return Ok(Go::On) };
                let said = match &line.raw {
                    Raw::Whole(raw) => named(raw, order),
                    Raw::TooLong { .. } => {
                        gathered.too_long += 1;
                        None
                    }
                };
                if let Some(said) = said {
                    let (stage, reason, detail) = (line.stage, line.reason, line.detail);
                    let rejection = Rejection { stage, reason, detail, with: artifact.file().clone() };
                    gathered.at(line.at, |evidence| {
                        evidence.said.get_or_insert(said);
                        evidence.shard = artifact.shard().or(evidence.shard);
                        evidence.rejection = Some(rejection);
                    });
                }
                Ok(Go::On)
            })?;
            gathered.extent = gathered.extent.plus(extent);
        }
        Ok(())
    }

    fn redrives(&self, gathered: &mut Gathered) -> io::Result<()> {
        if gathered.lines.is_empty() {
            return Ok(());
        }
        RedriveLog::new(self.folder.clone()).for_each_pair(|old, new, _| {
            if let Some(evidence) = gathered.lines.get_mut(old) {
                evidence.to.push(new.clone());
            }
            if let Some(evidence) = gathered.lines.get_mut(new) {
                evidence.from = Some(old.clone());
            }
        })
    }
}

impl Gathered {
    fn at(&mut self, at: LineAt, note: impl FnOnce(&mut Evidence)) {
        if self.lines.len() >= LINES_MAX && !self.lines.contains_key(&at) {
            self.more += 1;
            return;
        }
        note(self.lines.entry(at).or_default());
    }
}
