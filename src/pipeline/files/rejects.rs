//! The rejects file of one task. It is begun with the first rejected line, so that a file without rejects leaves none.

use std::io::{self, Write};
use std::path::PathBuf;

use super::artifact::{self, Draft, Taken};
use crate::pipeline::event::Reject;
use crate::pipeline::event::reject::{Origin, Reasons, write_rejected, write_streamed};
use crate::pipeline::task::{FileName, Output, Stage};

/// A rejects file in the making.
pub struct RejectsDraft {
    path: PathBuf,
    token: u64,
    file: FileName,
    stage: Stage,
    draft: Option<Draft>,
    reasons: Reasons,
}

impl RejectsDraft {
    /// The rejects of a file at a stage; nothing is written yet.
    pub fn new(path: PathBuf, token: u64, file: FileName, stage: Stage) -> Self {
        Self { path, token, file, stage, draft: None, reasons: Reasons::default() }
    }

    /// Keeps a line.
    ///
    /// # Errors
    /// Whatever writing fails with.
    pub fn write(&mut self, line: u64, reject: &Reject, raw: &[u8]) -> io::Result<()> {
        self.reasons.add(reject.reason);
        self.with(None, line, |draft, origin| write_rejected(draft, origin, reject, raw))
    }

    /// Keeps a line that stood in another event file.
    ///
    /// # Errors
    /// Whatever writing fails with.
    pub fn write_of(&mut self, file: &FileName, line: u64, reject: &Reject, raw: &[u8]) -> io::Result<()> {
        self.reasons.add(reject.reason);
        self.with(Some(file), line, |draft, origin| write_rejected(draft, origin, reject, raw))
    }

    /// Keeps a line whose bytes `fill` streams.
    ///
    /// # Errors
    /// Whatever writing or `fill` fails with.
    pub fn write_streamed(
        &mut self,
        line: u64,
        reject: &Reject,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        self.reasons.add(reject.reason);
        self.with(None, line, |draft, origin| write_streamed(draft, origin, reject, fill))
    }

    /// How many lines were kept so far, by reason.
    pub fn reasons(&self) -> &Reasons {
        &self.reasons
    }

    /// Publishes the file, or removes the one of an earlier run if there is nothing to reject now; answers what the file
    /// is.
    ///
    /// # Errors
    /// As [`Draft::publish`].
    pub fn publish(self) -> io::Result<Option<Output>> {
        match self.draft {
            Some(draft) => draft.publish(Taken::Replace).map(Some),
            None => artifact::remove(&self.path).map(|_| None),
        }
    }

    fn with(
        &mut self,
        file: Option<&FileName>,
        line: u64,
        write: impl FnOnce(&mut Draft, Origin<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let draft = match self.draft.take() {
            Some(draft) => draft,
            None => Draft::create(&self.path, self.token)?,
        };
        let draft = self.draft.insert(draft);
        let file = file.unwrap_or(&self.file).as_str();
        write(draft, Origin { file, line, stage: self.stage.name() })
    }
}
