//! The pipeline: what turns events into files and carries the files from stage to stage.
//!
//! [`folder`] names the files, [`addresses`] says where the roles listen, [`artifact`] writes and reads them, [`client`] talks to the stage-status API,
//! [`balance_client`] and [`cache_client`] to the services of trade (all by [`calls`]),
//! [`cleanup`] clears what is delivered, [`driver`] is the loop that all stages share, under the [`lease`] of a claim, failing by [`fault`]. The stages:
//! [`ingest`], [`split`], [`work`] (with [`order`], [`prepared`] and [`rejects`]), [`send`]. For people: [`desk`] deals
//! with rejected lines, [`trace`] follows one event, [`probe`] asks roles how they are.

pub mod addresses;
pub mod artifact;
pub mod audit;
pub mod backup;
pub mod balance_client;
pub mod cache_client;
pub mod calls;
pub mod cleanup;
pub mod client;
pub mod desk;
pub mod driver;
pub mod fault;
pub mod folder;
pub mod hold;
pub mod ingest;
pub mod lease;
pub mod order;
mod pauses;
mod plain;
pub mod prepared;
pub mod probe;
pub mod rejects;
mod resolver;
pub mod send;
pub mod split;
pub mod trace;
pub mod work;
