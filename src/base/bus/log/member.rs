//! A member of a group: holds partitions under leases, and reads them in order.
//!
//! A lease runs for [`LEASE`] and is renewed at a third of it. A member that was stopped for longer finds its partitions
//! gone: it renews before it delivers, and what it acknowledges names its tokens. A member that has more than its share
//! stops reading the surplus and gives it back when all that it delivered of it is acknowledged, so that a member that
//! joins costs no delivery.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use uuid::Uuid;

use super::sql::{self, Assignment, Identity, Partition, Shares};
use super::{Log, Start, reader};
use crate::base::bell::Ear;
use crate::base::bus::{Delivered, Error, Group, Position, Result};
use crate::base::timestamp::Timestamp;

/// How long a member that says nothing keeps its partitions.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// How often leases are renewed.
const RENEW_EVERY_MS: i64 = 3_000;
/// A member that has less than its share looks for free partitions at every bell, but not more often than this.
const LOOK_FOR_SHARE_MS: i64 = 100;

/// A member.
pub(super) struct Member {
    log: Log,
    ear: Ear,
    identity: Arc<Identity>,
    partitions: Arc<[Partition]>,
    held: Vec<Held>,
    /// When the leases were renewed last; nothing before the first time.
    renewed_at: Option<Timestamp>,
    /// Whether others hold partitions that are this member's share.
    is_short: bool,
}

/// A partition that the member holds.
struct Held {
    partition: Partition,
    token: i64,
    /// The offset to read next.
    next: u64,
    /// The offset behind all that is acknowledged.
    acked: u64,
    /// Whether it is to be given back: nothing more is read.
    is_surplus: bool,
}

impl Held {
    fn is_idle(&self) -> bool {
        self.next == self.acked
    }
}

impl Member {
    pub(super) async fn join(log: &Log, partitions: Arc<[Partition]>, group: Group, start: Start) -> Result<Self> {
        let starts = reader::begin(log, &partitions, &start).await?;
        let identity = Arc::new(Identity { group: group.clone(), member: Uuid::new_v4() });
        log.db.call(move |connection| sql::enter(connection, &group, &starts)).await?;
        let ear = log.bell.ear();
        let mut member =
            Self { log: log.clone(), ear, identity, partitions, held: Vec::new(), renewed_at: None, is_short: false };
        member.balance().await?;
        Ok(member)
    }

    /// Renews the leases and evens out the shares.
    async fn balance(&mut self) -> Result<()> {
        let now = self.log.clock.now();
        let lease_until = now.plus(LEASE);
        let (identity, partitions) = (Arc::clone(&self.identity), Arc::clone(&self.partitions));
        let spare: Vec<_> = self.held.iter().filter(|held| held.is_idle()).map(|held| held.partition.id).collect();
        let had = self.held.len();
        let share =
            move |connection: &mut _| sql::balance(connection, &identity, &partitions, &spare, now, lease_until);
        let shares = self.log.db.call(share).await?;
        self.renewed_at = Some(now);
        self.take_over(shares);
        if self.held.len() < had {
            // What was given back is free for a member that waits for its share.
            self.log.bell.ring();
        }
        Ok(())
    }

    fn take_over(&mut self, shares: Shares) {
        self.is_short = shares.held.len() < shares.least;
        let before = std::mem::take(&mut self.held);
        let held = |assignment: &Assignment| {
            let same = before.iter().find(|held| held.partition.id == assignment.id && held.token == assignment.token);
            let partition = self.partitions.iter().find(|partition| partition.id == assignment.id)?;
            Some(Held {
                partition: *partition,
                token: assignment.token,
                next: same.map_or(assignment.acked, |held| held.next),
                acked: assignment.acked,
                is_surplus: false,
            })
        };
        self.held = shares.held.iter().filter_map(held).collect();
        for (index, held) in self.held.iter_mut().enumerate() {
            held.is_surplus = index >= shares.most;
        }
    }

    /// Whether leases are to be renewed, or a share to be looked for.
    fn is_due(&self) -> bool {
        let Some(renewed_at) = self.renewed_at else { return true };
        let age = self.log.clock.now().unix_ms() - renewed_at.unix_ms();
        let has_surplus = self.held.iter().any(|held| held.is_surplus && held.is_idle());
        // A clock that went back renews at once.
        !(0..RENEW_EVERY_MS).contains(&age) || has_surplus || (self.is_short && age >= LOOK_FOR_SHARE_MS)
    }

    async fn look(&mut self, max: usize) -> Result<Vec<Delivered>> {
        let places: Vec<_> =
            self.held.iter().filter(|held| !held.is_surplus).map(|held| (held.partition, held.next)).collect();
        let found = self.log.db.call(move |connection| sql::read(connection, &places, max)).await?;
        let mut messages = Vec::new();
        for (held, found) in self.held.iter_mut().filter(|held| !held.is_surplus).zip(found) {
            // What a group has not acknowledged is kept, so that there is no gap.
            held.next += u64::try_from(found.messages.len()).unwrap_or_default();
            messages.extend(found.messages);
        }
        // The next call begins with another partition: no busy one keeps the others waiting.
        if !messages.is_empty() {
            self.held.rotate_left(1);
        }
        Ok(messages)
    }
}

#[async_trait]
impl crate::base::bus::Reader for Member {
    async fn next(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivered>> {
        let deadline = Instant::now() + wait;
        loop {
            self.ear.reset();
            if self.is_due() {
                self.balance().await?;
            }
            let messages = self.look(max).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !messages.is_empty() || left.is_zero() {
                return Ok(messages);
            }
            let renewal = Duration::from_millis(u64::try_from(RENEW_EVERY_MS).unwrap_or_default());
            self.ear.wait(left.min(renewal)).await;
        }
    }
}

#[async_trait]
impl crate::base::bus::Member for Member {
    async fn ack(&mut self, upto: &[Position]) -> Result<()> {
        let mut acks = Vec::with_capacity(upto.len());
        let mut is_lost = false;
        for position in upto {
            let next = reader::next_after(position.offset);
            match self.held.iter().find(|held| held.partition.number == position.partition) {
                Some(held) => acks.push((held.partition.id, held.token, next.min(held.next))),
                None => is_lost = true,
            }
        }
        let identity = Arc::clone(&self.identity);
        let written = acks.clone();
        let is_whole = self.log.db.call(move |connection| sql::ack(connection, &identity, &written)).await?;
        for (id, _, next) in acks {
            for held in self.held.iter_mut().filter(|held| held.partition.id == id) {
                held.acked = held.acked.max(next);
            }
        }
        if is_whole && !is_lost {
            return Ok(());
        }
        self.balance().await?;
        Err(Error::Lost)
    }

    async fn leave(self: Box<Self>) -> Result<()> {
        let (identity, partitions) = (Arc::clone(&self.identity), Arc::clone(&self.partitions));
        self.log.db.call(move |connection| sql::leave(connection, &identity, &partitions)).await?;
        self.log.bell.ring();
        Ok(())
    }
}
