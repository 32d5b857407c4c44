//! A worker's state in SQLite: the keys it has seen, the shard as it stands, the finished files.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::base::db::sqlite::db::{connect, count_column, count_value};
use crate::base::db::{Error, Result};
use crate::pipeline::columns::sqlite::file_column;
use crate::pipeline::event::{Money, Reason};
use crate::pipeline::rules::{OrderStatus, Remembered, TradeOrder};
use crate::pipeline::schemas::WORKER;
use crate::pipeline::task::{Digest, FileName};
use crate::pipeline::work::state::{FinishedFile, UNKNOWN_CONTENT, WorkerState};

/// [`WorkerState`] in one SQLite file of the worker's own.
pub(crate) struct SqliteWorkerState {
    connection: Connection,
}

impl SqliteWorkerState {
    /// Opens the state, creating it where needed.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(Self { connection: connect(path, &WORKER)? })
    }

    fn known(&self, key: &[u8]) -> Result<Option<(FileName, u64, Vec<u8>)>> {
        let mut statement =
            self.connection.prepare_cached("SELECT filename, line, fingerprint FROM seen WHERE key = ?1")?;
        let mut rows = statement.query(params![key])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some((file_column(row, "filename")?, count_column(row, "line")?, row.get("fingerprint")?)))
    }

    /// The number in the first column of the first row.
    fn find(&self, query: &str, values: &[&dyn ToSql]) -> Result<Option<i64>> {
        Ok(self.connection.prepare_cached(query)?.query_row(values, |row| row.get(0)).optional()?)
    }

    fn put(&self, statement: &str, values: &[&dyn ToSql]) -> Result<()> {
        self.connection.prepare_cached(statement)?.execute(values)?;
        Ok(())
    }
}

fn order_of(row: &Row<'_>) -> Result<TradeOrder> {
    let (state, reason): (String, Option<String>) = (row.get("state")?, row.get("reason")?);
    let standing = match (state.as_str(), reason.as_deref().map(Reason::from_code)) {
        ("accepted", None) => OrderStatus::Accepted,
        ("refused", Some(Some(reason))) => OrderStatus::Refused(reason),
        ("rejected", None) => OrderStatus::Rejected,
        _ => return Err(Error::broken(format!("orders.state holds '{state}', orders.reason {reason:?}"))),
    };
    Ok(TradeOrder {
        user_id: row.get("user_id")?,
        shop_id: row.get("shop_id")?,
        good_id: row.get("good_id")?,
        qty: row.get("qty")?,
        price: Money::from_minor(row.get("price")?),
        returned: row.get("returned")?,
        standing,
    })
}

