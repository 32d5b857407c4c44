//! Finds the tasks that a claim is tried on. Candidates are read without locks and found by index; the claim's UPDATE
//! alone decides which claim wins. The steps are those of the embedded store (`sqlite/claim.rs`), under the same names.

use async_trait::async_trait;
use mysql_async::{Params, Row, Value, params};

use super::{for_stage, micros};
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, get};
use crate::base::db::{Error, Result};
use crate::pipeline::apid::decisions::{self, Handout, Mend};
use crate::pipeline::apid::lease_end::LeaseEnd;
use crate::pipeline::apid::sql::{self, CLAIM, EXHAUSTED, LEASE_TOO_LONG, READ_CLAIMED, REPLAY};
use crate::pipeline::apid::store::TrackingPolicy;
use crate::pipeline::columns::mysql::{file_name, output, shard, shards_count};
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{Claim, Claimed, FileName, Stage, TaskKey};

/// The oldest file after a name that is ready. The index has status, status before and filename, in this order.
const READY_FILE: &str =
    "SELECT filename FROM pipeline_tracking {by_order}WHERE {status} = 'new' AND {previous} = 'done'
     AND (next_at IS NULL OR next_at <= UTC_TIMESTAMP(3)) AND filename > ? ORDER BY filename LIMIT 1";
/// The oldest file after a name whose lease ran out.
const EXPIRED_FILE: &str =
    "SELECT filename FROM pipeline_tracking {by_order}WHERE {status} = 'started' AND {previous} = 'done'
     AND lease_until < UTC_TIMESTAMP(3) AND filename > ? ORDER BY filename LIMIT 1";
/// The tasks of a file.
const OF_FILE: &str = "SELECT filename, shard FROM pipeline_tracking WHERE filename = ? ORDER BY shard";
/// What this claim id holds.
const HELD: &str = "SELECT filename, shard FROM pipeline_tracking
     WHERE claim_id = ? AND {status} = 'started' AND lease_until IS NOT NULL";
/// A task, if its lease ran out.
const EXPIRED: &str = "SELECT filename, shard, attempts, owner FROM pipeline_tracking
     WHERE filename = ? AND shard = ? AND {status} = 'started' AND lease_until < UTC_TIMESTAMP(3)";
/// The first shard after a number.
const NEXT_SHARD: &str = "SELECT MIN(shard) AS shard FROM pipeline_tracking WHERE shard > ?";

/// Hands out tasks.
pub(super) struct ClaimTasks<'a> {
    pub(super) claim: &'a Claim,
    pub(super) policy: TrackingPolicy,
}

#[async_trait]
impl Work for ClaimTasks<'_> {
    type Out = Handout;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Handout> {
        let mut handout = Handout { claimed: self.replay(tx).await?, ..Handout::default() };
        if !handout.claimed.is_empty() {
            return Ok(handout);
        }
        for mend in decisions::mends(self.claim) {
            match mend {
                Mend::ShortenLeases => self.shorten_leases(tx).await?,
                Mend::FailExhausted => self.fail_exhausted(tx, &mut handout).await?,
            }
        }
        let is_complete = if self.claim.stage.in_file_order() {
            self.claim_in_order(tx, &mut handout).await?
        } else {
            self.claim_files(tx, &mut handout).await?
        };
        if !is_complete {
            self.add_held(tx, &mut handout).await?;
        }
        Ok(handout)
    }
}

