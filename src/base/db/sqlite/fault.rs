//! What SQLite says, in the words that callers act on.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::base::db::Error;
use crate::base::db::error::{Condition, Why};

/// What SQLite keeps beside a database file, as endings of its name.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let (code, text) = (error.sqlite_error_code(), error.to_string());
        let why = Why::of(error, text);
        match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(why),
            Some(ErrorCode::DiskFull) => Self::Unavailable(why.under(Condition::DiskFull)),
            Some(ErrorCode::ReadOnly) => Self::Unavailable(why.under(Condition::ReadOnly)),
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory,
            ) => Self::Unavailable(why),
            _ => Self::Broken(why),
        }
    }
}

/// Names the database file in an error that says, or may mean, that the file takes no changes; with the cause, where
/// rights or the file system are it. SQLite itself says 'attempt to write a readonly database' or 'unable to open
/// database file', without a name.
pub(crate) fn named_if_read_only(error: Error, path: &Path) -> Error {
    let Error::Unavailable(why) = error else {
        return error;
    };
    let is_read_only = match why.condition() {
        Some(Condition::DiskFull) => return Error::Unavailable(why),
        Some(Condition::ReadOnly) => true,
        None => false,
    };
    let why = match why_read_only(path) {
        None if !is_read_only => return Error::Unavailable(why),
        None => why,
        Some(cause) if is_read_only => why.reworded(|text| format!("{text}; {cause}")),
        Some(cause) => why.reworded(|text| format!("{text}; {cause}")).under(Condition::ReadOnly),
    };
    Error::Unavailable(why).at(path.display())
}

/// Why this process cannot change the database in this file: what rights and the file system say of the file, of the
/// log beside it and of the folder. Nothing where all of them may be written, or there is no such file.
pub(crate) fn why_read_only(path: &Path) -> Option<String> {
    let beside = BESIDE.map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    });
    let write = Access::WRITE_OK;
    // The log is made anew where it is missing, so the folder must be writable too.
    let folder = path.parent().map(|folder| (folder, write | Access::EXEC_OK));
    access(path, Access::EXISTS).ok()?;
    let files = [path, &beside[0], &beside[1]].map(|file| (file, write));
    files.into_iter().chain(folder).find_map(|(at, needed)| match access(at, needed) {
        Err(Errno::ROFS) => Some("its file system is mounted read-only".to_owned()),
        Err(Errno::ACCESS | Errno::PERM) => Some(format!("the user of this process may not write {}", at.display())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn sqlites_own_error_stays_behind_the_text() {
        for (code, text) in [
            (5, "the database is busy: m"),
            (13, "the database is not available: disk_full: m"),
            (8, "the database is not available: database_read_only: m"),
            (14, "the database is not available: m"),
            (11, "the database is broken: m"),
        ] {
            let of_code = rusqlite::ffi::Error::new(code);
            let error = Error::from(rusqlite::Error::SqliteFailure(of_code, Some("m".to_owned())));
            assert_eq!(error.to_string(), text);
            let source = error.source().and_then(|source| source.downcast_ref::<rusqlite::Error>());
            assert_eq!(source.and_then(rusqlite::Error::sqlite_error_code), Some(of_code.code));
        }
    }
}
