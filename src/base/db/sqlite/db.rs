//! A SQLite file behind async calls: one connection, used by one blocking call at a time.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::fault::named_if_read_only;
use super::migrate;
use crate::base::db::migration::Schema;
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;

/// How long a call waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries where SQLite itself does not wait.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Pages of the log before what is in it goes into the database file, 16 MiB: with SQLite's own 1000 the worker's
/// transaction of a file would do that at its every commit.
const CHECKPOINT_PAGES: u32 = 4000;
/// Page cache per connection, in KiB: bounds the memory of a large transaction.
const CACHE_KIB: i64 = 16 * 1024;

/// A shared connection.
#[derive(Clone)]
pub(crate) struct Db {
    /// None between a call that found it read-only and the next one.
    connection: Arc<Mutex<Option<Connection>>>,
    path: Arc<Path>,
    /// None where it is only looked at.
    schema: Option<&'static Schema>,
}

impl Db {
    /// Opens and migrates the database in this file.
    pub(crate) async fn open(path: &Path, schema: &'static Schema) -> Result<Self> {
        let path: Arc<Path> = path.into();
        let place = Arc::clone(&path);
        let connection = blocking(move || connect(&place, schema)).await?;
        Ok(Self { connection: Arc::new(Mutex::new(Some(connection))), path, schema: Some(schema) })
    }

    /// Opens the database in this file for reading only: nothing is created, migrated or waited for.
    pub(crate) async fn look(path: &Path) -> Result<Self> {
        let path: Arc<Path> = path.into();
        let place = Arc::clone(&path);
        let open = move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(place, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            Ok(connection)
        };
        Ok(Self { connection: Arc::new(Mutex::new(Some(blocking(open).await?))), path, schema: None })
    }

    /// Runs a call on the blocking pool.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Self { connection, path, schema } = self.clone();
        blocking(move || {
            // A panic in another call leaves the connection usable: its transaction was rolled back when it was dropped.
            let mut slot = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = match (slot.take(), schema) {
                (Some(connection), _) => connection,
                (None, Some(schema)) => connect(&path, schema)?,
                (None, None) => return Err(Error::unavailable(format!("{} was closed", path.display()))),
            };
            let result = work(slot.insert(connection)).map_err(|e| named_if_read_only(e, &path));
            if schema.is_some() && result.as_ref().is_err_and(Error::is_read_only) {
                // SQLite finds out when it opens a file whether it may be written, and connections of a process share
                // that: the next call opens it anew, so that it goes on once rights or file system are mended.
                *slot = None;
            }
            result
        })
        .await
    }

    /// Whether the schema is there, as far as this table goes, and the database takes changes.
    pub(crate) async fn ping(&self, table: &'static str) -> Result<()> {
        self.call(move |connection| {
            let select = format!("SELECT 1 FROM {table} LIMIT 1");
            connection.prepare_cached(&select)?.exists([])?;
            rewrite_header(connection)
        })
        .await
    }
}

/// Commits an unchanged page. This fails where the disk is full or read-only, and needs no table of its own.
fn rewrite_header(connection: &mut Connection) -> Result<()> {
    // IMMEDIATE: no other process migrates between the read and the write.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    transaction.pragma_update(None, "user_version", version)?;
    Ok(transaction.commit()?)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::broken(format!("a database call ended abnormally: {e}"))),
    }
}

/// Opens, configures and migrates a database file. The folder is created where it is missing.
pub(crate) fn connect(path: &Path, schema: &Schema) -> Result<Connection> {
    if let Some(folder) = path.parent() {
        create_folder(folder).map_err(|e| Error::unavailable(format!("cannot create {}: {e}", folder.display())))?;
    }
    let named = |e: rusqlite::Error| {
        let e = named_if_read_only(e.into(), path);
        if e.is_read_only() { e } else { e.at(path.display()) }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // NOFOLLOW refuses a link anywhere in the path, so the folder is resolved first and only the file must be no link.
    let resolved = match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    };
    let mut connection = Connection::open_with_flags(resolved, flags).map_err(named)?;
    configure(&connection).map_err(named)?;
    migrate::run(&mut connection, schema).map_err(|e| named_if_read_only(e, path))?;
    Ok(connection)
}

