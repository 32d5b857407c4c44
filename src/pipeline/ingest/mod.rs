//! The first stage: where event lines come from.

pub mod generator;
