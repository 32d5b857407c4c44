//! Finds the tasks that a claim is tried on. Candidates are read without locks and found by index; the claim's UPDATE
//! alone decides which claim wins.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mysql_async::{Params, Value, params};

use super::{for_stage, micros};
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, get};
use crate::base::db::{Error, Result};
use crate::pipeline::apid::decisions;
use crate::pipeline::apid::lease_end::{LeaseEnd, LeaseEnds};
use crate::pipeline::apid::sql::{self, CLAIM, REPLAY};
use crate::pipeline::apid::store::TrackingPolicy;
use crate::pipeline::columns::mysql::{file_name, output, shard, shards_count};
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{Claim, Claimed, FileName, Stage, TaskKey};

/// The oldest file after a name that is ready. The index has status, status before and filename, in this order.
const READY: &str = "SELECT filename FROM pipeline_tracking {by_order}WHERE {status} = 'new' AND {previous} = 'done'
     AND (next_at IS NULL OR next_at <= UTC_TIMESTAMP(3)) AND filename > ? ORDER BY filename LIMIT 1";
/// The oldest file after a name whose lease ran out.
const EXPIRED: &str =
    "SELECT filename FROM pipeline_tracking {by_order}WHERE {status} = 'started' AND {previous} = 'done'
     AND lease_until < UTC_TIMESTAMP(3) AND filename > ? ORDER BY filename LIMIT 1";
/// What this claim id holds.
const HELD: &str = "SELECT filename, shard, token FROM pipeline_tracking
     WHERE claim_id = ? AND {status} = 'started' AND lease_until IS NOT NULL";

/// Hands out tasks.
pub(super) struct Take<'a> {
    pub(super) claim: &'a Claim,
    pub(super) policy: TrackingPolicy,
    /// Whether another claim won a task that this one was tried on.
    pub(super) has_lost: AtomicBool,
    /// The leases that were found run out.
    pub(super) lease_ends: LeaseEnds,
}

#[async_trait]
impl Work for Take<'_> {
    type Out = Vec<Claimed>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>> {
        // The transaction may be run again; then what the first run found was not so yet.
        drop(self.lease_ends.take());
        let held = self.replay(tx).await?;
        if !held.is_empty() {
            return Ok(held);
        }
        if self.claim.takes_over {
            self.mend_leases(tx).await?;
        }
        let claimed =
            if self.claim.stage.in_file_order() { self.in_order(tx).await } else { self.whole_files(tx).await }?;
        if self.has_lost.load(Ordering::Relaxed) {
            // Perhaps to this very claim: its call may have come twice at the same moment. The owner is known now.
            let held = self.replay(tx).await?;
            let is_own = |task: &Claimed| claimed.iter().any(|own| own.key == task.key && own.token == task.token);
            let held = held.into_iter().map(|task| Claimed { is_replay: !is_own(&task), ..task }).collect::<Vec<_>>();
            return Ok(if held.is_empty() { claimed } else { held });
        }
        Ok(claimed)
    }
}

