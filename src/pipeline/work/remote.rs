//! Calls the bank and the order directory through the balance-daemon and the cache-service.

use std::sync::Arc;

use super::bank::{Bank, Outcome, Refusal};
use super::directory::{DecidedOrder, Directory, Due, ENTRIES_MAX, EarlyReturn, Kept, TakenReturn, Written};
use crate::pipeline::apid::client::Client;
use crate::pipeline::balance::client::BalanceClient;
use crate::pipeline::cache::client::CacheClient;
use crate::pipeline::calls::{CallObserver, ClientError};
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::ShardId;
use crate::pipeline::rules::money::{Direction, Operation};
use crate::pipeline::settings::{Settings, principal};
use crate::pipeline::task::wire::{FileResponse, ShardItem};
use crate::pipeline::task::{Class, FileName, Output, Stage, Status, TaskKey};
use crate::pipeline::trade::{
    self, Amount, NewOrder, OperationKey, OperationKind, OrderId, OrderState, PutOutcome, UserId,
};

/// The balance-daemon.
pub struct RemoteBank(BalanceClient);

/// The cache-service, and the API that knows how far all shards are.
pub struct RemoteDirectory {
    cache: CacheClient,
    tracking: Option<Client>,
}

impl RemoteBank {
    /// The one that the settings name.
    pub fn of(settings: &Settings) -> Self {
        Self(BalanceClient::of(settings, principal::SHARD_WORKER))
    }

    /// The same with an observer of its calls.
    pub fn observed(self, observer: CallObserver) -> Self {
        Self(self.0.observed(observer))
    }
}

impl RemoteDirectory {
    /// The one that the settings name.
    ///
    /// Without `tracking` the progress of the other shards is not asked for: a return expires as soon as its time is
    /// up.
    pub fn of(settings: &Settings, tracking: Option<Client>) -> Self {
        Self { cache: CacheClient::of(settings, principal::SHARD_WORKER), tracking }
    }

    /// The same with an observer of its calls.
    pub fn observed(self, observer: &CallObserver) -> Self {
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

impl Bank for RemoteBank {
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, Refusal> {
        let asked: Vec<_> = operations.iter().map(operation).collect::<Result<_, _>>()?;
        let outcomes = self.0.apply(&asked).map_err(|error| refusal(error, operations))?;
        let outcome = |outcome| match outcome {
            trade::Outcome::Applied => Outcome::Applied,
            trade::Outcome::InsufficientFunds => Outcome::InsufficientFunds,
        };
        Ok(outcomes.into_iter().map(outcome).collect())
    }
}

impl Directory for RemoteDirectory {
    fn record_and_take(&mut self, by: &TaskKey, orders: &[DecidedOrder]) -> Result<Written, Fault> {
        let order = |decided: &DecidedOrder| {
            let state = if decided.accepted { OrderState::Accepted } else { OrderState::Rejected };
            Ok(NewOrder { order: order_id(decided.order_id)?, shop_id: decided.shop_id, state })
        };
        let orders: Vec<_> = orders.iter().map(order).collect::<Result<_, Fault>>()?;
        let (recorded, taken) = self.cache.record_and_take(by, &orders)?;
        // The state that stands there may be that of an earlier try: the order's shard knows better.
        let elsewhere = recorded.iter().filter(|recorded| recorded.order.shard != by.shard).count();
        Ok(Written { elsewhere: elsewhere as u64, taken: taken.into_iter().map(taken_return).collect() })
    }

    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<Kept>, Fault> {
        let entry = |early: &EarlyReturn| {
            let EarlyReturn { line, at, raw, .. } = early.clone();
            Ok(trade::EarlyReturn { line, order: order_id(early.order_id)?, happened_at: at, raw })
        };
        let entries: Vec<_> = returns.iter().map(entry).collect::<Result<_, Fault>>()?;
        let kept = |outcome: PutOutcome| match outcome {
            PutOutcome::Held => Kept::Held,
            PutOutcome::Known(_) => Kept::Ours,
        };
        Ok(self.cache.put(by, &entries)?.into_iter().map(kept).collect())
    }

    fn take(&mut self, by: &TaskKey, due: Due) -> Result<Vec<TakenReturn>, Fault> {
        let limit = u32::try_from(ENTRIES_MAX).unwrap_or(u32::MAX);
        let taken = match due {
            Due::Ours => self.cache.take(by, limit)?,
            Due::Expired => self.cache.expired(by, self.undecided(by)?, limit)?,
        };
        Ok(taken.into_iter().map(taken_return).collect())
    }

    fn confirm(&mut self, by: &TaskKey) -> Result<(), Fault> {
        self.cache.confirm(by)?;
        Ok(())
    }
}

fn operation(asked: &Operation) -> Result<trade::Operation, Fault> {
    let cannot =
        || Fault::Retryable(Class::Internal.tag(format!("no bank can be asked for '{}': {}", asked.key, asked.amount)));
    Ok(trade::Operation {
        key: OperationKey::new(asked.key.as_str()).ok_or_else(cannot)?,
        user: UserId::new(asked.user_id).ok_or_else(cannot)?,
        kind: match asked.direction {
            Direction::Debit => OperationKind::Debit,
            Direction::Credit => OperationKind::Credit,
        },
        amount: Amount::from_minor(asked.amount.minor()).ok_or_else(cannot)?,
        reason: asked.reason.clone(),
    })
}

/// Why the daemon did nothing. A key that stands for something else is named in its answer.
fn refusal(error: ClientError, operations: &[Operation]) -> Refusal {
    if let ClientError::Refused { code, detail, .. } = &error
        && code == "key_conflict"
        && let Some(named) = operations.iter().find(|operation| detail.contains(&format!("'{}'", operation.key)))
    {
        return Refusal::Conflict(named.key.clone());
    }
    Refusal::Fault(error.into())
}

fn order_id(number: i64) -> Result<OrderId, Fault> {
    OrderId::new(number).ok_or_else(|| Fault::Retryable(Class::Internal.tag(format!("{number} is no order_id"))))
}

fn taken_return(taken: trade::Taken) -> TakenReturn {
    let trade::Taken { file, entry } = taken;
    let entry = EarlyReturn { line: entry.line, order_id: entry.order.get(), at: entry.happened_at, raw: entry.raw };
    TakenReturn { file, entry }
}
