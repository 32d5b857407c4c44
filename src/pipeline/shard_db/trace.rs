//! What a person asks a shard's database: what became of some lines, of an order, of a file.

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::Money;
use crate::pipeline::task::FileName;

/// Rows that are answered to one question, of each table.
pub const ROWS_MAX: u32 = 1000;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The rows of these lines: file and number.
    pub lines: Vec<(FileName, u64)>,
    /// This order in the books.
    pub order: Option<i64>,
    /// What was delivered of this file.
    pub file: Option<FileName>,
}

/// A row of `events` that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRow {
    /// Its number.
    pub id: u64,
    /// 0 to 4.
    pub event_type: u8,
    /// The shop, where one is named.
    pub shop_id: Option<i64>,
    /// The user, where one is named.
    pub user_id: Option<i64>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// When the row was written.
    pub created_at: Timestamp,
    /// The event file that its line came from.
    pub source_file: FileName,
    /// The line's number there.
    pub source_line: u64,
}

/// A purchase in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedPurchase {
    /// Who paid; absent for a cash sale.
    pub user_id: Option<i64>,
    /// Where.
    pub shop_id: i64,
    /// What.
    pub good_id: i64,
    /// How many.
    pub qty: i64,
    /// For how much apiece.
    pub price: Money,
    /// When it happened.
    pub at: Timestamp,
}

/// A return in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedReturn {
    /// How many.
    pub qty: i64,
    /// How much was paid back.
    pub amount: Money,
    /// When it happened.
    pub at: Timestamp,
}

/// The marker of a delivered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Rows that were delivered with it.
    pub rows: u64,
    /// Rows that name it as their source now.
    pub present: u64,
    /// When.
    pub sent_at: Timestamp,
}

/// What is there, all of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceAnswer {
    /// The rows of the lines that were asked for. Where that of the order's purchase is not among them, the row of its
    /// moment, shop and user, if there is but one.
    pub rows: Vec<FoundRow>,
    /// The order's purchase.
    pub purchase: Option<BookedPurchase>,
    /// The order's returns, oldest first.
    pub returns: Vec<BookedReturn>,
    /// The file's marker.
    pub marker: Option<Marker>,
}

impl TraceAnswer {
    /// Adds the row of the purchase, of all rows of its moment and shop, unless it is there. Two customers' purchases
    /// of one moment cannot be told apart by it: then none is added.
    pub(crate) fn add_row_of_purchase(&mut self, candidates: Vec<FoundRow>) {
        let Some(purchase) = &self.purchase else { return };
        let is_of_it = |row: &FoundRow| {
            (row.event_type, row.timestamp, row.shop_id, row.user_id)
                == (1, purchase.at, Some(purchase.shop_id), purchase.user_id)
        };
        if self.rows.iter().any(is_of_it) {
            return;
        }
        let mut fitting = candidates.into_iter().filter(is_of_it);
        if let (Some(row), None) = (fitting.next(), fitting.next()) {
            self.rows.push(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u64, user: i64) -> FoundRow {
        let (at, file) = (Timestamp::from_unix_ms(7), "20250101000000".parse().unwrap());
        FoundRow {
            id,
            event_type: 1,
            shop_id: Some(3),
            user_id: Some(user),
            timestamp: at,
            created_at: at,
            source_file: file,
            source_line: id,
        }
    }

    #[test]
    fn a_row_is_only_added_where_it_can_be_no_others() {
        let (price, at) = (Money::from_minor(1), Timestamp::from_unix_ms(7));
        let purchase = BookedPurchase { user_id: Some(5), shop_id: 3, good_id: 1, qty: 1, price, at };
        let ids = |rows: &[FoundRow], candidates: Vec<FoundRow>| {
            let mut answer =
                TraceAnswer { rows: rows.to_vec(), purchase: Some(purchase.clone()), ..TraceAnswer::default() };
            answer.add_row_of_purchase(candidates);
            answer.rows.iter().map(|row| row.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&[], vec![row(1, 4), row(2, 5)]), [2]);
        assert!(ids(&[], vec![row(1, 5), row(2, 5)]).is_empty());
        assert_eq!(ids(&[row(1, 5)], vec![row(1, 5), row(2, 5)]), [1]);
    }
}