impl Take<'_> {
    /// What this claim id got before and still holds, with a fresh lease: the first answer was lost.
    async fn replay(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>> {
        let stage = self.claim.stage;
        let rows = tx.rows(&for_stage(stage, HELD), (&self.claim.claim_id,)).await?;
        let mut held = Vec::new();
        for row in &rows {
            held.push((key_of(row)?, count(row, "token")?));
        }
        held.sort();
        let mut claimed = Vec::new();
        for (key, token) in held {
            if tx.change(&for_stage(stage, REPLAY), self.values(&key)).await? > 0 {
                let held = self.describe(tx, key, token).await?;
                claimed.extend(held.map(|task| Claimed { is_replay: true, ..task }));
            }
        }
        Ok(claimed)
    }

    /// Marks tasks failed whose last allowed attempt let its lease run out: a crash counts as an attempt. And gives a
    /// lease that ends later than any can its length from now on: the server's clock was set back since.
    async fn mend_leases(&self, tx: &mut Tx<'_>) -> Result<()> {
        let exhausted = "lease_until < UTC_TIMESTAMP(3) AND attempts >= :attempts_max";
        let too_late = "lease_until > UTC_TIMESTAMP(3) + INTERVAL 2 * :lease_us MICROSECOND";
        let select = format!(
            "SELECT filename, shard, attempts, owner FROM pipeline_tracking
             WHERE {{status}} = 'started' AND (({exhausted}) OR {too_late})"
        );
        // One by one by their keys: an UPDATE over the status would lock what others hold, in another order.
        let fail = format!(
            "UPDATE pipeline_tracking SET {{status}} = 'failed', claim_id = NULL, lease_until = NULL,
             updated_at = UTC_TIMESTAMP(3), last_error = CONCAT('gave up: the lease of attempt ', attempts,
             ' ran out (worker ', COALESCE(owner, 'unknown'), ')')
             WHERE filename = :filename AND shard = :shard AND {{status}} = 'started' AND {exhausted}"
        );
        let shorten = format!(
            "UPDATE pipeline_tracking SET lease_until = {{lease_until}}
             WHERE filename = :filename AND shard = :shard AND {{status}} = 'started' AND {too_late}"
        );
        let limits = || -> Vec<(Vec<u8>, Value)> {
            let lease_us = micros(self.policy.moves.lease_ms);
            vec![
                (b"attempts_max".to_vec(), Value::from(self.policy.moves.attempts_max)),
                (b"lease_us".to_vec(), Value::from(lease_us)),
            ]
        };
        for row in &tx.rows(&for_stage(self.claim.stage, &select), Params::from(limits())).await? {
            let key = key_of(row)?;
            for update in [&fail, &shorten] {
                let mut values = limits();
                values.push((b"filename".to_vec(), Value::from(key.file.as_str())));
                values.push((b"shard".to_vec(), Value::from(key.shard.get())));
                let changed = tx.change(&for_stage(self.claim.stage, update), Params::from(values)).await?;
                if changed > 0 && update == &fail {
                    self.lease_ends.extend(vec![lease_end(row, self.claim.stage, None)?]);
                }
            }
        }
        Ok(())
    }

    /// The splitter's way: all ready shards of a file together, file by file until the limit is reached.
    async fn whole_files(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        let mut after = String::new();
        while decisions::goes_on(self.claim, claimed.len()) {
            let Some(file) = self.next_file(tx, &after).await? else {
                break;
            };
            let select = "SELECT filename, shard FROM pipeline_tracking WHERE filename = ? ORDER BY shard";
            for row in &tx.rows(select, (file.as_str(),)).await? {
                let key = key_of(row)?;
                if decisions::asks_for(self.claim, key.shard) {
                    claimed.extend(self.take(tx, key).await?);
                }
            }
            after = file.as_str().to_owned();
        }
        Ok(claimed)
    }

    /// The oldest file after this name with a ready or an expired task.
    async fn next_file(&self, tx: &mut Tx<'_>, after: &str) -> Result<Option<FileName>> {
        let mut oldest: Option<FileName> = None;
        for select in [READY, EXPIRED] {
            let row = tx.first(&for_stage(self.claim.stage, select), (after,)).await?;
            if let Some(file) = row.map(|row| file_name(&row, "filename")).transpose()? {
                oldest = Some(oldest.map_or(file.clone(), |oldest| oldest.min(file)));
            }
        }
        Ok(oldest)
    }

    /// The way of worker and sender: per shard only the oldest unfinished file.
    async fn in_order(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>> {
        let mut candidates = Vec::new();
        for shard in shards(tx, self.claim.shard).await? {
            let strict = self.policy.strict_order;
            if let Some(file) = oldest_unfinished(tx, self.claim.stage, shard, strict, None).await? {
                candidates.push(TaskKey { file, shard });
            }
        }
        let mut claimed = Vec::new();
        for key in decisions::in_turn(candidates) {
            if !decisions::goes_on(self.claim, claimed.len()) {
                break;
            }
            claimed.extend(self.take(tx, key).await?);
        }
        Ok(claimed)
    }

    async fn take(&self, tx: &mut Tx<'_>, key: TaskKey) -> Result<Option<Claimed>> {
        let over = "SELECT filename, shard, attempts, owner FROM pipeline_tracking
             WHERE filename = ? AND shard = ? AND {status} = 'started' AND lease_until < UTC_TIMESTAMP(3)";
        let over = tx.first(&for_stage(self.claim.stage, over), (key.file.as_str(), key.shard.get())).await?;
        if tx.change(&for_stage(self.claim.stage, CLAIM), self.values(&key)).await? == 0 {
            self.has_lost.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let token = tx.last_number().ok_or_else(|| Error::broken(format!("the claim of {key} got no token")))?;
        if let Some(row) = &over {
            self.lease_ends.extend(vec![lease_end(row, self.claim.stage, Some(&self.claim.worker))?]);
        }
        self.describe(tx, key, token).await
    }

    /// A task that this claim holds, with what the stage before left for it.
    async fn describe(&self, tx: &mut Tx<'_>, key: TaskKey, token: u64) -> Result<Option<Claimed>> {
        let select =
            "SELECT t.attempts, t.shards_count, r.output_lines, r.output_bytes, r.output_sha256, r.index_sha256
             FROM pipeline_tracking t
             LEFT JOIN pipeline_stage_result r ON r.filename = t.filename AND r.shard = t.shard AND r.stage = ?
             WHERE t.filename = ? AND t.shard = ?";
        let previous = self.claim.stage.previous().map(Stage::name);
        let row = tx.first(select, (previous, key.file.as_str(), key.shard.get())).await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(Claimed {
            key,
            token,
            lease_ms: u64::try_from(self.policy.moves.lease_ms).unwrap_or_default(),
            attempt: get(&row, "attempts")?,
            shards_count: shards_count(&row)?,
            input: output(&row)?,
            is_replay: false,
        }))
    }

    fn values(&self, key: &TaskKey) -> Params {
        params! {
            "filename" => key.file.as_str(),
            "shard" => key.shard.get(),
            "owner" => &self.claim.worker,
            "claim_id" => &self.claim.claim_id,
            "takes_over" => self.claim.takes_over,
            "lease_us" => micros(self.policy.moves.lease_ms),
        }
    }
}

/// Ends backoffs that were set before the server's clock went back. Once at the start is enough, as no process waits
/// for them meanwhile.
pub(super) struct MendWaits(pub(super) TrackingPolicy);

#[async_trait]
impl Work for MendWaits {
    type Out = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let too_late = "next_at > UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND";
        let limit = micros(self.0.backoff_max_ms.saturating_mul(2));
        let select = format!("SELECT filename, shard FROM pipeline_tracking WHERE {too_late}");
        let update = format!(
            "UPDATE pipeline_tracking SET next_at = UTC_TIMESTAMP(3) WHERE filename = ? AND shard = ? AND {too_late}"
        );
        for row in &tx.rows(&select, (limit,)).await? {
            let key = key_of(row)?;
            tx.change(&update, (key.file.as_str(), key.shard.get(), limit)).await?;
        }
        Ok(())
    }
}

