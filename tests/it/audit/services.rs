//! Bank and cache-service of the stages in this process: the real stores, asked without a network in between.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shopctl::base::db::Result;
use shopctl::pipeline::balance::store::BalanceStore;
use shopctl::pipeline::cache::store::{CacheStore, Take};
use shopctl::pipeline::claim::fault::Fault;
use shopctl::pipeline::task::TaskKey;
use shopctl::pipeline::trade::{EarlyReturn, NewOrder, Operation, Outcome, PutOutcome, Recorded, Taken, TradeRefusal};
use shopctl::pipeline::work::bank::{Bank, BankError};
use shopctl::pipeline::work::cache_service::CacheService;
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
    fn apply(&mut self, operations: &[Operation]) -> std::result::Result<Vec<Outcome>, BankError> {
        match call(&self.handle, &self.trouble, self.store.apply(operations))? {
            Ok(answers) => Ok(answers.into_iter().map(|answer| answer.outcome).collect()),
            Err(error) => match error.refusal() {
                Some(TradeRefusal::KeyConflict(key)) => Err(BankError::KeyConflict(key.clone())),
                _ => panic!("the bank: {error}"),
            },
        }
    }
}

pub(super) struct StoredCache {
    handle: Handle,
    store: Arc<dyn CacheStore>,
    trouble: Arc<Trouble>,
}

impl StoredCache {
    pub(super) fn new(handle: &Handle, store: &Arc<dyn CacheStore>, trouble: &Arc<Trouble>) -> Self {
        Self { handle: handle.clone(), store: Arc::clone(store), trouble: Arc::clone(trouble) }
    }

    fn call<T>(&self, work: impl Future<Output = Result<T>>) -> std::result::Result<T, Fault> {
        Ok(call(&self.handle, &self.trouble, work)?.unwrap())
    }
}

impl CacheService for StoredCache {
    fn record_and_take(
        &mut self,
        by: &TaskKey,
        orders: &[NewOrder],
    ) -> std::result::Result<(Vec<Recorded>, Vec<Taken>), Fault> {
        self.call(self.store.record_and_take(by, orders))
    }

    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> std::result::Result<Vec<PutOutcome>, Fault> {
        self.call(self.store.put(by, returns))
    }

    fn take(&mut self, by: &TaskKey) -> std::result::Result<Vec<Taken>, Fault> {
        self.call(self.store.take(by, Take::Shard, TAKEN_MAX))
    }

    fn expired(&mut self, by: &TaskKey) -> std::result::Result<Vec<Taken>, Fault> {
        self.call(self.store.take(by, Take::Expired(None), TAKEN_MAX))
    }

    fn confirm(&mut self, by: &TaskKey) -> std::result::Result<(), Fault> {
        self.call(self.store.confirm(by)).map(drop)
    }
}
