//! Answers what a person asks about lines, an order or a file.

use async_trait::async_trait;
use mysql_async::{Params, Row, Value};

use crate::base::db::Result;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, count_value, get, moment, moment_value};
use crate::pipeline::columns::mysql::{file_name, money};
use crate::pipeline::event::ShardId;
use crate::pipeline::shard_db::trace::{
    BookedPurchase, BookedReturn, FoundRow, Marker, Question, ROWS_MAX, TraceAnswer,
};

const EVENT: &str =
    "SELECT id, event_type, shop_id, user_id, `timestamp`, created_at, source_file, source_line FROM events";
/// Lines per statement. It is always filled up to this number, so that there is one statement to prepare.
const LINES: usize = 32;

/// A question to one shard's database, answered from one snapshot.
pub(crate) struct Ask {
    pub(crate) shard: ShardId,
    pub(crate) question: Question,
}

#[async_trait]
impl Work for Ask {
    type Out = TraceAnswer;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<TraceAnswer> {
        let mut answer = TraceAnswer::default();
        for lines in self.question.lines.chunks(LINES) {
            let places = vec!["(?, ?)"; LINES].join(", ");
            let select = format!("{EVENT} WHERE (source_file, source_line) IN ({places})");
            let filled = lines.iter().chain(lines.last().into_iter().cycle()).take(LINES);
            let values = filled.flat_map(|(file, line)| [Value::from(file.as_str()), Value::from(count_value(*line))]);
            for row in &tx.rows(&select, Params::Positional(values.collect())).await? {
                answer.rows.push(event(row)?);
            }
        }
        if let Some(order) = self.question.order {
            books(tx, order, &mut answer).await?;
        }
        if let Some(file) = &self.question.file {
            let select = "SELECT `rows`, sent_at, (SELECT COUNT(*) FROM events WHERE source_file = ?) AS present
                 FROM sent_file WHERE filename = ? AND shard = ?";
            let row = tx.first(select, (file.as_str(), file.as_str(), self.shard.get())).await?;
            answer.marker = row.as_ref().map(marker).transpose()?;
        }
        Ok(answer)
    }
}

async fn books(tx: &mut Tx<'_>, order: i64, answer: &mut TraceAnswer) -> Result<()> {
    let select = "SELECT user_id, shop_id, good_id, qty, CAST(price_at_order AS CHAR) AS price, created_at
         FROM purchase_history WHERE order_id = ?";
    answer.purchase = tx.first(select, (order,)).await?.as_ref().map(purchase).transpose()?;
    let select = "SELECT qty, CAST(amount AS CHAR) AS amount, created_at FROM order_return WHERE order_id = ?
         ORDER BY created_at LIMIT ?";
    for row in &tx.rows(select, (order, ROWS_MAX)).await? {
        let (qty, amount) = (get(row, "qty")?, money(row, "amount")?);
        answer.returns.push(BookedReturn { qty, amount, at: moment(row, "created_at")? });
    }
    if let Some(purchase) = &answer.purchase {
        let select = format!("{EVENT} WHERE `timestamp` = ? AND event_type = 1 AND shop_id = ? LIMIT {ROWS_MAX}");
        let rows = tx.rows(&select, (moment_value(purchase.at), purchase.shop_id)).await?;
        answer.add_row_of_purchase(rows.iter().map(event).collect::<Result<_>>()?);
    }
    Ok(())
}

fn event(row: &Row) -> Result<FoundRow> {
    Ok(FoundRow {
        id: count(row, "id")?,
        event_type: get(row, "event_type")?,
        shop_id: get(row, "shop_id")?,
        user_id: get(row, "user_id")?,
        timestamp: moment(row, "timestamp")?,
        created_at: moment(row, "created_at")?,
        source_file: file_name(row, "source_file")?,
        source_line: count(row, "source_line")?,
    })
}

fn purchase(row: &Row) -> Result<BookedPurchase> {
    Ok(BookedPurchase {
        user_id: get(row, "user_id")?,
        shop_id: get(row, "shop_id")?,
        good_id: get(row, "good_id")?,
        qty: get(row, "qty")?,
        price: money(row, "price")?,
        at: moment(row, "created_at")?,
    })
}

fn marker(row: &Row) -> Result<Marker> {
    Ok(Marker { rows: count(row, "rows")?, present: count(row, "present")?, sent_at: moment(row, "sent_at")? })
}
