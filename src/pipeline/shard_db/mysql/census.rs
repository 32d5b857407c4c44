//! Every row of a shard's database, put to the delivery that wrote it.

use async_trait::async_trait;
use mysql_async::Row;

use crate::base::db::Result;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, get, moment};
use crate::pipeline::columns::mysql::file_name;
use crate::pipeline::event::ShardId;
use crate::pipeline::shard_db::census::{Census, CensusTally, Marker, StoredRow};
use crate::pipeline::shard_db::rows_digest::RowImage;

/// Rows that are read at once: what is in memory is a few hundred kilobytes.
const ROWS_MAX: u32 = 2000;

/// What is in the database, all of one moment: a delivery between two looks would seem to be a difference.
pub(crate) struct TakeCensus(pub(crate) ShardId);

#[async_trait]
impl Work for TakeCensus {
    type Out = Census;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Census> {
        let (mut tally, mut after) = (CensusTally::default(), i64::MIN);
        let select =
            "SELECT id, delivered_with, source_file, event_type, shard, `timestamp`, shop_id, user_id, source_line
             FROM events WHERE id > ? ORDER BY id LIMIT ?";
        loop {
            let rows = tx.rows(select, (after, ROWS_MAX)).await?;
            let Some(last) = rows.last() else { break };
            after = get(last, "id")?;
            rows.iter().try_for_each(|row| add(&mut tally, row))?;
        }
        let select = "SELECT filename, `rows`, rows_sha256 FROM sent_file WHERE shard = ? ORDER BY filename";
        let markers = tx.rows(select, (self.0.get(),)).await?;
        Ok(tally.census(markers.iter().map(marker).collect::<Result<_>>()?))
    }
}

fn add(tally: &mut CensusTally, row: &Row) -> Result<()> {
    let (delivered_with, source_file) =
        (get::<Option<String>>(row, "delivered_with")?, get::<String>(row, "source_file")?);
    let byte = |column| Ok::<_, crate::base::db::Error>(u8::try_from(get::<i64>(row, column)?).ok());
    // A moment that no calendar has, such as 0000-00-00, is not read; nor is a number out of its range.
    let image = match (byte("event_type")?, byte("shard")?, moment(row, "timestamp").ok()) {
        (Some(event_type), Some(shard), Some(timestamp)) => Some(RowImage {
            event_type,
            shard,
            timestamp_ms: timestamp.unix_ms(),
            shop_id: get(row, "shop_id")?,
            user_id: get(row, "user_id")?,
            source_line: get(row, "source_line")?,
            source_file: &source_file,
        }),
        _ => None,
    };
    tally.add(&StoredRow { delivered_with: delivered_with.as_deref(), source_file: &source_file, image });
    Ok(())
}

fn marker(row: &Row) -> Result<Marker> {
    Ok(Marker { file: file_name(row, "filename")?, rows: count(row, "rows")?, rows_sha256: get(row, "rows_sha256")? })
}
