//! Numbered migrations on a server: added, never edited; applied in order under a lock.
//!
//! A server does not take back half a migration, so every statement is noted when it is done. If the process dies
//! between a statement and its note, the statement is run again, and "it is there already" counts as done.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as Driver};
use tokio::time::timeout;

use super::fault::{self, no_answer};
use super::session::{ANSWER_MAX, connect};
use crate::base::db::migration::{Migration, Schema, SchemaState};
use crate::base::db::url::Server;
use crate::base::db::{Error, Result};

/// How long all migrations of a database may take: large tables are rebuilt.
const MIGRATION_MAX: Duration = Duration::from_secs(3600);
/// How long a start waits for another one that migrates, in seconds.
const LOCK_WAIT_SECS: u32 = 60;
/// What a statement fails with whose work is done: the table, column, key or constraint is there, or is gone.
const DONE_ALREADY: [u16; 9] = [1050, 1051, 1060, 1061, 1091, 1826, 3821, 3822, 3940];
/// Notes which statements of which migration were run.
const NOTES: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
    number INT NOT NULL, name VARCHAR(255) NOT NULL, statements INT NOT NULL, finished_at DATETIME(3) NULL, PRIMARY KEY (number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// How far a database is: whole migrations, and statements of the one after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct MigrationProgress {
    finished: usize,
    statements: usize,
}

/// Whether nothing is left to apply. This needs no right but to read. A schema that is newer than the program is no
/// fault: migrations add, so that what is installed goes on while the next version is rolled out.
pub(crate) async fn is_current(connection: &mut Conn, schema: &Schema, place: &str) -> Result<bool> {
    let MigrationProgress { finished, .. } = progress(connection).await?;
    let known = schema.mysql.len();
    if finished > known {
        log::warn!(place, schema = schema.name, applied = finished, known; "the schema is newer than this program");
    }
    Ok(finished >= known)
}

/// Brings the schema up to date where it is not.
pub(crate) async fn ensure(connection: &mut Conn, schema: &Schema, place: &str) -> Result<()> {
    match timeout(MIGRATION_MAX, migrate(connection, schema, place, LOCK_WAIT_SECS)).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(MIGRATION_MAX)),
    }
}

async fn migrate(connection: &mut Conn, schema: &Schema, place: &str, lock_wait_secs: u32) -> Result<()> {
    if is_current(connection, schema, place).await? {
        return Ok(());
    }
    let locked: Option<Option<i64>> = connection
        .exec_first("SELECT GET_LOCK(CONCAT('shopctl migrate ', LEFT(DATABASE(), 48)), ?)", (lock_wait_secs,))
        .await
        .map_err(fault::of_statement)?;
    let locked = locked.flatten();
    if locked != Some(1) {
        return Err(Error::busy(format!("{place}: another process migrates the {} database", schema.name)));
    }
    let result = apply(connection, schema, place).await;
    let unlock = connection.query_drop("DO RELEASE_LOCK(CONCAT('shopctl migrate ', LEFT(DATABASE(), 48)))").await;
    result.and(unlock.map_err(fault::of_statement))
}

async fn apply(connection: &mut Conn, schema: &Schema, place: &str) -> Result<()> {
    connection.query_drop(NOTES).await.map_err(|e| of_migration(e, "0000", place))?;
    // Read again: another process may have migrated while we waited.
    let begun = progress(connection).await?;
    for (index, migration) in schema.mysql.iter().enumerate().skip(begun.finished) {
        let number = index + 1;
        let done = if index == begun.finished { begun.statements } else { 0 };
        note(connection, number, migration.name, done, false).await?;
        for (position, statement) in statements(migration).into_iter().enumerate().skip(done) {
            match connection.query_drop(statement).await {
                Ok(()) => {}
                // Its note was lost.
                Err(Driver::Server(e)) if position == done && DONE_ALREADY.contains(&e.code) => {}
                Err(e) => return Err(of_migration(e, migration.name, place)),
            }
            note(connection, number, migration.name, position + 1, false).await?;
        }
        note(connection, number, migration.name, statements(migration).len(), true).await?;
        log::info!(place, migration = migration.name; "migrated");
    }
    Ok(())
}

/// The statements of a migration one by one: a server takes no more at once.
fn statements(migration: &Migration) -> Vec<&'static str> {
    let ends = |statement: &&str| statement.lines().any(|line| !line.trim().is_empty() && !line.starts_with("--"));
    migration.sql.split(";\n").map(str::trim).filter(ends).collect()
}