fn lease_end(row: &mysql_async::Row, stage: Stage, taken_by: Option<&String>) -> Result<LeaseEnd> {
    Ok(LeaseEnd {
        key: key_of(row)?,
        stage,
        attempt: get(row, "attempts")?,
        worker: get(row, "owner")?,
        taken_by: taken_by.cloned(),
    })
}

fn key_of(row: &mysql_async::Row) -> Result<TaskKey> {
    Ok(TaskKey { file: file_name(row, "filename")?, shard: shard(row, "shard")? })
}

/// Looks for the oldest file, beside that one, that a stage has neither done nor given up in some shard.
pub(super) struct OldestBesides<'a> {
    pub(super) stage: Stage,
    pub(super) besides: &'a FileName,
}

#[async_trait]
impl Work for OldestBesides<'_> {
    type Out = Option<FileName>;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<FileName>> {
        let mut oldest = None;
        for shard in shards(tx, None).await? {
            let found = oldest_unfinished(tx, self.stage, shard, false, Some(self.besides)).await?;
            oldest = oldest.into_iter().chain(found).min();
        }
        Ok(oldest)
    }
}

/// The shards there are. Each is found by one step in the index, not by reading all rows.
async fn shards(tx: &mut Tx<'_>, only: Option<ShardId>) -> Result<Vec<ShardId>> {
    if let Some(shard) = only {
        return Ok(vec![shard]);
    }
    let mut shards = Vec::new();
    let mut after = -1_i16;
    loop {
        let row = tx.first("SELECT MIN(shard) AS shard FROM pipeline_tracking WHERE shard > ?", (after,)).await?;
        let next: Option<u8> = row.map(|row| get(&row, "shard")).transpose()?.flatten();
        let Some(next) = next else {
            return Ok(shards);
        };
        after = i16::from(next);
        shards.extend(ShardId::new(next.into()));
    }
}

