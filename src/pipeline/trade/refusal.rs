//! Why a whole call of trade is refused; nothing of it was done then.

use super::{OperationKey, UserId};
use crate::pipeline::event::Money;
use crate::pipeline::task::FileName;

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TradeRefusal {
    /// A key stands for another operation already.
    #[error("the key {0} was used before for another user, type or amount; nothing of this call was done")]
    KeyConflict(OperationKey),
    /// A balance would become larger than a column holds.
    #[error(
        "the operation {key} would take the balance of user {user} over {}; nothing of this call was done",
        Money::MAX
    )]
    BalanceLimit {
        /// Which operation.
        key: OperationKey,
        /// Whose balance.
        user: UserId,
    },
    /// A return with the same file and line was handed in with other content.
    #[error("line {line} of {file} was handed in before with other content; nothing of this call was done")]
    LineConflict {
        /// The event file.
        file: FileName,
        /// The line.
        line: u64,
    },
    /// So many returns are kept that no more are taken.
    #[error("{max} returns are pending, as many as cache.pending_max allows; try again when some are done")]
    PendingFull {
        /// The limit.
        max: u64,
    },
}

impl TradeRefusal {
    /// The stable short name of the refusal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyConflict(_) => "key_conflict",
            Self::BalanceLimit { .. } => "balance_limit",
            Self::LineConflict { .. } => "line_conflict",
            Self::PendingFull { .. } => "pending_full",
        }
    }

    /// The operation's key that it is about, where it is about one.
    pub const fn key(&self) -> Option<&OperationKey> {
        match self {
            Self::KeyConflict(key) | Self::BalanceLimit { key, .. } => Some(key),
            Self::LineConflict { .. } | Self::PendingFull { .. } => None,
        }
    }

    /// Whether the same call may be taken later.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::PendingFull { .. })
    }
}
