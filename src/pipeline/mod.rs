//! The pipeline: events from a post to a row in a shard's database.
//!
//! Pure: [`event`] what an event is; [`task`] what a task is; [`trade`] what money, orders and early returns are;
//! [`rules`] what the worker decides. Files between the stages: [`files`]. Tasks and their leases: [`claim`]. The
//! stages: [`ingest`], [`split`], [`work`], [`send`]. The services, each with its routes, its store per engine and its
//! client: [`apid`], [`balance`], [`cache`]. The shards' databases: [`shard_db`]. For people: [`ops`].

pub mod addresses;
pub mod apid;
pub mod balance;
pub mod boot;
pub mod cache;
pub mod calls;
pub mod claim;
mod columns;
pub mod event;
pub mod files;
mod health;
pub mod ingest;
pub mod ops;
pub mod rules;
pub mod schemas;
pub mod send;
pub mod settings;
pub mod shard_db;
pub mod split;
pub mod stage_metrics;
pub mod task;
pub mod timed;
pub mod trade;
pub mod work;
