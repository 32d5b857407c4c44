//! The progress of the stages, and which workers ask for tasks.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{claim, for_stage, read};
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, get, moment, optional_timestamp};
use crate::base::db::{Error, Result};
use crate::pipeline::apid::sql::{self, ANY_SHARD, ASKERS, BEHIND_ALL, FINISHED_AT, HEAD};
use crate::pipeline::apid::store::{Askers, TrackingPolicy};
use crate::pipeline::columns::mysql::{file_name, shard, stage, status};
use crate::pipeline::event::ShardId;
use crate::pipeline::task::progress::{Asked, Head, Lane};
use crate::pipeline::task::view::StatusCounts;
use crate::pipeline::task::{FileName, Stage, TaskProgress};

/// Reads all lanes at one moment.
pub(super) struct ReadProgress(pub(super) TrackingPolicy);

#[async_trait]
impl Work for ReadProgress {
    type Out = TaskProgress;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<TaskProgress> {
        let askers = askers(tx).await?;
        let mut lanes = Vec::new();
        for stage in Stage::ALL {
            for (shard, counts) in counts(tx, stage).await? {
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
                    self.find_head(tx, &mut lane).await?;
                }
                lanes.push(lane);
            }
        }
        Ok(TaskProgress { now: tx.now().await?, lease_ms: self.0.moves.lease_ms, lanes })
    }
}

impl ReadProgress {
    /// The task that is next, and when the stage last finished one.
    async fn find_head(&self, tx: &mut Tx<'_>, lane: &mut Lane) -> Result<()> {
        let (stage, shard) = (lane.stage, lane.shard);
        let found = if stage.in_file_order() {
            claim::oldest_unfinished(tx, stage, shard, self.0.strict_order, None).await?
        } else {
            oldest_ready(tx, stage, shard).await?
        };
        let Some(file) = found else {
            return Ok(());
        };
        let select = for_stage(stage, &sql::newest_done(stage));
        // What is announced meanwhile says nothing of a file that is not.
        let ends = [BEHIND_ALL, file.as_str()].into_iter().filter(|_| stage != Stage::EventIngest);
        for before in ends {
            let Some(done) = tx.first(&select, (shard.get(), before)).await? else {
                continue;
            };
            let done = file_name(&done, "filename")?;
            let row = tx.first(FINISHED_AT, (done.as_str(), shard.get(), stage.name())).await?;
            let finished_at = row.map(|row| moment(&row, "finished_at")).transpose()?;
            lane.done_at = lane.done_at.max(finished_at);
        }
        lane.head = Some(head(tx, file, lane).await?);
        Ok(())
    }
}

/// Notes the worker that asks.
pub(super) struct NoteAsker<'a> {
    pub(super) stage: Stage,
    pub(super) shard: Option<ShardId>,
    pub(super) worker: &'a str,
}

#[async_trait]
impl Work for NoteAsker<'_> {
    type Out = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let shard = self.shard.map_or(ANY_SHARD, |shard| shard.get().into());
        let insert = "INSERT INTO pipeline_asker (stage, shard, worker, asked_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))
             ON DUPLICATE KEY UPDATE worker = VALUES(worker), asked_at = VALUES(asked_at)";
        tx.change(insert, (self.stage.name(), shard, self.worker)).await.map(drop)
    }
}

async fn counts(tx: &mut Tx<'_>, stage: Stage) -> Result<BTreeMap<ShardId, StatusCounts>> {
    let mut lanes: BTreeMap<ShardId, StatusCounts> = BTreeMap::new();
    for row in &tx.rows(&for_stage(stage, &sql::lanes(stage)), ()).await? {
        lanes.entry(shard(row, "shard")?).or_default().add(status(row, "status")?, count(row, "tasks")?);
    }
    Ok(lanes)
}

async fn oldest_ready(tx: &mut Tx<'_>, stage: Stage, shard: ShardId) -> Result<Option<FileName>> {
    let mut oldest: Option<FileName> = None;
    for status in ["new", "started"] {
        let row = tx.first(&for_stage(stage, &sql::oldest_ready(stage)), (status, shard.get())).await?;
        let found = row.map(|row| file_name(&row, "filename")).transpose()?;
        oldest = oldest.into_iter().chain(found).min();
    }
    Ok(oldest)
}

