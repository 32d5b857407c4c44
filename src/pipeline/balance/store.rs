//! The balance store: accounts, what was moved, and the outcome of every operation (docs/contracts.md, 5 and 6;
//! docs/semantics.md, 4).
//!
//! What the two backends do alike in one transaction per batch: lock the rows of all users of the batch in the order of
//! their ids (so that two batches never wait for each other in a circle), creating those that are new; look up the keys
//! that were seen before; then take the operations one by one in their order, each by one conditional UPDATE that
//! itself decides whether there is enough; and write every outcome down. A key that was seen, in the database or
//! earlier in the batch, is answered with what was decided then.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;

use crate::base::db::{self, Error, Result};
use crate::pipeline::trade::account::OPERATIONS_MAX;
use crate::pipeline::trade::{
    Account, Answer, Booked, Operation, OperationKey, Outcome, Statement, Totals, TradeRefusal, UserId,
};

/// The accounts.
#[async_trait]
pub trait BalanceStore: Send + Sync {
    /// Whether the database takes changes.
    async fn ping(&self) -> Result<()>;

    /// Takes a batch of operations in their order, all in one transaction; answers one outcome per operation.
    ///
    /// Refused if a key was used before for another operation, or a balance would become too large; Invalid if the
    /// batch is too long. Nothing is changed then.
    async fn apply(&self, operations: &[Operation]) -> Result<Vec<Answer>>;

    /// A user's account, if the user was ever named by an operation.
    async fn find_account(&self, user: UserId) -> Result<Option<Account>>;

    /// A page of a user's transactions, the newest first, beginning before that number; all of one moment. Gone if
    /// there is no such user.
    async fn statement(&self, user: UserId, before: Option<u64>, limit: u32) -> Result<Statement>;

    /// Accounts beside the sums of their transactions, by user, beginning after that one.
    async fn list_booked(&self, after: Option<UserId>, limit: u32) -> Result<Vec<Booked>>;

    /// All of it added up, all of one moment.
    async fn totals(&self) -> Result<Totals>;

    /// What was taken out of all accounts under keys that begin with this, less what was put in, in minor units.
    async fn net_under(&self, prefix: &str) -> Result<i128>;

    /// Closes its connections, if it has any. Nothing can be asked afterwards.
    async fn close(&self) {}
}

/// A batch that was looked through: which operations are new in it, and which repeat an earlier one of it.
pub(crate) struct OperationBatch<'a> {
    operations: &'a [Operation],
    /// For every operation the first one with its key.
    firsts: Vec<usize>,
}

/// An operation that the database knows.
pub(crate) struct KnownOperation {
    /// What its key stands for.
    pub(crate) operation: Operation,
    /// What was decided then.
    pub(crate) outcome: Outcome,
}

impl<'a> OperationBatch<'a> {
    /// Looks through a batch.
    pub(crate) fn new(operations: &'a [Operation]) -> Result<Self> {
        if operations.len() > OPERATIONS_MAX {
            return Err(Error::Invalid(format!("a batch has {OPERATIONS_MAX} operations at the most")));
        }
        let mut seen: HashMap<&OperationKey, usize> = HashMap::with_capacity(operations.len());
        let mut firsts = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            let first = *seen.entry(&operation.key).or_insert(index);
            if !operations[first].is_same(operation) {
                return Err(TradeRefusal::KeyConflict(operation.key.clone()).into());
            }
            firsts.push(first);
        }
        Ok(Self { operations, firsts })
    }

    /// The users of the batch, in the order in which their rows are locked.
    pub(crate) fn users(&self) -> BTreeSet<UserId> {
        self.operations.iter().map(|operation| operation.user).collect()
    }

    /// The operations without repetitions, in their order.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = &'a Operation> {
        let numbered = self.operations.iter().zip(&self.firsts).enumerate();
        numbered.filter(|(index, (_, first))| index == *first).map(|(_, (operation, _))| operation)
    }

    /// The answer for every operation from those of the distinct ones.
    pub(crate) fn answers(&self, distinct: &HashMap<&OperationKey, Answer>) -> Result<Vec<Answer>> {
        let answers = self.operations.iter().zip(&self.firsts).enumerate().map(|(index, (operation, first))| {
            let answer = distinct.get(&operation.key);
            let answer =
                answer.ok_or_else(|| Error::broken(format!("the operation {} has no answer", operation.key)))?;
            Ok(Answer { is_repeated: answer.is_repeated || index != *first, ..*answer })
        });
        answers.collect()
    }
}

impl KnownOperation {
    /// The stored answer, if the key stands for this operation.
    pub(crate) fn answer(&self, operation: &Operation) -> Result<Answer> {
        if self.operation.is_same(operation) {
            return Ok(Answer { outcome: self.outcome, is_repeated: true });
        }
        Err(TradeRefusal::KeyConflict(operation.key.clone()).into())
    }
}

/// What an operation comes to whose UPDATE matched a row or did not. The row is there: it was locked before.
pub(crate) fn outcome_of(operation: &Operation, was_changed: bool) -> Result<Outcome> {
    use crate::pipeline::trade::OperationKind::{Credit, Debit};
    match (operation.kind, was_changed) {
        (_, true) => Ok(Outcome::Applied),
        (Debit, false) => Ok(Outcome::InsufficientFunds),
        (Credit, false) => Err(TradeRefusal::BalanceLimit { key: operation.key.clone(), user: operation.user }.into()),
    }
}

/// Of the accounts, and of the early returns.
impl db::Refusal for TradeRefusal {
    fn code(&self) -> &'static str {
        self.code()
    }

    fn kind(&self) -> db::RefusalKind {
        if self.is_temporary() { db::RefusalKind::Later } else { db::RefusalKind::Invalid }
    }

    fn key(&self) -> Option<String> {
        self.key().map(|key| key.as_str().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;
    use crate::base::db::Error;
    use crate::base::http::Problem;

    #[test]
    fn every_refusal_has_its_status() {
        let status = |refusal: TradeRefusal| Problem::from(Error::from(refusal)).status;
        assert_eq!(status(TradeRefusal::PendingFull { max: 1 }), StatusCode::SERVICE_UNAVAILABLE);
        let file = "20250101000000".parse().unwrap();
        assert_eq!(status(TradeRefusal::LineConflict { file, line: 1 }), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
