//! A reader of all partitions of a topic, outside of any group.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::sql::{self, Bounds, Found, Partition};
use super::{Log, Start};
use crate::base::bell::Ear;
use crate::base::bus::{Cursor, Delivered, Error, Position, Result};

/// With nothing to read, how often the log is looked at without a bell: who was killed between the commit and the bell
/// rang none.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Where reading begins in each partition.
pub(super) async fn begin(log: &Log, partitions: &Arc<[Partition]>, start: &Start) -> Result<Vec<(Partition, u64)>> {
    let looked = Arc::clone(partitions);
    let bounds = log.db.call(move |connection| sql::bounds(connection, &looked)).await?;
    let from = |bounds: &Bounds| match start {
        Start::First => bounds.first,
        Start::End => bounds.next,
        Start::After(cursor) => cursor.offset(bounds.number).map_or(sql::FIRST, next_after),
    };
    Ok(partitions.iter().zip(&bounds).map(|(partition, bounds)| (*partition, from(bounds))).collect())
}

/// The offset behind one of a position. One that no log has is behind every end.
pub(super) fn next_after(offset: u128) -> u64 {
    u64::try_from(offset).unwrap_or(u64::MAX).saturating_add(1)
}

/// Reads all partitions.
pub(super) struct Reader {
    log: Log,
    ear: Ear,
    /// The partitions, with the offsets to read next.
    places: Vec<(Partition, u64)>,
}

impl Reader {
    pub(super) async fn begin(log: &Log, partitions: Arc<[Partition]>, start: Start) -> Result<Self> {
        let places = begin(log, &partitions, &start).await?;
        let mut reader = Self { log: log.clone(), ear: log.bell.ear(), places };
        // A place that the log does not have is refused at once, not with the first message.
        reader.look(0).await?;
        Ok(reader)
    }

    async fn look(&mut self, max: usize) -> Result<Vec<Delivered>> {
        let places = self.places.clone();
        let found = self.log.db.call(move |connection| sql::read(connection, &places, max)).await?;
        let is_kept = |from: u64, bounds: &Bounds| (bounds.first..=bounds.next).contains(&from);
        if !self.places.iter().zip(&found).all(|((_, from), found)| is_kept(*from, &found.bounds)) {
            return Err(Error::OutOfRange { oldest: oldest(&found) });
        }
        let mut messages = Vec::new();
        for ((_, from), found) in self.places.iter_mut().zip(found) {
            *from += u64::try_from(found.messages.len()).unwrap_or_default();
            messages.extend(found.messages);
        }
        // The next call begins with another partition: no busy one keeps the others waiting.
        if !messages.is_empty() {
            self.places.rotate_left(1);
        }
        Ok(messages)
    }
}

/// The cursor of a reader that begins at the oldest messages.
fn oldest(found: &[Found]) -> Cursor {
    let before = |found: &Found| Position {
        partition: found.bounds.number,
        offset: u128::from(found.bounds.first.saturating_sub(1)),
    };
    found.iter().map(before).collect()
}

#[async_trait]
impl crate::base::bus::Reader for Reader {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivered>> {
        let deadline = Instant::now() + wait;
        loop {
            self.ear.reset();
            let messages = self.look(max).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok(messages);
            }
            self.ear.wait(left.min(LOOK_EVERY)).await;
        }
    }
}
