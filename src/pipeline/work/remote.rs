//! The bank and the cache-service over HTTP: the clients of the two, with what a worker asks of others for them.

use std::sync::Arc;

use super::bank::{Bank, BankError};
use super::cache_service::CacheService;
use crate::pipeline::apid::client::Client;
use crate::pipeline::balance::client::BalanceClient;
use crate::pipeline::cache::client::CacheClient;
use crate::pipeline::calls::CallObserver;
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::{Settings, principal};
use crate::pipeline::task::wire::{FileResponse, ShardItem};
use crate::pipeline::task::{FileName, Output, Stage, Status, TaskKey};
use crate::pipeline::trade::{EarlyReturn, NewOrder, Operation, OperationKey, Outcome, PutOutcome, Recorded, Taken};

/// Returns that are taken at once, the most that a call may ask for.
const TAKEN_MAX: u32 = 10_000;

/// The cache-service, and the API that knows how far all shards are.
pub struct RemoteCache {
    cache: CacheClient,
    tracking: Option<Client>,
}

impl RemoteCache {
    /// The one that the settings name.
    ///
    /// Without `tracking` the progress of the other shards is not asked for: a return expires as soon as its time is
    /// up.
    pub fn of(settings: &Settings, tracking: Option<Client>) -> Self {
        Self { cache: CacheClient::of(settings, principal::SHARD_WORKER), tracking }
    }

    /// The same with an observer of its calls.
    pub(crate) fn observed(self, observer: &CallObserver) -> Self {
        let tracking = self.tracking.map(|tracking| tracking.observed(Arc::clone(observer)));
        Self { cache: self.cache.observed(Arc::clone(observer)), tracking }
    }

    /// A purchase may still be in a file that a shard has not come to: while it lags, or its worker is away, the time
    /// of returns that this file could belong to is not up. The file of this very task may be one for other shards.
    fn undecided(&self, by: &TaskKey) -> Result<Option<FileName>, Fault> {
        let Some(tracking) = &self.tracking else { return Ok(None) };
        let oldest = tracking.oldest_unfinished(Stage::ShardWorker, &by.file)?;
        if oldest.as_ref().is_some_and(|oldest| *oldest < by.file) {
            return Ok(oldest);
        }
        let is_undecided = tracking.find_file(&by.file)?.is_some_and(|file| is_undecided_beside(&file, by.shard));
        Ok(if is_undecided { Some(by.file.clone()) } else { oldest })
    }
}

/// Whether a file has lines that another shard may not have decided. A flush file has none.
fn is_undecided_beside(file: &FileResponse, shard: ShardId) -> bool {
    let has_lines = |output: Option<Output>| output.is_none_or(|output| output.lines > 0);
    let is_open = |of: &ShardItem| {
        let split = of.result(Stage::ShardSplitter).and_then(|result| result.output);
        matches!(of.status(Stage::ShardWorker), Status::New | Status::Started) && has_lines(split)
    };
    has_lines(file.announced()) && file.shards.iter().any(|of| of.shard != shard && is_open(of))
}

impl Bank for BalanceClient {
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, BankError> {
        BalanceClient::apply(self, operations).map_err(|error| {
            match error.conflicting_key().and_then(OperationKey::new) {
                Some(key) => BankError::KeyConflict(key),
                None => BankError::Fault(error.into()),
            }
        })
    }
}

impl CacheService for RemoteCache {
    fn record_and_take(&mut self, by: &TaskKey, orders: &[NewOrder]) -> Result<(Vec<Recorded>, Vec<Taken>), Fault> {
        Ok(self.cache.record_and_take(by, orders)?)
    }

    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>, Fault> {
        Ok(self.cache.put(by, returns)?)
    }

    fn take(&mut self, by: &TaskKey) -> Result<Vec<Taken>, Fault> {
        Ok(self.cache.take(by, TAKEN_MAX)?)
    }

    fn expired(&mut self, by: &TaskKey) -> Result<Vec<Taken>, Fault> {
        Ok(self.cache.expired(by, self.undecided(by)?, TAKEN_MAX)?)
    }

    fn confirm(&mut self, by: &TaskKey) -> Result<(), Fault> {
        self.cache.confirm(by)?;
        Ok(())
    }
}
