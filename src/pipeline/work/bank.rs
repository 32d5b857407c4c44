//! The bank, as the worker sees it. It keeps the accounts, and the outcome of every operation it was ever asked for.

use crate::pipeline::claim::fault::Fault;
use crate::pipeline::trade::{Operation, OperationKey, Outcome};

/// Why the bank did nothing.
#[derive(Debug)]
pub enum BankError {
    /// This key stands for another operation already. Nothing of the call was done.
    KeyConflict(OperationKey),
    /// It cannot be asked now.
    Fault(Fault),
}

/// Keeps the accounts.
pub trait Bank: Send {
    /// Takes operations in their order; one outcome each. A key that was asked before is answered as then.
    ///
    /// # Errors
    /// [`BankError`]. After a fault it is unknown whether the operations were done: the same call tells.
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, BankError>;
}

impl From<Fault> for BankError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
