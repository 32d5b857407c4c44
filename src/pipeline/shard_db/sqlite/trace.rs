//! Answers what a person asks about lines, an order or a file.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::base::db::Result;
use crate::base::db::sqlite::db::{count_column, count_value, timestamp_column, timestamp_text};
use crate::pipeline::columns::sqlite::file_column;
use crate::pipeline::event::{Money, ShardId};
use crate::pipeline::shard_db::trace::{
    BookedPurchase, BookedReturn, FoundRow, Marker, Question, ROWS_MAX, TraceAnswer,
};

const EVENT: &str =
    "SELECT id, event_type, shop_id, user_id, timestamp, created_at, source_file, source_line FROM events";

/// Answers all of it from one snapshot.
pub(crate) fn answer(connection: &mut Connection, shard: ShardId, question: &Question) -> Result<TraceAnswer> {
    let snapshot = connection.transaction()?;
    let mut answer = TraceAnswer::default();
    for (file, line) in &question.lines {
        let mut statement = snapshot.prepare_cached(&format!("{EVENT} WHERE source_file = ?1 AND source_line = ?2"))?;
        let mut rows = statement.query(params![file.as_str(), count_value(*line)])?;
        while let Some(row) = rows.next()? {
            answer.rows.push(event(row)?);
        }
    }
    if let Some(order) = question.order {
        answer.purchase = purchase(&snapshot, order)?;
        answer.returns = returns(&snapshot, order)?;
        if let Some(purchase) = &answer.purchase {
            let select = format!("{EVENT} WHERE timestamp = ?1 AND event_type = 1 AND shop_id = ?2 LIMIT {ROWS_MAX}");
            let mut statement = snapshot.prepare(&select)?;
            let mut rows = statement.query(params![timestamp_text(purchase.at), purchase.shop_id])?;
            let mut candidates = Vec::new();
            while let Some(row) = rows.next()? {
                candidates.push(event(row)?);
            }
            answer.add_row_of_purchase(candidates);
        }
    }
    if let Some(file) = &question.file {
        let select = "SELECT rows, sent_at, (SELECT COUNT(*) FROM events WHERE source_file = ?1) AS present
             FROM sent_file WHERE filename = ?1 AND shard = ?2";
        let mut statement = snapshot.prepare(select)?;
        let mut rows = statement.query(params![file.as_str(), shard.get()])?;
        if let Some(row) = rows.next()? {
            let (rows, present) = (count_column(row, "rows")?, count_column(row, "present")?);
            answer.marker = Some(Marker { rows, present, sent_at: timestamp_column(row, "sent_at")? });
        }
    }
    Ok(answer)
}

fn event(row: &Row<'_>) -> Result<FoundRow> {
    Ok(FoundRow {
        id: count_column(row, "id")?,
        event_type: row.get("event_type")?,
        shop_id: row.get("shop_id")?,
        user_id: row.get("user_id")?,
        timestamp: timestamp_column(row, "timestamp")?,
        created_at: timestamp_column(row, "created_at")?,
        source_file: file_column(row, "source_file")?,
        source_line: count_column(row, "source_line")?,
    })
}

fn purchase(connection: &Connection, order: i64) -> Result<Option<BookedPurchase>> {
    let select = "SELECT user_id, shop_id, good_id, qty, price_at_order, created_at FROM purchase_history
         WHERE order_id = ?1";
    let mut statement = connection.prepare(select)?;
    let found = statement.query_row([order], |row| Ok(booked(row))).optional()?;
    found.transpose()
}

fn booked(row: &Row<'_>) -> Result<BookedPurchase> {
    Ok(BookedPurchase {
        user_id: row.get("user_id")?,
        shop_id: row.get("shop_id")?,
        good_id: row.get("good_id")?,
        qty: row.get("qty")?,
        price: Money::from_minor(row.get("price_at_order")?),
        at: timestamp_column(row, "created_at")?,
    })
}

fn returns(connection: &Connection, order: i64) -> Result<Vec<BookedReturn>> {
    let select = "SELECT qty, amount, created_at FROM order_return WHERE order_id = ?1 ORDER BY created_at LIMIT ?2";
    let mut statement = connection.prepare(select)?;
    let mut rows = statement.query(params![order, ROWS_MAX])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (qty, amount) = (row.get("qty")?, Money::from_minor(row.get("amount")?));
        found.push(BookedReturn { qty, amount, at: timestamp_column(row, "created_at")? });
    }
    Ok(found)
}
