//! Bodies of cache-service. `filename` and `shard` always name the task that asks.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{moment, write_moment};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::orders::RAW_BYTES_MAX;
use crate::pipeline::trade::{
    Backlog, EarlyReturn, Held, HeldState, NewOrder, Order, OrderId, OrderState, PutOutcome, Recorded, RecordedAs,
    Taken,
};

/// Writes orders of the task's shard into the directory.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrdersRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard: the orders belong to it.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The orders.
    #[schema(max_items = 10_000)]
    pub orders: Vec<NewOrderItem>,
    /// Hand out the returns that waited for them, in the same transaction.
    #[serde(default)]
    pub take: bool,
}

/// An order whose purchase was decided.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrderItem {
    /// Which order.
    #[schema(value_type = i64, minimum = 1, example = 4711)]
    pub order_id: OrderId,
    /// Where it was bought.
    #[schema(example = 3)]
    pub shop_id: i64,
    /// What became of the purchase.
    pub state: OrderState,
}

/// What came of the orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrdersResponse {
    /// One for each order, in their order.
    pub outcomes: Vec<RecordedItem>,
    /// The returns that waited for them, if they were asked for, by file and line.
    pub taken: Vec<TakenItem>,
}

/// What came of writing an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordedItem {
    /// What came of it.
    pub outcome: RecordedAs,
    /// What stands in the directory.
    pub order: OrderItem,
}

/// An order in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderItem {
    /// Which order.
    #[schema(value_type = i64, example = 4711)]
    pub order_id: OrderId,
    /// Where it was bought.
    #[schema(example = 3)]
    pub shop_id: i64,
    /// Which shard it belongs to.
    #[schema(value_type = u8, maximum = 127, example = 1)]
    pub shard: ShardId,
    /// What became of the purchase.
    pub state: OrderState,
    /// The event file whose task wrote it.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
}

/// Asks for orders.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupRequest {
    /// Which orders.
    #[schema(value_type = Vec<i64>, max_items = 10_000, example = json!([4711]))]
    pub order_ids: Vec<OrderId>,
}

/// The orders that are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookupResponse {
    /// Each once, by number.
    pub orders: Vec<OrderItem>,
}

/// Hands in returns whose order the task does not know.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRequest {
    /// The task's event file: that of the lines.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The returns.
    #[schema(max_items = 10_000)]
    pub returns: Vec<ReturnItem>,
}

/// A return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnItem {
    /// Its line in the event file, from 1.
    #[serde(deserialize_with = "line")]
    #[schema(minimum = 1, example = 17)]
    pub line: u64,
    /// The order that it is about.
    #[schema(value_type = i64, minimum = 1, example = 4711)]
    pub order_id: OrderId,
    /// When it happened.
    #[serde(deserialize_with = "moment", serialize_with = "write_moment")]
    #[schema(value_type = String, example = "2025-01-01 00:00:00.000")]
    pub happened_at: Timestamp,
    /// The line as it came.
    #[serde(deserialize_with = "raw")]
    #[schema(max_length = 4_194_304, example = "{\"event_type\":3}")]
    pub raw: String,
}

/// What came of handing in returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PutResponse {
    /// One for each return, in their order.
    pub outcomes: Vec<PutItem>,
}

/// What came of handing in a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PutItem {
    /// Its line.
    #[schema(example = 17)]
    pub line: u64,
    /// Whether it is kept.
    pub outcome: PutAs,
    /// The order, if it is known and of the task's own shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderItem>,
}

/// Whether a return is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PutAs {
    /// It is kept, until its order comes or for the shard that its order belongs to: the task counts it as held.
    Held,
    /// Its order is known and of the task's own shard: nothing is kept, the task deals with it now.
    Known,
}

/// Asks for returns whose order is known.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// Only returns of these orders; without, all that wait for the task's shard, which a task is told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<i64>>, max_items = 10_000, example = json!([4711]))]
    pub order_ids: Option<Vec<OrderId>>,
    /// The most returns to hand out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000, example = 1000)]
    pub limit: Option<u32>,
}

/// Asks for returns of the task's shard whose time is up.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpiredRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The oldest other event file that some shard has not decided: no time is up that is not up before this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub undecided: Option<FileName>,
    /// The most returns to hand out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000, example = 1000)]
    pub limit: Option<u32>,
}

/// Returns that are the task's now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakenResponse {
    /// The returns, by file and line.
    pub taken: Vec<TakenItem>,
}

/// A return with where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakenItem {
    /// The event file that it came from.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// Its line there.
    #[schema(example = 17)]
    pub line: u64,
    /// The order that it is about.
    #[schema(value_type = i64, example = 4711)]
    pub order_id: OrderId,
    /// When it happened.
    #[serde(deserialize_with = "moment", serialize_with = "write_moment")]
    #[schema(value_type = String, example = "2025-01-01 00:00:00.000")]
    pub happened_at: Timestamp,
    /// The line as it came.
    #[schema(example = "{\"event_type\":3}")]
    pub raw: String,
}

/// Says that a task is done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
}

/// What was pending until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfirmResponse {
    /// How many returns of the task are done by this call.
    #[schema(example = 2)]
    pub confirmed: u64,
}

/// How much is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BacklogResponse {
    /// Returns whose task is not done: the number that the cap is about.
    #[schema(example = 12)]
    pub pending: u64,
    /// Those of them that no task has.
    #[schema(example = 10)]
    pub waiting: u64,
    /// Those that the next task of some shard takes, whatever is in its file.
    #[schema(example = 2)]
    pub due: u64,
    /// Those of them whose time is up and whose order did not come.
    #[schema(example = 1)]
    pub overdue: u64,
}

