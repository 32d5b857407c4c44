//! Numbered migrations: added, never edited; applied in order under a lock when a database is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::db::connect;

use crate::base::db::migration::{Schema, SchemaState, schemas};
use crate::base::db::{Error, Result};

schemas!("sqlite");

schemas! { "sqlite":
    /// The schema of a worker's state.
    WORKER = "worker": "0001_worker", "0002_trade";
}

/// The schema of a worker's state.
pub(crate) fn worker_schema() -> &'static Schema {
    &WORKER
}

/// Brings a database up to date. The number of the last migration is kept in `user_version`.
pub(crate) fn run(connection: &mut Connection, schema: &Schema) -> Result<()> {
    let (found, known) = (version(connection)?, schema.migrations.len());
    // A schema that is newer than the program is no fault: migrations add, so that what is installed goes on while the
    // next version is rolled out.
    if found > known {
        log::warn!(schema = schema.name, applied = found, known; "the schema is newer than this program");
    }
    if found >= known {
        return Ok(());
    }
    // IMMEDIATE takes the write lock before the version is read again: two starts migrate once.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let present = version(&transaction)?;
    if present >= known {
        return Ok(());
    }
    for migration in schema.migrations.iter().skip(present) {
        transaction.execute_batch(migration.sql)?;
    }
    let latest = i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "user_version", latest)?;
    transaction.commit()?;
    Ok(())
}

/// How far the database in this file is, without changing it; nothing where there is none.
pub(crate) fn state(path: &Path, schema: &Schema) -> Result<Option<SchemaState>> {
    if !path.exists() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    Ok(Some(SchemaState { applied: version(&connection)?, known: schema.migrations.len() }))
}

/// Creates the database where it is missing, and brings it up to date.
pub(crate) fn up(path: &Path, schema: &Schema) -> Result<()> {
    connect(path, schema).map(drop)
}

pub(crate) fn version(connection: &Connection) -> Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| Error::broken(format!("user_version is {version}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once_and_a_newer_schema_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        for schema in [&TRACKING, &SHARD, &BALANCE, &CACHE, &WORKER] {
            let mut own = Connection::open_in_memory().unwrap();
            run(&mut own, schema).unwrap();
            run(&mut own, schema).unwrap();
            assert_eq!(version(&own).unwrap(), schema.migrations.len());
        }
        connection.pragma_update(None, "user_version", 99).unwrap();
        run(&mut connection, &TRACKING).unwrap();
        assert_eq!(version(&connection).unwrap(), 99);
    }
}
