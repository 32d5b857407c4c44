//! Bank and cache-service in memory, shared by all shards, that fail when they are told to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use crate::base::timestamp::Timestamp;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::{
    EarlyReturn, NewOrder, Operation, OperationKey, OperationKind, Order, OrderState, Outcome, PutOutcome, Recorded,
    Taken,
};
use crate::pipeline::work::bank::{Bank, BankError};
use crate::pipeline::work::cache_service::CacheService;

/// What is outside of a worker: both services, and their misfortunes.
#[derive(Clone, Default)]
pub(super) struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Calls that still succeed before one fails; none: all succeed.
    patience: Option<u32>,
    /// Whether the call that fails is carried out nevertheless: its reply is lost.
    reply_is_lost: bool,
    calls: u32,
    opening: i64,
    balances: BTreeMap<i64, i64>,
    outcomes: HashMap<String, (i64, bool, i64, Outcome)>,
    orders: HashMap<i64, ShardId>,
    pending: BTreeMap<(FileName, u64), Pending>,
    claims: HashMap<(TaskKey, Due), Vec<(FileName, u64)>>,
    claimed_by_order: HashMap<(TaskKey, i64), Vec<(FileName, u64)>>,
    /// The clock of the directory.
    now: i64,
    ttl: i64,
    confirmed: Vec<TaskKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Due {
    Known,
    Expired,
}

struct Pending {
    entry: EarlyReturn,
    by: TaskKey,
    expires: i64,
    taken: bool,
}

impl World {
    pub(super) fn new(opening: i64) -> Self {
        let world = Self::default();
        world.0.lock().unwrap().opening = opening;
        world.0.lock().unwrap().ttl = 300_000;
        world
    }

    /// Lets so many calls succeed and one fail.
    pub(super) fn fail_after(&self, calls: u32, reply_is_lost: bool) {
        let mut inner = self.0.lock().unwrap();
        (inner.patience, inner.reply_is_lost) = (Some(calls), reply_is_lost);
    }

    /// All is well again; answers whether a call has failed.
    pub(super) fn heal(&self) -> bool {
        self.0.lock().unwrap().patience.take().is_none()
    }

    /// Returns that are handed in from now on do not wait: their time is up at once.
    pub(super) fn let_nothing_wait(&self) {
        self.0.lock().unwrap().ttl = 0;
    }

    pub(super) fn pass(&self, ms: i64) {
        self.0.lock().unwrap().now += ms;
    }

    pub(super) fn balance(&self, user: i64) -> i64 {
        let inner = self.0.lock().unwrap();
        inner.balances.get(&user).copied().unwrap_or(inner.opening)
    }

    /// Balances of all users that were ever named.
    pub(super) fn balances(&self) -> BTreeMap<i64, i64> {
        self.0.lock().unwrap().balances.clone()
    }

    /// All keys with their outcomes.
    pub(super) fn applied(&self) -> BTreeMap<String, i64> {
        let inner = self.0.lock().unwrap();
        let applied = inner.outcomes.iter().filter(|(_, (.., outcome))| *outcome == Outcome::Applied);
        applied
            .map(|(key, (_, is_debit, amount, _))| (key.clone(), if *is_debit { -amount } else { *amount }))
            .collect()
    }

    /// How many returns wait, and no task has them.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().unwrap().pending.values().filter(|pending| !pending.taken).count()
    }

    pub(super) fn confirmed(&self) -> usize {
        self.0.lock().unwrap().confirmed.len()
    }

    /// Another caller has used this key before.
    pub(super) fn spoil(&self, key: &str) {
        self.0.lock().unwrap().outcomes.insert(key.to_owned(), (-1, true, 1, Outcome::Applied));
    }

    fn call<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> Result<T, Fault> {
        let mut inner = self.0.lock().unwrap();
        inner.calls += 1;
        let away = || Fault::Unavailable("it is away".to_owned());
        let Some(patience) = inner.patience else { return Ok(work(&mut inner)) };
        if patience > 0 {
            inner.patience = Some(patience - 1);
            return Ok(work(&mut inner));
        }
        inner.patience = None;
        if inner.reply_is_lost {
            work(&mut inner);
        }
        Err(away())
    }
}

impl Inner {
    fn operate(&mut self, operation: &Operation) -> Outcome {
        let (user, amount) = (operation.user.get(), operation.amount.money().minor());
        assert!(operation.reason.chars().count() <= 255);
        let is_debit = operation.kind == OperationKind::Debit;
        if let Some((.., outcome)) = self.outcomes.get(operation.key.as_str()) {
            return *outcome;
        }
        let opening = self.opening;
        let balance = self.balances.entry(user).or_insert(opening);
        let outcome = if is_debit && *balance < amount {
            Outcome::InsufficientFunds
        } else {
            *balance += if is_debit { -amount } else { amount };
            Outcome::Applied
        };
        self.outcomes.insert(operation.key.as_str().to_owned(), (user, is_debit, amount, outcome));
        outcome
    }

