//! The names and paths of the files that travel between the stages (docs/contracts.md, 2).

use std::io;
use std::path::{Path, PathBuf};

use super::{artifact, no_follow};
use crate::pipeline::event::ShardId;
use crate::pipeline::task::FileName;

/// Where a role puts artifacts that are not delivered when its folder has to end empty.
pub const UNDELIVERED: &str = "undelivered";

/// The shared folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// A file that one stage leaves for the next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Artifact {
    /// `events/<filename>.event-ingest.txt`.
    Events(FileName),
    /// `shard-splitter/<filename>.shard-splitter.<shard>.txt`.
    Split(FileName, ShardId),
    /// `shard-splitter/<filename>.shard-splitter.<shard>.lines`: for every line of the split file the number that it
    /// had in the event file, so that later stages can say where the line stood.
    SplitIndex(FileName, ShardId),
    /// `shard-splitter/rejects/<filename>.shard-splitter.rejects.txt`.
    SplitRejects(FileName),
    /// `shard-worker-<shard>/<filename>.shard-worker.<shard>.prepared.txt`.
    Prepared(FileName, ShardId),
    /// `shard-worker-<shard>/rejects/<filename>.shard-worker.<shard>.rejects.txt`.
    WorkRejects(FileName, ShardId),
    /// `mysql-sender/<filename>.mysql-sender.<shard>.receipt.json`.
    Receipt(FileName, ShardId),
}

impl Folder {
    /// The shared folder at this path. It may be reached through links, which are resolved here, once; below it there
    /// are none.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self(resolve(path.as_ref()))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The ingest's own folder.
    pub fn events(&self) -> PathBuf {
        self.0.join("events")
    }

    /// The splitter's own folder.
    pub fn splitter(&self) -> PathBuf {
        self.0.join("shard-splitter")
    }

    /// One worker's own folder.
    pub fn worker(&self, shard: ShardId) -> PathBuf {
        self.0.join(format!("shard-worker-{shard}"))
    }

    /// The sender's own folder.
    pub fn sender(&self) -> PathBuf {
        self.0.join("mysql-sender")
    }

    /// One worker's own state.
    pub fn worker_state(&self, shard: ShardId) -> PathBuf {
        self.worker(shard).join("state").join("worker.sqlite")
    }

    /// Where an artifact can be read: in its place, or in `undelivered/`, to which its role moved it when it stopped.
    pub fn locate(&self, artifact: &Artifact) -> PathBuf {
        let path = self.path_of(artifact);
        // Any fault but a plain absence shows when the caller opens the path.
        if !no_follow::stat(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return path;
        }
        let aside = path.parent().map(|own| own.join(UNDELIVERED).join(artifact.file_name()));
        aside.filter(|aside| no_follow::stat(aside).is_ok()).unwrap_or(path)
    }

    /// Where an artifact belongs.
    pub fn path_of(&self, artifact: &Artifact) -> PathBuf {
        let folder = match artifact {
            Artifact::Events(_) => self.events(),
            Artifact::Split(..) | Artifact::SplitIndex(..) => self.splitter(),
            Artifact::SplitRejects(_) => self.splitter().join("rejects"),
            Artifact::Prepared(_, shard) => self.worker(*shard),
            Artifact::WorkRejects(_, shard) => self.worker(*shard).join("rejects"),
            Artifact::Receipt(..) => self.sender(),
        };
        folder.join(artifact.file_name())
    }
}

/// The artifacts in a role's own folder, then those that it has put aside there. Each of these places is listed when it
/// is its turn: what is put aside meanwhile is met.
pub fn artifacts(own: PathBuf) -> impl Iterator<Item = io::Result<(Artifact, PathBuf)>> {
    let aside = own.join(UNDELIVERED);
    [own, aside].into_iter().flat_map(|place| {
        let (names, error) = match artifact::list(&place) {
            Ok(names) => (names, None),
            Err(e) => (Vec::new(), Some(Err(e))),
        };
        let found = move |name: String| Some(Ok((Artifact::from_file_name(&name)?, place.join(&name))));
        names.into_iter().filter_map(found).chain(error)
    })
}

impl Artifact {
    /// The name of the file, without its folder.
    pub fn file_name(&self) -> String {
        match self {
            Self::Events(file) => format!("{file}.event-ingest.txt"),
            Self::Split(file, shard) => format!("{file}.shard-splitter.{shard}.txt"),
            Self::SplitIndex(file, shard) => format!("{file}.shard-splitter.{shard}.lines"),
            Self::SplitRejects(file) => format!("{file}.shard-splitter.rejects.txt"),
            Self::Prepared(file, shard) => format!("{file}.shard-worker.{shard}.prepared.txt"),
            Self::WorkRejects(file, shard) => format!("{file}.shard-worker.{shard}.rejects.txt"),
            Self::Receipt(file, shard) => format!("{file}.mysql-sender.{shard}.receipt.json"),
        }
    }

