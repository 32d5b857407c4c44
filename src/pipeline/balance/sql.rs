//! Moving money: the UPDATE itself decides whether there is enough, and nothing is read before it.
//!
//! `{amount}` stands for the bound amount in the dialect's type, `{max}` for the largest balance in it.

use crate::pipeline::trade::OperationKind;

/// Takes out, if there is enough.
const DEBIT: &str =
    "UPDATE user SET balance = balance - {amount}, updated_at = {now} WHERE id = :user AND balance >= {amount}";
/// Puts in, if the balance stays within its column.
const CREDIT: &str =
    "UPDATE user SET balance = balance + {amount}, updated_at = {now} WHERE id = :user AND balance <= {max} - {amount}";

/// The statement of an operation.
pub(crate) const fn move_money(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Debit => DEBIT,
        OperationKind::Credit => CREDIT,
    }
}