impl ClaimTasks<'_> {
    /// What this claim id got before and still holds, with a fresh lease: the first answer was lost.
    async fn replay(&self, tx: &mut Tx<'_>) -> Result<Vec<Claimed>> {
        let mut claimed = Vec::new();
        // Sorted here: they are few, and no index has them in this order.
        let mut held = keys(tx, &for_stage(self.claim.stage, HELD), (&self.claim.claim_id,)).await?;
        held.sort();
        for key in held {
            if tx.change(&for_stage(self.claim.stage, REPLAY), self.values(&key)).await? > 0 {
                let task = self.read_claimed(tx, key).await?;
                claimed.push(Claimed { is_replay: true, ..task });
            }
        }
        Ok(claimed)
    }

    /// Adds what a call with the same claim id won at the same moment. A client that lost its connection sends its claim
    /// again while the first call is still running. Between the two the tasks may be divided; each is told of all.
    async fn add_held(&self, tx: &mut Tx<'_>, handout: &mut Handout) -> Result<()> {
        let held = self.replay(tx).await?;
        if !held.is_empty() {
            let own = std::mem::take(&mut handout.claimed);
            let is_own = |task: &Claimed| own.iter().any(|own| own.key == task.key && own.token == task.token);
            handout.claimed = held.into_iter().map(|task| Claimed { is_replay: !is_own(&task), ..task }).collect();
        }
        Ok(())
    }

    /// Gives a lease that ends later than any can its length from now on: the clock was set back since it was granted.
    async fn shorten_leases(&self, tx: &mut Tx<'_>) -> Result<()> {
        let select = format!("SELECT filename, shard FROM pipeline_tracking WHERE {LEASE_TOO_LONG}");
        let update = format!(
            "UPDATE pipeline_tracking SET lease_until = {{lease_until}}
             WHERE filename = :filename AND shard = :shard AND {LEASE_TOO_LONG}"
        );
        let limit = params! { "lease_limit_us" => micros(decisions::lease_limit_ms(self.policy)) };
        // One by one, by its key: an UPDATE over the status would lock rows that others hold, in another order.
        for key in keys(tx, &for_stage(self.claim.stage, &select), limit).await? {
            tx.change(&for_stage(self.claim.stage, &update), self.values(&key)).await?;
        }
        Ok(())
    }

    /// Marks tasks failed whose last allowed attempt let its lease run out: a crash counts as an attempt.
    async fn fail_exhausted(&self, tx: &mut Tx<'_>, handout: &mut Handout) -> Result<()> {
        let select = format!("SELECT filename, shard, attempts, owner FROM pipeline_tracking WHERE {EXHAUSTED}");
        let update = format!(
            "UPDATE pipeline_tracking SET {{status}} = 'failed', claim_id = NULL, lease_until = NULL,
             updated_at = {{now}}, last_error = CONCAT('gave up: the lease of attempt ', attempts,
             ' ran out (worker ', COALESCE(owner, 'unknown'), ')')
             WHERE filename = :filename AND shard = :shard AND {EXHAUSTED}"
        );
        let limit = params! { "attempts_max" => self.policy.moves.attempts_max };
        // One by one, by its key, as above.
        for row in &tx.rows(&for_stage(self.claim.stage, &select), limit).await? {
            if tx.change(&for_stage(self.claim.stage, &update), self.values(&key_of(row)?)).await? > 0 {
                handout.lease_ends.push(lease_end(row, self.claim.stage, None)?);
            }
        }
        Ok(())
    }

    /// The splitter's way: all ready shards of a file together, file by file until the limit is reached. False if some task
    /// was tried and not won.
    async fn claim_files(&self, tx: &mut Tx<'_>, handout: &mut Handout) -> Result<bool> {
        let (mut is_complete, mut after) = (true, String::new());
        while decisions::goes_on(self.claim, handout.claimed.len()) {
            let Some(file) = self.next_file(tx, &after).await? else {
                break;
            };
            for key in keys(tx, OF_FILE, (file.as_str(),)).await? {
                if decisions::asks_for(self.claim, key.shard) {
                    is_complete &= self.claim_one(tx, key, handout).await?;
                }
            }
            after = file.as_str().to_owned();
        }
        Ok(is_complete)
    }

    /// The oldest file after this name with a ready or an expired task.
    async fn next_file(&self, tx: &mut Tx<'_>, after: &str) -> Result<Option<FileName>> {
        let mut oldest: Option<FileName> = None;
        for select in [READY_FILE, EXPIRED_FILE] {
            let row = tx.first(&for_stage(self.claim.stage, select), (after,)).await?;
            let file = row.map(|row| file_name(&row, "filename")).transpose()?;
            oldest = oldest.into_iter().chain(file).min();
        }
        Ok(oldest)
    }

    /// The way of worker and sender: per shard only the oldest unfinished file. False if some task was tried and not won.
    async fn claim_in_order(&self, tx: &mut Tx<'_>, handout: &mut Handout) -> Result<bool> {
        let mut candidates = Vec::new();
        for shard in shards(tx, self.claim.shard).await? {
            let strict = self.policy.strict_order;
            if let Some(file) = oldest_unfinished(tx, self.claim.stage, shard, strict, None).await? {
                candidates.push(TaskKey { file, shard });
            }
        }
        let mut is_complete = true;
        for key in decisions::in_turn(candidates) {
            if !decisions::goes_on(self.claim, handout.claimed.len()) {
                break;
            }
            is_complete &= self.claim_one(tx, key, handout).await?;
        }
        Ok(is_complete)
    }

    /// The claim itself: zero rows mean that the task is not ready, or that another claim won it. Answers whether this one
    /// did.
    async fn claim_one(&self, tx: &mut Tx<'_>, key: TaskKey, handout: &mut Handout) -> Result<bool> {
        let over = self.lease_over(tx, &key).await?;
        let is_won = tx.change(&for_stage(self.claim.stage, CLAIM), self.values(&key)).await? > 0;
        if is_won {
            handout.claimed.push(self.read_claimed(tx, key).await?);
            handout.lease_ends.extend(over);
        }
        Ok(is_won)
    }

    /// The lease of a task, if it ran out. It is read before the claim, which overwrites it.
    async fn lease_over(&self, tx: &mut Tx<'_>, key: &TaskKey) -> Result<Option<LeaseEnd>> {
        let row = tx.first(&for_stage(self.claim.stage, EXPIRED), (key.file.as_str(), key.shard.get())).await?;
        row.map(|row| lease_end(&row, self.claim.stage, Some(&self.claim.worker))).transpose()
    }

    /// A task that this claim holds, with what the stage before left for it. The claim's UPDATE has locked its row.
    async fn read_claimed(&self, tx: &mut Tx<'_>, key: TaskKey) -> Result<Claimed> {
        let previous = self.claim.stage.previous().map(Stage::name);
        let row = tx.first(READ_CLAIMED, (previous, key.file.as_str(), key.shard.get())).await?;
        let row = row.ok_or_else(|| Error::broken(format!("task {key} is gone while it is claimed")))?;
        Ok(Claimed {
            token: count(&row, "token")?,
            lease_ms: u64::try_from(self.policy.moves.lease_ms).unwrap_or_default(),
            attempt: get(&row, "attempts")?,
            shards_count: shards_count(&row)?,
            input: output(&row)?,
            is_replay: false,
            key,
        })
    }

    /// What the statements about one task are given, each of which takes what it names.
    fn values(&self, key: &TaskKey) -> Params {
        params! {
            "filename" => key.file.as_str(),
            "shard" => key.shard.get(),
            "owner" => &self.claim.worker,
            "claim_id" => &self.claim.claim_id,
            "takes_over" => self.claim.takes_over,
            "attempts_max" => self.policy.moves.attempts_max,
            "lease_us" => micros(self.policy.moves.lease_ms),
            "lease_limit_us" => micros(decisions::lease_limit_ms(self.policy)),
        }
    }
}

