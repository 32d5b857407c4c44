//! Every row of a shard's database, put to the delivery that wrote it.

use rusqlite::{Connection, Row};

use crate::base::db::sqlite::db::count_column;
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::columns::sqlite::file_column;
use crate::pipeline::event::ShardId;
use crate::pipeline::shard_db::census::{Census, CensusTally, Marker, StoredRow};
use crate::pipeline::shard_db::rows_digest::RowImage;

/// Takes it, in the transaction of the caller.
pub(crate) fn take(connection: &Connection, shard: ShardId) -> Result<Census> {
    let mut tally = CensusTally::default();
    let mut select = connection.prepare(
        "SELECT delivered_with, source_file, event_type, shard, timestamp, shop_id, user_id, source_line FROM events",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (delivered_with, source_file) = (row.get_ref(0)?.as_str_or_null(), row.get_ref(1)?.as_str());
        let (Ok(delivered_with), Ok(source_file)) = (delivered_with, source_file) else {
            return Err(Error::broken("a row of events names its file in bytes that are no text".to_owned()));
        };
        tally.add(&StoredRow { delivered_with, source_file, image: image_of(row, source_file)? });
    }
    Ok(tally.census(markers(connection, shard)?))
}

/// Nothing if a column holds what no delivery writes.
fn image_of<'a>(row: &Row<'_>, source_file: &'a str) -> rusqlite::Result<Option<RowImage<'a>>> {
    let byte = |number: i64| u8::try_from(number).ok();
    let timestamp = row.get_ref(4)?.as_str().ok().and_then(Timestamp::parse);
    let (Some(event_type), Some(shard), Some(timestamp)) = (byte(row.get(2)?), byte(row.get(3)?), timestamp) else {
        return Ok(None);
    };
    Ok(Some(RowImage {
        event_type,
        shard,
        timestamp_ms: timestamp.unix_ms(),
        shop_id: row.get(5)?,
        user_id: row.get(6)?,
        source_line: row.get(7)?,
        source_file,
    }))
}

fn markers(connection: &Connection, shard: ShardId) -> Result<Vec<Marker>> {
    let mut select =
        connection.prepare("SELECT filename, rows, rows_sha256 FROM sent_file WHERE shard = ?1 ORDER BY filename")?;
    let mut rows = select.query([shard.get()])?;
    let mut markers = Vec::new();
    while let Some(row) = rows.next()? {
        let (file, rows) = (file_column(row, "filename")?, count_column(row, "rows")?);
        markers.push(Marker { file, rows, rows_sha256: row.get("rows_sha256")? });
    }
    Ok(markers)
}
