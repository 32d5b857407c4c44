//! The moves of one task, each one conditional UPDATE.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};

use super::{Context, column, for_stage, read};
use crate::base::db::sqlite::db::{count_column, count_value, timestamp_text};
use crate::base::db::{Error, Result};
use crate::pipeline::apid::decisions::{self, Moved};
use crate::pipeline::apid::sql::{backoff_ms, statement_of};
use crate::pipeline::apid::store::{Registered, StageReport};
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{Call, FileName, MoveRefusal, Output, Stage, Status, TaskKey};

/// Creates the tasks of a file.
pub(super) fn register(
    connection: &mut Connection,
    file: &FileName,
    shards: &[ShardId],
    context: Context,
) -> Result<Registered> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let present: Vec<u8> = transaction
        .prepare_cached("SELECT shard FROM pipeline_tracking WHERE filename = ?1 ORDER BY shard")?
        .query_map([file.as_str()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if !present.is_empty() {
        let known = shards.iter().all(|shard| present.contains(&shard.get()));
        let count = u8::try_from(present.len()).unwrap_or(u8::MAX);
        return if known { Ok(Registered { created: false }) } else { Err(MoveRefusal::OtherShards(count).into()) };
    }
    let count = decisions::shards_count(shards)?;
    let now = timestamp_text(context.now);
    for shard in shards {
        transaction
            .prepare_cached(
                "INSERT INTO pipeline_tracking (filename, event_ingest_status, shard, created_at, updated_at, shards_count)
                 VALUES (?1, 'started', ?2, ?3, ?3, ?4)",
            )?
            .execute(params![file.as_str(), shard.get(), now, count])?;
    }
    transaction.commit()?;
    Ok(Registered { created: true })
}

/// Marks the event file as complete for all its shards.
pub(super) fn ingest_done(
    connection: &mut Connection,
    file: &FileName,
    output: Option<Output>,
    context: Context,
) -> Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let announced: Option<String> = transaction
        .prepare_cached(
            "SELECT output_sha256 FROM pipeline_stage_result
             WHERE filename = ?1 AND stage = 'event-ingest' AND output_sha256 IS NOT NULL LIMIT 1",
        )?
        .query_row([file.as_str()], |row| row.get(0))
        .optional()?;
    if let (Some(before), Some(output)) = (&announced, &output)
        && *before != output.sha256.to_string()
    {
        return Err(MoveRefusal::OtherContent(before.clone()).into());
    }
    let now = timestamp_text(context.now);
    let shards: Vec<(u8, bool)> = transaction
        .prepare_cached("SELECT shard, event_ingest_status = 'done' FROM pipeline_tracking WHERE filename = ?1")?
        .query_map([file.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if shards.is_empty() {
        return Err(Error::Gone(format!("file {file}")));
    }
    transaction
        .prepare_cached(
            "UPDATE pipeline_tracking SET event_ingest_status = 'done', updated_at = ?2
             WHERE filename = ?1 AND event_ingest_status <> 'done'",
        )?
        .execute(params![file.as_str(), now])?;
    let rows = shards.len() as u64;
    for (shard, _) in shards.into_iter().filter(|(_, done)| !done || announced.is_none()) {
        let shard = ShardId::new(shard.into()).ok_or_else(|| Error::broken(format!("shard holds {shard}")))?;
        let key = TaskKey { file: file.clone(), shard };
        let report = StageReport { output, ..StageReport::default() };
        write_result(&transaction, &key, Stage::EventIngest, FinishedRow { token: 0, attempt: 1 }, &report, &now)?;
    }
    transaction.commit()?;
    Ok(rows)
}

/// Moves one task; answers the stage's status after it.
pub(super) fn apply(
    connection: &mut Connection,
    key: &TaskKey,
    stage: Stage,
    call: Call,
    report: &StageReport,
    context: Context,
) -> Result<Status> {
    decisions::check_counts(report.counts)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read before the update: `done` sets it back to 0.
    let attempt = attempts_of(&transaction, key)?;
    let Some(status) = update(&transaction, key, stage, call, report, attempt, context)? else {
        let row = read::task_row(&transaction, key)?;
        return decisions::unchanged(row.as_ref(), key, stage, call, context.now, context.policy.moves);
    };
    let now = timestamp_text(context.now);
    match call {
        Call::Done(token) => {
            let finished = FinishedRow { token: token.unwrap_or(0), attempt };
            write_result(&transaction, key, stage, finished, report, &now)?;
            if let Some(loss) = split_loss(&transaction, key, stage)? {
                fail_conservation(&transaction, key, stage, &loss, &now)?;
                transaction.commit()?;
                return Moved::Lost(loss).answer();
            }
        }
        Call::Retry | Call::RetryCascade => forget_results(&transaction, key, stage)?,
        _ => {}
    }
    transaction.commit()?;
    Moved::To(status).answer()
}

/// The UPDATE of a call; nothing where its WHERE does not hold.
fn update(
    transaction: &Transaction<'_>,
    key: &TaskKey,
    stage: Stage,
    call: Call,
    report: &StageReport,
    attempt: u32,
    context: Context,
) -> Result<Option<Status>> {
    let statement = for_stage(stage, statement_of(stage, call)) + " RETURNING " + column(stage);
    let token = decisions::token_of(call);
    let moves = context.policy.moves;
    let text = |ms: i64| timestamp_text(context.now.plus_ms(ms));
    let all = named_params! {
        ":filename": key.file.as_str(),
        ":shard": key.shard.get(),
        ":now": text(0),
        ":token": token.map(count_value),
        ":lease_until": text(moves.lease_ms),
        ":reason": report.reason,
        ":attempts_max": moves.attempts_max,
        ":backoff": text(backoff_ms(attempt, context.policy)),
    };
    let mut statement = transaction.prepare_cached(&statement)?;
    // A statement names only the parameters that it uses.
    let mut used: Vec<(&str, &dyn rusqlite::ToSql)> = Vec::new();
    for (name, value) in all {
        if statement.parameter_index(name)?.is_some() {
            used.push((*name, *value));
        }
    }
    let status: Option<String> = statement.query_row(used.as_slice(), |row| row.get(0)).optional()?;
    status.map(|text| read::status(&text)).transpose()
}

/// The attempt that a task is at; at least the first.
fn attempts_of(transaction: &Transaction<'_>, key: &TaskKey) -> Result<u32> {
    let attempts: Option<u32> = transaction
        .prepare_cached("SELECT attempts FROM pipeline_tracking WHERE filename = ?1 AND shard = ?2")?
        .query_row(params![key.file.as_str(), key.shard.get()], |row| row.get(0))
        .optional()?;
    Ok(attempts.unwrap_or(1).max(1))
}

/// The claim that finished a stage; token 0 where none was used.
struct FinishedRow {
    token: u64,
    attempt: u32,
}

fn write_result(
    transaction: &Transaction<'_>,
    key: &TaskKey,
    stage: Stage,
    finished: FinishedRow,
    report: &StageReport,
    now: &str,
) -> Result<()> {
    let (counts, output) = (report.counts, report.output);
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO pipeline_stage_result (filename, shard, stage, token, worker, attempt, started_at, finished_at,
               lines_read, lines_written, lines_duplicate, lines_rejected, lines_held, lines_released,
               output_lines, output_bytes, output_sha256, index_sha256)
             SELECT filename, shard, ?3, ?4, CASE WHEN ?4 > 0 THEN owner END, ?16,
               CASE WHEN ?3 = 'event-ingest' THEN created_at ELSE started_at END, ?5,
               ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15
             FROM pipeline_tracking WHERE filename = ?1 AND shard = ?2",
        )?
        .execute(params![
            key.file.as_str(),
            key.shard.get(),
            stage.name(),
            count_value(finished.token),
            now,
            counts.map(|c| count_value(c.read)),
            counts.map(|c| count_value(c.written)),
            counts.map(|c| count_value(c.duplicate)),
            counts.map(|c| count_value(c.rejected)),
            counts.map(|c| count_value(c.held)),
            counts.map(|c| count_value(c.released)),
            output.map(|o| count_value(o.lines)),
            output.map(|o| count_value(o.bytes)),
            output.map(|o| o.sha256.to_string()),
            output.and_then(|o| o.index_sha256).map(|digest| digest.to_string()),
            finished.attempt,
        ])?;
    Ok(())
}

fn forget_results(transaction: &Transaction<'_>, key: &TaskKey, stage: Stage) -> Result<()> {
    for stage in std::iter::once(&stage).chain(stage.later()) {
        transaction
            .prepare_cached("DELETE FROM pipeline_stage_result WHERE filename = ?1 AND shard = ?2 AND stage = ?3")?
            .execute(params![key.file.as_str(), key.shard.get(), stage.name()])?;
    }
    Ok(())
}

/// When the last shard of a file was split: what is wrong if its shards do not add up to the event file's lines.
fn split_loss(transaction: &Transaction<'_>, key: &TaskKey, stage: Stage) -> Result<Option<String>> {
    if stage != Stage::ShardSplitter {
        return Ok(None);
    }
    let mut statement = transaction.prepare_cached(
        "SELECT COUNT(*) AS tasks, COUNT(s.lines_read) AS counted, COUNT(i.output_lines) AS announced,
                COALESCE(SUM(s.lines_written + s.lines_rejected), 0) AS kept, COALESCE(MAX(i.output_lines), 0) AS lines
         FROM pipeline_tracking t
         LEFT JOIN pipeline_stage_result s ON s.filename = t.filename AND s.shard = t.shard AND s.stage = 'shard-splitter'
         LEFT JOIN pipeline_stage_result i ON i.filename = t.filename AND i.shard = t.shard AND i.stage = 'event-ingest'
         WHERE t.filename = ?1",
    )?;
    let mut rows = statement.query([key.file.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let (tasks, counted, announced) =
        (count_column(row, "tasks")?, count_column(row, "counted")?, count_column(row, "announced")?);
    let (kept, lines) = (count_column(row, "kept")?, count_column(row, "lines")?);
    let known = tasks == counted && tasks == announced;
    Ok((known && kept != lines)
        .then(|| format!("the event file has {lines} lines, its shards and rejects add up to {kept}")))
}

fn fail_conservation(transaction: &Transaction<'_>, key: &TaskKey, stage: Stage, loss: &str, now: &str) -> Result<()> {
    transaction
        .prepare_cached(&for_stage(
            stage,
            "UPDATE pipeline_tracking SET {status} = 'failed', last_error = ?3, updated_at = ?4 WHERE filename = ?1 AND shard = ?2",
        ))?
        .execute(params![key.file.as_str(), key.shard.get(), format!("conservation: {loss}"), now])?;
    forget_results(transaction, key, stage)
}
