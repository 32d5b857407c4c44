//! Stores that tell how long each call took. What is told has names from a closed list: the store's and the method's.
//!
//! Every method of a trait stands here once, also those that have a default: a method that is added to a trait is added
//! here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::apid::lease_end::LeaseEnd;
use super::apid::store::{FilePage, FileQuery, Registered, StageReport, TaskTally, Tracking};
use super::balance::store::BalanceStore;
use super::cache::store::{CacheStore, Forgotten, Take};
use crate::base::db::Result;
use crate::base::http::Metrics;
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::view::Queued;
use crate::pipeline::task::{
    Call, Claim, Claimed, FileName, FileView, Output, Stage, Status, Summary, TaskKey, TaskProgress,
};
use crate::pipeline::trade::{
    Account, Answer, Backlog, Booked, EarlyReturn, Held, NewOrder, Operation, Order, OrderId, PutOutcome, Recorded,
    Statement, Taken, Totals, UserId,
};

/// A call that is over.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Which store.
    pub store: &'static str,
    /// Which of its methods.
    pub operation: &'static str,
    /// Whether it succeeded. A refusal is no success.
    pub is_ok: bool,
    /// How long it took.
    pub took: Duration,
}

/// The observer of the calls.
pub type Observer = Arc<dyn Fn(Timing) + Send + Sync>;

/// The observer that measures the calls for the metrics.
pub fn observer(metrics: &Metrics) -> Observer {
    let metrics = metrics.clone();
    Arc::new(move |call: Timing| metrics.observe_database(call.store, call.operation, call.is_ok, call.took))
}

/// A store with an observer of its calls.
pub struct Timed<T: ?Sized> {
    inner: Arc<T>,
    store: &'static str,
    observer: Observer,
}

impl<T: ?Sized> Timed<T> {
    fn told<R>(&self, operation: &'static str, began: Instant, result: Result<R>) -> Result<R> {
        let (store, is_ok, took) = (self.store, result.is_ok(), began.elapsed());
        (self.observer)(Timing { store, operation, is_ok, took });
        result
    }
}

/// The tracking store with an observer.
pub fn tracking(inner: Arc<dyn Tracking>, observer: Observer) -> Arc<dyn Tracking> {
    Arc::new(Timed { inner, store: "tracking", observer })
}

/// The accounts with an observer.
pub fn balance(inner: Arc<dyn BalanceStore>, observer: Observer) -> Arc<dyn BalanceStore> {
    Arc::new(Timed { inner, store: "balance", observer })
}

/// The order directory and the early returns with an observer.
pub fn cache(inner: Arc<dyn CacheStore>, observer: Observer) -> Arc<dyn CacheStore> {
    Arc::new(Timed { inner, store: "cache", observer })
}

/// Implements a trait by passing every call on.
macro_rules! timed {
    ($store:ident { $($plain:item)* } $(fn $name:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty;)+) => {
        #[async_trait::async_trait]
        impl $store for Timed<dyn $store> {
            $($plain)*

            $(
                async fn $name(&self $(, $argument: $kind)*) -> Result<$answer> {
                    let began = Instant::now();
                    let result = self.inner.$name($($argument),*).await;
                    self.told(stringify!($name), began, result)
                }
            )+

            async fn close(&self) {
                self.inner.close().await;
            }
        }
    };
}

timed! {
    Tracking {
        fn lease_ms(&self) -> u64 {
            self.inner.lease_ms()
        }

        fn take_lease_ends(&self) -> Vec<LeaseEnd> {
            self.inner.take_lease_ends()
        }
    }
    fn ping(&self) -> ();
    fn register(&self, file: &FileName, shards: &[ShardId]) -> Registered;
    fn ingest_done(&self, file: &FileName, output: Option<Output>) -> u64;
    fn apply(&self, key: &TaskKey, stage: Stage, call: Call, report: StageReport) -> Status;
    fn claim(&self, claim: &Claim) -> Vec<Claimed>;
    fn queue(&self, stage: Stage, limit: u32, offset: u32) -> Vec<Queued>;
    fn find_file(&self, file: &FileName) -> Option<FileView>;
    fn list_files(&self, query: &FileQuery) -> FilePage;
    fn summary(&self) -> Summary;
    fn oldest_unfinished(&self, stage: Stage, besides: &FileName) -> Option<FileName>;
    fn oldest_open(&self) -> Option<Timestamp>;
    fn tally(&self, mark: u64) -> TaskTally;
    fn progress(&self) -> TaskProgress;
    fn note_asker(&self, stage: Stage, shard: Option<ShardId>, worker: &str) -> ();
}

timed! {
    BalanceStore {}
    fn ping(&self) -> ();
    fn apply(&self, operations: &[Operation]) -> Vec<Answer>;
    fn find_account(&self, user: UserId) -> Option<Account>;
    fn statement(&self, user: UserId, before: Option<u64>, limit: u32) -> Statement;
    fn list_booked(&self, after: Option<UserId>, limit: u32) -> Vec<Booked>;
    fn totals(&self) -> Totals;
    fn net_under(&self, prefix: &str) -> i128;
}

timed! {
    CacheStore {}
    fn ping(&self) -> ();
    fn record_orders(&self, by: &TaskKey, orders: &[NewOrder]) -> Vec<Recorded>;
    fn record_and_take(&self, by: &TaskKey, orders: &[NewOrder]) -> (Vec<Recorded>, Vec<Taken>);
    fn look_up(&self, orders: &[OrderId]) -> Vec<Order>;
    fn put(&self, by: &TaskKey, returns: &[EarlyReturn]) -> Vec<PutOutcome>;
    fn take(&self, by: &TaskKey, what: Take<'_>, limit: u32) -> Vec<Taken>;
    fn confirm(&self, by: &TaskKey) -> u64;
    fn list_held(&self, order: OrderId, limit: u32) -> Vec<Held>;
    fn list_pending(&self, after: Option<(FileName, u64)>, limit: u32) -> Vec<Held>;
    fn backlog(&self) -> Backlog;
    fn list_orders(&self, after: Option<OrderId>, limit: u32) -> Vec<Order>;
    fn forget(&self, limit: u32) -> Forgotten;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::base::clock::Clock;
    use crate::base::db::StoreUrl;
    use crate::pipeline::balance::store::open_balance;
    use crate::pipeline::event::Money;

    #[tokio::test]
    async fn every_call_is_told_with_its_name_and_whether_it_succeeded() {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(folder.path().join("balance.sqlite"));
        let store = open_balance(&url, Clock::System, Money::from_minor(0)).await.unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&told);
        let observer = move |timing: Timing| seen.lock().unwrap().push((timing.store, timing.operation, timing.is_ok));
        let store = balance(store, Arc::new(observer));
        store.ping().await.unwrap();
        store.totals().await.unwrap();
        store.apply(&[]).await.unwrap();
        rusqlite::Connection::open(folder.path().join("balance.sqlite"))
            .unwrap()
            .execute_batch("DROP TABLE user")
            .unwrap();
        assert!(store.totals().await.is_err());
        let expected = [("ping", true), ("totals", true), ("apply", true), ("totals", false)];
        assert_eq!(*told.lock().unwrap(), expected.map(|(operation, is_ok)| ("balance", operation, is_ok)));
    }
}
