//! Columns of an embedded database as what they stand for.

use crate::base::db::{Error, Result};
use crate::pipeline::event::{ShardCount, ShardId};
use crate::pipeline::task::FileName;

/// A column's text as a file name.
pub(crate) fn file_column(row: &rusqlite::Row<'_>, column: &str) -> Result<FileName> {
    file_name(&row.get::<_, String>(column)?, column)
}

/// The text of a column as a file name.
pub(crate) fn file_name(text: &str, column: &str) -> Result<FileName> {
    text.parse().map_err(|_| Error::broken(format!("column {column} holds '{text}'")))
}

/// A column's number as a shard.
pub(crate) fn shard_column(row: &rusqlite::Row<'_>, column: &str) -> Result<ShardId> {
    let number: i64 = row.get(column)?;
    let shard = u64::try_from(number).ok().and_then(ShardId::new);
    shard.ok_or_else(|| Error::broken(format!("column {column} holds {number}")))
}

/// A column's number as a count of shards.
pub(crate) fn shards_count(row: &rusqlite::Row<'_>) -> Result<ShardCount> {
    let number: i64 = row.get("shards_count")?;
    let count = u64::try_from(number).ok().and_then(ShardCount::new);
    count.ok_or_else(|| Error::broken(format!("shards_count holds {number}")))
}
