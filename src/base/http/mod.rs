//! Serving HTTP/1 and HTTP/2: limits on whatever a client can hold, problems for whatever goes wrong, probes and metrics.
//!
//! A role builds its router of [`extract`] and [`problem`], adds [`probes::routes`], wraps it with
//! [`probes::with_fallbacks`] and [`metrics::Metrics::track`], and hands it to [`server::serve`]. What it binds knows
//! by its [`auth::Policy`] who may change what.

pub mod auth;
mod bodies;
mod caller;
mod connection;
pub mod error_responses;
pub mod extract;
pub mod fault;
mod frames;
mod grpc;
mod layers;
mod limits;
pub mod metrics;
pub mod openapi;
pub mod page;
mod panics;
mod permit;
pub mod probes;
pub mod problem;
mod process;
mod progress;
pub(crate) mod resolver;
mod routes;
pub mod server;
mod streams;
mod upgrade;
mod version;
mod watched;

#[cfg(test)]
mod tests;

pub use crate::base::config::Principal;
pub use auth::{Guard, Policy};
pub use caller::{Caller, Callers};
pub use layers::RequestId;
pub use limits::Limits;
pub use metrics::Metrics;
pub use permit::Permit;
pub use probes::Readiness;
pub use problem::Problem;
pub use routes::Routes;
pub use server::{Bound, bind, serve};
