//! The integration tests: one binary.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test, in helpers too")]

mod api;
mod config;
mod docs;
mod imports;
mod store;
