//! Many rows in few statements. Full statements are all alike, and rests go in powers of two, so that there are few
//! statements for the server to keep prepared.

use mysql_async::{Params, Row, Value};

use super::database::Tx;
use crate::base::db::Result;

/// Rows per INSERT at the most.
const ROWS_MAX: usize = 256;
/// Bytes of one INSERT, beside its first row, however much the server takes: what waits here is in memory.
const BYTES_MAX: usize = 1024 * 1024;
/// What every packet has beside its values.
const HEAD_BYTES: usize = 32;
/// Values per list of an IN, as far as they fit. It is always filled up to this number.
const LIST: usize = 256;

/// Inserts rows: `head` ends before the rows, `row` is one of them with its places, `tail` comes behind. False if one of
/// them stands there already; then the transaction is of no use any more.
pub(crate) async fn insert(tx: &mut Tx<'_>, head: &str, row: &str, tail: &str, rows: Vec<Vec<Value>>) -> Result<bool> {
    insert_by(tx, ROWS_MAX, (head, row, tail), rows).await
}

/// The same with another number of rows in a full statement.
pub(crate) async fn insert_by(
    tx: &mut Tx<'_>,
    rows_max: usize,
    (head, row, tail): (&str, &str, &str),
    rows: Vec<Vec<Value>>,
) -> Result<bool> {
    let bytes_max = tx.bytes_max().min(BYTES_MAX);
    // The text of the statement is a packet too.
    let texts_max = bytes_max.saturating_sub(HEAD_BYTES + head.len() + tail.len()) / (row.len() + 2);
    let rows_max = rows_max.min(texts_max).max(1);
    let mut rest = rows.into_iter();
    while !rest.as_slice().is_empty() {
        let fitting = fitting(rest.as_slice(), rows_max, bytes_max);
        let count = if fitting == rows_max { rows_max } else { 1 << fitting.ilog2() };
        let statement = format!("{head} VALUES {}{tail}", vec![row; count].join(", "));
        let values = rest.by_ref().take(count).flatten().collect();
        if !tx.insert(&statement, Params::Positional(values)).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How many of the rows go into one statement, at least one.
fn fitting(rows: &[Vec<Value>], rows_max: usize, bytes_max: usize) -> usize {
    let mut bytes = HEAD_BYTES;
    let fits = |row: &&Vec<Value>| {
        bytes += row.iter().map(bytes_of).sum::<usize>();
        bytes <= bytes_max
    };
    rows.iter().take(rows_max).take_while(fits).count().max(1)
}

/// The bytes of a value in a packet with its length and type, or a little more.
fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len() + 8,
        _ => 16,
    }
}

/// The rows of a query about many values: `{list}` in it stands for their places, which come behind `before`.
pub(crate) async fn select(tx: &mut Tx<'_>, query: &str, before: &[Value], list: &[Value]) -> Result<Vec<Row>> {
    let places = places(before, list, tx.bytes_max());
    let query = query.replace("{list}", &vec!["?"; places].join(", "));
    let mut rows = Vec::new();
    for values in list.chunks(places) {
        // The last value again and again until all places are filled.
        let rest = values.iter().cycle().skip(values.len() - 1).step_by(values.len());
        let filled = before.iter().chain(values).chain(rest).take(before.len() + places).cloned();
        rows.extend(tx.rows(&query, Params::Positional(filled.collect())).await?);
    }
    Ok(rows)
}

/// How many places a list gets, so that the longest value in each of them would fit.
fn places(before: &[Value], list: &[Value], bytes_max: usize) -> usize {
    let longest = list.iter().map(bytes_of).max().unwrap_or(1);
    let used = HEAD_BYTES + before.iter().map(bytes_of).sum::<usize>();
    let fitting = (bytes_max.saturating_sub(used) / longest).clamp(1, LIST);
    1 << fitting.ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_bounded_number_of_rows_and_bytes() {
        let rows = |count: usize, bytes: usize| vec![vec![Value::Bytes(vec![0; bytes])]; count];
        assert_eq!(fitting(&rows(1000, 10), ROWS_MAX, BYTES_MAX), ROWS_MAX);
        assert_eq!(fitting(&rows(3, 10), ROWS_MAX, BYTES_MAX), 3);
        assert_eq!(fitting(&rows(3, BYTES_MAX), ROWS_MAX, BYTES_MAX), 1);
        assert_eq!(fitting(&rows(10, BYTES_MAX / 4), ROWS_MAX, BYTES_MAX), 3);
        assert_eq!(fitting(&rows(10, 1000), ROWS_MAX, 5000), 4, "what the server takes is less");
    }

    #[test]
    fn a_list_has_as_many_places_as_fit() {
        let list = |bytes: usize| [Value::Int(1), Value::Bytes(vec![0; bytes])];
        assert_eq!(places(&[], &list(10), 1 << 20), LIST);
        assert_eq!(places(&[Value::Bytes(vec![0; 800])], &list(92), 2000), 8, "11 would fit");
        assert_eq!(places(&[], &list(5000), 2000), 1);
        assert_eq!(places(&[], &[], 2000), LIST);
    }
}
