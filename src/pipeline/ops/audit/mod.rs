//! The audit: adds everything up and compares it, so that nothing is lost and nothing comes twice without being seen.
//!
//! What the stages reported is compared in `reports`, every other check has a file of its own. [`directory`] and
//! [`rows`] are decisions apart from where they read.

pub mod directory;
mod directory_check;
mod found;
mod money;
mod paged;
mod pairs;
mod pending;
mod reports;
pub mod rows;
mod state;
mod table;
mod whole;

pub use self::found::{Check, Findings};
pub use self::money::Accounts;
pub use self::pending::Pending;
pub use self::table::table;
pub use self::whole::{Audit, audit};
