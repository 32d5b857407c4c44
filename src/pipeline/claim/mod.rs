//! How a stage gets its tasks: [`driver`] is the loop that all stages share, under the [`lease`] of a claim, failing by
//! [`fault`].

pub mod driver;
pub mod fault;
pub mod lease;
mod pauses;
