//! The integration tests: one binary.

mod api;
mod config;
mod docs;
mod imports;
mod store;