fn finished_of(row: &Row<'_>) -> Result<FinishedFile> {
    let broken = |e: serde_json::Error| Error::broken(format!("finished holds what is no report: {e}"));
    let (counts, output): (String, String) = (row.get("counts")?, row.get("output")?);
    let rejects: Option<[u8; 32]> = row.get("rejects_sha256")?;
    Ok(FinishedFile {
        input: Digest::new(row.get("input_sha256")?),
        counts: serde_json::from_str(&counts).map_err(broken)?,
        output: serde_json::from_str(&output).map_err(broken)?,
        rejects: rejects.map(Digest::new),
    })
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
            return Err(Error::broken("a key that is there could not be read".to_owned()));
        };
        Ok(if known_file == *file && known_line == line {
            Remembered::Here
        } else if known_print == fingerprint || known_print == UNKNOWN_CONTENT {
            Remembered::Elsewhere { file: known_file, line: known_line }
        } else {
            Remembered::OtherContent { file: known_file, line: known_line }
        })
    }

    fn forget(&mut self, key: &[u8]) -> Result<()> {
        self.connection.prepare_cached("DELETE FROM seen WHERE key = ?1")?.execute(params![key])?;
        Ok(())
    }

    fn find_order(&mut self, order_id: i64) -> Result<Option<TradeOrder>> {
        let mut select = self.connection.prepare_cached(
            "SELECT user_id, shop_id, good_id, qty, price, returned, state, reason FROM orders WHERE order_id = ?1",
        )?;
        let mut rows = select.query([order_id])?;
        rows.next()?.map(order_of).transpose()
    }

    fn put_order(&mut self, order_id: i64, order: &TradeOrder) -> Result<()> {
        let (state, reason) = match order.standing {
            OrderStatus::Accepted => ("accepted", None),
            OrderStatus::Refused(reason) => ("refused", Some(reason.code())),
            OrderStatus::Rejected => ("rejected", None),
        };
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO orders (order_id, user_id, shop_id, good_id, qty, price, returned, state, reason)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                order_id,
                order.user_id,
                order.shop_id,
                order.good_id,
                order.qty,
                order.price.minor(),
                order.returned,
                state,
                reason
            ])?;
        Ok(())
    }

    fn find_stock(&mut self, shop_id: i64, good_id: i64) -> Result<Option<i64>> {
        let query = "SELECT count FROM stock WHERE shop_id = ?1 AND good_id = ?2";
        self.find(query, params![shop_id, good_id])
    }

    fn put_stock(&mut self, shop_id: i64, good_id: i64, count: i64) -> Result<()> {
        let put = "INSERT OR REPLACE INTO stock (shop_id, good_id, count) VALUES (?1, ?2, ?3)";
        self.put(put, params![shop_id, good_id, count])
    }

    fn find_price(&mut self, shop_id: i64, good_id: i64) -> Result<Option<Money>> {
        let query = "SELECT price FROM price WHERE shop_id = ?1 AND good_id = ?2";
        Ok(self.find(query, params![shop_id, good_id])?.map(Money::from_minor))
    }

    fn put_price(&mut self, shop_id: i64, good_id: i64, price: Money) -> Result<()> {
        let put = "INSERT OR REPLACE INTO price (shop_id, good_id, price) VALUES (?1, ?2, ?3)";
        self.put(put, params![shop_id, good_id, price.minor()])
    }

    fn find_shop(&mut self, shop_id: i64) -> Result<Option<bool>> {
        Ok(self.find("SELECT active FROM shop WHERE shop_id = ?1", params![shop_id])?.map(|active| active != 0))
    }

    fn put_shop(&mut self, shop_id: i64, active: bool) -> Result<()> {
        self.put("INSERT OR REPLACE INTO shop (shop_id, active) VALUES (?1, ?2)", params![shop_id, active])
    }

    fn find_finished(&mut self, file: &FileName) -> Result<Option<FinishedFile>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT input_sha256, counts, output, rejects_sha256 FROM finished WHERE filename = ?1")?;
        let mut rows = select.query([file.as_str()])?;
        rows.next()?.map(finished_of).transpose()
    }

    fn put_finished(&mut self, file: &FileName, finished: &FinishedFile, day: i64) -> Result<()> {
        let json = |e: serde_json::Error| Error::broken(format!("a report cannot be written down: {e}"));
        let counts = serde_json::to_string(&finished.counts).map_err(json)?;
        let output = serde_json::to_string(&finished.output).map_err(json)?;
        let rejects = finished.rejects.map(|digest| *digest.bytes());
        self.put(
            "INSERT OR REPLACE INTO finished (filename, input_sha256, counts, output, rejects_sha256, finished_day)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![file.as_str(), finished.input.bytes(), counts, output, rejects, day],
        )
    }

    fn list_unconfirmed(&mut self, limit: u32) -> Result<Vec<FileName>> {
        let mut select = self
            .connection
            .prepare_cached("SELECT filename FROM finished WHERE confirmed = 0 ORDER BY filename LIMIT ?1")?;
        let mut rows = select.query([limit])?;
        let mut files = Vec::new();
        while let Some(row) = rows.next()? {
            files.push(file_column(row, "filename")?);
        }
        Ok(files)
    }

    fn confirm(&mut self, file: &FileName) -> Result<()> {
        self.put("UPDATE finished SET confirmed = 1 WHERE filename = ?1", params![file.as_str()])
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
        // A file whose input is long gone will not be worked on again.
        self.put("DELETE FROM finished WHERE finished_day < ?1 AND confirmed = 1", params![day])?;
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
