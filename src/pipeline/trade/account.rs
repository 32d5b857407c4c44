//! Accounts: what an operation on money is, and what comes of it. As they stand here, they are written into the bodies of
//! the API too: a doc comment is the description in its document.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{UserId, text};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::Money;

/// Bytes of an operation's key.
pub(crate) const KEY_BYTES_MAX: usize = 255;
/// Characters of an operation's reason.
pub(crate) const REASON_CHARS_MAX: usize = 255;
/// Operations of one batch: it is one transaction, and holds the rows of its users until it ends.
pub(crate) const OPERATIONS_MAX: usize = 10_000;

/// Names an operation for ever: 1 to 255 bytes, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OperationKey(String);

/// An amount that is moved: above zero, in hundredths, no larger than DECIMAL(18,2) holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(Money);

/// A text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a number above 0 with at most two decimals, such as \"12.50\", and at most {}", Money::MAX)]
pub struct BadAmount;

/// Which way money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Out of the account, if there is enough.
    Debit,
    /// Into the account.
    Credit,
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OperationItem)]
pub struct Operation {
    /// Names it for ever: the same key again is answered with what came of it the first time.
    #[schema(value_type = String, min_length = 1, max_length = 255, example = "purchase:4711")]
    pub key: OperationKey,
    /// Whose account.
    #[serde(rename = "user_id")]
    #[schema(value_type = i64, minimum = 1, example = 7)]
    pub user: UserId,
    /// Which way.
    #[serde(rename = "type")]
    pub kind: OperationKind,
    /// How much: above 0, at most two decimals; a string, or a number whose digits are taken as they are.
    #[schema(value_type = String, pattern = "^[0-9]{1,16}(\\.[0-9]{1,2})?$", example = "199.98")]
    pub amount: Amount,
    /// Why, for people.
    #[serde(deserialize_with = "reason")]
    #[schema(max_length = 255, example = "purchase 4711")]
    pub reason: String,
}

/// What came of an operation, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The balance was changed.
    Applied,
    /// There was less in the account than was to be taken out; nothing was changed.
    InsufficientFunds,
}

/// The answer to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// What came of it.
    pub outcome: Outcome,
    /// Whether that was decided before: by an earlier batch, or earlier in this one.
    pub is_repeated: bool,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BalanceResponse)]
pub struct Account {
    /// Whose.
    #[serde(rename = "user_id")]
    #[schema(value_type = i64, minimum = 1, example = 7)]
    pub user: UserId,
    /// What is in it.
    #[serde(with = "text::money")]
    #[schema(value_type = String, example = "112.50")]
    pub balance: Money,
    /// What was in it when it came about.
    #[serde(rename = "opening_balance", with = "text::money")]
    #[schema(value_type = String, example = "0.00")]
    pub opening: Money,
    /// The user's name, where an operator has entered one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the user is.
    #[schema(example = "customer")]
    pub role: String,
    /// When it came about.
    #[serde(with = "text::moment")]
    #[schema(value_type = String, example = "2025-01-01 00:00:05.000")]
    pub created_at: Timestamp,
}

/// An operation that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TransactionItem)]
pub struct Transaction {
    /// Its number; those of one user rise with time.
    #[schema(example = 13)]
    pub id: u64,
    /// Which way.
    #[serde(rename = "type")]
    pub kind: OperationKind,
    /// How much.
    #[serde(with = "text::money")]
    #[schema(value_type = String, example = "12.50")]
    pub amount: Money,
    /// Why.
    #[schema(example = "purchase 4711")]
    pub reason: String,
    /// The operation's key.
    #[serde(rename = "idempotency_key")]
    #[schema(example = "purchase:4711")]
    pub key: String,
    /// When.
    #[serde(with = "text::moment")]
    #[schema(value_type = String, example = "2025-01-01 00:00:05.000")]
    pub created_at: Timestamp,
}

/// A page of a user's transactions, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statement {
    /// The transactions.
    pub transactions: Vec<Transaction>,
    /// Where to go on, if there are more.
    pub next: Option<u64>,
}

/// An account beside the sum of its transactions: the double entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// Whose.
    pub user: UserId,
    /// What is in it, in minor units.
    pub balance: i128,
    /// What was in it when it came about, in minor units.
    pub opening: i128,
    /// Credits less debits, in minor units.
    pub net: i128,
    /// How many transactions that are.
    pub transactions: u64,
}

