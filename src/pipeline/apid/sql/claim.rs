//! The claim: one conditional UPDATE per task, so that two claims never both win a task (docs/semantics.md, 2).

use super::{column, for_stage};
use crate::pipeline::task::Stage;

/// The claim itself: zero rows mean that the task is not ready, or that another claim won it.
pub(crate) const CLAIM: &str =
    "UPDATE pipeline_tracking SET {status} = 'started', token = token + 1, attempts = attempts + 1, owner = :owner,
     claim_id = :claim_id, started_at = {now}, lease_until = {lease_until}, next_at = NULL, updated_at = {now}
     WHERE filename = :filename AND shard = :shard AND {previous} = 'done'
       AND (({status} = 'new' AND (next_at IS NULL OR next_at <= {now})) OR ({status} = 'started' AND lease_until < {now} AND :takes_over))";

/// What a claim has to know of a task that it got: the row, and what the stage before left for it. Bound are that stage, the
/// file and the shard.
pub(crate) const READ_CLAIMED: &str =
    "SELECT t.token, t.attempts, t.shards_count, r.output_lines, r.output_bytes, r.output_sha256, r.index_sha256
     FROM pipeline_tracking t
     LEFT JOIN pipeline_stage_result r ON r.filename = t.filename AND r.shard = t.shard AND r.stage = ?
     WHERE t.filename = ? AND t.shard = ?";

/// Tasks whose lease ends later than a lease can.
pub(crate) const LEASE_TOO_LONG: &str = "{status} = 'started' AND lease_until > {lease_limit}";

/// Tasks whose last allowed attempt let its lease run out.
pub(crate) const EXHAUSTED: &str = "{status} = 'started' AND lease_until < {now} AND attempts >= :attempts_max";

/// A claim under the same id again: what it still holds gets a fresh lease and keeps its token.
pub(crate) const REPLAY: &str = "UPDATE pipeline_tracking SET lease_until = {lease_until}
     WHERE filename = :filename AND shard = :shard AND claim_id = :claim_id AND {status} = 'started'";

/// The oldest unfinished files of a shard: one for each status. Files that an earlier stage gave up, or whose event file
/// was registered but never completed, do not count, unless the order is strict; with a strict order a failed task is
/// not finished either. One statement for all statuses: between two a task could go from one to the other unseen.
/// `{by_order}` names the index where a dialect must be told: it holds shard, status and filename in this order, so that
/// nothing is sorted. Bound is the shard, once for each status. `limit` so many of each status.
pub(crate) fn oldest_unfinished(stage: Stage, strict: bool, limit: u32) -> String {
    let mut open = String::new();
    if !strict {
        open.push_str(" AND event_ingest_status = 'done'");
        for earlier in Stage::ALL.iter().take(stage.index()).skip(1) {
            open.push_str(" AND ");
            open.push_str(column(*earlier));
            open.push_str(" <> 'failed'");
        }
    }
    let of_status = |status: &&str| {
        format!(
            "SELECT filename FROM (SELECT filename FROM pipeline_tracking {{by_order}}WHERE shard = ? \
             AND {{status}} = '{status}'{open} ORDER BY filename LIMIT {limit}) AS {status}_ones"
        )
    };
    let selects: Vec<String> = unfinished(strict).iter().map(of_status).collect();
    for_stage(stage, &selects.join(" UNION ALL "))
}

/// The statuses of a task that is not finished.
pub(crate) const fn unfinished(strict: bool) -> &'static [&'static str] {
    if strict { &["new", "started", "failed"] } else { &["new", "started"] }
}
