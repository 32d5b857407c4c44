//! shopctl: the event-driven back office of a chain of shops.
//!
//! [`role`] has one file per subcommand. A role starts what its system does: [`pipeline`] takes events from a post to a
//! row in a shard's database, [`hub`] takes events of the outside and shows them. [`base`] knows no system: settings,
//! serving, databases, the bus, log, clock, stop. Imports point down: role, then a system, then base; never between
//! systems.

pub mod base;
pub mod cli;
pub mod hub;
pub mod pipeline;
pub mod role;
