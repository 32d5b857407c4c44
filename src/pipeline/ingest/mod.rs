//! The first stage: where event lines come from, how they become durable, and how their files are announced.
//!
//! [`generator`] makes events up; [`accept`] checks posted ones; [`spool`] makes them durable until [`writer`] turns
//! them into the tick's file; [`import`] cuts a file of events into event files; [`announce`] tells the API.

pub mod accept;
pub mod announce;
pub mod generator;
pub mod import;
pub mod spool;
pub mod writer;
