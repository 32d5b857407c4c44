//! What `status` knows: the sums, how the stages get on, and how the roles are.

use serde::Serialize;

use crate::base::boot::Exit;
use crate::pipeline::ops::probe::Probed;
use crate::pipeline::task::progress::Health;
use crate::pipeline::task::view::ShardTotals;
use crate::pipeline::task::wire::{ByStage, FailedItem, LaneItem, ProgressResponse, SummaryResponse};

/// The document of `status --json`. What the API's summary has stands first and means the same.
#[derive(Debug, Serialize)]
pub(super) struct StatusReport {
    /// All tasks.
    pub(super) total: u64,
    /// Tasks by stage and status.
    pub(super) by_stage: ByStage,
    /// Tasks by shard.
    pub(super) by_shard: Vec<ShardReport>,
    /// How the whole is.
    pub(super) health: Health,
    /// When this was so, by the clock of the tracking store.
    pub(super) as_of: String,
    /// The length of a lease, in milliseconds.
    pub(super) lease_ms: i64,
    /// By stage and shard.
    pub(super) lanes: Vec<LaneItem>,
    /// Failed tasks, oldest first.
    pub(super) failed_tasks: Vec<FailedItem>,
    /// Whether there are more of them.
    pub(super) more_failed_tasks: bool,
    /// How the roles are that were found.
    pub(super) roles: Vec<Probed>,
    /// Whether all of them can do their work that must be there.
    pub(super) roles_well: bool,
}

/// The tasks of one shard: `done` and `failed` are those of the last stage, `failed_tasks` those of any.
#[derive(Debug, Serialize)]
pub(super) struct ShardReport {
    #[serde(flatten)]
    pub(super) totals: ShardTotals,
    /// Tasks that failed at any stage.
    pub(super) failed_tasks: u64,
    /// Whether something waits at a stage and nothing moves.
    pub(super) stuck: bool,
}

impl StatusReport {
    /// Puts together what was asked.
    pub(super) fn new(summary: SummaryResponse, progress: ProgressResponse, roles: Vec<Probed>) -> Self {
        let of_shard = |totals: ShardTotals| {
            let lanes = progress.lanes.iter().filter(|lane| lane.shard == totals.shard);
            ShardReport {
                totals,
                failed_tasks: lanes.clone().map(|lane| lane.failed).sum(),
                stuck: lanes.clone().any(|lane| lane.stuck),
            }
        };
        Self {
            total: summary.total,
            by_stage: summary.by_stage,
            by_shard: summary.by_shard.into_iter().map(of_shard).collect(),
            health: progress.health,
            as_of: progress.as_of,
            lease_ms: progress.lease_ms,
            lanes: progress.lanes,
            failed_tasks: progress.failed,
            more_failed_tasks: progress.more_failed,
            roles_well: roles.iter().all(|role| !role.is_named || role.problem().is_none()),
            roles,
        }
    }

    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match self.health {
            Health::Well if self.roles_well => Exit::Ok,
            Health::Well => Exit::Failed,
            Health::Failed => Exit::Failed,
            Health::Stuck => Exit::Stuck,
        }
    }
}
