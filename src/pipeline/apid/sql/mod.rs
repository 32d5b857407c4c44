//! What the SQL dialects share: the statements that are rules, and the closed list of identifiers in them.
//!
//! `{status}` stands for a stage's column, and `{previous}` for that of the stage before. `{now}`, `{lease_until}`,
//! `{lease_limit}` and `{backoff}` stand for moments, which a dialect takes from its own clock. Values are always bound, by name.

mod claim;
mod moves;
mod progress;
mod tally;

use crate::pipeline::apid::store::{FileQuery, TrackingPolicy};
use crate::pipeline::task::Stage;
pub(crate) use claim::{CLAIM, EXHAUSTED, LEASE_TOO_LONG, READ_CLAIMED, REPLAY, oldest_unfinished, unfinished};
pub(crate) use moves::statement_of;
pub(crate) use progress::{ANY_SHARD, ASKERS, BEHIND_ALL, FINISHED_AT, HEAD, lanes, newest_done, oldest_ready};
pub(crate) use tally::{REGISTERED, SETTLED_AFTER_MS, open_tasks, status_index};

/// The status column of a stage: identifiers come from this closed list only.
pub(crate) const fn column(stage: Stage) -> &'static str {
    match stage {
        Stage::EventIngest => "event_ingest_status",
        Stage::ShardSplitter => "shard_splitter_status",
        Stage::ShardWorker => "shard_worker_status",
        Stage::MysqlSender => "mysql_sender_status",
    }
}

/// A statement about one stage.
pub(crate) fn for_stage(stage: Stage, statement: &str) -> String {
    let previous = column(stage.previous().unwrap_or(stage));
    statement.replace("{status}", column(stage)).replace("{previous}", previous)
}

/// How long the next attempt waits, in milliseconds: the first backoff doubled per attempt, capped, half of it jitter.
pub(crate) fn backoff_ms(attempt: u32, policy: TrackingPolicy) -> i64 {
    let doublings = attempt.saturating_sub(1).min(20);
    let full = policy.moves.backoff_ms.saturating_mul(1 << doublings).min(policy.backoff_max_ms);
    full - rand::random_range(0..=full / 2)
}

/// The names of the files that a query is about, in their order. Bound are the name to begin after and, if the query
/// has one, the status.
pub(crate) fn list_files(query: &FileQuery, rows: usize) -> String {
    let mut select = "SELECT DISTINCT filename FROM pipeline_tracking WHERE filename > ?".to_owned();
    match (query.status, query.stage) {
        (None, _) => {}
        // An index finds it: of a long history few files are in any other status than done.
        (Some(_), Some(stage)) => select.push_str(&format!(" AND {} = ?", column(stage))),
        (Some(_), None) => select.push_str(&format!(" AND ? IN ({})", Stage::ALL.map(column).join(", "))),
    }
    select.push_str(" ORDER BY filename LIMIT ");
    select.push_str(&rows.to_string());
    select
}
