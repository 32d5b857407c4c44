//! shopctl: the event-driven back office of a chain of shops.
//!
//! The map, in reading order:
pub mod clock; // system clock, test clock
pub mod config; // settings by section
pub mod event; // what an event is
pub mod shutdown; // two-phase stop
pub mod store;
pub mod task; // what a task is: names, stages, moves, counts // where state lives
