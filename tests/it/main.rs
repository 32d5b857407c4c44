//! The single integration binary: whole processes, real files, real databases.
#![cfg(test)]

mod api;
mod audit;
mod auth;
mod backup;
mod cleanup;
mod config;
mod containers;
mod corpus;
mod desk;
mod docs;
mod doctor;
mod hostile;
mod imports;
mod ingest;
mod intruders;
mod mutants;
mod paused;
mod pipeline;
mod protocol;
mod proving;
mod rebuild;
mod shutdown;
mod slow;
mod status;
mod store;
mod support;
mod trade;
mod up;
