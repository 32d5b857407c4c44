//! Columns of a server's databases as what they stand for.

use mysql_async::{Row, Value};

use crate::base::db::mysql::value::{count, get, parsed};
use crate::base::db::{Error, Result};
use crate::pipeline::event::{Money, ShardCount, ShardId};
use crate::pipeline::task::{Counts, Digest, FileName, Output, Stage, Status};

/// A column's text as a file name.
pub(crate) fn file_name(row: &Row, column: &str) -> Result<FileName> {
    parsed(row, column)
}

/// A column's text as a status.
pub(crate) fn status(row: &Row, column: &str) -> Result<Status> {
    parsed(row, column)
}

/// A column's text as a stage.
pub(crate) fn stage(row: &Row, column: &str) -> Result<Stage> {
    parsed(row, column)
}

/// A column's number as a shard.
pub(crate) fn shard(row: &Row, column: &str) -> Result<ShardId> {
    let number = count(row, column)?;
    ShardId::new(number).ok_or_else(|| Error::broken(format!("column {column} holds {number}")))
}

/// A column's number as a count of shards.
pub(crate) fn shards_count(row: &Row) -> Result<ShardCount> {
    let number = count(row, "shards_count")?;
    ShardCount::new(number).ok_or_else(|| Error::broken(format!("shards_count holds {number}")))
}

/// The conservation counts of a stage's report.
pub(crate) fn counts(row: &Row) -> Result<Option<Counts>> {
    if get::<Option<i64>>(row, "lines_read")?.is_none() {
        return Ok(None);
    }
    Ok(Some(Counts {
        read: count(row, "lines_read")?,
        written: count(row, "lines_written")?,
        duplicate: count(row, "lines_duplicate")?,
        rejected: count(row, "lines_rejected")?,
        held: count(row, "lines_held")?,
        released: count(row, "lines_released")?,
    }))
}

/// The digest columns of a stage's report.
pub(crate) fn output(row: &Row) -> Result<Option<Output>> {
    let Some(sha256) = digest(row, "output_sha256")? else {
        return Ok(None);
    };
    Ok(Some(Output {
        lines: count(row, "output_lines")?,
        bytes: count(row, "output_bytes")?,
        sha256,
        index_sha256: digest(row, "index_sha256")?,
    }))
}

fn digest(row: &Row, column: &str) -> Result<Option<Digest>> {
    match get::<Option<String>>(row, column)? {
        None => Ok(None),
        Some(_) => parsed(row, column).map(Some),
    }
}

/// Money as the text of a DECIMAL: no float in between.
pub(crate) fn money_value(money: Money) -> Value {
    Value::from(money.to_string())
}

/// A DECIMAL column's digits as money.
pub(crate) fn money(row: &Row, column: &str) -> Result<Money> {
    let text: String = get(row, column)?;
    Money::parse(&text).map_err(|e| Error::broken(format!("column {column} holds '{text}': {e}")))
}
