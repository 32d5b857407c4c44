//! The balance-daemon as a worker calls it. Blocking: call it from blocking threads only.
//!
//! A worker that does not know what came of a call makes the same call again, after a lost answer or a crash. The
//! outcomes are those of the first call.

use super::super::calls::{BATCH_TIMEOUT, CallObserver, Caller, ClientError, Service};
use crate::base::config::Principal;
use crate::pipeline::settings::Settings;
use crate::pipeline::trade::wire::balance::{OperationsRequest, OperationsResponse, StatementResponse};
use crate::pipeline::trade::{Account, Operation, Outcome, UserId};

/// Operations per call. More than these go in several calls, in their order: a shorter transaction holds the accounts
/// of other workers up for a shorter time.
const OPERATIONS_PER_CALL: usize = 2_000;

/// Transactions per page.
const TRANSACTIONS_PER_PAGE: u32 = 1000;

/// A client of the balance-daemon.
#[derive(Clone)]
pub struct BalanceClient(Caller);

impl BalanceClient {
    /// The same client with an observer of its calls.
    pub(crate) fn observed(self, observer: CallObserver) -> Self {
        Self(self.0.observed(observer))
    }

    /// A client that speaks for a principal, with that principal's first token if there is one.
    pub fn of(settings: &Settings, principal: Principal) -> Self {
        Self(Caller::of(Service::Balance, &settings.balance.url, settings, principal))
    }

    /// Takes any number of operations in their order; answers one outcome for each.
    ///
    /// # Errors
    /// [`ClientError`]. Some of the operations may have been taken then; the same call again is harmless.
    pub fn apply(&self, operations: &[Operation]) -> Result<Vec<Outcome>, ClientError> {
        let mut outcomes = Vec::with_capacity(operations.len());
        for chunk in operations.chunks(OPERATIONS_PER_CALL) {
            let body = OperationsRequest { operations: chunk.to_vec() };
            let answer: OperationsResponse = self.0.post("/api/v1/operations", &body, BATCH_TIMEOUT)?;
            let keys = answer.outcomes.iter().map(|item| &item.key);
            if !keys.eq(chunk.iter().map(|operation| &operation.key)) {
                return Err(self.0.unavailable("its answer is not about the operations that were asked"));
            }
            outcomes.extend(answer.outcomes.into_iter().map(|item| item.outcome));
        }
        Ok(outcomes)
    }

    /// A page of a user's transactions, the newest first, behind this cursor; `None` if no operation has named the user.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn transactions(&self, user: UserId, cursor: Option<u64>) -> Result<Option<StatementResponse>, ClientError> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        match self.0.get(&format!("/api/v1/balances/{user}/transactions?limit={TRANSACTIONS_PER_PAGE}{cursor}")) {
            Ok(page) => Ok(Some(page)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A user's account; `None` if no operation has named the user yet.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn find_balance(&self, user: UserId) -> Result<Option<Account>, ClientError> {
        match self.0.get(&format!("/api/v1/balances/{user}")) {
            Ok(account) => Ok(Some(account)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }
}
