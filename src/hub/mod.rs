//! The event hub: takes events of the shop's outside at three doors (REST, gRPC, GraphQL), keeps them, and shows them to
//! subscribers and per minute (docs/event-hub.md).
//!
//! [`model`] is pure: what an event is, what is refused and why, what a minute adds up to.

pub mod model;
