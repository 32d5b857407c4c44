//! How things whose fields stand among those of others are described in the documents of the APIs. The description of a
//! flattened type would be one of parts, the first of which forbids the others. Nothing is ever made of these types; a
//! test compares them with what is written.
#![expect(dead_code, reason = "they are descriptions")]

use utoipa::ToSchema;

use crate::pipeline::event::ShardId;
use crate::pipeline::task::FileName;
use crate::pipeline::trade::{Order, OrderId};

/// What came of handing in a return.
#[derive(ToSchema)]
pub(super) struct PutItem {
    /// Its line.
    #[schema(example = 17)]
    line: u64,
    /// Whether it is kept.
    outcome: PutAs,
    /// The order, if it is known and of the task's own shard.
    order: Option<Order>,
}

/// Whether a return is kept.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum PutAs {
    /// It is kept, until its order comes or for the shard that its order belongs to: the task counts it as held.
    Held,
    /// Its order is known and of the task's own shard: nothing is kept, the task deals with it now.
    Known,
}

/// A return with where it came from.
#[derive(ToSchema)]
pub(super) struct TakenItem {
    /// The event file that it came from.
    #[schema(value_type = String, example = "20250101000000")]
    filename: FileName,
    /// Its line there.
    #[schema(example = 17)]
    line: u64,
    /// The order that it is about.
    #[schema(value_type = i64, example = 4711)]
    order_id: OrderId,
    /// When it happened.
    #[schema(value_type = String, example = "2025-01-01 00:00:00.000")]
    happened_at: String,
    /// The line as it came.
    #[schema(example = "{\"event_type\":3}")]
    raw: String,
}

/// A kept return.
#[derive(ToSchema)]
pub(super) struct HeldItem {
    /// The event file that it came from.
    #[schema(value_type = String, example = "20250101000000")]
    filename: FileName,
    /// Its line there.
    #[schema(example = 17)]
    line: u64,
    /// The shard whose task handed it in.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    shard: ShardId,
    /// `waiting`, `released` (its order came) or `expired` (its time was up).
    #[schema(example = "waiting")]
    state: String,
    /// The event file of the task that has it.
    #[schema(value_type = Option<String>, example = "20250101000010")]
    taken_filename: Option<FileName>,
    /// The shard of the task that has it.
    #[schema(value_type = Option<u8>, maximum = 127, example = 1)]
    taken_shard: Option<ShardId>,
    /// When it happened.
    #[schema(example = "2025-01-01 00:00:00.000")]
    happened_at: String,
    /// When it was handed in.
    #[schema(example = "2025-01-01 00:00:05.000")]
    held_at: String,
    /// When its time is up.
    #[schema(example = "2025-01-01 00:05:05.000")]
    expires_at: String,
    /// When the task that has it was done.
    #[schema(example = "2025-01-01 00:00:15.000")]
    done_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;
    use crate::base::timestamp::Timestamp;
    use crate::pipeline::task::TaskKey;
    use crate::pipeline::trade::wire::cache;
    use crate::pipeline::trade::{EarlyReturn, Held, HeldState, OrderState, PutOutcome, Taken};

    /// Compares the names of a value with those of a description: all that have to be there are, and no others.
    fn assert_described<D: PartialSchema>(written: &impl serde::Serialize) {
        let (written, schema) = (json!(written), json!(D::schema()));
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let described = names(&schema["properties"]);
        assert!(names(&written).iter().all(|name| described.contains(name)), "{written} {schema}");
        let required = schema["required"].as_array().unwrap();
        assert!(required.iter().all(|name| written.get(name.as_str().unwrap()).is_some()), "{written} {schema}");
    }

    #[test]
    fn what_is_written_is_what_is_described() {
        let (file, shard): (FileName, _) = ("20250101000000".parse().unwrap(), ShardId::new(1).unwrap());
        let (order, at) = (OrderId::new(7).unwrap(), Timestamp::from_unix_ms(0));
        let known = Order { order, shop_id: 1, shard, state: OrderState::Accepted, file: file.clone() };
        for outcome in [PutOutcome::Held, PutOutcome::Known(known)] {
            let item = cache::PutItem { line: 1, outcome };
            assert_described::<PutItem>(&item);
            assert_eq!(serde_json::from_value::<cache::PutItem>(json!(item)).unwrap(), item);
        }
        let entry = EarlyReturn { line: 1, order, happened_at: at, raw: String::new() };
        let taken = Taken { file: file.clone(), entry };
        assert_described::<TakenItem>(&taken);
        assert_eq!(serde_json::from_value::<Taken>(json!(taken)).unwrap(), taken);
        let by = || TaskKey { file: file.clone(), shard };
        for state in [HeldState::Waiting, HeldState::Released(by()), HeldState::Expired(by())] {
            let (happened_at, held_at, expires_at) = (at, at, at);
            let done_at = (state != HeldState::Waiting).then_some(at);
            let held = Held { file: file.clone(), line: 1, shard, state, happened_at, held_at, expires_at, done_at };
            assert_described::<HeldItem>(&held);
            assert_eq!(serde_json::from_value::<Held>(json!(held)).unwrap(), held);
            assert_eq!(json!(held)["state"], held.state.name());
        }
    }
}
