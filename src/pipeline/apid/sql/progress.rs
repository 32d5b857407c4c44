//! The progress of the stages. Only open tasks are read, and one step in an index beside them, however long the history
//! is.

use super::for_stage;
use crate::pipeline::task::Stage;

/// The shard that stands for workers that ask for tasks of any shard.
pub(crate) const ANY_SHARD: i16 = -1;

/// How many tasks of each shard wait for a stage, are begun, and failed: columns `shard`, `status` and `tasks`.
/// `{by_queue}` names the index where a dialect must be told: it begins with status and status before.
pub(crate) fn lanes(stage: Stage) -> String {
    let of_status = |status: &str, of_previous: &str| {
        format!(
            "SELECT shard, '{status}' AS status, COUNT(*) AS tasks FROM pipeline_tracking {{by_queue}}\
             WHERE {{status}} = '{status}'{of_previous} GROUP BY shard"
        )
    };
    let is_ready = ready(stage);
    let selects = [of_status("new", is_ready), of_status("started", is_ready), of_status("failed", "")];
    for_stage(stage, &selects.join(" UNION ALL "))
}

/// Whether the stage before has finished a task; the first stage waits for none.
const fn ready(stage: Stage) -> &'static str {
    if matches!(stage, Stage::EventIngest) { "" } else { " AND {previous} = 'done'" }
}

/// The oldest task of a shard that is in this status and ready, for a stage that takes files in any order.
pub(crate) fn oldest_ready(stage: Stage) -> String {
    let select = format!(
        "SELECT filename FROM pipeline_tracking {{by_order}}WHERE {{status}} = ?{} AND shard = ? ORDER BY filename LIMIT 1",
        ready(stage)
    );
    for_stage(stage, &select)
}

/// The newest file before a name that a stage has finished in a shard: an index has status, status before and filename, or
/// shard, status and filename, in this order.
pub(crate) fn newest_done(stage: Stage) -> String {
    let of_previous = if stage.in_file_order() { "" } else { " AND {previous} = 'done'" };
    let select = format!(
        "SELECT filename FROM pipeline_tracking {{by_order}}WHERE shard = ? AND {{status}} = 'done'{of_previous} \
         AND filename < ? ORDER BY filename DESC LIMIT 1"
    );
    for_stage(stage, &select)
}

/// A name behind all files.
pub(crate) const BEHIND_ALL: &str = "99999999999999";

/// A task with the moment when the stage before finished it.
pub(crate) const HEAD: &str = "SELECT t.*, r.finished_at AS ready_at FROM pipeline_tracking t
     LEFT JOIN pipeline_stage_result r ON r.filename = t.filename AND r.shard = t.shard AND r.stage = ?
     WHERE t.filename = ? AND t.shard = ?";

/// When a stage finished a task.
pub(crate) const FINISHED_AT: &str =
    "SELECT finished_at FROM pipeline_stage_result WHERE filename = ? AND shard = ? AND stage = ?";

/// All workers that asked last.
pub(crate) const ASKERS: &str = "SELECT stage, shard, worker, asked_at FROM pipeline_asker";
