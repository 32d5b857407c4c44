//! What the hub keeps: events, which of them are on the bus, and what minutes add up to.
//!
//! To add a backend: implement [`HubStore`] in a folder of its own, add an arm to [`open`], and add it to the suite in
//! tests/it/hub/store.

pub mod sqlite;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::model::{Event, EventType, Fingerprint, Minute, UserId};
use crate::base::bell::Ear;
use crate::base::bus::Position;
use crate::base::db::{Error, Result, StoreUrl};
use crate::base::timestamp::Timestamp;

/// Shards of the events: so many relays can publish at once at the most.
pub const SHARDS: u32 = 16;
/// Events of one [`HubStore::accept`] at the most.
pub const ACCEPTED_MAX: usize = 10_000;
/// Events of one page at the most.
pub const PAGE_MAX: usize = 200;

/// An event that passed the rules and got its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Its id, a UUID of version 7.
    pub id: Uuid,
    /// When the hub took it.
    pub received_at: Timestamp,
    /// Within what idempotency keys are told apart: the caller's principal.
    pub scope: String,
    /// What it says.
    pub event: Event,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is kept.
    Stored,
    /// Its key stands for the same event, which is kept under this id.
    Duplicate(Uuid),
    /// Its key stands for another event.
    Reused,
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: Uuid,
    /// When the hub took it.
    pub received_at: Timestamp,
    /// What it says. The idempotency key is not part of what is shown.
    pub event: Event,
    /// Where it is on the bus; nothing while it is not there.
    pub position: Option<Position>,
}

/// In which direction events are listed, by the time at which they happened and their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// The place of an event in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Its id.
    pub id: Uuid,
}

/// Which events to list.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of this user only.
    pub user_id: Option<UserId>,
    /// Of this type only.
    pub event_type: Option<EventType>,
    /// That happened at this moment or later.
    pub from: Option<Timestamp>,
    /// That happened before this moment.
    pub to: Option<Timestamp>,
    /// Behind this place, in the order of the list.
    pub after: Option<Place>,
    /// The direction.
    pub order: Order,
    /// So many at the most.
    pub limit: usize,
}

/// A shard that a relay holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardLease {
    /// The shard.
    pub shard: u32,
    /// Which lease it is: a later one has a larger token.
    pub token: i64,
}

/// An event that is on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The event.
    pub id: Uuid,
    /// The lease under which it was published.
    pub lease: ShardLease,
    /// Where it is.
    pub position: Position,
}

/// What waits for the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// How many events, counted up to a limit.
    pub events: u64,
    /// When the oldest of them was taken.
    pub oldest: Option<Timestamp>,
}

/// An event as it came from the bus, to be counted in its minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: Uuid,
    /// Where it came from.
    pub position: Position,
    /// What it says.
    pub event: Event,
}

/// What became of deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CountReport {
    /// Counted now.
    pub counted: u64,
    /// Counted before: they came again.
    pub repeated: u64,
    /// Events that the store does not have (any more).
    pub unknown: u64,
}

/// A minute as it is kept, with where its first and last event came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptMinute {
    /// What it adds up to.
    pub minute: Minute,
    /// The smallest position.
    pub first: Position,
    /// The largest position.
    pub last: Position,
}

/// The store of the hub.
#[async_trait]
pub trait HubStore: Send + Sync {
    /// Whether the store is there and takes changes.
    async fn ping(&self) -> Result<()>;

    /// Keeps events, at most [`ACCEPTED_MAX`], in one transaction; one outcome each, in their order. Within a batch the
    /// first of a key is kept. Keys that were used before `keys_since` are forgotten.
    async fn accept(&self, arrivals: Vec<Arrival>, keys_since: Timestamp) -> Result<Vec<Outcome>>;

    /// An event by its id.
    async fn find_event(&self, id: Uuid) -> Result<Option<Stored>>;

    /// The events of a page.
    async fn list_events(&self, query: &Query) -> Result<Vec<Stored>>;

    /// Renews a relay's leases, gives back what is beyond its share, and takes free shards up to it. The share is the
    /// shards divided by the relays that hold any.
    async fn lease_shards(&self, owner: Uuid, lease: Duration) -> Result<Vec<ShardLease>>;

    /// Gives a relay's shards back.
    async fn release_shards(&self, owner: Uuid) -> Result<()>;

    /// What is rung when new events are kept, by this process or another one.
    fn ear(&self) -> Ear;

    /// Events of these shards that are not on the bus, in the order in which they were taken, at most `limit`.
    async fn list_new(&self, shards: &[ShardLease], limit: usize) -> Result<Vec<Stored>>;

    /// Notes what is on the bus now, as far as the leases are still held. Returns how many were noted.
    async fn mark_published(&self, published: &[Published]) -> Result<usize>;

    /// What waits for the bus, counted up to `limit`.
    async fn backlog(&self, limit: u64) -> Result<Backlog>;

    /// Has all events from this moment on, by when they were taken, published again. Returns how many.
    async fn republish(&self, from: Timestamp) -> Result<u64>;

    /// Counts events in their minutes, each once for ever, in one transaction.
    async fn count(&self, deliveries: &[Delivery]) -> Result<CountReport>;

    /// The minutes that begin in this range, `to` excluded, in the order of time and type.
    async fn list_minutes(
        &self,
        from: Timestamp,
        to: Timestamp,
        event_type: Option<&EventType>,
    ) -> Result<Vec<KeptMinute>>;

    /// Deletes events that were taken before this moment and are on the bus and counted, at most `limit`. Returns how
    /// many.
    async fn expire_events(&self, before: Timestamp, limit: u64) -> Result<u64>;

    /// Deletes minutes that began before this moment, at most `limit`. Returns how many.
    async fn expire_minutes(&self, before: Timestamp, limit: u64) -> Result<u64>;
}

/// Opens the store that this URL names, creating it where needed.
///
/// # Errors
/// [`Error`] when it cannot be reached, or when no store of the hub has such a URL.
pub async fn open(url: &StoreUrl, clock: crate::base::clock::Clock) -> Result<Arc<dyn HubStore>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(sqlite::SqliteHub::open(path, clock).await?)),
        StoreUrl::Mysql(_) => Err(Error::Invalid("the hub keeps its events in sqlite:// or mongodb://".to_owned())),
    }
}

/// The shard of a user. It is the same in every process and version: events of a user are published by one relay.
pub fn shard_of(user: &UserId) -> u32 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(user.as_str().as_bytes());
    u32::from(digest[0]) % SHARDS
}

impl Place {
    /// The place of this event.
    pub fn of(stored: &Stored) -> Self {
        Self { timestamp: stored.event.timestamp, id: stored.id }
    }
}

/// The text that clients come back with.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.timestamp.unix_ms(), self.id)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (ms, id) = text.split_once('.').ok_or(())?;
        let timestamp = Timestamp::from_unix_ms(ms.parse().map_err(|_| ())?);
        Ok(Self { timestamp, id: id.parse().map_err(|_| ())? })
    }
}

impl KeptMinute {
    /// Adds other events of the same minute and type.
    pub fn add(&mut self, other: &Self) {
        self.minute.add(&other.minute);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl Arrival {
    /// The digest of what it says.
    pub fn fingerprint(&self) -> Fingerprint {
        self.event.fingerprint()
    }
}