/// Creates a folder, and those above it as far as they are new, and makes their names durable: SQLite syncs the folder
/// of a database, not the name of that folder.
fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(folder);
    create_folder(above)?;
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists || !folder.is_dir() => return Err(e),
        _ => {}
    }
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    File::open(above)?.sync_all()
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_a_log(connection)?;
    // FULL: a commit that was reported survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update(None, "temp_store", "FILE")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Changes over to a log. While another process does the same for a new database SQLite answers that it is busy, and
/// does not wait as it does otherwise.
#[expect(clippy::disallowed_methods, reason = "as long as SQLite's own wait, which no stop ends early either")]
fn keep_a_log(connection: &Connection) -> rusqlite::Result<()> {
    let begun = Instant::now();
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())) {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(BUSY_PAUSE);
            }
            other => return other,
        }
    }
}

/// A moment as it stands in a column.
pub(crate) fn timestamp_text(at: Timestamp) -> String {
    at.to_string()
}

/// A column's text as a moment.
pub(crate) fn timestamp_column(row: &rusqlite::Row<'_>, column: &str) -> Result<Timestamp> {
    let text: String = row.get(column)?;
    Timestamp::parse(&text).ok_or_else(|| Error::broken(format!("column {column} holds '{text}', no moment")))
}

/// A column's text as a moment, or nothing for NULL.
pub(crate) fn optional_timestamp(row: &rusqlite::Row<'_>, column: &str) -> Result<Option<Timestamp>> {
    let text: Option<String> = row.get(column)?;
    match text {
        None => Ok(None),
        Some(_) => timestamp_column(row, column).map(Some),
    }
}

/// A column's number that is never below zero.
pub(crate) fn count_column(row: &rusqlite::Row<'_>, column: &str) -> Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| Error::broken(format!("column {column} holds {number}")))
}

/// A count as a column's number.
pub(crate) fn count_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::migration::THINGS;

    #[tokio::test]
    async fn a_ping_writes_and_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pinged.sqlite");
        let db = Db::open(&path, &THINGS).await.unwrap();
        let other = Connection::open(&path).unwrap();
        let version = |of: &str| other.pragma_query_value(None, of, |row| row.get::<_, i64>(0)).unwrap();
        let before = (version("user_version"), version("schema_version"));
        // Changes with every commit of another connection.
        let mut seen = version("data_version");
        for _ in 0..3 {
            db.ping("seen").await.unwrap();
            let now = version("data_version");
            assert_ne!(now, seen, "nothing was committed");
            seen = now;
        }
        assert_eq!((version("user_version"), version("schema_version")), before);
        assert!(matches!(db.ping("nothing").await, Err(Error::Broken(_))), "a table that is not there");
        db.call(|connection| Ok(connection.pragma_update(None, "query_only", true)?)).await.unwrap();
        let refused = db.ping("seen").await;
        let told = refused.unwrap_err();
        let expected = format!("{}: database_read_only: attempt to write a readonly database", path.display());
        assert_eq!(told.to_string(), format!("the database is not available: {expected}"));
        // It was read-only when it was opened. It is closed, as connections of a process share that, and opened anew.
        assert!(db.connection.lock().unwrap().is_none());
        db.ping("seen").await.unwrap();
    }

    #[test]
    fn a_commit_that_was_reported_survives_a_power_cut() {
        let folder = tempfile::tempdir().unwrap();
        let connection = connect(&folder.path().join("synced.sqlite"), &THINGS).unwrap();
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        // FULL: the log is synced by every commit; NORMAL would sync it only when it is moved into the database.
        assert_eq!(synchronous, 2);
    }

    #[test]
    fn two_that_make_a_database_at_the_same_moment_both_get_it() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new.sqlite");
            let opened = std::thread::scope(|scope| {
                let open = || connect(&path, &THINGS).map(drop);
                let others: Vec<_> = (0..3).map(|_| scope.spawn(open)).collect();
                others.into_iter().map(|other| other.join().unwrap()).collect::<Vec<_>>()
            });
            assert!(opened.iter().all(Result::is_ok), "{opened:?}");
        }
    }
}
