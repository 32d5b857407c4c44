//! Numbered migrations: added, never edited; applied in order under a lock when a database is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::fault::named_if_read_only;
use crate::base::db::migration::{Schema, SchemaState};
use crate::base::db::{Error, Result};

/// Brings a database up to date. The number of the last migration is kept in `user_version`.
pub(crate) fn run(connection: &mut Connection, schema: &Schema) -> Result<()> {
    let (found, known) = (version(connection)?, schema.sqlite.len());
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
    for migration in schema.sqlite.iter().skip(present) {
        transaction
            .execute_batch(migration.sql)
            .map_err(|e| Error::from(e).at(format_args!("migration {}", migration.name)))?;
    }
    let latest = i64::try_from(schema.sqlite.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "user_version", latest)?;
    transaction.commit()?;
    Ok(())
}

/// How far the database in this file is, without changing it; nothing where there is none.
pub(crate) fn state(path: &Path, schema: &Schema) -> Result<Option<SchemaState>> {
    if !path.exists() {
        return Ok(None);
    }
    let read = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        version(&connection)
    };
    let applied = read().map_err(|e| named_if_read_only(e, path))?;
    Ok(Some(SchemaState { applied, known: schema.sqlite.len() }))
}

/// How many migrations a database has.
pub(crate) fn version(connection: &Connection) -> Result<usize> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| Error::broken(format!("user_version is {version}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::db::migration::THINGS;

    #[test]
    fn migrations_run_once_and_a_newer_schema_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        run(&mut connection, &THINGS).unwrap();
        run(&mut connection, &THINGS).unwrap();
        assert_eq!(version(&connection).unwrap(), THINGS.known());
        let mut newer = Connection::open_in_memory().unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        run(&mut newer, &THINGS).unwrap();
        assert_eq!(version(&newer).unwrap(), 99);
    }
}
