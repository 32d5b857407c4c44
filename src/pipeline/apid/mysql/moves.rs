//! The moves of one task, each one conditional UPDATE.

use async_trait::async_trait;
use mysql_async::params;

use super::{for_stage, micros, read};
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, count_value, get};
use crate::base::db::{Error, Result};
use crate::pipeline::apid::decisions::{self, Moved};
use crate::pipeline::apid::sql::{backoff_ms, statement_of};
use crate::pipeline::apid::store::{Registered, StageReport, TrackingPolicy};
use crate::pipeline::columns::mysql::shard as shard_column;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{Call, FileName, MoveRefusal, Output, Stage, Status, TaskKey};

/// Creates the tasks of a file.
pub(super) struct Register<'a> {
    pub(super) file: &'a FileName,
    pub(super) shards: &'a [ShardId],
}

#[async_trait]
impl Work for Register<'_> {
    type Out = Registered;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Registered> {
        let select = "SELECT shard FROM pipeline_tracking WHERE filename = ?";
        let present = tx.rows(select, (self.file.as_str(),)).await?;
        if !present.is_empty() {
            let present: Vec<ShardId> = present.iter().map(|row| shard_column(row, "shard")).collect::<Result<_>>()?;
            let known = self.shards.iter().all(|shard| present.contains(shard));
            let count = u8::try_from(present.len()).unwrap_or(u8::MAX);
            return if known { Ok(Registered { created: false }) } else { Err(MoveRefusal::OtherShards(count).into()) };
        }
        let count = decisions::shards_count(self.shards)?;
        let insert = "INSERT INTO pipeline_tracking
               (filename, event_ingest_status, shard, created_at, updated_at, shards_count)
             VALUES (?, 'started', ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), ?)";
        let mut shards = self.shards.to_vec();
        // All calls use the same order: two that register the same file wait for each other, and never in a circle.
        shards.sort_unstable();
        for shard in shards {
            if !tx.insert(insert, (self.file.as_str(), shard.get(), count)).await? {
                return Err(Error::busy(format!("file {} is being registered by another process", self.file)));
            }
        }
        Ok(Registered { created: true })
    }
}

/// Marks the event file as complete for all its shards.
pub(super) struct IngestDone<'a> {
    pub(super) file: &'a FileName,
    pub(super) output: Option<Output>,
}

#[async_trait]
impl Work for IngestDone<'_> {
    type Out = u64;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<u64> {
        // The rows first, and locked: another call that announces the file at the same time waits here.
        let select = "SELECT shard, event_ingest_status = 'done' AS done FROM pipeline_tracking
             WHERE filename = ? ORDER BY shard FOR UPDATE";
        let rows = tx.rows(select, (self.file.as_str(),)).await?;
        if rows.is_empty() {
            return Err(Error::Gone(format!("file {}", self.file)));
        }
        let select = "SELECT output_sha256 FROM pipeline_stage_result
             WHERE filename = ? AND stage = 'event-ingest' AND output_sha256 IS NOT NULL LIMIT 1";
        let announced: Option<String> =
            tx.first(select, (self.file.as_str(),)).await?.map(|row| get(&row, "output_sha256")).transpose()?;
        if let (Some(before), Some(output)) = (&announced, &self.output)
            && *before != output.sha256.to_string()
        {
            return Err(MoveRefusal::OtherContent(before.clone()).into());
        }
        let update = "UPDATE pipeline_tracking SET event_ingest_status = 'done', updated_at = UTC_TIMESTAMP(3)
             WHERE filename = ? AND event_ingest_status <> 'done'";
        tx.change(update, (self.file.as_str(),)).await?;
        for row in &rows {
            if count(row, "done")? == 1 && announced.is_some() {
                continue;
            }
            let key = TaskKey { file: self.file.clone(), shard: shard_column(row, "shard")? };
            let report = StageReport { output: self.output, ..StageReport::default() };
            write_result(tx, &key, Stage::EventIngest, FinishedRow { token: 0, attempt: 1 }, &report).await?;
        }
        Ok(rows.len() as u64)
    }
}

