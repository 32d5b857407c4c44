//! What a person asks a shard's database: what became of some lines, of an order, of a file.

use crate::event::{Moment, Money};
use crate::task::FileName;

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
    pub timestamp: Moment,
    /// When the row was written.
    pub created_at: Moment,
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
    pub at: Moment,
}

/// A return in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedReturn {
    /// How many.
    pub qty: i64,
    /// How much was paid back.
    pub amount: Money,
    /// When it happened.
    pub at: Moment,
}

/// The marker of a delivered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// Rows that were delivered with it.
    pub rows: u64,
    /// Rows that name it as their source now.
    pub present: u64,
    /// When.
    pub sent_at: Moment,
}

/// What is there, all of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The rows of the lines that were asked for; those of the order's purchase too, where the books say when it was.
    pub rows: Vec<FoundRow>,
    /// The order's purchase.
    pub purchase: Option<BookedPurchase>,
    /// The order's returns, oldest first.
    pub returns: Vec<BookedReturn>,
    /// The file's marker.
    pub marker: Option<Marker>,
}
