//! Bank and order directory of the stages in this process: the real stores, asked without a network in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shopctl::base::db::Result;
use shopctl::pipeline::balance::store::BalanceStore;
use shopctl::pipeline::cache::store::{PendingStore, Take};
use shopctl::pipeline::claim::fault::Fault;
use shopctl::pipeline::rules::money::{Direction, Operation};
use shopctl::pipeline::task::TaskKey;
use shopctl::pipeline::trade::{
    self, Amount, NewOrder, OperationKey, OperationKind, OrderId, OrderState, PutOutcome, UserId,
};
use shopctl::pipeline::work::bank::{Bank, Outcome, Refusal};
use shopctl::pipeline::work::directory::{DecidedOrder, Directory, Due, EarlyReturn, Kept, TakenReturn, Written};
use tokio::runtime::Handle;

use super::chain::Trouble;

/// Returns that are taken at once.
const TAKEN_MAX: u32 = 10_000;

/// Runs a call, unless its turn to fail has come.
fn call<T>(
    handle: &Handle,
    trouble: &Trouble,
    work: impl Future<Output = Result<T>>,
) -> std::result::Result<Result<T>, Fault> {
    let left = trouble.left.load(Ordering::SeqCst);
    if left != 1 {
        trouble.left.store(left.saturating_sub(1), Ordering::SeqCst);
        return Ok(handle.block_on(work));
    }
    trouble.left.store(0, Ordering::SeqCst);
    if trouble.reply_is_lost.load(Ordering::SeqCst) > 0 {
        drop(handle.block_on(work));
    }
    Err(Fault::Unavailable("the service is away".to_owned()))
}

pub(super) struct StoredBank {
    handle: Handle,
    store: Arc<dyn BalanceStore>,
    trouble: Arc<Trouble>,
}

impl StoredBank {
    pub(super) fn new(handle: &Handle, store: &Arc<dyn BalanceStore>, trouble: &Arc<Trouble>) -> Self {
        Self { handle: handle.clone(), store: Arc::clone(store), trouble: Arc::clone(trouble) }
    }
}

impl Bank for StoredBank {
    fn apply(&mut self, operations: &[Operation]) -> std::result::Result<Vec<Outcome>, Refusal> {
        let asked = operations.iter().map(|operation| trade::Operation {
            key: OperationKey::new(operation.key.as_str()).unwrap(),
            user: UserId::new(operation.user_id).unwrap(),
            kind: match operation.direction {
                Direction::Debit => OperationKind::Debit,
                Direction::Credit => OperationKind::Credit,
            },
            amount: Amount::from_minor(operation.amount.minor()).unwrap(),
            reason: operation.reason.clone(),
        });
        let asked: Vec<_> = asked.collect();
        match call(&self.handle, &self.trouble, self.store.apply(&asked))? {
            Ok(answers) => Ok(answers
                .into_iter()
                .map(|answer| match answer.outcome {
                    trade::Outcome::Applied => Outcome::Applied,
                    trade::Outcome::InsufficientFunds => Outcome::InsufficientFunds,
                })
                .collect()),
            Err(error) => match error.refusal() {
                Some(trade::Refusal::KeyConflict(key)) => Err(Refusal::Conflict(key.as_str().to_owned())),
                _ => panic!("the bank: {error}"),
            },
        }
    }
}

pub(super) struct StoredDirectory {
    handle: Handle,
    store: Arc<dyn PendingStore>,
    trouble: Arc<Trouble>,
}

impl StoredDirectory {
    pub(super) fn new(handle: &Handle, store: &Arc<dyn PendingStore>, trouble: &Arc<Trouble>) -> Self {
        Self { handle: handle.clone(), store: Arc::clone(store), trouble: Arc::clone(trouble) }
    }

    fn call<T>(&self, work: impl Future<Output = Result<T>>) -> std::result::Result<T, Fault> {
        Ok(call(&self.handle, &self.trouble, work)?.unwrap())
    }
}

impl Directory for StoredDirectory {
    fn record_and_take(&mut self, by: &TaskKey, orders: &[DecidedOrder]) -> std::result::Result<Written, Fault> {
        let order = |decided: &DecidedOrder| {
            let state = if decided.accepted { OrderState::Accepted } else { OrderState::Rejected };
            NewOrder { order: OrderId::new(decided.order_id).unwrap(), shop_id: decided.shop_id, state }
        };
        let orders: Vec<_> = orders.iter().map(order).collect();
        let (recorded, taken) = self.call(self.store.record_and_take(by, &orders))?;
        let elsewhere = recorded.iter().filter(|recorded| recorded.order.shard != by.shard).count();
        Ok(Written { elsewhere: elsewhere as u64, taken: taken.into_iter().map(taken_return).collect() })
    }

    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> std::result::Result<Vec<Kept>, Fault> {
        let entry = |early: &EarlyReturn| {
            let EarlyReturn { line, order_id, at, raw } = early.clone();
            trade::EarlyReturn { line, order: OrderId::new(order_id).unwrap(), happened_at: at, raw }
        };
        let entries: Vec<_> = returns.iter().map(entry).collect();
        let outcomes = self.call(self.store.put(by, &entries))?;
        let kept = |outcome| if matches!(outcome, PutOutcome::Held) { Kept::Held } else { Kept::Ours };
        Ok(outcomes.into_iter().map(kept).collect())
    }

    fn take(&mut self, by: &TaskKey, due: Due) -> std::result::Result<Vec<TakenReturn>, Fault> {
        let what = match due {
            Due::Ours => Take::Shard,
            Due::Expired => Take::Expired(None),
        };
        Ok(self.call(self.store.take(by, what, TAKEN_MAX))?.into_iter().map(taken_return).collect())
    }

    fn confirm(&mut self, by: &TaskKey) -> std::result::Result<(), Fault> {
        self.call(self.store.confirm(by)).map(drop)
    }
}

fn taken_return(taken: trade::Taken) -> TakenReturn {
    let trade::Taken { file, entry } = taken;
    let entry = EarlyReturn { line: entry.line, order_id: entry.order.get(), at: entry.happened_at, raw: entry.raw };
    TakenReturn { file, entry }
}
