//! The cache-service as a worker calls it. Calls block: make them from blocking threads only.
//!
//! Every call names the task. A task that repeats a call gets the answer of the first call, so that a worker that does
//! not know what came of a call repeats it. A task is confirmed when it is done, and not before.

use super::super::calls::{BATCH_TIMEOUT, CallObserver, Caller, ClientError, Service};
use crate::base::config::Principal;
use crate::pipeline::settings::Settings;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::wire::cache::{
    ConfirmRequest, ConfirmResponse, ExpiredRequest, HeldResponse, OrdersRequest, OrdersResponse, PutRequest,
    PutResponse, TakeRequest, TakenResponse,
};
use crate::pipeline::trade::{Backlog, EarlyReturn, NewOrder, OrderId, PutOutcome, Recorded, Taken};

/// Orders or returns per call; more than these go in several calls.
const ENTRIES_PER_CALL: usize = 1_000;
/// Bytes of the lines of one call, beside its first one: written as JSON they may take several times as many.
const BYTES_PER_CALL: usize = 2 * 1024 * 1024;

/// A client of the cache-service.
#[derive(Clone)]
pub struct CacheClient(Caller);

impl CacheClient {
    /// The same client with an observer of its calls.
    pub(crate) fn observed(self, observer: CallObserver) -> Self {
        Self(self.0.observed(observer))
    }

    /// A client that speaks for a principal, with that principal's first token if there is one.
    pub fn of(settings: &Settings, principal: Principal) -> Self {
        Self(Caller::of(Service::Cache, &settings.cache.url, settings, principal))
    }

    /// Writes any number of orders of the task's shard, and takes the returns that waited for them.
    ///
    /// # Errors
    /// [`ClientError`]. Some of the orders may have been written then; the same call again is harmless.
    pub fn record_and_take(
        &self,
        by: &TaskKey,
        orders: &[NewOrder],
    ) -> Result<(Vec<Recorded>, Vec<Taken>), ClientError> {
        let (mut recorded, mut taken) = (Vec::with_capacity(orders.len()), Vec::new());
        for chunk in orders.chunks(ENTRIES_PER_CALL) {
            let orders = chunk.to_vec();
            let body = OrdersRequest { filename: by.file.clone(), shard: by.shard, orders, take: true };
            let answer: OrdersResponse = self.post("/orders", &body)?;
            let answered = answer.outcomes.iter().map(|item| item.order.order);
            if !answered.eq(chunk.iter().map(|order| order.order)) {
                return Err(self.0.unavailable("its answer is not about the orders that were asked"));
            }
            recorded.extend(answer.outcomes);
            taken.extend(answer.taken);
        }
        Ok((recorded, taken))
    }

    /// The kept returns of an order, those that were taken up included, as long as they are kept.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn list_held(&self, order: OrderId) -> Result<HeldResponse, ClientError> {
        self.0.get(&format!("/api/v1/pending/{order}"))
    }

    /// Hands in any number of returns; answers one outcome for each.
    ///
    /// # Errors
    /// [`ClientError`]; `Unavailable` also when as many are pending as are allowed. Some of the returns may be kept
    /// then; the same call again is harmless.
    pub fn put(&self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>, ClientError> {
        let (mut outcomes, mut rest) = (Vec::with_capacity(returns.len()), returns);
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(fitting(rest));
            let returns = chunk.to_vec();
            let body = PutRequest { filename: by.file.clone(), shard: by.shard, returns };
            let answer: PutResponse = self.post("/pending/put", &body)?;
            if !answer.outcomes.iter().map(|item| item.line).eq(chunk.iter().map(|entry| entry.line)) {
                return Err(self.0.unavailable("its answer is not about the returns that were handed in"));
            }
            outcomes.extend(answer.outcomes.into_iter().map(|item| item.outcome));
            rest = later;
        }
        Ok(outcomes)
    }

    /// Takes returns that wait for the task's shard although their order is known.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn take(&self, by: &TaskKey, limit: u32) -> Result<Vec<Taken>, ClientError> {
        let body = TakeRequest { filename: by.file.clone(), shard: by.shard, order_ids: None, limit: Some(limit) };
        self.post("/pending/take", &body).map(|answer: TakenResponse| answer.taken)
    }

    /// Takes returns of the task's shard whose time is up, and was up before `undecided`, the oldest other event file
    /// that some shard has not decided.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn expired(&self, by: &TaskKey, undecided: Option<FileName>, limit: u32) -> Result<Vec<Taken>, ClientError> {
        let body = ExpiredRequest { filename: by.file.clone(), shard: by.shard, undecided, limit: Some(limit) };
        self.post("/pending/expired", &body).map(|answer: TakenResponse| answer.taken)
    }

    /// Says that the task is done; answers how many returns are pending no more.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn confirm(&self, by: &TaskKey) -> Result<u64, ClientError> {
        let body = ConfirmRequest { filename: by.file.clone(), shard: by.shard };
        self.post("/pending/confirm", &body).map(|answer: ConfirmResponse| answer.confirmed)
    }

    /// How much is kept, and how much of it waits for a task.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn backlog(&self) -> Result<Backlog, ClientError> {
        self.0.get("/api/v1/pending")
    }

    fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &impl serde::Serialize) -> Result<T, ClientError> {
        self.0.post(&format!("/api/v1{path}"), body, BATCH_TIMEOUT)
    }
}

/// How many of the returns go into one call, at least one.
fn fitting(returns: &[EarlyReturn]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&EarlyReturn| {
        bytes += entry.raw.len();
        bytes <= BYTES_PER_CALL
    };
    returns.iter().take(ENTRIES_PER_CALL).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::timestamp::Timestamp;

    #[test]
    fn a_call_has_a_bounded_number_of_lines_and_bytes() {
        let returns = |count: usize, bytes: usize| {
            let order = OrderId::new(1).unwrap();
            let raw = "x".repeat(bytes);
            vec![EarlyReturn { line: 1, order, happened_at: Timestamp::from_unix_ms(0), raw }; count]
        };
        assert_eq!(fitting(&returns(ENTRIES_PER_CALL + 1, 1)), ENTRIES_PER_CALL);
        assert_eq!(fitting(&returns(3, BYTES_PER_CALL + 1)), 1);
        assert_eq!(fitting(&returns(10, BYTES_PER_CALL / 4)), 4);
    }
}
