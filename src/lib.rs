//! shopctl: the event-driven back office of a chain of shops.
//!
//! [`role`] has one file per subcommand. A role starts what its system does: [`pipeline`] takes events from a post to a
//! row in a shard's database. [`base`] knows no system: settings, serving, databases, log, clock, stop. Imports point
//! down: role, then pipeline, then base.

pub mod base;
pub mod cli;
pub mod hub;
pub mod pipeline;
pub mod role;
