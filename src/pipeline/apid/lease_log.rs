//! Logs what happens to tasks: each expired lease, each retry and each failure, once.
//!
//! A call that is repeated because its answer was lost changes nothing, and logs nothing.

use super::Api;
use crate::base::db::{Error, Result};
use crate::pipeline::apid::lease_end::LeaseEnd;
use crate::pipeline::task::{Call, MoveRefusal, Repair, ShardView, Stage, Status, TaskKey};

/// Says which leases claims of this stage found run out.
pub(super) fn lease_ends(ends: &[LeaseEnd]) {
    for LeaseEnd { key, stage, attempt, worker, taken_by } in ends {
        let (file, shard, stage_name) = (key.file.as_str(), key.shard.get(), stage.name());
        let worker = worker.as_deref().unwrap_or("unknown");
        match taken_by {
            Some(taken_by) => {
                log::warn!(stage = stage_name, file, shard, attempt, worker, taken_by:%; "the lease ran out, the task was taken over");
            }
            None => {
                let repair = Repair::of(key, *stage, Some("gave up: the lease of attempt"));
                log::error!(stage = stage_name, file, shard, attempt, worker, class = repair.class.code(), repair:% = repair.advice();
                    "failed: the lease of the last attempt ran out");
            }
        }
    }
}

/// A task before a call that may be worth a line.
pub(super) struct Before {
    key: TaskKey,
    stage: Stage,
    call: Call,
    view: ShardView,
}

impl Before {
    /// Looks at the task before the call, where the call may be worth a line.
    pub(super) async fn look(api: &Api, key: &TaskKey, stage: Stage, call: Call) -> Option<Self> {
        let is_told = match call {
            Call::Fail(_) | Call::FailAttempt(_) | Call::ReleaseLater(_) | Call::Retry | Call::RetryCascade => true,
            Call::Start | Call::Claim | Call::Heartbeat(_) | Call::Done(_) | Call::Release(_) => false,
        };
        if !is_told {
            return None;
        }
        let view = find(api, key).await?;
        Some(Self { key: key.clone(), stage, call, view })
    }

    /// Says what the call did, with the reason that it named.
    pub(super) fn tell(&self, after: Status, reason: Option<&str>) {
        let is_begun = self.view.status(self.stage) == Status::Started;
        let has_failed = self.view.status(self.stage) == Status::Failed;
        let reason = reason.unwrap_or("no reason given");
        let (stage, file, shard) = (self.stage.name(), self.key.file.as_str(), self.key.shard.get());
        let (attempt, worker) = (self.view.attempts, worker_of(&self.view));
        match self.call {
            Call::Fail(_) | Call::FailAttempt(_) if after == Status::Failed && !has_failed => {
                tell_failure(&self.key, self.stage, &self.view, reason);
            }
            Call::FailAttempt(_) if is_begun => {
                log::warn!(stage, file, shard, attempt, worker; "the attempt failed and is repeated: {reason}");
            }
            Call::ReleaseLater(_) if is_begun => {
                log::info!(stage, file, shard, attempt, worker; "given back, and tried again later: {reason}");
            }
            Call::Retry | Call::RetryCascade if self.changes_by_retry() => {
                log::info!(stage, file, shard, attempt, worker; "a retry was asked for");
            }
            _ => {}
        }
    }

    fn changes_by_retry(&self) -> bool {
        let is_failed = |stage: &Stage| self.view.status(*stage) == Status::Failed;
        self.view.status(self.stage) != Status::New || self.stage.later().iter().any(is_failed)
    }
}

/// Says so where a report that did not add up failed its task.
pub(super) async fn tell_loss(api: &Api, key: &TaskKey, stage: Stage, result: &Result<Status>) {
    let refusal = result.as_ref().err().and_then(Error::refusal);
    if !matches!(refusal, Some(MoveRefusal::Conservation(_))) {
        return;
    }
    if let Some(view) = find(api, key).await.filter(|view| view.status(stage) == Status::Failed) {
        let reason = view.last_error.clone().unwrap_or_default();
        tell_failure(key, stage, &view, &reason);
    }
}

fn tell_failure(key: &TaskKey, stage: Stage, view: &ShardView, reason: &str) {
    let repair = Repair::of(key, stage, Some(reason));
    let (file, shard, attempt) = (key.file.as_str(), key.shard.get(), view.attempts);
    let worker = worker_of(view);
    log::error!(stage = stage.name(), file, shard, attempt, worker, class = repair.class.code(), repair:% = repair.advice();
        "failed: {reason}");
}

/// The worker that had the task at its present stage; the owner of a task that was not begun is that of an earlier
/// stage.
fn worker_of(view: &ShardView) -> &str {
    view.owner.as_deref().filter(|_| view.attempts > 0).unwrap_or("none")
}

async fn find(api: &Api, key: &TaskKey) -> Option<ShardView> {
    // A store that does not answer says so to the call itself.
    let file = api.tracking.find_file(&key.file).await.ok().flatten()?;
    file.shards.into_iter().find(|view| view.shard == key.shard)
}