    fn conflict(&self, operations: &[Operation]) -> Option<OperationKey> {
        let is_other = |operation: &&Operation| {
            let is_debit = operation.kind == OperationKind::Debit;
            let asked = (operation.user.get(), is_debit, operation.amount.money().minor());
            let known = self.outcomes.get(operation.key.as_str());
            known.is_some_and(|(user, is_debit, amount, _)| (*user, *is_debit, *amount) != asked)
        };
        operations.iter().find(is_other).map(|operation| operation.key.clone())
    }
}

impl Bank for World {
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, BankError> {
        assert!((1..=10_000).contains(&operations.len()));
        self.call(|inner| match inner.conflict(operations) {
            Some(key) => Err(BankError::KeyConflict(key)),
            None => Ok(operations.iter().map(|operation| inner.operate(operation)).collect()),
        })?
    }
}

impl CacheService for World {
    fn record_and_take(&mut self, by: &TaskKey, orders: &[NewOrder]) -> Result<(Vec<Recorded>, Vec<Taken>), Fault> {
        self.call(|inner| {
            let (mut recorded, mut taken) = (Vec::new(), Vec::new());
            for order in orders {
                let id = order.order.get();
                let is_new = !inner.orders.contains_key(&id);
                let shard = *inner.orders.entry(id).or_insert(by.shard);
                let mut one = Recorded::written(order, by);
                one.order.shard = shard;
                recorded.push(one);
                let claim = (by.clone(), id);
                if is_new {
                    let is_waiting = |pending: &Pending| !pending.taken && pending.entry.order == order.order;
                    let waiting = inner.pending.iter_mut().filter(|(_, pending)| is_waiting(pending));
                    let mine = waiting.map(|(key, pending)| {
                        pending.taken = true;
                        key.clone()
                    });
                    inner.claimed_by_order.insert(claim.clone(), mine.collect());
                }
                let keys = inner.claimed_by_order.get(&claim).into_iter().flatten();
                taken.extend(keys.map(|key| Taken { file: key.0.clone(), entry: inner.pending[key].entry.clone() }));
            }
            (recorded, taken)
        })
    }

    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>, Fault> {
        self.call(|inner| {
            let mut kept = Vec::new();
            for entry in returns {
                let key = (by.file.clone(), entry.line);
                let is_ours = inner.orders.get(&entry.order.get()) == Some(&by.shard);
                if is_ours && !inner.pending.contains_key(&key) {
                    let (order, shard, file) = (entry.order, by.shard, by.file.clone());
                    kept.push(PutOutcome::Known(Order { order, shop_id: 0, shard, state: OrderState::Accepted, file }));
                    continue;
                }
                let expires = inner.now + inner.ttl;
                let new = Pending { entry: entry.clone(), by: by.clone(), expires, taken: false };
                let there = inner.pending.entry(key).or_insert(new);
                assert_eq!(there.entry, *entry, "a line is what it is");
                kept.push(PutOutcome::Held);
            }
            kept
        })
    }

    fn take(&mut self, by: &TaskKey) -> Result<Vec<Taken>, Fault> {
        self.take_due(by, Due::Known)
    }

    fn expired(&mut self, by: &TaskKey) -> Result<Vec<Taken>, Fault> {
        self.take_due(by, Due::Expired)
    }

    fn confirm(&mut self, by: &TaskKey) -> Result<(), Fault> {
        self.call(|inner| {
            if !inner.confirmed.contains(by) {
                inner.confirmed.push(by.clone());
            }
        })
    }
}

impl World {
    fn take_due(&self, by: &TaskKey, due: Due) -> Result<Vec<Taken>, Fault> {
        self.call(|inner| {
            let claim = (by.clone(), due);
            if !inner.claims.contains_key(&claim) {
                let (orders, now) = (&inner.orders, inner.now);
                let is_due = |pending: &Pending| {
                    let shard = orders.get(&pending.entry.order.get());
                    !pending.taken
                        && match due {
                            Due::Known => shard == Some(&by.shard),
                            Due::Expired => shard.is_none() && pending.by.shard == by.shard && pending.expires <= now,
                        }
                };
                let mut mine = Vec::new();
                for (key, pending) in &mut inner.pending {
                    if is_due(pending) {
                        pending.taken = true;
                        mine.push(key.clone());
                    }
                }
                inner.claims.insert(claim.clone(), mine);
            }
            let keys = inner.claims[&claim].iter();
            keys.map(|key| Taken { file: key.0.clone(), entry: inner.pending[key].entry.clone() }).collect()
        })
    }
}

/// A moment of the tests' first day.
pub(super) fn moment(ms: i64) -> Timestamp {
    Timestamp::parse("2025-01-01 00:00:00.000").unwrap().plus_ms(ms)
}
