//! Reads the tracking tables.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::{column, for_stage};
use crate::base::db::sqlite::db::{count_column, optional_timestamp, timestamp_column};
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::sql;
use crate::pipeline::apid::store::{FilePage, FileQuery};
use crate::pipeline::columns::sqlite::{file_column, file_name, shard_column};
use crate::pipeline::event::{ShardCount, ShardId};
use crate::pipeline::task::view::{Queued, ShardTotals};
use crate::pipeline::task::{
    Counts, Digest, FileName, FileView, Output, ShardView, Stage, StageResult, Status, Summary, TaskKey, TaskRow,
};

/// Files per page at the most.
const PAGE_MAX: u32 = 1000;

/// The state of one task, as far as moves depend on it.
pub(super) fn task_row(connection: &Connection, key: &TaskKey) -> Result<Option<TaskRow>> {
    let view = shards_of(connection, &key.file, true)?.into_iter().find(|view| view.shard == key.shard);
    Ok(view.map(|view| TaskRow {
        statuses: view.statuses,
        token: view.token,
        attempts: view.attempts,
        lease_until: view.lease_until,
        next_at: view.next_at,
        done_by: Stage::ALL.map(|stage| view.result(stage).map(|result| result.token)),
    }))
}

/// Ready tasks, oldest first.
pub(super) fn queue(connection: &Connection, stage: Stage, limit: u32, offset: u32) -> Result<Vec<Queued>> {
    if stage.previous().is_none() {
        return Ok(Vec::new());
    }
    let select = "SELECT filename, shard, created_at FROM pipeline_tracking
         WHERE {status} = 'new' AND {previous} = 'done' ORDER BY id LIMIT ?1 OFFSET ?2";
    let mut statement = connection.prepare_cached(&for_stage(stage, select))?;
    let mut rows = statement.query(params![limit, offset])?;
    let mut queued = Vec::new();
    while let Some(row) = rows.next()? {
        let key = TaskKey { file: file_column(row, "filename")?, shard: shard_column(row, "shard")? };
        queued.push(Queued { key, created_at: timestamp_column(row, "created_at")? });
    }
    Ok(queued)
}

/// One file with its tasks.
pub(super) fn find_file(connection: &Connection, file: &FileName, with_results: bool) -> Result<Option<FileView>> {
    let shards = shards_of(connection, file, with_results)?;
    let count: Option<u8> = connection
        .prepare_cached("SELECT shards_count FROM pipeline_tracking WHERE filename = ?1 LIMIT 1")?
        .query_row([file.as_str()], |row| row.get(0))
        .optional()?;
    let Some(count) = count else {
        return Ok(None);
    };
    let shards_count =
        ShardCount::new(count.into()).ok_or_else(|| Error::broken(format!("shards_count holds {count}")))?;
    Ok(Some(FileView { file: file.clone(), shards_count, shards }))
}

/// Files by name.
pub(super) fn list_files(connection: &Connection, query: &FileQuery) -> Result<FilePage> {
    let limit = query.limit.clamp(1, PAGE_MAX) as usize;
    let after = query.after.as_ref().map_or("", FileName::as_str);
    let select = sql::list_files(query, limit + 1);
    let mut values = vec![after.to_owned()];
    values.extend(query.status.map(|status| status.name().to_owned()));
    let mut names: Vec<String> = connection
        .prepare_cached(&select)?
        .query_map(params_from_iter(values), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let more = names.len() > limit;
    names.truncate(limit);
    let mut page = FilePage::default();
    for name in names {
        page.files.extend(find_file(connection, &file_name(&name, "filename")?, query.with_results)?);
    }
    page.next = page.files.last().filter(|_| more).map(|view| view.file.clone());
    Ok(page)
}

/// The state of everything in numbers.
pub(super) fn summary(connection: &Connection) -> Result<Summary> {
    let mut summary = Summary::default();
    for stage in Stage::ALL {
        let select =
            for_stage(stage, "SELECT {status} AS status, COUNT(*) AS tasks FROM pipeline_tracking GROUP BY {status}");
        let mut statement = connection.prepare_cached(&select)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let counts = &mut summary.by_stage[stage.index()];
            counts.add(status(&row.get::<_, String>("status")?)?, count_column(row, "tasks")?);
        }
    }
    let mut statement = connection.prepare_cached(
        "SELECT shard, COUNT(*) AS total, SUM(mysql_sender_status = 'done') AS done,
                SUM(mysql_sender_status = 'failed') AS failed
         FROM pipeline_tracking GROUP BY shard ORDER BY shard",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let totals = ShardTotals {
            shard: shard_column(row, "shard")?,
            total: count_column(row, "total")?,
            done: count_column(row, "done")?,
            failed: count_column(row, "failed")?,
        };
        summary.total += totals.total;
        summary.by_shard.push(totals);
    }
    Ok(summary)
}

