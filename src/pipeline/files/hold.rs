//! Locks on folders. One kind keeps running roles and a restore apart, the other a backup and the clearing of delivered
//! files. A lock ends with its process, however the process ends.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::artifact::{self, Lock};
use super::folder::Folder;
use crate::base::shutdown::Stop;
use crate::pipeline::event::ShardId;

/// Between two looks whether a clearing is over.
const PAUSE: Duration = Duration::from_millis(200);
/// Looks before a backup gives up: a minute. A clearing reads the event files that it removes.
const LOOKS_MAX: u32 = 300;

/// A lock that is held until this is dropped; on a file system without locks it holds nothing.
#[derive(Debug)]
pub struct FolderHold {
    _lock: Option<File>,
}

/// Notes that a role runs on the shared folder; nothing while a restore holds it. A role that may not read the folder
/// runs without the note.
pub fn while_running(shared: &Path) -> Option<FolderHold> {
    lock(Folder::new(shared).path(), Lock::Shared).unwrap_or_else(|e| {
        log::warn!("'shopctl restore' cannot tell that this role runs: {e}");
        Some(FolderHold { _lock: None })
    })
}

/// Keeps roles from starting on the shared folder; nothing while one runs.
///
/// # Errors
/// When the folder is there and cannot be opened.
pub fn against_roles(shared: &Path) -> io::Result<Option<FolderHold>> {
    lock(shared, Lock::Exclusive)
}

/// Notes that a role clears its own folder; nothing while a backup is made.
pub(crate) fn while_clearing(own: &Path) -> io::Result<Option<FolderHold>> {
    lock(own, Lock::Shared)
}

/// Keeps all roles from clearing what a backup is about to copy. Answers the locks, by folder.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when a clearing or another backup does not end; [`io::ErrorKind::Interrupted`] when
/// this process is to stop.
pub(crate) fn against_clearing(folder: &Folder, stop: &Stop) -> io::Result<Vec<(String, FolderHold)>> {
    let mut held = Vec::new();
    for name in own_folders(folder)? {
        let mut looks = 0;
        let lock = loop {
            if let Some(lock) = lock(&folder.path().join(&name), Lock::Exclusive)? {
                break lock;
            }
            looks += 1;
            if looks == LOOKS_MAX {
                let why = format!("a role clears {name}/, or another backup is made; try again when that is over");
                return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
            }
            if stop.wait(PAUSE) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "stopped before the backup began"));
            }
        };
        held.push((name, lock));
    }
    Ok(held)
}

/// The folders of the roles that are there, by name.
pub(crate) fn own_folders(folder: &Folder) -> io::Result<Vec<String>> {
    let workers = ShardId::all().map(|shard| folder.worker(shard));
    let own: Vec<_> = [folder.events(), folder.splitter(), folder.sender()].into_iter().chain(workers).collect();
    let names = artifact::list(folder.path())?;
    Ok(names.into_iter().filter(|name| own.contains(&folder.path().join(name))).collect())
}

fn lock(folder: &Path, how: Lock) -> io::Result<Option<FolderHold>> {
    match artifact::lock_folder(folder, how) {
        Ok(Some(lock)) => Ok(Some(FolderHold { _lock: Some(lock) })),
        Ok(None) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Some(FolderHold { _lock: None })),
        // Without locks, as on some network file systems, there is no way to tell.
        Err(e) if matches!(e.kind(), io::ErrorKind::Unsupported) || e.raw_os_error() == Some(BAD_DESCRIPTOR) => {
            log::warn!(folder:% = folder.display(); "cannot be locked, so that a backup and a clearing may meet: {e}");
            Ok(Some(FolderHold { _lock: None }))
        }
        Err(e) => Err(e),
    }
}

/// What NFS says of a lock on a folder, which it wants to be open for writing.
const BAD_DESCRIPTOR: i32 = rustix::io::Errno::BADF.raw_os_error();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_share_the_folder_and_a_restore_has_it_alone() {
        let temp = tempfile::tempdir().unwrap();
        let roles = [0, 1].map(|_| while_running(temp.path()).unwrap());
        assert!(against_roles(temp.path()).unwrap().is_none());
        drop(roles);
        let restore = against_roles(temp.path()).unwrap().unwrap();
        assert!(while_running(temp.path()).is_none());
        drop(restore);
        assert!(while_running(&temp.path().join("none")).is_some());
    }

    #[test]
    fn a_backup_keeps_every_role_from_clearing() {
        // What waits does so on a thread of the runtime.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _entered = runtime.enter();
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        for name in ["events", "shard-splitter", "shard-worker-1", "mysql-sender", "shard-worker-128", "db"] {
            std::fs::create_dir(temp.path().join(name)).unwrap();
        }
        let held = against_clearing(&folder, &Stop::new()).unwrap();
        let names: Vec<&str> = held.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["events", "mysql-sender", "shard-splitter", "shard-worker-1"]);
        assert!(while_clearing(&folder.events()).unwrap().is_none());
        drop(held);
        let clearing = while_clearing(&folder.events()).unwrap().unwrap();
        let stop = Stop::new();
        stop.request();
        assert_eq!(against_clearing(&folder, &stop).unwrap_err().kind(), io::ErrorKind::Interrupted);
        drop(clearing);
    }
}
