//! The files of one task while they are written, and its counts.

use crate::pipeline::claim::driver::FileTask;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::{Event, Reasons, Reject, ShardId};
use crate::pipeline::files::artifact::{Draft, Taken};
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::files::prepared;
use crate::pipeline::files::rejects::RejectsDraft;
use crate::pipeline::rules::{Effect, LinePlace};
use crate::pipeline::task::{Counts, Digest, Output, Stage};

/// Prepared lines, rejected lines, counts.
pub(super) struct FileOutcome {
    shard: ShardId,
    prepared: Draft,
    /// Also written to while lines are read.
    pub(super) rejects: RejectsDraft,
    /// The conservation counts.
    pub(super) counts: Counts,
}

impl FileOutcome {
    /// Begins the files of a task.
    pub(super) fn begin(folder: &Folder, task: &FileTask) -> Result<Self, Fault> {
        let (file, shard) = (task.key.file.clone(), task.key.shard);
        let prepared = Draft::create(&folder.path_of(&Artifact::Prepared(file.clone(), shard)), task.token)?;
        let rejects = folder.path_of(&Artifact::WorkRejects(file.clone(), shard));
        let rejects = RejectsDraft::new(rejects, task.token, file, Stage::ShardWorker);
        Ok(Self { shard, prepared, rejects, counts: Counts::default() })
    }

    /// Passes an event on.
    pub(super) fn accept(&mut self, event: &Event<'_>, effect: &Effect, place: LinePlace<'_>) -> Result<(), Fault> {
        self.counts.written += 1;
        Ok(prepared::write(&mut self.prepared, event, effect, self.shard, place)?)
    }

    /// Keeps a rejected line.
    pub(super) fn reject(&mut self, place: LinePlace<'_>, reject: &Reject, raw: &[u8]) -> Result<(), Fault> {
        self.counts.rejected += 1;
        Ok(self.rejects.write_of(place.file, place.line, reject, raw)?)
    }

    /// Why lines were rejected.
    pub(super) fn reasons(&self) -> &Reasons {
        self.rejects.reasons()
    }

    /// Gives both files their names; answers what they are.
    pub(super) fn publish(self) -> Result<(Output, Option<Digest>), Fault> {
        let rejects = self.rejects.publish()?;
        let output = self.prepared.publish(Taken::Replace)?;
        Ok((output, rejects.map(|rejects| rejects.sha256)))
    }
}
