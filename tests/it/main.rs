//! The single integration binary: whole processes, real files, real databases.
#![cfg(test)]

mod pipeline;
mod support;
