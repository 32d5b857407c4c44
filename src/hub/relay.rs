//! The relay: from the store to the bus. Every hub process has one; each publishes the shards that it holds.
//!
//! It asks the store for what is new by state, never by a high-water mark: ids and times are given before their
//! transactions are visible, and a mark would pass those that come late. Events of a shard are published in the order in
//! which they were taken. A relay that dies between the bus and the mark has its events published again: readers know
//! them by their ids.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::codec;
use super::failure::{self, Failure};
use super::store::{HubStore, Published, ShardLease, Stored, shard_of};
use crate::base::bus::{Bus, PUBLISHED_MAX, Position, Refused, Topic};
use crate::base::clock::Clock;
use crate::base::shutdown::Stop;
use crate::base::timestamp::Timestamp;

/// How long a relay that says nothing keeps its shards.
const LEASE: Duration = Duration::from_secs(10);
/// How often leases are renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// A relay.
pub struct Relay {
    store: Arc<dyn HubStore>,
    bus: Arc<dyn Bus>,
    topic: Topic,
    clock: Clock,
    owner: Uuid,
    shards: Vec<ShardLease>,
    renewed_at: Option<Timestamp>,
}

impl Relay {
    /// A relay that holds nothing yet.
    pub fn new(store: Arc<dyn HubStore>, bus: Arc<dyn Bus>, topic: Topic, clock: Clock) -> Self {
        Self { store, bus, topic, clock, owner: Uuid::new_v4(), shards: Vec::new(), renewed_at: None }
    }

    /// Publishes until the stop is requested; then gives its shards back.
    pub async fn run(mut self, stop: Stop) {
        let mut ear = self.store.ear();
        let mut backoff = failure::backoff();
        while !stop.is_requested() {
            ear.reset();
            let wait = match self.round().await {
                // There may be more.
                Ok(published) if published > 0 => {
                    backoff.reset();
                    continue;
                }
                Ok(_) => {
                    backoff.reset();
                    RENEW_EVERY
                }
                Err(failure) => {
                    log::warn!(err:% = failure, wait_ms = backoff.peek().as_millis(); "events were not published; they are kept");
                    // Not woken by new events: the bus is not better for them.
                    backoff.pause(&stop).await;
                    continue;
                }
            };
            tokio::select! {
                () = ear.wait(wait) => {}
                () = stop.requested() => {}
            }
        }
        if let Err(e) = self.store.release_shards(self.owner).await {
            log::warn!(err:% = e; "the shards of this relay were not given back; others take them when its leases run out");
        }
    }

    /// Publishes what is new, at most one batch. Returns how many events are on the bus now.
    async fn round(&mut self) -> Result<usize, Failure> {
        self.renew().await?;
        let events = self.store.list_new(&self.shards, PUBLISHED_MAX).await?;
        if events.is_empty() {
            return Ok(0);
        }
        let messages: Vec<_> = events.iter().filter_map(codec::encode).collect();
        if messages.len() < events.len() {
            return Err(crate::base::db::Error::broken("an event of the store cannot be written as JSON").into());
        }
        let results = self.bus.publish(&self.topic, &messages).await?;
        let published = self.published(&events, results);
        Ok(self.store.mark_published(&published).await?)
    }

    fn published(&self, events: &[Stored], results: Vec<Result<Position, Refused>>) -> Vec<Published> {
        let mut published = Vec::with_capacity(events.len());
        for (event, result) in events.iter().zip(results) {
            let shard = shard_of(&event.event.user_id);
            let lease = self.shards.iter().find(|lease| lease.shard == shard);
            match (result, lease) {
                (Ok(position), Some(lease)) => published.push(Published { id: event.id, lease: *lease, position }),
                (Ok(_), None) => {}
                (Err(refused), _) => {
                    log::error!(err:% = refused, id:% = event.id; "the bus refuses an event; it stays in the store");
                }
            }
        }
        published
    }

    async fn renew(&mut self) -> Result<(), Failure> {
        let now = self.clock.now();
        let every = i64::try_from(RENEW_EVERY.as_millis()).unwrap_or(i64::MAX);
        // A clock that went back renews at once.
        let is_fresh = self.renewed_at.is_some_and(|at| (0..every).contains(&(now.unix_ms() - at.unix_ms())));
        if !is_fresh {
            self.shards = self.store.lease_shards(self.owner, LEASE).await?;
            self.renewed_at = Some(now);
        }
        Ok(())
    }
}
