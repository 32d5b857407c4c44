//! A worker's state: the keys it has seen.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::db::{connect, count_column, count_value};
use super::migrate::WORKER;
use crate::store::{Error, Remembered, Result, WorkerState};
use crate::task::FileName;

/// [`WorkerState`] in one SQLite file of the worker's own.
pub(in crate::store) struct SqliteWorkerState {
    connection: Connection,
}

impl SqliteWorkerState {
    /// Opens the state, creating it where needed.
    pub(in crate::store) fn open(path: &Path) -> Result<Self> {
        Ok(Self { connection: connect(path, &WORKER)? })
    }

    fn known(&self, key: &[u8]) -> Result<Option<(FileName, u64, Vec<u8>)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT filename, line, fingerprint FROM seen WHERE key = ?1")?;
        let mut rows = statement.query(params![key])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let text: String = row.get("filename")?;
        let file = text.parse().map_err(|_| Error::Broken(format!("seen.filename holds '{text}'")))?;
        Ok(Some((file, count_column(row, "line")?, row.get("fingerprint")?)))
    }
}

impl WorkerState for SqliteWorkerState {
    fn begin(&mut self) -> Result<()> {
        Ok(self.connection.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn remember(
        &mut self,
        key: &[u8],
        file: &FileName,
        line: u64,
        fingerprint: &[u8; 16],
        day: i64,
    ) -> Result<Remembered> {
        let insert = "INSERT INTO seen (key, filename, line, fingerprint, seen_day) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (key) DO NOTHING";
        let inserted = self.connection.prepare_cached(insert)?.execute(params![
            key,
            file.as_str(),
            count_value(line),
            fingerprint,
            day
        ])?;
        if inserted == 1 {
            return Ok(Remembered::New);
        }
        let Some((known_file, known_line, known_print)) = self.known(key)? else {
            return Err(Error::Broken("a key that is there could not be read".to_owned()));
        };
        Ok(if known_file == *file && known_line == line {
            Remembered::Here
        } else if known_print == fingerprint {
            Remembered::Elsewhere { file: known_file, line: known_line }
        } else {
            Remembered::OtherContent { file: known_file, line: known_line }
        })
    }

    fn commit(&mut self) -> Result<()> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    fn roll_back(&mut self) -> Result<()> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        Ok(self.connection.execute_batch("ROLLBACK")?)
    }

    fn forget_before(&mut self, day: i64) -> Result<u64> {
        let oldest: Option<i64> = self
            .connection
            .query_row("SELECT seen_day FROM seen WHERE seen_day < ?1 LIMIT 1", [day], |row| row.get(0))
            .optional()?;
        if oldest.is_none() {
            return Ok(0);
        }
        let forgotten = self.connection.execute("DELETE FROM seen WHERE seen_day < ?1", [day])?;
        Ok(forgotten as u64)
    }
}
