//! Reads the tracking tables.

use std::collections::BTreeMap;

use async_trait::async_trait;
use mysql_async::{Params, Row as SqlRow, Value};

use super::for_stage;
use crate::base::db::Result;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, get, moment, optional_timestamp};
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::sql::{self, column};
use crate::pipeline::apid::store::{FilePage, FileQuery};
use crate::pipeline::columns::mysql::{counts, file_name, output, shard, shards_count, stage, status};
use crate::pipeline::task::view::{Queued, ShardTotals};
use crate::pipeline::task::{FileName, FileView, ShardView, Stage, StageResult, Status, Summary, TaskKey, TaskRow};

/// Files per page at the most.
const PAGE_MAX: u32 = 1000;
/// Names per statement. It is always filled up to this number, so that there is one statement to prepare.
const NAMES: usize = 64;

/// The state of one task, as far as moves depend on it; locked, so that task and reports are of one moment.
pub(super) async fn task_row(tx: &mut Tx<'_>, key: &TaskKey) -> Result<Option<TaskRow>> {
    let select = "SELECT * FROM pipeline_tracking WHERE filename = ? AND shard = ? FOR UPDATE";
    let Some(row) = tx.first(select, (key.file.as_str(), key.shard.get())).await? else {
        return Ok(None);
    };
    let mut view = shard_view(&row)?;
    let select = "SELECT * FROM pipeline_stage_result WHERE filename = ? AND shard = ?";
    for row in &tx.rows(select, (key.file.as_str(), key.shard.get())).await? {
        view.results.push(stage_result(row)?);
    }
    Ok(Some(TaskRow {
        statuses: view.statuses,
        token: view.token,
        attempts: view.attempts,
        lease_until: view.lease_until,
        next_at: view.next_at,
        done_by: Stage::ALL.map(|stage| view.result(stage).map(|result| result.token)),
    }))
}

/// Ready tasks, oldest first.
pub(super) struct Queue {
    pub(super) stage: Stage,
    pub(super) limit: u32,
    pub(super) offset: u32,
}

#[async_trait]
impl Work for Queue {
    type Out = Vec<Queued>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Queued>> {
        if self.stage.previous().is_none() {
            return Ok(Vec::new());
        }
        let select = "SELECT filename, shard, created_at FROM pipeline_tracking
             WHERE {status} = 'new' AND {previous} = 'done' ORDER BY id LIMIT ? OFFSET ?";
        let rows = tx.rows(&for_stage(self.stage, select), (self.limit, self.offset)).await?;
        let queued = rows.iter().map(|row| {
            let key = TaskKey { file: file_name(row, "filename")?, shard: shard(row, "shard")? };
            Ok(Queued { key, created_at: moment(row, "created_at")? })
        });
        queued.collect()
    }
}

/// These files with their tasks.
pub(super) struct Files<'a> {
    pub(super) names: &'a [FileName],
    pub(super) with_results: bool,
}

#[async_trait]
impl Work for Files<'_> {
    type Out = Vec<FileView>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<FileView>> {
        let mut files: BTreeMap<FileName, FileView> = BTreeMap::new();
        for names in self.names.chunks(NAMES) {
            let select = among("SELECT * FROM pipeline_tracking WHERE filename IN ({names}) ORDER BY filename, shard");
            for row in &tx.rows(&select, filled(names)).await? {
                let (file, shards_count) = (file_name(row, "filename")?, shards_count(row)?);
                let empty = || FileView { file: file.clone(), shards_count, shards: Vec::new() };
                files.entry(file.clone()).or_insert_with(empty).shards.push(shard_view(row)?);
            }
            if !self.with_results {
                continue;
            }
            let select = among("SELECT * FROM pipeline_stage_result WHERE filename IN ({names})");
            for row in &tx.rows(&select, filled(names)).await? {
                let shard = shard(row, "shard")?;
                let file = files.get_mut(&file_name(row, "filename")?);
                if let Some(view) = file.and_then(|file| file.shards.iter_mut().find(|view| view.shard == shard)) {
                    view.results.push(stage_result(row)?);
                }
            }
        }
        let mut files: Vec<FileView> = files.into_values().collect();
        for view in files.iter_mut().flat_map(|file| file.shards.iter_mut()) {
            view.results.sort_by_key(|result| result.stage);
        }
        Ok(files)
    }
}

