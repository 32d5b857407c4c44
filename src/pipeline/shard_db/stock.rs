//! What is known of goods and orders. The worker keeps it in its state, the sender in the shard's database. Both report
//! it in these types, so that they can be compared.

use async_trait::async_trait;

use crate::base::db::Result;
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::Money;
use crate::pipeline::task::FileName;

/// Before all stock items: goods are above zero, and the shop itself is good 0.
pub(crate) const FIRST_ITEM: (i64, i64) = (i64::MIN, -1);

/// A good of a shop. Good 0 stands for the shop itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockItem {
    /// Which shop.
    pub shop_id: i64,
    /// Which good.
    pub good_id: i64,
    /// How many there are; none where they are not counted.
    pub count: Option<i64>,
    /// What it costs, if that was ever said.
    pub price: Option<Money>,
    /// Whether the shop is open.
    pub is_open: bool,
}

/// What was bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bought {
    /// By whom; none for a cash sale.
    pub user_id: Option<i64>,
    /// Where.
    pub shop_id: i64,
    /// What.
    pub good_id: i64,
    /// How many.
    pub qty: i64,
    /// For how much apiece.
    pub price: Money,
}

/// An order that was accepted, with its returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookedOrder {
    /// Which order.
    pub order_id: i64,
    /// What was bought; nothing if only returns of it are known.
    pub bought: Option<Bought>,
    /// How many came back.
    pub returned: i64,
}

/// What became of an order, as its worker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderOutcome {
    /// Which order.
    pub order_id: i64,
    /// Where it was to be bought.
    pub shop_id: i64,
    /// Whether the purchase was made.
    pub is_accepted: bool,
}

/// When something was bought or came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// Where the next page begins.
    pub cursor: i64,
    /// Which order.
    pub order_id: i64,
    /// When, by the event.
    pub at: Timestamp,
}

/// A worker's state as it is at one moment, for the audit. The worker goes on meanwhile.
#[async_trait]
pub trait WorkerSnapshot: Send + Sync {
    /// Files that are worked through, by name, beginning after that one.
    async fn list_finished(&self, after: Option<FileName>, limit: u32) -> Result<Vec<FileName>>;

    /// What is known of goods and shops, by (shop, good), beginning after that one.
    async fn list_stock(&self, after: Option<(i64, i64)>, limit: u32) -> Result<Vec<StockItem>>;

    /// Accepted orders by number, beginning after that one.
    async fn list_orders(&self, after: Option<i64>, limit: u32) -> Result<Vec<BookedOrder>>;

    /// All orders that were decided, rejected ones too, by number, beginning after that one.
    async fn list_outcomes(&self, after: Option<i64>, limit: u32) -> Result<Vec<OrderOutcome>>;
}
