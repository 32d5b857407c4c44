//! Copies of databases that are in use. A copy is the state of one moment, even if other processes write meanwhile.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::migrate::version;
use crate::base::db::{Error, Result};

/// Pages of one step of a copy, 16 MiB: after each one the copy may be given up.
const STEP_PAGES: i32 = 4096;
/// How an existing database is opened for reading; a link in its place is refused.
const READ: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Copies the database as it is now to a new file. `go_on` is asked between the steps; false gives the copy up.
pub(crate) fn copy(from: &Path, to: &Path, go_on: &dyn Fn() -> bool) -> Result<()> {
    let source = Connection::open_with_flags(from, READ).map_err(|e| named(e, from))?;
    // One read transaction around all steps: a commit of another process does not make the copy begin anew, and a
    // writer does not wait for it.
    source.execute_batch("BEGIN").map_err(|e| named(e, from))?;
    version(&source)?;
    let mut target = Connection::open(to).map_err(|e| named(e, to))?;
    // The caller syncs the whole file; a copy that is not whole is never used.
    target.pragma_update(None, "synchronous", "OFF").map_err(|e| named(e, to))?;
    let backup = Backup::new(&source, &mut target).map_err(|e| named(e, from))?;
    while go_on() {
        match backup.step(STEP_PAGES).map_err(|e| named(e, from))? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            other => return Err(Error::busy(format!("{}: the copy was refused: {other:?}", from.display()))),
        }
    }
    Err(Error::unavailable(format!("the copy of {} was stopped before its end", from.display())))
}

/// Reads a database that no process has open from its first page to its last; answers how many migrations it has.
pub(crate) fn check(path: &Path) -> Result<usize> {
    // Immutable: neither locks nor files beside it are made.
    let mut url = url::Url::from_file_path(path).map_err(|()| {
        let why = format!("{} is no absolute path", path.display());
        Error::Invalid(why)
    })?;
    url.set_query(Some("immutable=1"));
    let connection =
        Connection::open_with_flags(url.as_str(), READ | OpenFlags::SQLITE_OPEN_URI).map_err(|e| named(e, path))?;
    let found = connection.pragma_query_value(None, "integrity_check", |row| row.get::<_, String>(0));
    match found.map_err(|e| named(e, path))?.as_str() {
        "ok" => version(&connection),
        fault => Err(Error::broken(format!("{}: {fault}", path.display()))),
    }
}

/// Whether another process has the database open.
pub(crate) fn is_in_use(path: &Path) -> Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| named(e, path))?;
    // A database with a log is held shared by every connection as long as that is open. Asked for before the first
    // look, this mode wants it alone.
    let look = connection
        .pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))
        .and_then(|()| connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK"));
    match look {
        Ok(()) => Ok(false),
        Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            Ok(true)
        }
        Err(e) => Err(named(e, path)),
    }
}

fn named(error: rusqlite::Error, path: &Path) -> Error {
    Error::from(error).at(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::migration::THINGS;
    use crate::base::db::sqlite::db::connect;

    fn put(connection: &Connection, id: i64) {
        connection.execute("INSERT INTO thing (id) VALUES (?1)", [id]).unwrap();
    }

    #[test]
    fn a_copy_is_of_one_moment_although_others_write() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().canonicalize().unwrap();
        let (path, to) = (folder.join("a.sqlite"), folder.join("copy of 100%.sqlite"));
        let writer = connect(&path, &THINGS).unwrap();
        put(&writer, 1);
        // Only the log has the row yet, and a second one comes between two looks.
        let asked = std::cell::Cell::new(0);
        copy(&path, &to, &|| {
            asked.set(asked.get() + 1);
            put(&writer, 100 + asked.get());
            true
        })
        .unwrap();
        assert_eq!(check(&to).unwrap(), THINGS.known());
        let things = |path: &Path| {
            let copied = Connection::open(path).unwrap();
            copied.query_row("SELECT COUNT(*) FROM thing", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((things(&to), things(&path)), (1, 1 + asked.get()));
        assert!(copy(&path, &folder.join("b"), &|| false).is_err());
        assert!(copy(&folder.join("none"), &folder.join("c"), &|| true).is_err());
    }

    #[test]
    fn a_database_that_another_has_open_is_in_use() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.sqlite");
        let open = connect(&path, &THINGS).unwrap();
        assert!(is_in_use(&path).unwrap());
        drop(open);
        assert!(!is_in_use(&path).unwrap());
        assert!(!is_in_use(&path).unwrap());
    }

    #[test]
    fn a_damaged_page_is_found() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap().join("a.sqlite");
        drop(connect(&path, &THINGS).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let second_page = 4096;
        bytes[second_page..second_page + 64].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(check(&path), Err(Error::Broken(_))));
    }
}