pub(super) async fn oldest_unfinished(
    tx: &mut Tx<'_>,
    stage: Stage,
    shard: ShardId,
    strict: bool,
    besides: Option<&FileName>,
) -> Result<Option<FileName>> {
    let select = for_stage(stage, &sql::oldest_unfinished(stage, strict, decisions::looked_at(besides)));
    let shards = vec![Value::from(shard.get()); sql::unfinished(strict).len()];
    let rows = tx.rows(&select, Params::Positional(shards)).await?;
    let files: Vec<FileName> = rows.iter().map(|row| file_name(row, "filename")).collect::<Result<_>>()?;
    Ok(decisions::oldest(files, besides))
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
        candidates_are_found_by_index_without_sorting
    }

    /// However many rows there are: candidates are found by an index that has them in order.
    async fn candidates_are_found_by_index_without_sorting(variable: &str) {
        let place = TestDatabase::made(variable, "plans", &TRACKING).await;
        let database = Database::new(&place.server, &TRACKING, Clock::System);
        let mut connection = database.connection().await.unwrap();
        let mut plans = Vec::new();
        for (select, values) in [
            (for_stage(Stage::ShardSplitter, READY), vec![Value::from("20250101000000")]),
            (for_stage(Stage::ShardSplitter, EXPIRED), vec![Value::from("20250101000000")]),
            (for_stage(Stage::ShardSplitter, HELD), vec![Value::from("c")]),
            (oldest(Stage::ShardWorker, false), vec![Value::from(1); 2]),
            (oldest(Stage::MysqlSender, false), vec![Value::from(1); 2]),
            (oldest(Stage::MysqlSender, true), vec![Value::from(1); 3]),
        ] {
            let rows: Vec<mysql_async::Row> =
                connection.exec(format!("EXPLAIN FORMAT=TRADITIONAL {select}"), values).await.unwrap();
            let before = plans.len();
            for row in &rows {
                let text = |column: &str| get::<Option<String>>(row, column).unwrap().unwrap_or_default();
                // The other rows are the one-row results of these.
                if text("table") == "pipeline_tracking" {
                    plans.push((select.clone(), text("key"), text("type"), text("Extra")));
                }
            }
            assert!(plans.len() > before, "{select}: no plan of the table");
        }
        drop(connection);
        database.close().await;
        place.drop().await;
        for (select, key, kind, extra) in plans {
            assert!(
                key.starts_with("pipeline_tracking_") && kind != "ALL" && kind != "index",
                "{key} {kind}: {select}"
            );
            assert!(!extra.contains("filesort") && !extra.contains("temporary"), "{extra}: {select}");
        }
    }

    fn oldest(stage: Stage, strict: bool) -> String {
        for_stage(stage, &crate::pipeline::apid::sql::oldest_unfinished(stage, strict, 2))
    }
}
