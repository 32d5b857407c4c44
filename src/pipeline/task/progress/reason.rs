//! Why the next task of a stage is not finished.

use super::{Asked, Head, Lane, TaskProgress};
use crate::base::timestamp::Timestamp;
use crate::pipeline::task::{Class, FileName, Repair, Stage, Status, TaskKey};

/// The longest that a worker does not ask although it is there: it pauses when something around it does not work.
const PAUSE_MS_MAX: i64 = 15_000;
/// Where docs/runbook.md tells of workers that stand still.
const RUNBOOK: &str = "docs/runbook.md#stuck-worker";

/// Why the next task of a stage is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// The file was registered, and event-ingest did not announce it yet.
    NotAnnounced {
        /// How long ago it was registered, in milliseconds.
        ago_ms: i64,
    },
    /// A worker is at it, and its lease lasts.
    UnderWay,
    /// The worker that asks for these tasks is at another one.
    WorkerElsewhere,
    /// An earlier file has to come first, and an earlier stage has it.
    Behind {
        /// The file.
        file: FileName,
        /// The stage that has it.
        stage: Stage,
        /// Its status there.
        status: Status,
    },
    /// The worker that holds it let its lease run out, and no other took it over.
    LeaseOver {
        /// The worker that holds it.
        worker: Option<String>,
        /// For how long the lease is over, in milliseconds.
        over_ms: i64,
    },
    /// It was started without a lease: it is not taken over.
    PlainStart {
        /// How long ago, in milliseconds.
        ago_ms: Option<i64>,
    },
    /// The last attempt did not succeed.
    LastAttempt {
        /// The reason that was reported.
        reason: String,
        /// Until the next attempt, in milliseconds; none or less than zero where it is due.
        next_ms: Option<i64>,
    },
    /// No worker asks for tasks of this stage and shard.
    NoWorker {
        /// The worker that asked last.
        worker: Option<String>,
        /// How long ago, in milliseconds.
        ago_ms: Option<i64>,
    },
    /// A worker asks: it gets the task in a moment.
    Asked,
}

/// Why the lane's next task is not finished, the most telling reason first.
pub(super) fn of(progress: &TaskProgress, lane: &Lane) -> Option<WaitReason> {
    let head = lane.head.as_ref()?;
    let (now, view) = (progress.now, &head.view);
    if lane.stage == Stage::EventIngest {
        return Some(WaitReason::NotAnnounced { ago_ms: ms_since(view.created_at, now) });
    }
    if !head.is_workable(lane.stage) {
        return Some(behind(head, lane.stage));
    }
    if view.status(lane.stage) == Status::Started {
        return Some(match (view.lease_until, head.lease(now)) {
            (None, _) => WaitReason::PlainStart { ago_ms: head.started_at.map(|at| ms_since(at, now)) },
            // A repeated attempt that has only just begun may fail as the one before.
            (_, Some(_)) if head.is_repeated() && progress.is_stuck(lane) => last_attempt(head, now),
            (_, Some(_)) => WaitReason::UnderWay,
            (Some(until), None) => WaitReason::LeaseOver { worker: view.owner.clone(), over_ms: ms_since(until, now) },
        });
    }
    if progress.worker_is_elsewhere(lane) {
        return Some(WaitReason::WorkerElsewhere);
    }
    let is_asked =
        lane.asked.as_ref().is_some_and(|asked| ms_since(asked.at, now) <= progress.lease_ms.max(PAUSE_MS_MAX));
    Some(match (&view.last_error, is_asked) {
        (_, false) if view.next_at.is_none_or(|at| at <= now) => no_worker(lane.asked.as_ref(), now),
        (Some(_), _) => last_attempt(head, now),
        _ => WaitReason::Asked,
    })
}

/// The first stage that has not finished the file is the one that it waits for.
fn behind(head: &Head, stage: Stage) -> WaitReason {
    let earlier = Stage::ALL.into_iter().find(|earlier| head.status(*earlier) != Status::Done).unwrap_or(stage);
    WaitReason::Behind { file: head.file.clone(), stage: earlier, status: head.status(earlier) }
}

fn last_attempt(head: &Head, now: Timestamp) -> WaitReason {
    WaitReason::LastAttempt {
        reason: head.view.last_error.clone().unwrap_or_default(),
        next_ms: head.view.next_at.map(|at| -ms_since(at, now)),
    }
}