    /// The artifact at a path, by its name.
    ///
    /// # Errors
    /// A sentence for a person when the name is that of no artifact.
    pub fn of_path(path: &Path) -> Result<Self, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let like = "20250101000000.event-ingest.txt, 20250101000000.shard-splitter.0.txt or 20250101000000.shard-worker.0.prepared.txt";
        Self::from_file_name(&name)
            .ok_or_else(|| format!("'{name}' is no name of a pipeline file; names are like {like}"))
    }

    /// The artifact that has this file name; `None` for temporary files and everything else.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, '.');
        let file: FileName = parts.next()?.parse().ok()?;
        let (stage, rest) = (parts.next()?, parts.next()?);
        let shard = |text: &str| text.parse::<ShardId>().ok();
        let found = match (stage, rest.rsplit_once('.')) {
            ("event-ingest", None) if rest == "txt" => Self::Events(file),
            ("shard-splitter", Some(("rejects", "txt"))) => Self::SplitRejects(file),
            ("shard-splitter", Some((number, "txt"))) => Self::Split(file, shard(number)?),
            ("shard-splitter", Some((number, "lines"))) => Self::SplitIndex(file, shard(number)?),
            ("shard-worker", Some((rest, "txt"))) => match rest.split_once('.')? {
                (number, "prepared") => Self::Prepared(file, shard(number)?),
                (number, "rejects") => Self::WorkRejects(file, shard(number)?),
                _ => return None,
            },
            ("mysql-sender", Some((rest, "json"))) => Self::Receipt(file, shard(rest.strip_suffix(".receipt")?)?),
            _ => return None,
        };
        // One spelling only: `007` is no shard's name.
        (found.file_name() == name).then_some(found)
    }

    /// The event file that this artifact belongs to.
    pub fn file(&self) -> &FileName {
        match self {
            Self::Events(file)
            | Self::Split(file, _)
            | Self::SplitIndex(file, _)
            | Self::SplitRejects(file)
            | Self::Prepared(file, _)
            | Self::WorkRejects(file, _)
            | Self::Receipt(file, _) => file,
        }
    }

    /// The shard that this artifact belongs to, if it belongs to one.
    pub fn shard(&self) -> Option<ShardId> {
        match self {
            Self::Events(_) | Self::SplitRejects(_) => None,
            Self::Split(_, shard)
            | Self::SplitIndex(_, shard)
            | Self::Prepared(_, shard)
            | Self::WorkRejects(_, shard)
            | Self::Receipt(_, shard) => Some(*shard),
        }
    }
}

/// The path without links, as far as it is there already.
pub fn resolve(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for above in whole.ancestors() {
        if let (Ok(real), Ok(rest)) = (above.canonicalize(), whole.strip_prefix(above)) {
            return if rest.as_os_str().is_empty() { real } else { real.join(rest) };
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_folder_may_be_reached_through_links() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, temp.path().join("link")).unwrap();
        assert_eq!(Folder::new(temp.path().join("link")).path(), real);
        assert_eq!(Folder::new(temp.path().join("link/new/er")).path(), real.join("new/er"));
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(Folder::new("./not-there").path(), here.join("not-there"));
    }

    #[test]
    fn every_name_is_read_back() {
        let file: FileName = "20251015172520".parse().unwrap();
        let shard = ShardId::new(1).unwrap();
        let all = [
            (Artifact::Events(file.clone()), "20251015172520.event-ingest.txt"),
            (Artifact::Split(file.clone(), shard), "20251015172520.shard-splitter.1.txt"),
            (Artifact::SplitIndex(file.clone(), shard), "20251015172520.shard-splitter.1.lines"),
            (Artifact::SplitRejects(file.clone()), "20251015172520.shard-splitter.rejects.txt"),
            (Artifact::Prepared(file.clone(), shard), "20251015172520.shard-worker.1.prepared.txt"),
            (Artifact::WorkRejects(file.clone(), shard), "20251015172520.shard-worker.1.rejects.txt"),
            (Artifact::Receipt(file, shard), "20251015172520.mysql-sender.1.receipt.json"),
        ];
        for (artifact, name) in all {
            assert_eq!(artifact.file_name(), name);
            assert_eq!(Artifact::from_file_name(name), Some(artifact));
        }
    }

    #[test]
    fn nothing_else_is_an_artifact() {
        for name in [
            "",
            ".20251015172520.event-ingest.txt.t1.tmp",
            "20251015172520.event-ingest.txt.tmp",
            "20251015172520.shard-splitter.01.txt",
            "20251015172520.shard-splitter.128.txt",
            "20251015172520.shard-splitter.txt",
            "20250230172520.event-ingest.txt",
            "20251015172520.event-ingest.1.txt",
            "../20251015172520.event-ingest.txt",
        ] {
            assert_eq!(Artifact::from_file_name(name), None, "{name}");
        }
    }
}
