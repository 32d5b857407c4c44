//! What an event of the hub is. Pure: no database, no HTTP, and no clock but the moment that is handed in.
//!
//! A door turns what it got into a [`Draft`]: [`Draft::from_json`], [`cloud_event`], or field by field. [`Rules::check`]
//! makes an [`Event`] of it or says with a [`Rejection`] why not, so that all doors give the same verdict. [`Minute`] is
//! what the events of one minute add up to.

pub mod amount;
pub mod cloud_event;
pub mod draft;
pub mod event;
pub mod json;
pub mod minute;
pub mod reason;
pub mod rules;

pub use amount::{Amount, Total};
pub use draft::{Draft, Field};
pub use event::{Event, EventType, Fingerprint, IdempotencyKey, UserId};
pub use json::NotJson;
pub use minute::Minute;
pub use reason::{Reason, Rejection};
pub use rules::Rules;
