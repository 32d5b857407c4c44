//! The bus: topics of messages that groups of members read, each message of a key in order.
//!
//! [`Bus`] and [`Member`] are what systems see; [`log`] is the embedded bus on SQLite. One suite of tests runs on every
//! bus (tests/it/bus).
//!
//! Delivery is at least once, in order within a partition; all messages of a key are in one partition. What is not
//! acknowledged comes again, to this member or to the next one. To add a bus: implement both traits in a folder of its
//! own, add an arm to [`open`], and give the suite a server to run on.

pub mod error;
pub mod log;
pub mod message;
pub mod position;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use error::{Error, Refused, Result};
pub use message::{Delivered, Group, Message, Topic};
pub use position::{Cursor, Position};

use crate::base::clock::Clock;
use crate::base::db::StoreUrl;

/// Where a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message that is kept.
    First,
    /// After the newest message of now.
    End,
    /// After these positions; partitions that are not named begin at their oldest message.
    After(Cursor),
}

/// How far a group is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Messages that are published and not acknowledged by the group.
    pub messages: u64,
}

/// A bus.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Makes the topic where it is missing.
    ///
    /// # Errors
    /// [`Error::Partitions`] when it is there with another number of partitions: the order of a key would break.
    async fn create(&self, topic: &Topic) -> Result<()>;

    /// Sends messages, at most [`PUBLISHED_MAX`]; one result each, in their order. A position means that the message is
    /// durable by this bus's own rule. Messages of one key are published in the order of the batch.
    async fn publish(&self, topic: &Topic, batch: &[Message]) -> Result<Vec<std::result::Result<Position, Refused>>>;

    /// Joins a group: each partition is given to one member at a time. A group that is new begins at `start`, another
    /// one where it was.
    async fn join(&self, topic: &Topic, group: &Group, start: Start) -> Result<Box<dyn Member>>;

    /// Reads all partitions, outside of any group. Nothing is acknowledged.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] when messages after `start` are not kept any more. [`Reader::next`] answers so too, when they
    /// are deleted before a slow reader got there.
    async fn read(&self, topic: &Topic, start: Start) -> Result<Box<dyn Reader>>;

    /// Whether the bus answers and takes messages.
    async fn ping(&self) -> Result<()>;

    /// How far a group is behind.
    async fn lag(&self, topic: &Topic, group: &Group) -> Result<Lag>;

    /// Where a reader that begins at the oldest message, and one that begins at the end, would start.
    async fn bounds(&self, topic: &Topic) -> Result<(Cursor, Cursor)>;
}

/// Reads messages.
#[async_trait]
pub trait Reader: Send {
    /// The next messages, at most `max`, in order within each partition. Waits up to `wait` where there is none.
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivered>>;
}

/// A member of a group.
#[async_trait]
pub trait Member: Reader {
    /// Acknowledges all messages up to and with these positions, one position per partition.
    ///
    /// # Errors
    /// [`Error::Lost`] if a partition went to another member meanwhile, which gets its messages again. The others are
    /// acknowledged.
    async fn ack(&mut self, upto: &[Position]) -> Result<()>;

    /// Leaves the group, so that others get its partitions at once.
    async fn leave(self: Box<Self>) -> Result<()>;
}

/// Messages of one [`Bus::publish`] at the most.
pub const PUBLISHED_MAX: usize = 500;
/// Bytes of a message's value at the most: 1 MiB and what envelopes add, as Kafka's brokers take by default.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// Opens the bus that this URL names.
///
/// # Errors
/// [`Error`] when it cannot be reached, or when no bus of this build has such a URL.
pub async fn open(url: &StoreUrl, clock: Clock) -> Result<Arc<dyn Bus>> {
    match url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(log::Log::open(path, clock).await?)),
        StoreUrl::Mysql(_) => Err(Error::Invalid("a MySQL server is no bus; name a file by sqlite://".to_owned())),
    }
}