/// The statement with as many places as there are names.
fn among(statement: &str) -> String {
    statement.replace("{names}", &vec!["?"; NAMES].join(", "))
}

/// The names, the last one repeated until all places are filled.
fn filled(names: &[FileName]) -> Params {
    let last = names.last().map_or("", FileName::as_str);
    let rest = std::iter::repeat(last);
    Params::Positional(names.iter().map(FileName::as_str).chain(rest).take(NAMES).map(Value::from).collect())
}

/// Files by name.
pub(super) struct ListFiles<'a>(pub(super) &'a FileQuery);

#[async_trait]
impl Work for ListFiles<'_> {
    type Out = FilePage;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<FilePage> {
        let limit = self.0.limit.clamp(1, PAGE_MAX) as usize;
        let after = self.0.after.as_ref().map_or("", FileName::as_str);
        let mut values = vec![Value::from(after)];
        values.extend(self.0.status.map(|status| Value::from(status.name())));
        let rows = tx.rows(&sql::list_files(self.0, limit + 1), Params::Positional(values)).await?;
        let mut names: Vec<FileName> = rows.iter().map(|row| file_name(row, "filename")).collect::<Result<_>>()?;
        let more = names.len() > limit;
        names.truncate(limit);
        let files = Files { names: &names, with_results: self.0.with_results }.run(tx).await?;
        Ok(FilePage { files, next: names.pop().filter(|_| more) })
    }
}

/// The state of everything in numbers.
pub(super) struct Summarize;

#[async_trait]
impl Work for Summarize {
    type Out = Summary;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Summary> {
        let mut summary = Summary::default();
        for stage in Stage::ALL {
            let select = "SELECT {status} AS status, COUNT(*) AS tasks FROM pipeline_tracking GROUP BY {status}";
            for row in &tx.rows(&for_stage(stage, select), ()).await? {
                summary.by_stage[stage.index()].add(status(row, "status")?, count(row, "tasks")?);
            }
        }
        let select = "SELECT shard, COUNT(*) AS total, CAST(SUM(mysql_sender_status = 'done') AS SIGNED) AS done,
               CAST(SUM(mysql_sender_status = 'failed') AS SIGNED) AS failed
             FROM pipeline_tracking GROUP BY shard ORDER BY shard";
        for row in &tx.rows(select, ()).await? {
            let totals = ShardTotals {
                shard: shard(row, "shard")?,
                total: count(row, "total")?,
                done: count(row, "done")?,
                failed: count(row, "failed")?,
            };
            summary.total += totals.total;
            summary.by_shard.push(totals);
        }
        Ok(summary)
    }
}

/// The registration of the oldest task that is neither delivered nor failed.
pub(super) struct OldestOpen;

#[async_trait]
impl Work for OldestOpen {
    type Out = Option<Timestamp>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Timestamp>> {
        let select = "SELECT MIN(created_at) AS oldest FROM pipeline_tracking
             WHERE mysql_sender_status IN ('new', 'started') AND shard_splitter_status <> 'failed'
               AND shard_worker_status <> 'failed'";
        let row = tx.first(select, ()).await?;
        row.map_or(Ok(None), |row| optional_timestamp(&row, "oldest"))
    }
}

pub(super) fn shard_view(row: &SqlRow) -> Result<ShardView> {
    let mut statuses = [Status::New; 4];
    for stage in Stage::ALL {
        statuses[stage.index()] = status(row, column(stage))?;
    }
    Ok(ShardView {
        shard: shard(row, "shard")?,
        statuses,
        created_at: moment(row, "created_at")?,
        updated_at: moment(row, "updated_at")?,
        token: count(row, "token")?,
        attempts: get(row, "attempts")?,
        owner: get(row, "owner")?,
        lease_until: optional_timestamp(row, "lease_until")?,
        next_at: optional_timestamp(row, "next_at")?,
        last_error: get(row, "last_error")?,
        results: Vec::new(),
    })
}

fn stage_result(row: &SqlRow) -> Result<StageResult> {
    Ok(StageResult {
        stage: stage(row, "stage")?,
        token: count(row, "token")?,
        worker: get(row, "worker")?,
        attempt: get(row, "attempt")?,
        started_at: optional_timestamp(row, "started_at")?,
        finished_at: moment(row, "finished_at")?,
        counts: counts(row)?,
        output: output(row)?,
    })
}