/// Moves one task. What it comes to is committed, a loss too.
pub(super) struct Apply<'a> {
    pub(super) key: &'a TaskKey,
    pub(super) stage: Stage,
    pub(super) call: Call,
    pub(super) report: StageReport,
    pub(super) policy: TrackingPolicy,
}

#[async_trait]
impl Work for Apply<'_> {
    type Out = Moved;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Moved> {
        decisions::check_counts(self.report.counts)?;
        if self.stage == Stage::ShardSplitter && matches!(self.call, Call::Done(_)) {
            // Calls that finish other shards of the file wait here: the last one has to see the counts of all others.
            let select = "SELECT shard FROM pipeline_tracking WHERE filename = ? ORDER BY shard FOR UPDATE";
            tx.rows(select, (self.key.file.as_str(),)).await?;
        }
        // Read before the update: `done` sets it back to 0. While the token holds, no other call changes it.
        let attempt = attempts_of(tx, self.key).await?;
        if self.update(tx, attempt).await? == 0 {
            return self.explain(tx).await.map(Moved::To);
        }
        match self.call {
            Call::Done(token) => {
                let finished = FinishedRow { token: token.unwrap_or(0), attempt };
                write_result(tx, self.key, self.stage, finished, &self.report).await?;
                if let Some(loss) = split_loss(tx, self.key, self.stage).await? {
                    fail_conservation(tx, self.key, self.stage, &loss).await?;
                    return Ok(Moved::Lost(loss));
                }
            }
            Call::Retry | Call::RetryCascade => forget_results(tx, self.key, self.stage).await?,
            _ => {}
        }
        let row = read::task_row(tx, self.key).await?;
        Ok(Moved::To(row.map_or(Status::New, |row| row.status(self.stage))))
    }
}

impl Apply<'_> {
    /// The UPDATE of the call; answers how many rows its WHERE holds for.
    async fn update(&self, tx: &mut Tx<'_>, attempt: u32) -> Result<u64> {
        let token = decisions::token_of(self.call);
        let values = params! {
            "filename" => self.key.file.as_str(),
            "shard" => self.key.shard.get(),
            "token" => token.map(count_value),
            "lease_us" => micros(self.policy.moves.lease_ms),
            "backoff_us" => micros(backoff_ms(attempt, self.policy)),
            "reason" => self.report.reason.as_deref(),
            "attempts_max" => self.policy.moves.attempts_max,
        };
        tx.change(&for_stage(self.stage, statement_of(self.stage, self.call)), values).await
    }

    /// Why no row was changed: everything is so already, or the call is refused.
    async fn explain(&self, tx: &mut Tx<'_>) -> Result<Status> {
        let row = read::task_row(tx, self.key).await?;
        let now = tx.now().await?;
        decisions::unchanged(row.as_ref(), self.key, self.stage, self.call, now, self.policy.moves)
    }
}

/// The attempt that a task is at; at least the first.
async fn attempts_of(tx: &mut Tx<'_>, key: &TaskKey) -> Result<u32> {
    let select = "SELECT attempts FROM pipeline_tracking WHERE filename = ? AND shard = ?";
    let row = tx.first(select, (key.file.as_str(), key.shard.get())).await?;
    let attempts: Option<u32> = row.map(|row| get(&row, "attempts")).transpose()?;
    Ok(attempts.unwrap_or(1).max(1))
}

/// The claim that finished a stage; token 0 where none was used.
struct FinishedRow {
    token: u64,
    attempt: u32,
}

