//! shopctl: the event-driven back office of a chain of shops.
//!
//! The map, in reading order:
pub mod event; // what an event is
pub mod pipeline; // how events travel
