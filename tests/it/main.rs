//! The single integration binary: whole processes, real files, real databases.
#![cfg(test)]

mod chaos;
mod hostile;
mod paused;
mod pipeline;
mod shutdown;
mod support;
mod up;
