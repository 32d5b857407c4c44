//! What the audit compares, apart from where it reads it: pure decisions, and lists that are read page by page.

pub mod directory;
mod found;
mod paged;
pub mod rows;

pub use self::found::{Check, Found};