fn of_migration(error: Driver, name: &str, place: &str) -> Error {
    match fault::of_statement(error) {
        Error::Unavailable(why) => Error::Unavailable(why.reworded(|text| {
            format!("{place}: migration {name} cannot be applied: {text}; run 'shopctl migrate up' as a user who may")
        })),
        Error::Broken(why) => Error::Broken(why.reworded(|text| format!("{place}: migration {name} failed: {text}"))),
        other => other,
    }
}

async fn note(connection: &mut Conn, number: usize, name: &str, statements: usize, finished: bool) -> Result<()> {
    let finished_at = if finished { "UTC_TIMESTAMP(3)" } else { "NULL" };
    let replace = format!(
        "REPLACE INTO schema_migration (number, name, statements, finished_at) VALUES (?, ?, ?, {finished_at})"
    );
    connection.exec_drop(replace, (number, name, statements)).await.map_err(fault::of_statement)
}

async fn progress(connection: &mut Conn) -> Result<MigrationProgress> {
    let found: std::result::Result<Vec<(usize, usize, bool)>, _> = connection
        .query("SELECT number, statements, finished_at IS NOT NULL FROM schema_migration ORDER BY number")
        .await;
    let rows = match found {
        Ok(rows) => rows,
        Err(e) if fault::is_missing_table(&e) => return Ok(MigrationProgress::default()),
        Err(e) => return Err(fault::of_statement(e)),
    };
    let finished = rows.iter().take_while(|(_, _, finished)| *finished).count();
    let begun = rows.get(finished).map_or(0, |(_, statements, _)| *statements);
    Ok(MigrationProgress { finished, statements: begun })
}

/// How far the database is, without changing it; nothing where there is none.
pub(crate) async fn status(server: &Server, schema: &'static Schema) -> Result<Option<SchemaState>> {
    let look = async {
        let mut connection = connect(server).await?;
        if !exists(&mut connection, server).await? {
            return Ok(None);
        }
        enter(&mut connection, server).await?;
        let progress = progress(&mut connection).await?;
        connection.disconnect().await.map_err(fault::of_statement)?;
        Ok(Some(SchemaState { applied: progress.finished, known: schema.mysql.len() }))
    };
    timeout(ANSWER_MAX, look).await.unwrap_or_else(|_| Err(no_answer(ANSWER_MAX)))
}

/// Creates the database where it is missing, and brings it up to date.
pub(crate) async fn up(server: &Server, schema: &'static Schema) -> Result<()> {
    let prepare = async {
        let mut connection = connect(server).await?;
        if !exists(&mut connection, server).await? {
            let create = format!(
                "CREATE DATABASE IF NOT EXISTS `{}` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
                server.database
            );
            connection.query_drop(create).await.map_err(fault::of_statement)?;
        }
        enter(&mut connection, server).await?;
        Ok(connection)
    };
    let mut connection = timeout(ANSWER_MAX, prepare).await.unwrap_or_else(|_| Err(no_answer(ANSWER_MAX)))?;
    ensure(&mut connection, schema, &server.to_string()).await?;
    connection.disconnect().await.map_err(fault::of_statement)
}

/// Whether the database is there.
async fn exists(connection: &mut Conn, server: &Server) -> Result<bool> {
    let found: Option<u8> = connection
        .exec_first("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", (&server.database,))
        .await
        .map_err(fault::of_statement)?;
    Ok(found.is_some())
}

