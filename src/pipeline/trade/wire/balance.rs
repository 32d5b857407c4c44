//! Bodies of balance-daemon.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::pipeline::trade::{Amount, Operation, OperationKey, Outcome, Statement, Transaction, UserId, account};

/// Which transactions to list.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StatementParams {
    /// Transactions per page, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<u64>,
}

/// A page of a user's transactions, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatementResponse {
    /// Whose.
    #[schema(value_type = i64, minimum = 1, example = 7)]
    pub user_id: UserId,
    /// The transactions.
    pub items: Vec<Transaction>,
    /// Hand it over as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 12)]
    pub next_cursor: Option<u64>,
}

/// Puts money into an account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditRequest {
    /// How much: above 0, at most two decimals; a string, or a number whose digits are taken as they are.
    #[schema(value_type = String, pattern = "^[0-9]{1,16}(\\.[0-9]{1,2})?$", example = "12.50")]
    pub amount: Amount,
    /// Why, for people.
    #[serde(deserialize_with = "account::reason")]
    #[schema(max_length = 255, example = "goodwill")]
    pub reason: String,
    /// Names this credit for ever: the same key again changes nothing.
    #[schema(value_type = String, min_length = 1, max_length = 255, example = "goodwill-2025-01")]
    pub idempotency_key: OperationKey,
}

/// What came of a credit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreditResponse {
    /// Whose account.
    #[schema(value_type = i64, minimum = 1, example = 7)]
    pub user_id: UserId,
    /// What came of it.
    pub outcome: Outcome,
    /// What is in the account now.
    #[schema(example = "112.50")]
    pub balance: String,
}

/// Takes operations in their order, all in one transaction.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationsRequest {
    /// The operations.
    #[schema(max_items = 10_000)]
    pub operations: Vec<Operation>,
}

/// What came of the operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OperationsResponse {
    /// One for each operation, in their order.
    pub outcomes: Vec<OutcomeItem>,
}

/// What came of an operation, now or when its key was used first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeItem {
    /// The operation's key.
    #[schema(value_type = String, example = "purchase:4711")]
    pub key: OperationKey,
    /// What came of it.
    pub outcome: Outcome,
}

impl StatementResponse {
    /// A page of this user's.
    pub fn new(user: UserId, page: Statement) -> Self {
        Self { user_id: user, items: page.transactions, next_cursor: page.next }
    }
}
