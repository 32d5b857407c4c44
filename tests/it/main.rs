//! The single integration binary: whole processes, real files, real databases.
#![cfg(test)]

mod addresses;
mod api;
mod audit;
mod auth;
mod backup;
mod cleanup;
mod config;
mod containers;
mod corpus;
mod dead_letters;
mod docs;
mod doctor;
mod earlier;
mod hostile;
mod http;
mod imports;
mod ingest;
mod intruders;
mod metrics;
mod mutants;
mod paused;
mod pipeline;
mod protocol;
mod proving;
mod rebuild;
mod reload;
mod shutdown;
mod slow;
mod status;
mod store;
mod support;
mod tables;
mod trade;
mod up;
