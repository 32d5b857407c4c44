//! How a stage gets its tasks. [`driver`] is the loop that all stages share. A claim gives its worker a [`lease`]; work
//! that does not succeed ends with a [`fault`].

pub mod driver;
pub mod fault;
pub mod lease;
mod pauses;
