//! The order directory: which shard an order belongs to. As they stand here, orders are written into the bodies of the API
//! too: a doc comment is the description in its document.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OrderId;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{FileName, TaskKey};

/// What became of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// It was made.
    Accepted,
    /// It was rejected.
    Rejected,
}

/// An order whose purchase was decided.
// It belongs to the shard of the task that writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOrderItem)]
pub struct NewOrder {
    /// Which order.
    #[serde(rename = "order_id")]
    #[schema(value_type = i64, minimum = 1, example = 4711)]
    pub order: OrderId,
    /// Where it was bought.
    #[schema(example = 3)]
    pub shop_id: i64,
    /// What became of the purchase.
    pub state: OrderState,
}

/// An order in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = OrderItem)]
pub struct Order {
    /// Which order.
    #[serde(rename = "order_id")]
    #[schema(value_type = i64, example = 4711)]
    pub order: OrderId,
    /// Where it was bought.
    #[schema(example = 3)]
    pub shop_id: i64,
    /// Which shard it belongs to.
    #[schema(value_type = u8, maximum = 127, example = 1)]
    pub shard: ShardId,
    /// What became of the purchase.
    pub state: OrderState,
    /// The event file whose task wrote it.
    #[serde(rename = "filename")]
    #[schema(value_type = String, example = "20250101000000")]
    pub file: FileName,
}

/// What came of writing an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedAs {
    /// This task wrote it: now, or when it asked before.
    Recorded,
    /// Another task wrote the same before.
    Same,
    /// Another shard, shop or state stands there already, and stays.
    Conflict,
}

/// What came of writing an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RecordedItem)]
pub struct Recorded {
    /// What came of it.
    pub outcome: RecordedAs,
    /// What stands in the directory.
    pub order: Order,
}

impl OrderState {
    /// The word in columns and bodies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    /// The state with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Accepted, Self::Rejected].into_iter().find(|state| state.name() == name)
    }
}

impl Recorded {
    /// The task wrote this order now.
    pub fn written(order: &NewOrder, by: &TaskKey) -> Self {
        let NewOrder { order, shop_id, state } = *order;
        let order = Order { order, shop_id, shard: by.shard, state, file: by.file.clone() };
        Self { outcome: RecordedAs::Recorded, order }
    }

    /// What it means that this order stands there, for the task that wanted to write another one.
    pub fn of(wanted: &NewOrder, by: &TaskKey, order: Order) -> Self {
        let is_same = (order.shop_id, order.shard, order.state) == (wanted.shop_id, by.shard, wanted.state);
        let outcome = match (is_same, order.file == by.file) {
            (true, true) => RecordedAs::Recorded,
            (true, false) => RecordedAs::Same,
            (false, _) => RecordedAs::Conflict,
        };
        Self { outcome, order }
    }
}
