//! What the services of trade deal with: money in accounts, the order directory, early returns. Pure.
//!
//! **Money** ([`account`]). An [`Operation`] debits or credits one user. It has a key that the caller makes, and its
//! first [`Outcome`], refusals included, is the outcome for ever: a caller that lost the answer repeats the call.
//!
//! **The order directory** ([`directory`]) says which shard an order belongs to. **Early returns** ([`early`]) are those
//! whose order is not in it yet: one is *held*: it waits for the order, is then handed to one task of the order's shard,
//! or expires and is handed to one task of the shard that brought it. A [`TaskKey`](crate::pipeline::task::TaskKey) names
//! who asks; the same task always gets the same answer, so that a task which is done again does the same.
//!
//! There is one type for each thing: the rules and the worker, the clients, the bodies of the APIs ([`wire`] has what is
//! around the things) and the stores all speak in these.

pub mod account;
pub mod directory;
pub mod early;
pub mod refusal;
mod text;
pub mod wire;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

pub use account::{
    Account, Amount, Answer, Booked, Operation, OperationKey, OperationKind, Outcome, Statement, Totals, Transaction,
};
pub use directory::{NewOrder, Order, OrderState, Recorded, RecordedAs};
pub use early::{Backlog, EarlyReturn, Held, HeldState, PutOutcome, Taken};
pub use refusal::TradeRefusal;

/// Orders or returns of one call: it is one transaction, and holds the rows of its orders until it ends.
pub(crate) const ENTRIES_MAX: usize = 10_000;

/// An id is no whole number above zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be a whole number from 1 to {}", i64::MAX)]
pub struct BadId {
    name: &'static str,
}

macro_rules! positive_id {
    ($(#[$doc:meta])* $id:ident, $name:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $id(i64);

        impl $id {
            /// The id with this number; none at or below zero.
            pub fn new(number: i64) -> Option<Self> {
                (number > 0).then_some(Self(number))
            }

            /// Its number.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl FromStr for $id {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.parse().ok().and_then(Self::new).ok_or(BadId { name: $name })
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(i64::deserialize(deserializer)?)
                    .ok_or_else(|| serde::de::Error::custom(BadId { name: $name }))
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

positive_id!(
    /// Names a user.
    UserId,
    "user_id"
);
positive_id!(
    /// Names an order.
    OrderId,
    "order_id"
);