async fn head(tx: &mut Tx<'_>, file: FileName, lane: &Lane) -> Result<Head> {
    let previous = lane.stage.previous().map(Stage::name);
    let row = tx.first(HEAD, (previous, file.as_str(), lane.shard.get())).await?;
    let row = row.ok_or_else(|| Error::Gone(format!("{file} shard {}", lane.shard)))?;
    Ok(Head {
        view: read::shard_view(&row)?,
        started_at: optional_timestamp(&row, "started_at")?,
        ready_at: optional_timestamp(&row, "ready_at")?,
        file,
    })
}

async fn askers(tx: &mut Tx<'_>) -> Result<Askers> {
    let mut askers = Askers::default();
    for row in &tx.rows(ASKERS, ()).await? {
        let number: i16 = get(row, "shard")?;
        let of = if number == ANY_SHARD { None } else { Some(shard(row, "shard")?) };
        askers.add(stage(row, "stage")?, of, Asked { worker: get(row, "worker")?, at: moment(row, "asked_at")? });
    }
    Ok(askers)
}

#[cfg(test)]
mod tests {
    use mysql_async::Value;
    use mysql_async::prelude::Queryable;

    use super::*;
    use crate::base::clock::Clock;
    use crate::base::db::mysql::database::Database;
    use crate::base::db::mysql::testing::{TestDatabase, on_every_server};
    use crate::pipeline::schemas::TRACKING;

    on_every_server! {
        progress_is_read_by_index
    }

    /// Of an empty table any plan is as good.
    const HISTORY: &str = "INSERT INTO pipeline_tracking (filename, event_ingest_status, shard_splitter_status,
           shard_worker_status, mysql_sender_status, shard, created_at, updated_at, shards_count)
         WITH RECURSIVE number AS (SELECT 0 AS n UNION ALL SELECT n + 1 FROM number WHERE n < 900)
         SELECT CONCAT('20250101', LPAD(n, 6, '0')), 'done', 'done', 'done', 'done', n % 3, UTC_TIMESTAMP(3),
           UTC_TIMESTAMP(3), 3 FROM number";

    /// What is done is never counted and never sorted, however much it is.
    async fn progress_is_read_by_index(variable: &str) {
        let place = TestDatabase::made(variable, "progress", &TRACKING).await;
        let database = Database::new(&place.server, &TRACKING, Clock::System);
        let mut connection = database.connection().await.unwrap();
        connection.query_drop(HISTORY).await.unwrap();
        connection.query_drop("ANALYZE TABLE pipeline_tracking").await.unwrap();
        let ready = |stage| {
            (
                for_stage(stage, &crate::pipeline::apid::sql::oldest_ready(stage)),
                vec![Value::from("new"), Value::from(1)],
            )
        };
        let mut selects = vec![ready(Stage::EventIngest), ready(Stage::ShardSplitter)];
        selects
            .push((for_stage(Stage::EventIngest, &crate::pipeline::apid::sql::lanes(Stage::EventIngest)), Vec::new()));
        for stage in Stage::EventIngest.later() {
            selects.push((for_stage(*stage, &crate::pipeline::apid::sql::lanes(*stage)), Vec::new()));
            let before = vec![Value::from(1), Value::from(BEHIND_ALL)];
            selects.push((for_stage(*stage, &crate::pipeline::apid::sql::newest_done(*stage)), before));
        }
        let mut plans = Vec::new();
        for (select, values) in selects {
            let rows: Vec<mysql_async::Row> =
                connection.exec(format!("EXPLAIN FORMAT=TRADITIONAL {select}"), values).await.unwrap();
            for row in &rows {
                let text = |column: &str| get::<Option<String>>(row, column).unwrap().unwrap_or_default();
                if text("table") == "pipeline_tracking" {
                    plans.push((select.clone(), text("key"), text("type"), text("Extra")));
                }
            }
        }
        drop(connection);
        database.close().await;
        place.drop().await;
        assert!(plans.len() > 6, "{plans:?}");
        for (select, key, kind, extra) in plans {
            assert!(
                key.starts_with("pipeline_tracking_") && kind != "ALL" && kind != "index",
                "{key} {kind}: {select}"
            );
            // Those of a few shards are gathered in a table of their own.
            let is_count = select.contains("COUNT(*)");
            assert!(is_count || !(extra.contains("filesort") || extra.contains("temporary")), "{extra}: {select}");
        }
    }
}
