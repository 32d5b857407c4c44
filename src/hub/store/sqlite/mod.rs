//! The hub's store in one SQLite file.

mod events;
mod minutes;
mod relay;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    Arrival, Backlog, CountReport, Delivery, HubStore, KeptMinute, Outcome, Published, Query, ShardLease, Stored,
};
use crate::base::bell::{Bell, Ear};
use crate::base::clock::Clock;
use crate::base::db::Schema;
use crate::base::db::migration::schema;
use crate::base::db::sqlite::db::Db;
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::hub::model::EventType;

/// The schema of the hub's store.
static HUB: Schema = schema!(embedded "hub", "0001_hub");

/// [`HubStore`] in one SQLite file.
pub struct SqliteHub {
    db: Db,
    bell: Bell,
    clock: Clock,
}

impl SqliteHub {
    /// Opens the store in this file, creating it where needed.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be opened, created or migrated.
    pub async fn open(path: &Path, clock: Clock) -> Result<Self> {
        let db = Db::open(path, &HUB).await?;
        db.call(relay::fill_shards).await?;
        Ok(Self { db, bell: Bell::open(path)?, clock })
    }
}

#[async_trait]
impl HubStore for SqliteHub {
    async fn ping(&self) -> Result<()> {
        self.db.ping("hub_event").await
    }

    async fn accept(&self, arrivals: Vec<Arrival>, keys_since: Timestamp) -> Result<Vec<Outcome>> {
        let outcomes = self.db.call(move |connection| events::accept(connection, &arrivals, keys_since)).await?;
        if outcomes.contains(&Outcome::Stored) {
            self.bell.ring();
        }
        Ok(outcomes)
    }

    fn ear(&self) -> Ear {
        self.bell.ear()
    }

    async fn find_event(&self, id: Uuid) -> Result<Option<Stored>> {
        self.db.call(move |connection| events::find(connection, id)).await
    }

    async fn list_events(&self, query: &Query) -> Result<Vec<Stored>> {
        let query = query.clone();
        self.db.call(move |connection| events::list(connection, &query)).await
    }

    async fn lease_shards(&self, owner: Uuid, lease: Duration) -> Result<Vec<ShardLease>> {
        let now = self.clock.now();
        self.db.call(move |connection| relay::lease_shards(connection, owner, now, lease)).await
    }

    async fn release_shards(&self, owner: Uuid) -> Result<()> {
        self.db.call(move |connection| relay::release_shards(connection, owner)).await
    }

    async fn list_new(&self, shards: &[ShardLease], limit: usize) -> Result<Vec<Stored>> {
        let shards = shards.to_vec();
        self.db.call(move |connection| relay::list_new(connection, &shards, limit)).await
    }

    async fn mark_published(&self, published: &[Published]) -> Result<usize> {
        let published = published.to_vec();
        self.db.call(move |connection| relay::mark_published(connection, &published)).await
    }

    async fn backlog(&self, limit: u64) -> Result<Backlog> {
        self.db.call(move |connection| relay::backlog(connection, limit)).await
    }

    async fn republish(&self, from: Timestamp) -> Result<u64> {
        let events = self.db.call(move |connection| relay::republish(connection, from)).await?;
        self.bell.ring();
        Ok(events)
    }

    async fn count(&self, deliveries: &[Delivery]) -> Result<CountReport> {
        let deliveries = deliveries.to_vec();
        self.db.call(move |connection| minutes::count(connection, &deliveries)).await
    }

    async fn list_minutes(
        &self,
        from: Timestamp,
        to: Timestamp,
        event_type: Option<&EventType>,
    ) -> Result<Vec<KeptMinute>> {
        let event_type = event_type.cloned();
        self.db.call(move |connection| minutes::list(connection, from, to, event_type.as_ref())).await
    }

    async fn expire_events(&self, before: Timestamp, limit: u64) -> Result<u64> {
        self.db.call(move |connection| events::expire(connection, before, limit)).await
    }

    async fn expire_minutes(&self, before: Timestamp, limit: u64) -> Result<u64> {
        self.db.call(move |connection| minutes::expire(connection, before, limit)).await
    }
}
