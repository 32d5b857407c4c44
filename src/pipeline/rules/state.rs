//! What the rules know of the events before this one. The worker keeps it (`work/state/`), and the rules ask it by
//! [`TradeState`].

use super::LinePlace;
use crate::base::db::Result;
use crate::pipeline::event::{Money, Reason};
use crate::pipeline::task::FileName;

/// What the rules know of the events before this one.
pub trait TradeState {
    /// Notes a key with the content's fingerprint unless it is known; says what is known of it.
    fn remember(&mut self, key: &[u8], place: LinePlace<'_>, fingerprint: &[u8; 16]) -> Result<Remembered>;

    /// Gives a key back.
    fn forget(&mut self, key: &[u8]) -> Result<()>;

    /// An order, if its purchase ever came.
    fn order(&mut self, order_id: i64) -> Result<Option<TradeOrder>>;

    /// Writes an order.
    fn set_order(&mut self, order_id: i64, order: TradeOrder);

    /// How many of a good a shop has; none where they are not counted.
    fn stock(&mut self, shop_id: i64, good_id: i64) -> Result<Option<i64>>;

    /// Writes how many of a good a shop has.
    fn set_stock(&mut self, shop_id: i64, good_id: i64, count: i64);

    /// What a good costs in a shop, if that was ever said.
    fn price(&mut self, shop_id: i64, good_id: i64) -> Result<Option<Money>>;

    /// Writes what a good costs in a shop.
    fn set_price(&mut self, shop_id: i64, good_id: i64, price: Money);

    /// Whether a shop is open; one that nothing was said of is.
    fn is_open(&mut self, shop_id: i64) -> Result<bool>;

    /// Opens or closes a shop.
    fn set_open(&mut self, shop_id: i64, open: bool);
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// It was not known and is now, at this position.
    New,
    /// It is known from this very position: the file is being worked on again.
    Here,
    /// It is known from elsewhere with the same content.
    Elsewhere {
        /// The file where it stood.
        file: FileName,
        /// The line there.
        line: u64,
    },
    /// It is known from elsewhere with other content.
    OtherContent {
        /// The file where it stood.
        file: FileName,
        /// The line there.
        line: u64,
    },
}

/// What became of the purchase of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    /// It was made.
    Accepted,
    /// It was rejected after money was asked for: the answer to that stands, and so does this.
    Refused(Reason),
    /// It was rejected before money was asked for: it may come again.
    Rejected,
}

/// An order, as the shard knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradeOrder {
    /// Who bought; none for a cash sale.
    pub user_id: Option<i64>,
    /// Where.
    pub shop_id: i64,
    /// What.
    pub good_id: i64,
    /// How many.
    pub qty: i64,
    /// For how much apiece.
    pub price: Money,
    /// How many came back.
    pub returned: i64,
    /// What became of it.
    pub standing: OrderStatus,
}
