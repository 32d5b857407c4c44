//! Single steps on files and folders of the shared folder; no link is followed. A step that changes a name makes it
//! durable.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, RenameFlags, flock};

use super::super::no_follow;

/// What to do when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Refuse with `AlreadyExists`: the file belongs to another writer.
    Refuse,
    /// Put ours in its place: our own earlier attempt at the same bytes, or what became of it.
    Replace,
}

/// Opens a regular file for reading without following a link at its name.
///
/// # Errors
/// When it cannot be opened or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    no_follow::open(path, OFlags::RDONLY)
}

/// Opens a regular file for reading and writing without following a link at its name.
///
/// # Errors
/// When it cannot be opened or is no regular file.
pub fn open_for_update(path: &Path) -> io::Result<File> {
    no_follow::open(path, OFlags::RDWR)
}

/// Creates a file for reading and writing; whatever has its name already is left alone.
///
/// # Errors
/// `AlreadyExists` if the name is taken, else whatever the system says.
pub fn create_new(path: &Path) -> io::Result<File> {
    no_follow::open(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
}

/// Opens a folder, for locking it.
///
/// # Errors
/// Whatever the system says.
pub fn open_folder(folder: &Path) -> io::Result<File> {
    no_follow::folder(folder)
}

/// How a lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// By any number of holders at the same time.
    Shared,
    /// By one holder alone.
    Exclusive,
}

/// Takes the lock of a folder until what is answered is dropped or the process ends; nothing when another process holds
/// it in a way that rules this out.
///
/// # Errors
/// Whatever the system says.
pub fn lock_folder(folder: &Path, lock: Lock) -> io::Result<Option<File>> {
    let held = open_folder(folder)?;
    let how = match lock {
        Lock::Shared => FlockOperation::NonBlockingLockShared,
        Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(&held, how) {
        Ok(()) => Ok(Some(held)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Creates a folder and makes its name durable; the folders above it too, as far as they are new.
///
/// # Errors
/// Whatever the system says.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    match no_follow::folder(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(drop),
    }
    create_folder(no_follow::parent(folder))?;
    no_follow::create_folder(folder)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Whatever the system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    no_follow::folder(folder)?.sync_all()
}

/// The names in a folder, sorted; none if there is no such folder.
///
/// # Errors
/// Whatever reading the folder fails with.
pub fn list(folder: &Path) -> io::Result<Vec<String>> {
    match no_follow::list(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
        Err(e) => Err(e),
    }
}

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A link, a pipe or anything else that is never read.
    Other,
}

/// What this name stands for; a link is not followed.
///
/// # Errors
/// Whatever the system says.
pub fn kind(path: &Path) -> io::Result<EntryKind> {
    use rustix::fs::FileType;
    Ok(match FileType::from_raw_mode(no_follow::stat(path)?.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        _ => EntryKind::Other,
    })
}

/// Whether anything has this name.
///
/// # Errors
/// Whatever the system says, unless nothing has.
pub fn is_there(path: &Path) -> io::Result<bool> {
    match no_follow::stat(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The size of a file in bytes.
///
/// # Errors
/// Whatever the system says.
pub fn size(path: &Path) -> io::Result<u64> {
    Ok(u64::try_from(no_follow::stat(path)?.st_size).unwrap_or_default())
}

/// When a file was last written, as Unix time in milliseconds.
///
/// # Errors
/// Whatever the system says.
pub fn written_unix_ms(path: &Path) -> io::Result<i64> {
    let stat = no_follow::stat(path)?;
    Ok(stat
        .st_mtime
        .saturating_mul(1000)
        .saturating_add(i64::try_from(stat.st_mtime_nsec / 1_000_000).unwrap_or_default()))
}

/// Whether this name is that of this open file.
///
/// # Errors
/// Whatever the system says.
pub fn is_name_of(path: &Path, file: &File) -> io::Result<bool> {
    let (named, held) = (no_follow::stat(path)?, rustix::fs::fstat(file)?);
    Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino))
}

/// Removes a file and says whether it was there.
///
/// # Errors
/// Whatever the system says, unless the file is already gone.
pub fn remove(path: &Path) -> io::Result<bool> {
    match no_follow::remove(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Moves a file without replacing another, within one file system; both folders are made durable.
///
/// # Errors
/// `AlreadyExists` if the name is taken, else whatever the system says.
pub fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    create_folder(no_follow::parent(to))?;
    rename(from, to, Taken::Refuse)?;
    sync_folder(no_follow::parent(from))
}

/// Gives a file its name and makes the name durable.
pub(super) fn rename(from: &Path, to: &Path, taken: Taken) -> io::Result<()> {
    no_follow::rename(from, to, if taken == Taken::Refuse { RenameFlags::NOREPLACE } else { RenameFlags::empty() })
}

/// Changes the names of two folders, or two files, in one step, and makes that durable.
///
/// # Errors
/// `InvalidInput` or `Unsupported` where the file system knows no such step, else whatever the system says.
pub fn swap(one: &Path, other: &Path) -> io::Result<()> {
    no_follow::rename(one, other, RenameFlags::EXCHANGE)
}

/// Gives a folder the name of an empty one, or a new name, and makes that durable.
///
/// # Errors
/// Whatever the system says.
pub fn take_name(from: &Path, to: &Path) -> io::Result<()> {
    no_follow::rename(from, to, RenameFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_shared_by_many_or_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let shared = [Lock::Shared; 2].map(|lock| lock_folder(folder.path(), lock).unwrap().unwrap());
        assert!(lock_folder(folder.path(), Lock::Exclusive).unwrap().is_none());
        drop(shared);
        let alone = lock_folder(folder.path(), Lock::Exclusive).unwrap().unwrap();
        assert!(lock_folder(folder.path(), Lock::Shared).unwrap().is_none());
        drop(alone);
        assert!(lock_folder(folder.path(), Lock::Shared).unwrap().is_some());
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("x"), folder.path().join("link"));
        std::fs::write(&target, b"secret").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(open(&link).is_err());
        std::fs::hard_link(&target, folder.path().join("hard")).unwrap();
        assert!(open(&target).is_err());
        assert!(open(folder.path()).is_err());
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(open(&pipe).is_err());
    }
}
