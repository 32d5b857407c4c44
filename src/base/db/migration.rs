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

/// The schema of one kind of database: what a system says of it. Made by `schema!`.
#[derive(Debug)]
pub struct Schema {
    /// What it is the schema of.
    pub(crate) name: &'static str,
    /// The longest row, in bytes, where one may be longer than [`PACKET_BYTES_MIN`].
    pub(crate) row_bytes_max: usize,
    /// The migrations of an embedded database, in order; the first has number 1.
    pub(crate) sqlite: &'static [Migration],
    /// Those of a database on a server, numbered alike; none where it is always embedded.
    pub(crate) mysql: &'static [Migration],
}

/// The least that every server must take in one packet, in bytes: below it the shortest statements would be too long.
pub(crate) const PACKET_BYTES_MIN: usize = 64 << 10;

impl Schema {
    /// How many migrations this program knows.
    pub fn known(&self) -> usize {
        debug_assert!(self.mysql.is_empty() || self.mysql.len() == self.sqlite.len(), "dialects are numbered alike");
        self.sqlite.len()
    }

    /// Bytes that a server must take at once: the longest row with the rest of its statement.
    pub fn packet_bytes_min(&self) -> usize {
        self.row_bytes_max.saturating_add(PACKET_BYTES_MIN)
    }
}

/// A [`Schema`] from its folders in `db/migrations`: its name, the longest row, and the names of its migrations. That both
/// dialects are numbered alike is so by construction. `embedded` in front: there is no such database on a server.
macro_rules! schema {
    ($name:literal, $row_bytes_max:expr, $($migration:literal),+) => {
        $crate::base::db::migration::Schema {
            name: $name,
            row_bytes_max: $row_bytes_max,
            sqlite: &[$($crate::base::db::migration::migration!("sqlite", $name, $migration)),+],
            mysql: &[$($crate::base::db::migration::migration!("mysql", $name, $migration)),+],
        }
    };
    (embedded $name:literal, $($migration:literal),+) => {
        $crate::base::db::migration::Schema {
            name: $name,
            row_bytes_max: 0,
            sqlite: &[$($crate::base::db::migration::migration!("sqlite", $name, $migration)),+],
            mysql: &[],
        }
    };
}
pub(crate) use schema;

/// One migration from its file.
macro_rules! migration {
    ($dialect:literal, $schema:literal, $name:literal) => {
        $crate::base::db::migration::Migration {
            name: $name,
            sql: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/db/migrations/",
                $dialect,
                "/",
                $schema,
                "/",
                $name,
                ".sql"
            )),
        }
    };
}
pub(crate) use migration;

/// How far a database's schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations that are applied.
    pub applied: usize,
    /// Migrations that this program knows.
    pub known: usize,
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
pub async fn schema_state(url: &StoreUrl, schema: &'static Schema) -> Result<Option<SchemaState>> {
    match url {
        StoreUrl::Sqlite(path) => super::sqlite::migrate::state(path, schema),
        #[cfg(feature = "mysql")]
        StoreUrl::Mysql(server) => super::mysql::migrate::status(server, schema).await,
        #[cfg(not(feature = "mysql"))]
        StoreUrl::Mysql(_) => super::without_mysql(),
    }
}

/// Creates a database where it is missing and brings its schema up to date.
///
/// # Errors
/// [`Error`](super::Error) when it cannot be created or migrated.
pub async fn migrate(url: &StoreUrl, schema: &'static Schema) -> Result<()> {
    match url {
        StoreUrl::Sqlite(path) => super::sqlite::db::connect(path, schema).map(drop),
        #[cfg(feature = "mysql")]
        StoreUrl::Mysql(server) => super::mysql::migrate::up(server, schema).await,
        #[cfg(not(feature = "mysql"))]
        StoreUrl::Mysql(_) => super::without_mysql(),
    }
}

/// What the tests of this folder make databases of.
#[cfg(test)]
pub(crate) static THINGS: Schema = Schema {
    name: "things",
    row_bytes_max: 0,
    sqlite: &[Migration {
        name: "0001_things",
        sql: "CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT) STRICT;\nCREATE TABLE seen (id INTEGER) STRICT;\n",
    }],
    mysql: &[Migration {
        name: "0001_things",
        sql: "CREATE TABLE thing (id BIGINT NOT NULL PRIMARY KEY, text TEXT NULL) ENGINE = InnoDB;\n",
    }],
};
