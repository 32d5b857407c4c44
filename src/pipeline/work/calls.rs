//! What calls to the two services have in common.

use crate::pipeline::claim::fault::Fault;
use crate::pipeline::task::Class;

/// Bytes of the operations or returns of one call.
pub(super) const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The fault when a service answered something else than was asked.
pub(super) fn wrong_count(who: &str, answers: usize, asked: usize) -> Fault {
    Fault::Unavailable(Class::ServiceAway.tag(format!("the {who} gave {answers} answers to {asked} questions")))
}
