//! The single integration binary: whole processes, real files, real databases.
#![cfg(test)]

mod api;
mod audit;
mod auth;
mod chaos;
mod config;
mod docs;
mod hostile;
mod imports;
mod intruders;
mod paused;
mod pipeline;
mod shutdown;
mod store;
mod support;
mod trade;
mod up;