fn no_worker(asked: Option<&Asked>, now: Timestamp) -> WaitReason {
    WaitReason::NoWorker {
        worker: asked.map(|asked| asked.worker.clone()),
        ago_ms: asked.map(|asked| ms_since(asked.at, now)),
    }
}

fn ms_since(at: Timestamp, now: Timestamp) -> i64 {
    now.unix_ms() - at.unix_ms()
}

impl WaitReason {
    /// The reason in one sentence.
    pub fn text(&self, stage: Stage) -> String {
        match self {
            Self::NotAnnounced { ago_ms } => {
                format!("it was registered {} ago, and event-ingest has not announced it", span(*ago_ms))
            }
            Self::UnderWay => "a worker is at it".to_owned(),
            Self::WorkerElsewhere => "its worker is at a task of another shard".to_owned(),
            Self::Behind { file, stage, status } => format!("waits for {file}, which is {status} at {stage}"),
            Self::LeaseOver { worker, over_ms } => {
                let worker = worker.as_deref().unwrap_or("unknown");
                format!("its lease ran out {} ago (worker {worker}), and no worker took it over", span(*over_ms))
            }
            Self::PlainStart { ago_ms } => {
                let ago = ago_ms.map_or_else(String::new, |ms| format!(" {} ago", span(ms)));
                format!("it was started{ago} without a lease, so no other worker takes it over")
            }
            Self::LastAttempt { reason, next_ms } => match next_ms.filter(|ms| *ms > 0) {
                Some(ms) => format!("the last attempt failed, the next one is in {}: {reason}", span(ms)),
                None => format!("the last attempt failed: {reason}"),
            },
            Self::NoWorker { worker: Some(worker), ago_ms: Some(ms) } => {
                format!("no worker is asking for it; the last one asked {} ago ({worker})", span(*ms))
            }
            Self::NoWorker { .. } => format!("no worker is asking for it, and none of {stage} ever has"),
            Self::Asked => "a worker is asking for it".to_owned(),
        }
    }

    /// What to do about it, where something has to be done.
    pub fn repair(&self, key: &TaskKey, stage: Stage) -> Option<Repair> {
        let (what, commands) = match self {
            Self::UnderWay | Self::WorkerElsewhere | Self::Behind { .. } | Self::Asked => return None,
            Self::LastAttempt { reason, .. } => {
                let repair = Repair::of(key, stage, Some(reason));
                // It is not failed yet, so that there is nothing to retry by hand.
                let commands = if repair.class == Class::StateLost { repair.commands } else { Vec::new() };
                return Some(Repair { commands, ..repair });
            }
            Self::NotAnnounced { .. } => (
                "start event-ingest: it announces files again; if the event file is gone, put it back from a backup first",
                vec!["shopctl ingest --once".to_owned()],
            ),
            Self::LeaseOver { .. } => (
                "its process, the number in the worker's name, stands still or is gone: 'kill -CONT' it, or 'kill -KILL' it \
                 and start the role again",
                Vec::new(),
            ),
            Self::NoWorker { .. } => (
                "no process works on this stage: start it; one that runs says at /ready and in its log what it waits for",
                Vec::new(),
            ),
            Self::PlainStart { .. } => (
                "the client that started it has to finish it or to report it as failed; then try again",
                vec![format!("shopctl retry {} --shard {}", key.file, key.shard)],
            ),
        };
        let commands = if commands.is_empty() { vec![role_of(stage, key)] } else { commands };
        Some(Repair { class: Class::LeaseExpired, what: what.to_owned(), commands, runbook: RUNBOOK.to_owned() })
    }
}

/// The command that runs a stage.
fn role_of(stage: Stage, key: &TaskKey) -> String {
    match stage {
        Stage::EventIngest => "shopctl ingest".to_owned(),
        Stage::ShardSplitter => "shopctl split".to_owned(),
        Stage::ShardWorker => format!("shopctl work --shard {}", key.shard),
        Stage::MysqlSender => "shopctl send".to_owned(),
    }
}

/// A span of time for a person: `45 s`, `12 min`, `3 h`, `2 d`.
pub fn span(ms: i64) -> String {
    let secs = ms.max(0) / 1000;
    match secs {
        ..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} d", secs / 86_400),
    }
}
