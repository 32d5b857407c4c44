//! The progress of the stages, and which workers ask for tasks.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Context, claim, for_stage, read};
use crate::base::db::sqlite::db::{count_column, optional_timestamp, timestamp_column, timestamp_text};
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::sql::{self, ANY_SHARD, ASKERS, BEHIND_ALL, FINISHED_AT, HEAD};
use crate::pipeline::apid::store::Askers;
use crate::pipeline::columns::sqlite::{file_name, shard_column};
use crate::pipeline::event::ShardId;
use crate::pipeline::task::progress::{Asked, Head, Lane};
use crate::pipeline::task::view::StatusCounts;
use crate::pipeline::task::{FileName, Stage, TaskProgress};

/// All lanes at one moment.
pub(super) fn read(connection: &mut Connection, context: Context) -> Result<TaskProgress> {
    let transaction = connection.transaction()?;
    let askers = askers(&transaction)?;
    let mut lanes = Vec::new();
    for stage in Stage::ALL {
        for (shard, counts) in counts(&transaction, stage)? {
            let mut lane = Lane {
                stage,
                shard,
                waiting: counts.new,
                under_way: counts.started,
                failed: counts.failed,
                head: None,
                done_at: None,
                asked: askers.of(stage, shard),
            };
            if lane.waiting + lane.under_way > 0 {
                find_head(&transaction, &mut lane, context)?;
            }
            lanes.push(lane);
        }
    }
    Ok(TaskProgress { now: context.now, lease_ms: context.policy.moves.lease_ms, lanes })
}

/// Notes the worker that asks.
pub(super) fn note_asker(
    connection: &Connection,
    stage: Stage,
    shard: Option<ShardId>,
    worker: &str,
    now: Timestamp,
) -> Result<()> {
    let shard = shard.map_or(ANY_SHARD, |shard| shard.get().into());
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO pipeline_asker (stage, shard, worker, asked_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![stage.name(), shard, worker, timestamp_text(now)])?;
    Ok(())
}

fn counts(transaction: &Transaction<'_>, stage: Stage) -> Result<BTreeMap<ShardId, StatusCounts>> {
    let mut lanes: BTreeMap<ShardId, StatusCounts> = BTreeMap::new();
    let mut statement = transaction.prepare_cached(&for_stage(stage, &sql::lanes(stage)))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let status = read::status(&row.get::<_, String>("status")?)?;
        lanes.entry(shard_column(row, "shard")?).or_default().add(status, count_column(row, "tasks")?);
    }
    Ok(lanes)
}

/// The task that is next, and when the stage last finished one.
fn find_head(transaction: &Transaction<'_>, lane: &mut Lane, context: Context) -> Result<()> {
    let (stage, shard) = (lane.stage, lane.shard);
    let found = if stage.in_file_order() {
        claim::oldest_unfinished(transaction, stage, shard, context.policy.strict_order, None)?
    } else {
        oldest_ready(transaction, stage, shard)?
    };
    let Some(file) = found else {
        return Ok(());
    };
    // What is announced meanwhile says nothing of a file that is not.
    let ends = [BEHIND_ALL, file.as_str()].into_iter().filter(|_| stage != Stage::EventIngest);
    for before in ends {
        let done: Option<String> = transaction
            .prepare_cached(&for_stage(stage, &sql::newest_done(stage)))?
            .query_row(params![shard.get(), before], |row| row.get(0))
            .optional()?;
        let Some(done) = done else {
            continue;
        };
        let mut statement = transaction.prepare_cached(FINISHED_AT)?;
        let mut rows = statement.query(params![done, shard.get(), stage.name()])?;
        let finished_at = rows.next()?.map(|row| timestamp_column(row, "finished_at")).transpose()?;
        lane.done_at = lane.done_at.max(finished_at);
    }
    lane.head = Some(head(transaction, file, lane)?);
    Ok(())
}

fn oldest_ready(transaction: &Transaction<'_>, stage: Stage, shard: ShardId) -> Result<Option<FileName>> {
    let mut oldest: Option<FileName> = None;
    for status in ["new", "started"] {
        let found: Option<String> = transaction
            .prepare_cached(&for_stage(stage, &sql::oldest_ready(stage)))?
            .query_row(params![status, shard.get()], |row| row.get(0))
            .optional()?;
        let found = found.map(|name| file_name(&name, "filename")).transpose()?;
        oldest = oldest.into_iter().chain(found).min();
    }
    Ok(oldest)
}

fn head(transaction: &Transaction<'_>, file: FileName, lane: &Lane) -> Result<Head> {
    let previous = lane.stage.previous().map(Stage::name);
    let mut statement = transaction.prepare_cached(HEAD)?;
    let mut rows = statement.query(params![previous, file.as_str(), lane.shard.get()])?;
    let row = rows.next()?.ok_or_else(|| Error::Gone(format!("{file} shard {}", lane.shard)))?;
    Ok(Head {
        view: read::shard_view(row)?,
        started_at: optional_timestamp(row, "started_at")?,
        ready_at: optional_timestamp(row, "ready_at")?,
        file,
    })
}

fn askers(transaction: &Transaction<'_>) -> Result<Askers> {
    let mut askers = Askers::default();
    let mut statement = transaction.prepare_cached(ASKERS)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get("stage")?;
        let stage = name.parse().map_err(|_| Error::broken(format!("stage holds '{name}'")))?;
        let number: i16 = row.get("shard")?;
        let shard = if number == ANY_SHARD { None } else { Some(shard_column(row, "shard")?) };
        askers.add(stage, shard, Asked { worker: row.get("worker")?, at: timestamp_column(row, "asked_at")? });
    }
    Ok(askers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done is never counted and never sorted, however much it is.
    #[test]
    fn progress_is_read_by_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::base::db::sqlite::migrate::run(&mut connection, &crate::pipeline::schemas::TRACKING).unwrap();
        let mut selects = vec![HEAD.to_owned(), FINISHED_AT.to_owned()];
        for stage in [Stage::EventIngest, Stage::ShardSplitter] {
            selects.push(for_stage(stage, &crate::pipeline::apid::sql::oldest_ready(stage)));
        }
        selects.push(for_stage(Stage::EventIngest, &crate::pipeline::apid::sql::lanes(Stage::EventIngest)));
        for stage in Stage::EventIngest.later() {
            selects.extend([
                for_stage(*stage, &crate::pipeline::apid::sql::lanes(*stage)),
                for_stage(*stage, &crate::pipeline::apid::sql::newest_done(*stage)),
            ]);
        }
        for select in selects {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
            let values = rusqlite::params_from_iter(vec![1; statement.parameter_count()]);
            let rows = statement.query_map(values, |row| row.get::<_, String>("detail")).unwrap();
            let plan: Vec<String> = rows.map(|row| row.unwrap()).collect();
            assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{select}: {plan:?}");
            assert!(!plan.iter().any(|step| step.contains("FOR ORDER BY")), "{select}: {plan:?}");
            assert!(plan.iter().any(|step| step.starts_with("SEARCH")), "{select}: {plan:?}");
        }
    }
}