impl From<Backlog> for BacklogResponse {
    fn from(backlog: Backlog) -> Self {
        let Backlog { pending, waiting, overdue, due, .. } = backlog;
        Self { pending, waiting, due, overdue }
    }
}

/// The kept returns of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldResponse {
    /// Which order.
    #[schema(value_type = i64, example = 4711)]
    pub order_id: OrderId,
    /// Its returns, by file and line, 1000 at the most.
    pub items: Vec<HeldItem>,
}

/// A kept return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldItem {
    /// The event file that it came from.
    #[schema(value_type = String, example = "20250101000000")]
    pub filename: FileName,
    /// Its line there.
    #[schema(example = 17)]
    pub line: u64,
    /// The shard whose task handed it in.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// `waiting`, `released` (its order came) or `expired` (its time was up).
    #[schema(example = "waiting")]
    pub state: String,
    /// The event file of the task that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "20250101000010")]
    pub taken_filename: Option<FileName>,
    /// The shard of the task that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u8>, maximum = 127, example = 1)]
    pub taken_shard: Option<ShardId>,
    /// When it happened.
    #[schema(example = "2025-01-01 00:00:00.000")]
    pub happened_at: String,
    /// When it was handed in.
    #[schema(example = "2025-01-01 00:00:05.000")]
    pub held_at: String,
    /// When its time is up.
    #[schema(example = "2025-01-01 00:05:05.000")]
    pub expires_at: String,
    /// When the task that has it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "2025-01-01 00:00:15.000")]
    pub done_at: Option<String>,
}

fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let line = u64::deserialize(deserializer)?;
    let is_line = line > 0 && i64::try_from(line).is_ok();
    if is_line { Ok(line) } else { Err(D::Error::custom("lines are counted from 1")) }
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = String::deserialize(deserializer)?;
    if raw.len() > RAW_BYTES_MAX {
        return Err(D::Error::custom(format!("a returned line has {RAW_BYTES_MAX} bytes at the most")));
    }
    Ok(raw)
}

impl From<NewOrderItem> for NewOrder {
    fn from(item: NewOrderItem) -> Self {
        Self { order: item.order_id, shop_id: item.shop_id, state: item.state }
    }
}

impl From<&NewOrder> for NewOrderItem {
    fn from(order: &NewOrder) -> Self {
        Self { order_id: order.order, shop_id: order.shop_id, state: order.state }
    }
}

impl From<Order> for OrderItem {
    fn from(order: Order) -> Self {
        let Order { order, shop_id, shard, state, file } = order;
        Self { order_id: order, shop_id, shard, state, filename: file }
    }
}

impl From<OrderItem> for Order {
    fn from(item: OrderItem) -> Self {
        let OrderItem { order_id, shop_id, shard, state, filename } = item;
        Self { order: order_id, shop_id, shard, state, file: filename }
    }
}

impl From<Recorded> for RecordedItem {
    fn from(recorded: Recorded) -> Self {
        Self { outcome: recorded.outcome, order: recorded.order.into() }
    }
}

impl From<RecordedItem> for Recorded {
    fn from(item: RecordedItem) -> Self {
        Self { outcome: item.outcome, order: item.order.into() }
    }
}

impl From<ReturnItem> for EarlyReturn {
    fn from(item: ReturnItem) -> Self {
        Self { line: item.line, order: item.order_id, happened_at: item.happened_at, raw: item.raw }
    }
}

impl From<&EarlyReturn> for ReturnItem {
    fn from(entry: &EarlyReturn) -> Self {
        let EarlyReturn { line, order, happened_at, raw } = entry.clone();
        Self { line, order_id: order, happened_at, raw }
    }
}

impl PutItem {
    /// What came of the return at this line.
    pub fn new(line: u64, outcome: PutOutcome) -> Self {
        match outcome {
            PutOutcome::Held => Self { line, outcome: PutAs::Held, order: None },
            PutOutcome::Known(order) => Self { line, outcome: PutAs::Known, order: Some(order.into()) },
        }
    }
}

impl From<Taken> for TakenItem {
    fn from(taken: Taken) -> Self {
        let Taken { file, entry: EarlyReturn { line, order, happened_at, raw } } = taken;
        Self { filename: file, line, order_id: order, happened_at, raw }
    }
}

impl From<TakenItem> for Taken {
    fn from(item: TakenItem) -> Self {
        let TakenItem { filename, line, order_id, happened_at, raw } = item;
        Self { file: filename, entry: EarlyReturn { line, order: order_id, happened_at, raw } }
    }
}

impl From<Held> for HeldItem {
    fn from(held: Held) -> Self {
        let (state, taken) = match held.state {
            HeldState::Waiting => ("waiting", None),
            HeldState::Released(by) => ("released", Some(by)),
            HeldState::Expired(by) => ("expired", Some(by)),
        };
        let (taken_filename, taken_shard) = taken.map(|TaskKey { file, shard }| (file, shard)).unzip();
        Self {
            filename: held.by.file,
            line: held.line,
            shard: held.by.shard,
            state: state.to_owned(),
            taken_filename,
            taken_shard,
            happened_at: held.happened_at.to_string(),
            held_at: held.held_at.to_string(),
            expires_at: held.expires_at.to_string(),
            done_at: held.done_at.map(|at| at.to_string()),
        }
    }
}