fn lease_end(row: &Row, stage: Stage, taken_by: Option<&String>) -> Result<LeaseEnd> {
    Ok(LeaseEnd {
        key: key_of(row)?,
        stage,
        attempt: get(row, "attempts")?,
        worker: get(row, "owner")?,
        taken_by: taken_by.cloned(),
    })
}

fn key_of(row: &Row) -> Result<TaskKey> {
    Ok(TaskKey { file: file_name(row, "filename")?, shard: shard(row, "shard")? })
}

/// The shards there are. Each is found by one step in the index, not by reading all rows.
async fn shards(tx: &mut Tx<'_>, only: Option<ShardId>) -> Result<Vec<ShardId>> {
    if let Some(shard) = only {
        return Ok(vec![shard]);
    }
    let mut shards = Vec::new();
    let mut after = -1_i16;
    loop {
        let row = tx.first(NEXT_SHARD, (after,)).await?;
        let next: Option<u8> = row.map(|row| get(&row, "shard")).transpose()?.flatten();
        let Some(shard) = next else {
            return Ok(shards);
        };
        after = i16::from(shard);
        shards.extend(ShardId::new(shard.into()));
    }
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

/// The oldest file of a shard that this stage has neither done nor given up. Files that an earlier stage gave up, or
/// whose event file was registered but never completed, do not block the others, unless the order is strict.
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

/// Ends backoffs that were set before the clock went back. Once at the start is enough: no process waits for them then.
pub(super) struct ShortenWaits(pub(super) TrackingPolicy);

#[async_trait]
impl Work for ShortenWaits {
    type Out = ();

    async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let too_late = "next_at > UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND";
        let limit = micros(decisions::wait_limit_ms(self.0));
        let select = format!("SELECT filename, shard FROM pipeline_tracking WHERE {too_late}");
        let update = format!(
            "UPDATE pipeline_tracking SET next_at = UTC_TIMESTAMP(3) WHERE filename = ? AND shard = ? AND {too_late}"
        );
        for key in keys(tx, &select, (limit,)).await? {
            tx.change(&update, (key.file.as_str(), key.shard.get(), limit)).await?;
        }
        Ok(())
    }
}

async fn keys(tx: &mut Tx<'_>, select: &str, values: impl Into<Params> + Send) -> Result<Vec<TaskKey>> {
    tx.rows(select, values).await?.iter().map(key_of).collect()
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
            (for_stage(Stage::ShardSplitter, READY_FILE), vec![Value::from("20250101000000")]),
            (for_stage(Stage::ShardSplitter, EXPIRED_FILE), vec![Value::from("20250101000000")]),
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