/// Makes the database the connection's own. Its name is checked when the URL is read: letters, digits, underscores.
async fn enter(connection: &mut Conn, server: &Server) -> Result<()> {
    connection.query_drop(format!("USE `{}`", server.database)).await.map_err(fault::of_statement)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TestDatabase, on_every_server};
    use super::*;

    /// A migration of every kind of change that is not asked whether it is done.
    static CHANGES: Schema = Schema {
        name: "changes",
        row_bytes_max: 0,
        sqlite: &[],
        mysql: &[
            Migration {
                name: "0001_base",
                sql: "CREATE TABLE a (x INT NOT NULL, gone INT NULL, y INT NULL, PRIMARY KEY (x), KEY a_gone (y),
                     CONSTRAINT a_gone_range CHECK (y < 9)) ENGINE = InnoDB;\nCREATE TABLE gone (x INT NULL);\n",
            },
            Migration {
                name: "0002_changes",
                sql: "CREATE TABLE b (x INT NULL) ENGINE = InnoDB;\nALTER TABLE a ADD COLUMN z INT NULL;
CREATE INDEX a_z ON a (z);\nALTER TABLE a ADD CONSTRAINT a_z_range CHECK (z > 0);\nDROP INDEX a_gone ON a;
ALTER TABLE a DROP COLUMN gone;\nALTER TABLE a DROP CONSTRAINT a_gone_range;\nDROP TABLE gone;\n",
            },
        ],
    };

    on_every_server! {
        a_statement_whose_note_was_lost_counts_as_done
        while_another_one_migrates_it_is_busy
    }

    #[test]
    fn statements_are_told_apart_and_comments_are_none() {
        let sql =
            "-- what it is;\nCREATE TABLE a (\n  x INT -- a;b\n);\n\n-- more\nCREATE TABLE b (y INT);\n-- the end\n";
        let statements = statements(&Migration { name: "0001_x", sql });
        // The first line's comment ends in a semicolon: it is no statement of its own.
        assert_eq!(statements.len(), 2, "{statements:?}");
        assert!(statements[0].starts_with("CREATE TABLE a") && statements[1].ends_with("CREATE TABLE b (y INT)"));
    }

    /// A connection to a new, empty database.
    async fn enter_new(place: &TestDatabase) -> Conn {
        let (mut connection, name) = (place.connect().await, &place.server.database);
        for statement in [format!("CREATE DATABASE {name}"), format!("USE {name}")] {
            connection.query_drop(statement).await.unwrap();
        }
        connection
    }

    async fn tables(connection: &mut Conn) -> Vec<String> {
        let mut tables = Vec::new();
        for table in connection.query::<String, _>("SHOW TABLES").await.unwrap() {
            let create: Option<(String, String)> =
                connection.query_first(format!("SHOW CREATE TABLE {table}")).await.unwrap();
            tables.push(create.unwrap().1);
        }
        tables
    }

    async fn a_statement_whose_note_was_lost_counts_as_done(variable: &str) {
        let straight = TestDatabase::at(variable, "straight");
        let mut connection = enter_new(&straight).await;
        migrate(&mut connection, &CHANGES, "a", 0).await.unwrap();
        let expected = tables(&mut connection).await;
        straight.drop().await;
        let [first, second] = CHANGES.mysql else { panic!("there are two") };
        for noted in 0..statements(second).len() {
            let place = TestDatabase::at(variable, "note_lost");
            let mut connection = enter_new(&place).await;
            connection.query_drop(NOTES).await.unwrap();
            let done = statements(second).into_iter().take(noted + 1);
            for statement in statements(first).into_iter().chain(done) {
                connection.query_drop(statement).await.unwrap();
            }
            note(&mut connection, 1, first.name, statements(first).len(), true).await.unwrap();
            note(&mut connection, 2, second.name, noted, false).await.unwrap();
            let migrated = migrate(&mut connection, &CHANGES, "a", 0).await;
            assert!(migrated.is_ok(), "{}: {migrated:?}", statements(second)[noted]);
            assert!(is_current(&mut connection, &CHANGES, "a").await.unwrap());
            assert_eq!(tables(&mut connection).await, expected, "{}", statements(second)[noted]);
            place.drop().await;
        }
    }

    async fn while_another_one_migrates_it_is_busy(variable: &str) {
        let place = TestDatabase::at(variable, "locked");
        let mut connection = enter_new(&place).await;
        let mut other = place.connect().await;
        other.query_drop(format!("USE {}", place.server.database)).await.unwrap();
        let lock = "DO GET_LOCK(CONCAT('shopctl migrate ', LEFT(DATABASE(), 48)), 0)";
        other.query_drop(lock).await.unwrap();
        let error = migrate(&mut connection, &CHANGES, "the place", 0).await.unwrap_err();
        assert!(
            matches!(&error, Error::Busy(why) if why.text().contains("the place: another process migrates")),
            "{error}"
        );
        assert_eq!(tables(&mut connection).await, Vec::<String>::new());
        // A process that dies with the lock has it no more.
        other.disconnect().await.unwrap();
        migrate(&mut connection, &CHANGES, "the place", 5).await.unwrap();
        place.drop().await;
    }
}
