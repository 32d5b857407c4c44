//! What the services of trade deal with: money in accounts, the order directory, returns that came too early. Pure.
//!
//! **Money** ([`account`]). An [`Operation`] debits or credits one user. It has a key that the caller makes, and its
//! first [`Outcome`], refusals included, is the outcome for ever: a caller that lost the answer repeats the call.
//!
//! **Orders and pending returns** ([`orders`]). The directory says which shard an order belongs to. A return whose order
//! is not in it yet is *held*: it waits for the order, is then handed to one task of the order's shard, or expires and
//! is handed to one task of the shard that brought it. A [`TaskKey`](crate::pipeline::task::TaskKey) names who asks; the same
//! task always gets the same answer, so that a task which is done again does the same.
//!
//! The stores, the APIs ([`wire`] has their bodies) and the clients all speak in these types.

pub mod account;
pub mod orders;
pub mod refusal;
pub mod wire;

pub use account::{
    Account, Amount, Answer, Booked, Operation, OperationKey, OperationKind, Outcome, Statement, Totals, Transaction,
};
pub use orders::{
    Backlog, EarlyReturn, Held, HeldState, NewOrder, Order, OrderState, PutOutcome, Recorded, RecordedAs, Taken,
};
pub use refusal::Refusal;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

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
