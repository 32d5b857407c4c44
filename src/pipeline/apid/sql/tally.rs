//! Counts tasks without reading the long history. Tasks that are not done are found by their status, new ones by their
//! number.

use super::for_stage;
use crate::pipeline::task::Stage;

/// How many tasks of each shard a stage has not done: columns `shard`, `status`, `tasks`, and `oldest`, the registration
/// of the oldest one that waits for this stage or is in it. `{by_status}` is where a dialect names [`status_index`].
pub(crate) fn open_tasks(stage: Stage) -> String {
    let is_here = match stage.previous() {
        Some(_) => "{previous} = 'done' AND {status} <> 'failed'",
        None => "{status} <> 'failed'",
    };
    let select = format!(
        "SELECT shard, {{status}} AS status, COUNT(*) AS tasks, MIN(CASE WHEN {is_here} THEN created_at END) AS oldest \
         FROM pipeline_tracking {{by_status}}WHERE {{status}} IN ('new', 'started', 'failed') GROUP BY shard, {{status}}"
    );
    for_stage(stage, &select)
}

/// The index that begins with a stage's status.
pub(crate) const fn status_index(stage: Stage) -> &'static str {
    match stage {
        Stage::EventIngest => "pipeline_tracking_event_ingest",
        Stage::ShardSplitter => "pipeline_tracking_shard_splitter",
        Stage::ShardWorker => "pipeline_tracking_shard_worker_queue",
        Stage::MysqlSender => "pipeline_tracking_mysql_sender_queue",
    }
}

/// How many tasks of each shard were registered after a row: columns `shard`, `is_settled`, `tasks` and `last`. Settled is
/// what has a lower number than every row that a registration with a lower number may still come before.
/// `{by_id}` is where a dialect says that it goes by the row's number, `{mark}` that row, and `{settled}` the moment before
/// which no registration can still be on its way.
pub(crate) const REGISTERED: &str =
    "SELECT shard, id < (SELECT COALESCE(MIN(id), 9223372036854775807) FROM pipeline_tracking {by_id}
       WHERE id > {mark} AND created_at >= {settled}) AS is_settled, COUNT(*) AS tasks, MAX(id) AS last
     FROM pipeline_tracking {by_id}WHERE id > {mark} GROUP BY shard, is_settled";

/// How long a registration may be on its way, in milliseconds: a transaction is given up long before.
pub(crate) const SETTLED_AFTER_MS: i64 = 120_000;
