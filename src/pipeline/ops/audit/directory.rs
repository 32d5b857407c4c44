//! The order directory beside the states of the workers: every order that a worker decided stands in the directory, and
//! every entry is known to the worker of its shard.
//!
//! The order of the looks is what makes that sound beside running roles. A worker tells the directory of an order before
//! it commits its state: so the directory, read after the states, has every order of theirs. An entry may be of a task
//! that is not done yet; it counts once the task was reported done before the states were read.

use std::sync::Arc;

use super::Findings;
use super::paged::Paged;
use crate::pipeline::cache::store::CacheStore;
use crate::pipeline::event::ShardId;
use crate::pipeline::shard_db::{OrderOutcome, WorkerSnapshot};
use crate::pipeline::task::TaskKey;
use crate::pipeline::trade::{Order, OrderId, OrderState};

/// Entries per page.
const PAGE: u32 = 1000;
/// What to do when an entry differs.
const NEXT: &str = "a row of order_directory or of a worker's orders was changed by hand: put it back from a backup \
                    (docs/runbook.md#audit-difference)";

/// The state of a shard's worker, as it was at one moment.
pub struct DirectoryState {
    /// Whose.
    pub shard: ShardId,
    /// The state.
    pub look: Arc<dyn WorkerSnapshot>,
}

/// A state with the orders of it that are read.
struct Side<'a> {
    state: &'a DirectoryState,
    orders: Paged<OrderOutcome, i64>,
}

/// Compares all orders, in the order of their numbers. `is_done` says of which tasks the worker was done before the
/// states were read, or which there cannot be; not of those whose worker has no state among these.
///
/// # Errors
/// Whatever the stores fail with.
pub async fn compare(
    directory: &dyn CacheStore,
    states: &[DirectoryState],
    is_done: impl Fn(&TaskKey) -> bool,
) -> crate::base::db::Result<Findings> {
    let mut found = Findings::default();
    let mut entries = Paged::new(|order: &Order| order.order.get());
    let side = |state| Side { state, orders: Paged::new(|order: &OrderOutcome| order.order_id) };
    let mut sides: Vec<Side<'_>> = states.iter().map(side).collect();
    loop {
        let read = |after: Option<i64>| directory.list_orders(after.and_then(OrderId::new), PAGE);
        let mut next = entries.next_key(read).await?;
        for Side { state, orders } in &mut sides {
            let key = orders.next_key(|after| state.look.list_outcomes(after, PAGE)).await?;
            next = key.map_or(next, |key| Some(next.map_or(key, |next| next.min(key))));
        }
        let Some(order_id) = next else {
            return Ok(found);
        };
        let known = sides.iter_mut().filter_map(|side| Some((side.state.shard, side.orders.take(order_id)?)));
        let known: Vec<_> = known.collect();
        let entry = entries.take(order_id);
        found.compared += 1;
        let is_settled = |entry: &Order| is_done(&TaskKey { file: entry.file.clone(), shard: entry.shard });
        if let Some(what) = difference(entry.as_ref(), &known, is_settled) {
            found.differ(format!("{what}; {NEXT}"));
        }
    }
}

/// What differs about an order: its entry in the directory, and what the workers know of it. A number that was used in
/// two shards belongs to the one that was first.
fn difference(
    entry: Option<&Order>,
    known: &[(ShardId, OrderOutcome)],
    is_settled: impl Fn(&Order) -> bool,
) -> Option<String> {
    let Some(entry) = entry else {
        let (shard, OrderOutcome { order_id, is_accepted, .. }) = known.first()?;
        let word = word(*is_accepted);
        return Some(format!(
            "order {order_id} was {word} by the worker of shard {shard} and is not in the order directory"
        ));
    };
    let Order { order, shop_id, shard, state, .. } = entry;
    let order = order.get();
    let is_entered = *state == OrderState::Accepted;
    let own = known.iter().find(|(of, _)| of == shard).map(|(_, outcome)| outcome);
    match own {
        None if is_settled(entry) => {
            let word = word(is_entered);
            let others = known.iter().map(|(of, _)| format!(", that of shard {of} does")).collect::<String>();
            Some(format!(
                "the order directory has order {order} as {word} in shard {shard}, whose worker does not know it{others}"
            ))
        }
        None => None,
        // An order that was rejected first and accepted later keeps its first entry.
        Some(own) if is_entered && !own.is_accepted => {
            Some(format!("the order directory has order {order} as accepted, the worker of shard {shard} as rejected"))
        }
        Some(own) if is_entered && own.shop_id != *shop_id => Some(format!(
            "the order directory has order {order} in shop {shop_id}, the worker of shard {shard} in shop {}",
            own.shop_id
        )),
        Some(_) => None,
    }
}

const fn word(is_accepted: bool) -> &'static str {
    if is_accepted { "accepted" } else { "rejected" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u64) -> ShardId {
        ShardId::new(number).unwrap()
    }

    fn entry(of: u64, shop_id: i64, state: OrderState) -> Order {
        let (order, file) = (OrderId::new(7).unwrap(), "20250101000000".parse().unwrap());
        Order { order, shop_id, shard: shard(of), state, file }
    }

    fn known(of: u64, shop_id: i64, is_accepted: bool) -> (ShardId, OrderOutcome) {
        (shard(of), OrderOutcome { order_id: 7, shop_id, is_accepted })
    }

    #[test]
    fn what_agrees_is_no_difference() {
        use OrderState::{Accepted, Rejected};
        let agreeing = [
            (entry(0, 2, Accepted), vec![known(0, 2, true)]),
            (entry(0, 2, Rejected), vec![known(0, 2, false)]),
            // It was rejected first, in whatever shop, and accepted later.
            (entry(0, 4, Rejected), vec![known(0, 2, true)]),
            // The number was used in two shards.
            (entry(0, 2, Accepted), vec![known(0, 2, true), known(1, 3, true)]),
        ];
        for (entry, known) in agreeing {
            assert_eq!(difference(Some(&entry), &known, |_| true), None, "{entry:?} {known:?}");
        }
        assert_eq!(difference(None, &[], |_| true), None);
        let of_open_task = entry(0, 2, Accepted);
        assert_eq!(difference(Some(&of_open_task), &[], |_| false), None, "its task may not be done");
    }

    #[test]
    fn what_does_not_agree_is_named() {
        use OrderState::{Accepted, Rejected};
        let differing = [
            (
                None,
                vec![known(1, 3, true)],
                "order 7 was accepted by the worker of shard 1 and is not in the order directory",
            ),
            (None, vec![known(1, 3, false)], "order 7 was rejected by the worker of shard 1 and is not in"),
            (Some(entry(0, 2, Accepted)), vec![], "order 7 as accepted in shard 0, whose worker does not know it"),
            (
                Some(entry(0, 2, Rejected)),
                vec![known(1, 3, true)],
                "shard 0, whose worker does not know it, that of shard 1 does",
            ),
            (
                Some(entry(0, 2, Accepted)),
                vec![known(0, 2, false)],
                "order 7 as accepted, the worker of shard 0 as rejected",
            ),
            (
                Some(entry(0, 4, Accepted)),
                vec![known(0, 2, true)],
                "order 7 in shop 4, the worker of shard 0 in shop 2",
            ),
        ];
        for (entry, known, expected) in differing {
            let what = difference(entry.as_ref(), &known, |_| true).unwrap_or_default();
            assert!(what.contains(expected), "{what}");
        }
    }
}
