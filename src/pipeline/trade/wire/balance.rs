//! Bodies of balance-daemon.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::pipeline::trade::account::REASON_CHARS_MAX;
use crate::pipeline::trade::{
    Account, Amount, Operation, OperationKey, OperationKind, Outcome, Statement, Transaction, UserId,
};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BalanceResponse {
    /// Whose.
    #[schema(value_type = i64, minimum = 1, example = 7)]
    pub user_id: UserId,
    /// What is in it.
    #[schema(example = "112.50")]
    pub balance: String,
    /// What was in it when it came about.
    #[schema(example = "0.00")]
    pub opening_balance: String,
    /// The user's name, where an operator has entered one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the user is.
    #[schema(example = "customer")]
    pub role: String,
    /// When it came about.
    #[schema(example = "2025-01-01 00:00:05.000")]
    pub created_at: String,
}

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
    pub items: Vec<TransactionItem>,
    /// Hand it over as `cursor` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 12)]
    pub next_cursor: Option<u64>,
}

/// An operation that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionItem {
    /// Its number; those of one user rise with time.
    #[schema(example = 13)]
    pub id: u64,
    /// Which way.
    pub r#type: OperationKind,
    /// How much.
    #[schema(example = "12.50")]
    pub amount: String,
    /// Why.
    #[schema(example = "purchase 4711")]
    pub reason: String,
    /// The operation's key.
    #[schema(example = "purchase:4711")]
    pub idempotency_key: String,
    /// When.
    #[schema(example = "2025-01-01 00:00:05.000")]
    pub created_at: String,
}

/// Puts money into an account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditRequest {
    /// How much: above 0, at most two decimals; a string, or a number whose digits are taken as they are.
    #[schema(value_type = String, pattern = "^[0-9]{1,16}(\\.[0-9]{1,2})?$", example = "12.50")]
    pub amount: Amount,
    /// Why, for people.
    #[serde(deserialize_with = "reason")]
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
    pub operations: Vec<OperationItem>,
}

/// One movement of money.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationItem {
    /// Names it for ever: the same key again is answered with what came of it the first time.
    #[schema(value_type = String, min_length = 1, max_length = 255, example = "purchase:4711")]
    pub key: OperationKey,
    /// Whose account.
    #[schema(value_type = i64, minimum = 1, example = 7)]
    pub user_id: UserId,
    /// Which way.
    pub r#type: OperationKind,
    /// How much: above 0, at most two decimals; a string, or a number whose digits are taken as they are.
    #[schema(value_type = String, pattern = "^[0-9]{1,16}(\\.[0-9]{1,2})?$", example = "199.98")]
    pub amount: Amount,
    /// Why, for people.
    #[serde(deserialize_with = "reason")]
    #[schema(max_length = 255, example = "purchase 4711")]
    pub reason: String,
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

fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.chars().count() > REASON_CHARS_MAX {
        return Err(D::Error::custom(format!("a reason has {REASON_CHARS_MAX} characters at the most")));
    }
    Ok(text)
}

impl From<Account> for BalanceResponse {
    fn from(account: Account) -> Self {
        Self {
            user_id: account.user,
            balance: account.balance.to_string(),
            opening_balance: account.opening.to_string(),
            name: account.name,
            role: account.role,
            created_at: account.created_at.to_string(),
        }
    }
}

impl StatementResponse {
    /// A page of this user's.
    pub fn new(user: UserId, page: Statement) -> Self {
        let items = page.transactions.into_iter().map(TransactionItem::from).collect();
        Self { user_id: user, items, next_cursor: page.next }
    }
}

impl From<Transaction> for TransactionItem {
    fn from(transaction: Transaction) -> Self {
        Self {
            id: transaction.id,
            r#type: transaction.kind,
            amount: transaction.amount.to_string(),
            reason: transaction.reason,
            idempotency_key: transaction.key,
            created_at: transaction.created_at.to_string(),
        }
    }
}

impl From<OperationItem> for Operation {
    fn from(item: OperationItem) -> Self {
        Self { key: item.key, user: item.user_id, kind: item.r#type, amount: item.amount, reason: item.reason }
    }
}

impl From<&Operation> for OperationItem {
    fn from(operation: &Operation) -> Self {
        Self {
            key: operation.key.clone(),
            user_id: operation.user,
            r#type: operation.kind,
            amount: operation.amount,
            reason: operation.reason.clone(),
        }
    }
}