async fn write_result(
    tx: &mut Tx<'_>,
    key: &TaskKey,
    stage: Stage,
    finished: FinishedRow,
    report: &StageReport,
) -> Result<()> {
    let (counts, output) = (report.counts, report.output);
    let replace = "REPLACE INTO pipeline_stage_result (filename, shard, stage, token, worker, attempt, started_at,
           finished_at, lines_read, lines_written, lines_duplicate, lines_rejected, lines_held, lines_released,
           output_lines, output_bytes, output_sha256, index_sha256)
         SELECT filename, shard, :stage, :token, CASE WHEN :token > 0 THEN owner END, :attempt,
           CASE WHEN :stage = 'event-ingest' THEN created_at ELSE started_at END, UTC_TIMESTAMP(3),
           :read, :written, :duplicate, :rejected, :held, :released, :lines, :bytes, :sha256, :index_sha256
         FROM pipeline_tracking WHERE filename = :filename AND shard = :shard";
    let values = params! {
        "filename" => key.file.as_str(),
        "shard" => key.shard.get(),
        "stage" => stage.name(),
        "token" => count_value(finished.token),
        "attempt" => finished.attempt,
        "read" => counts.map(|c| count_value(c.read)),
        "written" => counts.map(|c| count_value(c.written)),
        "duplicate" => counts.map(|c| count_value(c.duplicate)),
        "rejected" => counts.map(|c| count_value(c.rejected)),
        "held" => counts.map(|c| count_value(c.held)),
        "released" => counts.map(|c| count_value(c.released)),
        "lines" => output.map(|o| count_value(o.lines)),
        "bytes" => output.map(|o| count_value(o.bytes)),
        "sha256" => output.map(|o| o.sha256.to_string()),
        "index_sha256" => output.and_then(|o| o.index_sha256).map(|digest| digest.to_string()),
    };
    tx.change(replace, values).await.map(drop)
}

async fn forget_results(tx: &mut Tx<'_>, key: &TaskKey, stage: Stage) -> Result<()> {
    for stage in std::iter::once(&stage).chain(stage.later()) {
        let delete = "DELETE FROM pipeline_stage_result WHERE filename = ? AND shard = ? AND stage = ?";
        tx.change(delete, (key.file.as_str(), key.shard.get(), stage.name())).await?;
    }
    Ok(())
}

/// When the last shard of a file was split: what is wrong if its shards do not add up to the event file's lines.
async fn split_loss(tx: &mut Tx<'_>, key: &TaskKey, stage: Stage) -> Result<Option<String>> {
    if stage != Stage::ShardSplitter {
        return Ok(None);
    }
    let select = "SELECT COUNT(*) AS tasks, COUNT(s.lines_read) AS counted, COUNT(i.output_lines) AS announced,
           CAST(COALESCE(SUM(s.lines_written + s.lines_rejected), 0) AS SIGNED) AS kept,
           CAST(COALESCE(MAX(i.output_lines), 0) AS SIGNED) AS total
         FROM pipeline_tracking t
         LEFT JOIN pipeline_stage_result s ON s.filename = t.filename AND s.shard = t.shard AND s.stage = 'shard-splitter'
         LEFT JOIN pipeline_stage_result i ON i.filename = t.filename AND i.shard = t.shard AND i.stage = 'event-ingest'
         WHERE t.filename = ?";
    let Some(row) = tx.first(select, (key.file.as_str(),)).await? else {
        return Ok(None);
    };
    let (tasks, counted, announced) = (count(&row, "tasks")?, count(&row, "counted")?, count(&row, "announced")?);
    let (kept, lines) = (count(&row, "kept")?, count(&row, "total")?);
    let known = tasks == counted && tasks == announced;
    Ok((known && kept != lines)
        .then(|| format!("the event file has {lines} lines, its shards and rejects add up to {kept}")))
}

async fn fail_conservation(tx: &mut Tx<'_>, key: &TaskKey, stage: Stage, loss: &str) -> Result<()> {
    let update = "UPDATE pipeline_tracking SET {status} = 'failed', last_error = :why, updated_at = {now}
         WHERE filename = :filename AND shard = :shard";
    let values = params! {
        "why" => format!("conservation: {loss}"), "filename" => key.file.as_str(), "shard" => key.shard.get(),
    };
    tx.change(&for_stage(stage, update), values).await?;
    forget_results(tx, key, stage).await
}
