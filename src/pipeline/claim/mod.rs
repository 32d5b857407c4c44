//! How a stage gets its tasks. [`driver`] is the loop that all stages share. A claim gives its worker a [`lease`]; work
//! that does not succeed ends with a [`fault`]. [`cleanup`] clears what is delivered, as the API says.

pub mod cleanup;
pub mod driver;
pub mod fault;
pub mod lease;
mod pauses;
