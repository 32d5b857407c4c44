//! Numbered migrations, alike in every dialect: added, never edited.

use super::{Result, StoreUrl};

/// One migration: the statements that take a schema from one number to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    /// `0001_name`, as its file is called.
    pub(crate) name: &'static str,
    /// Its statements, each ended by a semicolon at the end of a line.
    pub(crate) sql: &'static str,
}

/// The migrations of one kind of database, in order; the first has number 1.
pub(crate) struct Schema {
    /// What it is the schema of.
    pub(crate) name: &'static str,
    /// The migrations.
    pub(crate) migrations: &'static [Migration],
}

/// The schemas that every dialect has, from its folder in `db/migrations`: `TRACKING`, `SHARD`, `BALANCE`, `CACHE`, and
/// `schema_of`. That they are numbered alike is so by construction.
macro_rules! schemas {
    ($dialect:literal) => {
        $crate::base::db::migration::schemas! { $dialect:
            /// The schema of the tracking database.
            TRACKING = "tracking": "0001_tracking", "0002_askers";
            /// The schema of a shard's database.
            SHARD = "shard": "0001_shard", "0002_books", "0003_row_digests";
            /// The schema of the balance database.
            BALANCE = "balance": "0001_balance";
            /// The schema of the order directory and the pending returns.
            CACHE = "cache": "0001_cache";
        }

        /// The schema of a kind of database.
        pub(crate) fn schema_of(
            kind: $crate::base::db::SchemaKind,
        ) -> &'static $crate::base::db::migration::Schema {
            use $crate::base::db::SchemaKind;
            match kind {
                SchemaKind::Tracking => &TRACKING,
                SchemaKind::Shard => &SHARD,
                SchemaKind::Balance => &BALANCE,
                SchemaKind::Cache => &CACHE,
            }
        }
    };
    ($dialect:literal: $($(#[$doc:meta])* $schema:ident = $name:literal: $($migration:literal),+;)+) => {$(
        $(#[$doc])*
        pub(crate) static $schema: $crate::base::db::migration::Schema = $crate::base::db::migration::Schema {
            name: $name,
            migrations: &[$($crate::base::db::migration::Migration {
                name: $migration,
                sql: include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/db/migrations/", $dialect, "/", $name, "/", $migration, ".sql"
                )),
            }),+],
        };
    )+};
}
pub(crate) use schemas;

/// How far a database's schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations that are applied.
    pub applied: usize,
    /// Migrations that this program knows.
    pub known: usize,
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    /// The tracking database.
    Tracking,
    /// A shard's database.
    Shard,
    /// The balance database.
    Balance,
    /// The order directory and the pending returns.
    Cache,
}

impl SchemaState {
    /// Whether nothing is left to apply.
    pub fn is_current(self) -> bool {
        self.applied == self.known
    }
}

/// How far a database's schema is, without changing anything; nothing where there is no database yet.
///
/// # Errors
/// [`Error`](super::Error) when the database cannot be read.
pub async fn schema_state(url: &StoreUrl, kind: SchemaKind) -> Result<Option<SchemaState>> {
    match url {
        StoreUrl::Sqlite(path) => {
            crate::base::db::sqlite::migrate::state(path, crate::base::db::sqlite::migrate::schema_of(kind))
        }
        StoreUrl::Mysql(server) => {
            crate::base::db::mysql::migrate::status(server, crate::base::db::mysql::migrate::schema_of(kind)).await
        }
    }
}

/// Creates a database where it is missing and brings its schema up to date.
///
/// # Errors
/// [`Error`](super::Error) when it cannot be created or migrated.
pub async fn migrate(url: &StoreUrl, kind: SchemaKind) -> Result<()> {
    match url {
        StoreUrl::Sqlite(path) => {
            crate::base::db::sqlite::migrate::up(path, crate::base::db::sqlite::migrate::schema_of(kind))
        }
        StoreUrl::Mysql(server) => {
            crate::base::db::mysql::migrate::up(server, crate::base::db::mysql::migrate::schema_of(kind)).await
        }
    }
}

impl Migration {
    /// The statements one by one, for servers that take no more.
    pub(crate) fn statements(&self) -> Vec<&'static str> {
        let ends = |statement: &&str| statement.lines().any(|line| !line.trim().is_empty() && !line.starts_with("--"));
        self.sql.split(";\n").map(str::trim).filter(ends).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart_and_comments_are_none() {
        let sql =
            "-- what it is;\nCREATE TABLE a (\n  x INT -- a;b\n);\n\n-- more\nCREATE TABLE b (y INT);\n-- the end\n";
        let statements = Migration { name: "0001_x", sql }.statements();
        // The first line's comment ends in a semicolon: it is no statement of its own.
        assert_eq!(statements.len(), 2, "{statements:?}");
        assert!(statements[0].starts_with("CREATE TABLE a") && statements[1].ends_with("CREATE TABLE b (y INT)"));
    }
}
