//! The progress of each stage in each shard: what waits, which worker holds it, and why nothing moves. Pure.
//!
//! A stage of a shard is **stuck** when its next task could be worked on and nothing moved for two leases. What moves is
//! told by `Head::moved_at`; why nothing does, by [`WaitReason`].

mod reason;

use std::collections::BTreeSet;

use super::{Class, FileName, ShardView, Stage, Status};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
pub use reason::{WaitReason, span};

/// Leases without a movement after which a stage counts as stuck.
const LEASES_STILL: i64 = 2;

/// The stages of all shards at one moment, by the clock of the tracking store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskProgress {
    /// The moment.
    pub now: Timestamp,
    /// The length of a lease, in milliseconds.
    pub lease_ms: i64,
    /// By stage and shard.
    pub lanes: Vec<Lane>,
}

/// One stage of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The stage.
    pub stage: Stage,
    /// The shard.
    pub shard: ShardId,
    /// Tasks that the stage before has finished and this one has not begun.
    pub waiting: u64,
    /// Tasks that are begun.
    pub under_way: u64,
    /// Tasks that were given up.
    pub failed: u64,
    /// The task that is next, if one waits or is begun.
    pub head: Option<Head>,
    /// When this stage last finished a task of the shard.
    pub done_at: Option<Timestamp>,
    /// The worker that asked for such tasks last.
    pub asked: Option<Asked>,
}

/// The oldest task that a stage of a shard has not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its file.
    pub file: FileName,
    /// Its state.
    pub view: ShardView,
    /// When it was last claimed or started.
    pub started_at: Option<Timestamp>,
    /// When the stage before finished it.
    pub ready_at: Option<Timestamp>,
}

/// A worker that asked for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The worker that asked: host, process and a random part.
    pub worker: String,
    /// When.
    pub at: Timestamp,
}

/// How the whole pipeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing failed, and what waits is worked on.
    Well,
    /// Tasks have failed.
    Failed,
    /// Something waits and nothing moved for two leases.
    Stuck,
}

impl TaskProgress {
    /// How the whole is: a stage that stands still is worse than a task that failed.
    pub fn health(&self) -> Health {
        if self.lanes.iter().any(|lane| self.is_stuck(lane)) {
            Health::Stuck
        } else if self.lanes.iter().any(|lane| lane.failed > 0) {
            Health::Failed
        } else {
            Health::Well
        }
    }

    /// Whether something could be worked on and nothing moved for two leases.
    pub fn is_stuck(&self, lane: &Lane) -> bool {
        self.still_ms(lane).is_some_and(|still| still > LEASES_STILL.saturating_mul(self.lease_ms))
    }

    /// How long nothing moved, in milliseconds, where something could.
    pub fn still_ms(&self, lane: &Lane) -> Option<i64> {
        let head = lane.head.as_ref().filter(|head| head.is_workable(lane.stage))?;
        if self.worker_is_elsewhere(lane) {
            return None;
        }
        let moved_at = head.moved_at(lane, self.now, self.lease_ms);
        Some((self.now.unix_ms() - moved_at.unix_ms()).max(0))
    }

    /// Why the lane's next task is not finished.
    pub fn reason(&self, lane: &Lane) -> Option<WaitReason> {
        reason::of(self, lane)
    }

    /// Whether the worker that asks for this lane's tasks holds another one of its stage: it comes back by itself.
    pub(super) fn worker_is_elsewhere(&self, lane: &Lane) -> bool {
        let is_held = lane.head.as_ref().is_some_and(|head| head.lease(self.now).is_some());
        let Some(asked) = lane.asked.as_ref().filter(|_| !is_held) else {
            return false;
        };
        self.busy(lane.stage).contains(asked.worker.as_str())
    }

    /// The workers that hold a task of this stage under a lease that lasts.
    fn busy(&self, stage: Stage) -> BTreeSet<&str> {
        let heads = self.lanes.iter().filter(|lane| lane.stage == stage).filter_map(|lane| lane.head.as_ref());
        heads.filter(|head| head.lease(self.now).is_some()).filter_map(|head| head.view.owner.as_deref()).collect()
    }
}

impl Head {
    /// The status at a stage.
    pub fn status(&self, stage: Stage) -> Status {
        self.view.status(stage)
    }

    /// Whether the stage could work on it: the stage before is done, and this one has not given it up.
    pub fn is_workable(&self, stage: Stage) -> bool {
        let is_ready = stage.previous().is_none_or(|previous| self.status(previous) == Status::Done);
        is_ready && matches!(self.status(stage), Status::New | Status::Started)
    }

    /// The end of the lease that holds it, if that lasts.
    pub fn lease(&self, now: Timestamp) -> Option<Timestamp> {
        self.view.lease_until.filter(|until| *until >= now)
    }

    /// Whether the attempt before failed for a reason that may hold on. What was given back at a stop did not.
    pub(super) fn is_repeated(&self) -> bool {
        let class = Class::of(self.view.last_error.as_deref());
        let is_told = self.view.last_error.is_some();
        is_told && (self.view.attempts > 1 || class.passes_by_itself() || class == Class::StateLost)
    }

    /// When this lane last moved. A claim after a failure is no movement until it has lasted for a lease: what is given
    /// back every few seconds because a database is away stands still, however often it is claimed.
    fn moved_at(&self, lane: &Lane, now: Timestamp, lease_ms: i64) -> Timestamp {
        let view = &self.view;
        let of_status = match (view.status(lane.stage), view.lease_until) {
            (Status::Started, Some(until)) => {
                let has_lasted = self.started_at.is_some_and(|at| at.plus_ms(lease_ms) <= now);
                // The last heartbeat, or the claim.
                (!self.is_repeated() || has_lasted || until < now).then(|| until.plus_ms(-lease_ms))
            }
            (Status::Started, None) => self.started_at,
            // Not to be waited for: it became ready, was given back at a stop, or a person asked for it again.
            _ => view.next_at.is_none().then_some(view.updated_at),
        };
        let all = [Some(view.created_at), self.ready_at, lane.done_at, of_status];
        all.into_iter().flatten().max().unwrap_or(now)
    }
}

#[cfg(test)]
mod tests;
