//! The files of a shared folder that a backup holds: all but the databases, locks, notes of running roles and files that
//! are being written.
//!
//! Folders come before the files beside them, which are listed afterwards. So the notes of imports and redrives are older
//! than the event files that they name, and a spool that became an event file on the way is met as the one or the other.
//! The events come last: whatever was made of an event file has its event file in the backup.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Databases, Error};
use crate::pipeline::files::artifact::{self, EntryKind};
use crate::pipeline::files::folder::Folder;

/// The notes of running roles, at the top of the shared folder.
const RUN: &str = "run";
/// The event files, at the top of the shared folder.
const EVENTS: &str = "events";
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
        let databases = databases.places.iter().cloned().collect();
        Self { root: folder.path().to_owned(), databases, others: 0 }
    }

    /// Visits everything.
    pub(super) fn all(&mut self, visit: &mut dyn FnMut(Met<'_>) -> Result<(), Error>) -> Result<(), Error> {
        self.visit_folder("", visit)
    }

    fn visit_folder(&mut self, below: &str, visit: &mut dyn FnMut(Met<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let mut folders = self.list(below, EntryKind::Folder)?;
        folders.sort_by_key(|relative| relative == EVENTS);
        for relative in folders {
            self.visit_folder(&relative, visit)?;
        }
        for relative in self.list(below, EntryKind::File)? {
            visit(Met::File(&relative, &self.root.join(&relative)))?;
        }
        visit(Met::Folder(below))
    }

    /// What of this kind is in a folder now, by its path below the shared folder. Counts what is of no kind with the files.
    fn list(&mut self, below: &str, wanted: EntryKind) -> Result<Vec<String>, Error> {
        let own = self.root.join(below);
        let mut found = Vec::new();
        for name in artifact::list(&own)? {
            let (path, relative) = (own.join(&name), joined(below, &name));
            if is_temporary(&name) || relative == RUN || self.is_of_a_database(&path) {
                continue;
            }
            match artifact::kind(&path) {
                Ok(kind) if kind == wanted => found.push(relative),
                Ok(EntryKind::Other) if wanted == EntryKind::File => {
                    log::warn!(path:% = path.display(); "left out of the backup: it is a link, or no plain file");
                    self.others += 1;
                }
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_appears_on_the_way_is_no_plain_file() {
        let shared = tempfile::tempdir().unwrap();
        let databases = Databases { places: vec![shared.path().join("db.sqlite")], ..Databases::default() };
        let mut walk = Walk::new(&Folder::new(shared.path()), &databases);
        for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm", "a.txt"] {
            std::fs::write(shared.path().join(name), name).unwrap();
        }
        let mut met = Vec::new();
        walk.all(&mut |one| {
            if let Met::File(relative, _) = one {
                met.push(relative.to_owned());
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(met, ["a.txt"]);
    }

    #[test]
    fn what_is_made_on_the_way_is_met_with_what_it_was_made_from() {
        let shared = tempfile::tempdir().unwrap();
        let write = |relative: &str| {
            let path = shared.path().join(relative);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, relative).unwrap();
        };
        write("events/spool/a.spool");
        write("rejects/1.rejects");
        write("split/1.txt");
        let mut met = Vec::new();
        let mut walk = Walk::new(&Folder::new(shared.path()), &Databases::default());
        walk.all(&mut |one| {
            match one {
                Met::File(relative, _) => met.push(relative.to_owned()),
                // A tick between two folders: a spool becomes an event file, which is split and has rejects.
                Met::Folder("events/spool") => write("events/2.event-ingest.txt"),
                Met::Folder("rejects") => {
                    for relative in ["events/1.event-ingest.txt", "rejects/2.rejects"] {
                        write(relative);
                    }
                }
                Met::Folder(_) => {}
            }
            Ok(())
        })
        .unwrap();
        let events = ["events/spool/a.spool", "events/1.event-ingest.txt", "events/2.event-ingest.txt"];
        assert_eq!(met[..2], ["rejects/1.rejects", "split/1.txt"]);
        assert_eq!(met[2..], events, "the event files of all that was met, and those that were made meanwhile");
    }
}
