//! The embedded bus: a log in one SQLite file, for one machine and any number of its processes.
//!
//! A message is durable when its transaction is committed. Members of a group hold partitions under leases with tokens
//! (`member`); readers outside of any group hold nothing (`reader`). Nothing polls: a bell file is rung
//! after each commit, and readers that wait watch it (`base::bell`).

mod member;
mod reader;
mod sql;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{Bus, Cursor, Error, Group, Lag, Message, PUBLISHED_MAX, Position, Refused, Result, Start, Topic};
use crate::base::bell::Bell;
use crate::base::clock::Clock;
use crate::base::db::Schema;
use crate::base::db::migration::schema;
use crate::base::db::sqlite::db::Db;
use sql::Partition;

/// The schema of the embedded bus.
static BUS: Schema = schema!(embedded "bus", "0001_bus");

/// [`Bus`] in one SQLite file.
#[derive(Clone)]
pub struct Log {
    db: Db,
    bell: Arc<Bell>,
    clock: Clock,
    topics: Arc<Mutex<HashMap<String, Arc<[Partition]>>>>,
}

impl Log {
    /// Opens the log in this file, creating it where needed.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be opened, created or migrated.
    pub async fn open(path: &Path, clock: Clock) -> Result<Self> {
        let db = Db::open(path, &BUS).await?;
        let bell = Arc::new(Bell::open(path)?);
        Ok(Self { db, bell, clock, topics: Arc::default() })
    }

    /// The partitions of a topic. They never change, so they are looked up once.
    async fn partitions(&self, topic: &Topic) -> Result<Arc<[Partition]>> {
        let known = self.topics.lock().unwrap_or_else(PoisonError::into_inner).get(topic.name()).cloned();
        if let Some(partitions) = known {
            return Ok(partitions);
        }
        let wanted = topic.clone();
        let found = self.db.call(move |connection| sql::create(connection, &wanted)).await?;
        if found.len() != usize::try_from(topic.partitions()).unwrap_or(usize::MAX) {
            let found = u32::try_from(found.len()).unwrap_or(u32::MAX);
            return Err(Error::Partitions { found, wanted: topic.partitions() });
        }
        let partitions: Arc<[Partition]> = found.into();
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(topics.entry(topic.name().to_owned()).or_insert(partitions)))
    }
}

#[async_trait]
impl Bus for Log {
    async fn create(&self, topic: &Topic) -> Result<()> {
        self.partitions(topic).await.map(drop)
    }

    async fn publish(&self, topic: &Topic, batch: &[Message]) -> Result<Vec<std::result::Result<Position, Refused>>> {
        if batch.len() > PUBLISHED_MAX {
            return Err(Error::Invalid(format!("{} messages at once; at most {PUBLISHED_MAX} are taken", batch.len())));
        }
        let partitions = self.partitions(topic).await?;
        let (topic, batch, now) = (topic.clone(), batch.to_vec(), self.clock.now());
        let write = move |connection: &mut _| sql::publish(connection, &topic, &partitions, &batch, now);
        let results = self.db.call(write).await?;
        self.bell.ring();
        Ok(results)
    }

    async fn join(&self, topic: &Topic, group: &Group, start: Start) -> Result<Box<dyn super::Member>> {
        let partitions = self.partitions(topic).await?;
        Ok(Box::new(member::Member::join(self, partitions, group.clone(), start).await?))
    }

    async fn read(&self, topic: &Topic, start: Start) -> Result<Box<dyn super::Reader>> {
        let partitions = self.partitions(topic).await?;
        Ok(Box::new(reader::Reader::begin(self, partitions, start).await?))
    }

    async fn ping(&self) -> Result<()> {
        Ok(self.db.ping("bus_topic").await?)
    }

    async fn lag(&self, topic: &Topic, group: &Group) -> Result<Lag> {
        let partitions = self.partitions(topic).await?;
        let group = group.clone();
        let messages = self.db.call(move |connection| sql::lag(connection, &partitions, &group)).await?;
        Ok(Lag { messages })
    }

    async fn bounds(&self, topic: &Topic) -> Result<(Cursor, Cursor)> {
        let partitions = self.partitions(topic).await?;
        let bounds = self.db.call(move |connection| sql::bounds(connection, &partitions)).await?;
        let before = |offset: u64, number| {
            (offset > sql::FIRST).then(|| Position { partition: number, offset: u128::from(offset - 1) })
        };
        let first = bounds.iter().filter_map(|bound| before(bound.first, bound.number)).collect();
        let end = bounds.iter().filter_map(|bound| before(bound.next, bound.number)).collect();
        Ok((first, end))
    }
}