/// The registration of the oldest task that is neither delivered nor failed.
pub(super) fn oldest_open(connection: &Connection) -> Result<Option<Timestamp>> {
    let mut statement = connection.prepare_cached(
        "SELECT MIN(created_at) AS oldest FROM pipeline_tracking
         WHERE mysql_sender_status IN ('new', 'started') AND shard_splitter_status <> 'failed'
           AND shard_worker_status <> 'failed'",
    )?;
    let mut rows = statement.query([])?;
    rows.next()?.map_or(Ok(None), |row| optional_timestamp(row, "oldest"))
}

fn shards_of(connection: &Connection, file: &FileName, with_results: bool) -> Result<Vec<ShardView>> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM pipeline_tracking WHERE filename = ?1 ORDER BY shard")?;
    let mut rows = statement.query([file.as_str()])?;
    let mut views = Vec::new();
    while let Some(row) = rows.next()? {
        views.push(shard_view(row)?);
    }
    if with_results {
        for view in &mut views {
            view.results = results_of(connection, file, view.shard)?;
        }
    }
    Ok(views)
}

pub(super) fn shard_view(row: &SqlRow<'_>) -> Result<ShardView> {
    let mut statuses = [Status::New; 4];
    for stage in Stage::ALL {
        statuses[stage.index()] = status(&row.get::<_, String>(column(stage))?)?;
    }
    Ok(ShardView {
        shard: shard_column(row, "shard")?,
        statuses,
        created_at: timestamp_column(row, "created_at")?,
        updated_at: timestamp_column(row, "updated_at")?,
        token: count_column(row, "token")?,
        attempts: row.get("attempts")?,
        owner: row.get("owner")?,
        lease_until: optional_timestamp(row, "lease_until")?,
        next_at: optional_timestamp(row, "next_at")?,
        last_error: row.get("last_error")?,
        results: Vec::new(),
    })
}

fn results_of(connection: &Connection, file: &FileName, shard: ShardId) -> Result<Vec<StageResult>> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM pipeline_stage_result WHERE filename = ?1 AND shard = ?2")?;
    let mut rows = statement.query(params![file.as_str(), shard.get()])?;
    let mut results = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get("stage")?;
        results.push(StageResult {
            stage: name.parse().map_err(|_| Error::broken(format!("stage holds '{name}'")))?,
            token: count_column(row, "token")?,
            worker: row.get("worker")?,
            attempt: row.get("attempt")?,
            started_at: optional_timestamp(row, "started_at")?,
            finished_at: timestamp_column(row, "finished_at")?,
            counts: counts(row)?,
            output: output(row)?,
        });
    }
    results.sort_by_key(|result| result.stage);
    Ok(results)
}

fn counts(row: &SqlRow<'_>) -> Result<Option<Counts>> {
    if row.get::<_, Option<i64>>("lines_read")?.is_none() {
        return Ok(None);
    }
    Ok(Some(Counts {
        read: count_column(row, "lines_read")?,
        written: count_column(row, "lines_written")?,
        duplicate: count_column(row, "lines_duplicate")?,
        rejected: count_column(row, "lines_rejected")?,
        held: count_column(row, "lines_held")?,
        released: count_column(row, "lines_released")?,
    }))
}

/// The digest columns of a stage's report.
pub(super) fn output(row: &SqlRow<'_>) -> Result<Option<Output>> {
    let Some(sha256) = digest(row, "output_sha256")? else {
        return Ok(None);
    };
    Ok(Some(Output {
        lines: count_column(row, "output_lines")?,
        bytes: count_column(row, "output_bytes")?,
        sha256,
        index_sha256: digest(row, "index_sha256")?,
    }))
}

fn digest(row: &SqlRow<'_>, column: &str) -> Result<Option<Digest>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|_| Error::broken(format!("{column} holds '{text}'")))).transpose()
}

/// A column's text as a status.
pub(super) fn status(text: &str) -> Result<Status> {
    text.parse().map_err(|_| Error::broken(format!("a status column holds '{text}'")))
}
