//! The files of a shared folder that a backup holds: all but the databases, locks, notes of running roles and files that
//! are being written.
//!
//! Folders come before the files beside them. So the notes of imports and redrives are older than the event files that
//! they name, and a spool is met before the event file that it becomes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Databases, Error};
use crate::pipeline::artifact::{self, Kind};
use crate::pipeline::folder::Folder;

/// The notes of running roles, at the top of the shared folder.
const RUN: &str = "run";
/// What stands behind the name of a database in the files beside it.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What is met on the way, by its path below the shared folder.
pub(super) enum Met<'a> {
    /// A file.
    File(&'a str, &'a Path),
    /// A folder, after everything in it.
    Folder(&'a str),
}

/// A way through the shared folder.
pub(super) struct Walk {
    root: PathBuf,
    databases: BTreeSet<PathBuf>,
    /// Links, pipes and the like, which nothing reads.
    pub(super) others: u64,
}

impl Walk {
    pub(super) fn new(folder: &Folder, databases: &Databases) -> Self {
        let databases = databases.embedded.iter().map(|(_, path)| path.clone()).collect();
        Self { root: folder.path().to_owned(), databases, others: 0 }
    }

    /// Visits everything.
    pub(super) fn all(&mut self, visit: &mut dyn FnMut(Met<'_>) -> Result<(), Error>) -> Result<(), Error> {
        self.visit_folder("", visit)
    }

    fn visit_folder(&mut self, below: &str, visit: &mut dyn FnMut(Met<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let own = self.root.join(below);
        let mut files = Vec::new();
        for name in artifact::list(&own)? {
            let (path, relative) = (own.join(&name), joined(below, &name));
            if is_temporary(&name) || relative == RUN || self.is_of_a_database(&path) {
                continue;
            }
            match artifact::kind(&path) {
                Ok(Kind::Folder) => self.visit_folder(&relative, visit)?,
                Ok(Kind::File) => files.push(relative),
                Ok(Kind::Other) => {
                    log::warn!(path:% = path.display(); "left out of the backup: it is a link, or no plain file");
                    self.others += 1;
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e.into()),
            }
        }
        for relative in files {
            visit(Met::File(&relative, &self.root.join(&relative)))?;
        }
        visit(Met::Folder(below))
    }

    fn is_of_a_database(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let main = BESIDE.iter().find_map(|suffix| text.strip_suffix(suffix)).unwrap_or(&text);
        self.databases.contains(Path::new(main))
    }
}

fn joined(below: &str, name: &str) -> String {
    if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") }
}

/// A file that is being written, or whose writer was killed.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}
