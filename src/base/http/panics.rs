//! What a panic says.

use std::any::Any;

/// The text of a panic that was caught.
pub(super) fn text(cause: &(dyn Any + Send)) -> &str {
    let owned = cause.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("unknown")
}
