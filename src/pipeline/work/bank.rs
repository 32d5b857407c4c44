//! The bank, as the worker sees it. It keeps the accounts, and the outcome of every operation it was ever asked for.

use crate::pipeline::claim::fault::Fault;
use crate::pipeline::rules::money::Operation;

/// Operations of one call.
pub const OPERATIONS_MAX: usize = 10_000;

/// What came of an operation, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The balance was changed.
    Applied,
    /// There was too little in the account; nothing was changed.
    InsufficientFunds,
}

/// Why the bank did nothing.
#[derive(Debug)]
pub enum Refusal {
    /// This key stands for another operation already. Nothing of the batch was done.
    Conflict(String),
    /// It cannot be asked now.
    Fault(Fault),
}

/// Keeps the accounts.
pub trait Bank: Send {
    /// Takes operations in their order, all or none; one outcome each. A key that was asked before is answered as then.
    ///
    /// # Errors
    /// [`Refusal`]. After a fault it is unknown whether the operations were done: the same call tells.
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, Refusal>;
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