/// All accounts added up, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Accounts.
    pub users: u64,
    /// What is in them.
    pub balance: i128,
    /// What was in them when they came about.
    pub opening: i128,
    /// All credits.
    pub credits: i128,
    /// All debits.
    pub debits: i128,
    /// How many transactions that are.
    pub transactions: u64,
    /// Accounts whose balance is not their opening and their transactions.
    pub unbalanced: u64,
    /// Accounts with less than nothing in them.
    pub negative: u64,
}

impl OperationKey {
    /// The key with this text; none if it is empty or over 255 bytes.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (1..=KEY_BYTES_MAX).contains(&text.len()).then_some(Self(text))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The caller makes the key, and may have put any characters into it.
        write!(f, "'{}'", self.0.escape_debug())
    }
}

impl<'de> Deserialize<'de> for OperationKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(text).ok_or_else(|| serde::de::Error::custom(format!("a key must have 1 to {KEY_BYTES_MAX} bytes")))
    }
}

impl Amount {
    /// The amount of so many minor units; none at or below zero, or over what a column holds.
    pub fn from_minor(minor: i64) -> Option<Self> {
        (1..=Money::MAX.minor()).contains(&minor).then_some(Self(Money::from_minor(minor)))
    }

    /// Reads digits with at most two decimals.
    ///
    /// # Errors
    /// [`BadAmount`] for everything else, and for nothing.
    pub fn parse(text: &str) -> Result<Self, BadAmount> {
        Money::parse_decimal(text).and_then(|money| Self::from_minor(money.minor())).ok_or(BadAmount)
    }

    /// This amount as money.
    pub const fn money(self) -> Money {
        self.0
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    /// From a JSON string or from the digits of a JSON number: no float in between.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = match serde_json::from_str::<String>(raw.get()) {
            Ok(text) => text,
            Err(_) => raw.get().to_owned(),
        };
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Reads a reason of bounded length.
pub(super) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.chars().count() > REASON_CHARS_MAX {
        return Err(D::Error::custom(format!("a reason has {REASON_CHARS_MAX} characters at the most")));
    }
    Ok(text)
}

impl OperationKind {
    /// The word in columns and bodies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }

    /// The kind with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Debit, Self::Credit].into_iter().find(|kind| kind.name() == name)
    }
}

impl Operation {
    /// Whether a key that stands for one stands for the other.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.user, self.kind, self.amount) == (other.user, other.kind, other.amount)
    }
}

impl Outcome {
    /// The word in columns, bodies and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::InsufficientFunds => "insufficient_funds",
        }
    }

    /// The outcome with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Applied, Self::InsufficientFunds].into_iter().find(|outcome| outcome.name() == name)
    }
}

impl Statement {
    /// A page from the rows of a query that asked for one more than the page holds.
    pub fn of_rows(mut transactions: Vec<Transaction>, limit: u32) -> Self {
        let has_more = transactions.len() > limit as usize;
        transactions.truncate(limit as usize);
        let next = transactions.last().map(|last| last.id).filter(|_| has_more);
        Self { transactions, next }
    }
}

impl Booked {
    /// Whether the balance is the opening and the transactions.
    pub fn is_balanced(&self) -> bool {
        self.balance == self.opening + self.net
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_from_their_digits() {
        for (json, minor) in [
            ("\"12.50\"", 1250),
            ("\"12.5\"", 1250),
            ("12.50", 1250),
            ("7", 700),
            ("0.01", 1),
            ("\"9999999999999999.99\"", 999_999_999_999_999_999),
            ("9999999999999999.99", 999_999_999_999_999_999),
        ] {
            assert_eq!(serde_json::from_str::<Amount>(json).unwrap().money().minor(), minor, "{json}");
        }
        for json in [
            "0",
            "\"0.00\"",
            "-1",
            "\"-1\"",
            "\"+1\"",
            "1.005",
            "\"1.005\"",
            "1e2",
            "\"1e2\"",
            "\"\"",
            "\" 1\"",
            "\"1,50\"",
            "\"NaN\"",
            "null",
            "true",
            "[1]",
            "{}",
            "10000000000000000",
            "99999999999999999999999999",
            "\"1.\"",
            "\".5\"",
            "\"007\"",
            "\"１\"",
        ] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
        assert_eq!(serde_json::to_string(&Amount::from_minor(1205).unwrap()).unwrap(), "\"12.05\"");
    }

    #[test]
    fn a_key_has_1_to_255_bytes() {
        assert!(OperationKey::new("").is_none() && OperationKey::new("x".repeat(256)).is_none());
        assert!(OperationKey::new("x".repeat(255)).is_some());
        // 128 characters, but 256 bytes.
        assert!(OperationKey::new("é".repeat(128)).is_none());
        assert_eq!(OperationKey::new("a\nb").unwrap().to_string(), "'a\\nb'");
    }
}
