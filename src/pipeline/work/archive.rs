//! Copies of published files. A decision is made once: when a published file is lost or damaged before it is delivered,
//! the file cannot be decided again, but its copy can be put back.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::timestamp::Timestamp;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::task::Digest;

/// How long a copy is kept at the least: a damage shows when the file is delivered, which is soon.
const KEEP_MS: i64 = 24 * 3_600_000;

/// The copies of one worker.
pub(super) struct Archive {
    folder: Folder,
    own: PathBuf,
}

impl Archive {
    /// Those beside the worker's state.
    pub(super) fn of(folder: &Folder, shard: ShardId) -> Self {
        let state = folder.worker_state(shard);
        let own = state.parent().unwrap_or(folder.path()).join("kept");
        Self { folder: folder.clone(), own }
    }

    /// Keeps a copy of a file that was just published.
    pub(super) fn keep(&self, artifact: &Artifact) -> Result<(), Fault> {
        Ok(artifact::copy(&self.folder.path_of(artifact), &self.own.join(artifact.file_name()))?)
    }

    /// Makes sure that a published file is what it was, putting the copy in its place where it is not.
    pub(super) fn require(&self, artifact: &Artifact, expected: Digest) -> Result<(), Fault> {
        let path = self.folder.locate(artifact);
        let found = digest_of(&path)?;
        if found == Some(expected) {
            return Ok(());
        }
        let kept = self.own.join(artifact.file_name());
        if digest_of(&kept)? == Some(expected) {
            log::warn!(stage = "shard-worker", path:% = path.display(); "put back what was published");
            return Ok(artifact::copy(&kept, &path)?);
        }
        let found = found.map_or_else(|| "is gone".to_owned(), |found| format!("has SHA-256 {found}"));
        let path = path.display();
        Err(Fault::Permanent(format!(
            "copy_lost: {path} {found}, was published with {expected}, and no copy is left; put it back from a backup"
        )))
    }

    /// Removes copies that are old, unless their event file is still there: where the tracking database is lost, all
    /// that are there are handed out again, and what was made of them has to be there too.
    pub(super) fn sweep(&self, now: Timestamp) -> Result<(), Fault> {
        for name in artifact::list(&self.own)? {
            let path = self.own.join(&name);
            if artifact::written_unix_ms(&path)? < now.plus_ms(-KEEP_MS).unix_ms() && !self.has_event_file(&name)? {
                artifact::remove(&path)?;
            }
        }
        Ok(())
    }

    fn has_event_file(&self, name: &str) -> io::Result<bool> {
        let Some(kept) = Artifact::from_file_name(name) else {
            return Ok(false);
        };
        artifact::is_there(&self.folder.locate(&Artifact::Events(kept.file().clone())))
    }
}

/// Nothing for a file that is not there.
fn digest_of(path: &Path) -> Result<Option<Digest>, Fault> {
    match artifact::open_verified(path, None) {
        Ok((_, found)) => Ok(Some(found.sha256)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fault::of_input(path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_as_long_as_its_event_file() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, shard) = (Folder::new(temp.path()), ShardId::new(0).unwrap());
        let now = crate::base::clock::Clock::System.now();
        let file = crate::pipeline::task::FileName::of(now);
        let [events, prepared] = [Artifact::Events(file.clone()), Artifact::Prepared(file, shard)];
        for one in [&events, &prepared] {
            let path = folder.path_of(one);
            artifact::create_folder(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"line\n").unwrap();
        }
        let kept = Archive::of(&folder, shard);
        kept.keep(&prepared).unwrap();
        let published = artifact::open_verified(&folder.path_of(&prepared), None).unwrap().1.sha256;
        std::fs::remove_file(folder.path_of(&prepared)).unwrap();
        kept.sweep(now.plus_ms(30 * KEEP_MS)).unwrap();
        kept.require(&prepared, published).unwrap();
        std::fs::remove_file(folder.path_of(&prepared)).unwrap();
        std::fs::remove_file(folder.path_of(&events)).unwrap();
        kept.sweep(now).unwrap();
        kept.require(&prepared, published).unwrap();
        std::fs::remove_file(folder.path_of(&prepared)).unwrap();
        kept.sweep(now.plus_ms(2 * KEEP_MS)).unwrap();
        let gone = kept.require(&prepared, published).unwrap_err();
        assert!(matches!(&gone, Fault::Permanent(why) if why.contains("no copy is left")), "{gone}");
    }
}
