//! The event hub: takes events of the shop's outside at three doors (REST, gRPC, GraphQL), keeps them, and shows them to
//! subscribers and per minute (docs/event-hub.md).
//!
//! [`model`] is pure: what an event is, what is refused and why, what a minute adds up to. [`store`] keeps events and
//! minutes. [`service`] is what all doors call, [`relay`] brings events to the bus, [`subscribe`] shows them from there, and
//! [`minutes`] counts them.

pub mod api;
pub mod boot;
pub mod codec;
mod failure;
pub mod graphql;
pub mod grpc;
pub mod measures;
pub mod minutes;
pub mod model;
pub mod policy;
pub mod relay;
pub mod rest;
pub mod service;
pub mod settings;
pub mod store;
pub mod subscribe;
pub mod totals;
