//! Many rows in few statements. Full statements are all alike, and rests go in powers of two, so that there are few
//! statements for the server to keep prepared.

use mysql_async::{Params, Row, Value};

use super::database::Tx;
use crate::store::Result;

/// Rows per INSERT at the most.
const ROWS_MAX: usize = 256;
/// Bytes of the values of one INSERT, beside its first row: a quarter of the smallest packet that servers take.
const BYTES_MAX: usize = 1024 * 1024;
/// Values per list of an IN. It is always filled up to this number.
const LIST: usize = 256;

/// Inserts rows: `head` ends before the rows, `row` is one of them with its places, `tail` comes behind. False if one of
/// them stands there already; then the transaction is of no use any more.
pub(super) async fn insert(tx: &mut Tx<'_>, head: &str, row: &str, tail: &str, rows: Vec<Vec<Value>>) -> Result<bool> {
    insert_by(tx, ROWS_MAX, (head, row, tail), rows).await
}

/// The same with another number of rows in a full statement.
pub(super) async fn insert_by(
    tx: &mut Tx<'_>,
    rows_max: usize,
    (head, row, tail): (&str, &str, &str),
    rows: Vec<Vec<Value>>,
) -> Result<bool> {
    let mut rest = rows.into_iter();
    while !rest.as_slice().is_empty() {
        let fitting = fitting(rest.as_slice(), rows_max);
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
fn fitting(rows: &[Vec<Value>], rows_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |row: &&Vec<Value>| {
        bytes += row.iter().map(bytes_of).sum::<usize>();
        bytes <= BYTES_MAX
    };
    rows.iter().take(rows_max).take_while(fits).count().max(1)
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len() + 8,
        _ => 16,
    }
}

/// The rows of a query about many values: `{list}` in it stands for their places, which come behind `before`.
pub(super) async fn select(tx: &mut Tx<'_>, query: &str, before: &[Value], list: &[Value]) -> Result<Vec<Row>> {
    let query = query.replace("{list}", &vec!["?"; LIST].join(", "));
    let mut rows = Vec::new();
    for values in list.chunks(LIST) {
        // The last value again and again until all places are filled.
        let rest = values.iter().cycle().skip(values.len() - 1).step_by(values.len());
        let filled = before.iter().chain(values).chain(rest).take(before.len() + LIST).cloned();
        rows.extend(tx.rows(&query, Params::Positional(filled.collect())).await?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_bounded_number_of_rows_and_bytes() {
        let rows = |count: usize, bytes: usize| vec![vec![Value::Bytes(vec![0; bytes])]; count];
        assert_eq!(fitting(&rows(1000, 10), ROWS_MAX), ROWS_MAX);
        assert_eq!(fitting(&rows(3, 10), ROWS_MAX), 3);
        assert_eq!(fitting(&rows(3, BYTES_MAX), ROWS_MAX), 1);
        assert_eq!(fitting(&rows(10, BYTES_MAX / 4), ROWS_MAX), 3);
    }
}
