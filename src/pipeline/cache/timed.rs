//! The order directory and the early returns with an observer of its calls. Every method of the trait stands here once, also those that have a default: a
//! method that is added to the trait is added here.

use std::sync::Arc;

use super::store::{CacheStore, Forgotten, Take};
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::timed::{Observer, Timed, timed};
use crate::pipeline::trade::{Backlog, EarlyReturn, Held, NewOrder, Order, OrderId, PutOutcome, Recorded, Taken};

/// The order directory and the early returns with an observer.
pub(super) fn cache(inner: Arc<dyn CacheStore>, observer: Observer) -> Arc<dyn CacheStore> {
    Arc::new(Timed::new("cache", inner, observer))
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
