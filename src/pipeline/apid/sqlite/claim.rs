//! Finds the tasks that a claim is tried on. The claim's UPDATE alone decides which claim wins.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};

use super::{Context, for_stage, read};
use crate::base::db::sqlite::db::timestamp_text;
use crate::base::db::{Error, Result};
use crate::pipeline::apid::decisions;
use crate::pipeline::apid::lease_end::LeaseEnd;
use crate::pipeline::apid::sql::{self, CLAIM, REPLAY};
use crate::pipeline::columns::sqlite::{file_column, file_name, shard_column};
use crate::pipeline::event::{ShardCount, ShardId};
use crate::pipeline::task::{Claim, Claimed, FileName, Output, Stage, TaskKey};

/// The oldest file after a name that is ready, or whose lease ran out. The index has status, status before and filename,
/// in this order.
const NEXT_FILE: &str = "SELECT filename FROM pipeline_tracking WHERE {status} = 'new' AND {previous} = 'done'
       AND (next_at IS NULL OR next_at <= ?1) AND filename > ?2
     UNION SELECT filename FROM pipeline_tracking WHERE {status} = 'started' AND {previous} = 'done'
       AND lease_until < ?1 AND filename > ?2
     ORDER BY filename LIMIT 1";
/// The tasks of a file.
const OF_FILE: &str = "SELECT filename, shard FROM pipeline_tracking WHERE filename = ?1 ORDER BY shard";
/// What this claim id holds.
const HELD: &str = "SELECT filename, shard FROM pipeline_tracking
     WHERE claim_id = ?1 AND {status} = 'started' AND lease_until IS NOT NULL ORDER BY filename, shard";
/// The first shard after a number.
const NEXT_SHARD: &str = "SELECT MIN(shard) FROM pipeline_tracking WHERE shard > ?1";
/// What a claim has to know of each task it got.
const RETURNING: &str = " RETURNING token, attempts, shards_count";

/// What a claim brought.
#[derive(Default)]
pub(super) struct Handout {
    pub(super) claimed: Vec<Claimed>,
    pub(super) lease_ends: Vec<LeaseEnd>,
}

/// Hands out tasks.
pub(super) fn claim(connection: &mut Connection, claim: &Claim, context: Context) -> Result<Handout> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut handout = Handout { claimed: replay(&transaction, claim, context)?, ..Handout::default() };
    if handout.claimed.is_empty() {
        shorten_leases(&transaction, claim.stage, context)?;
        if claim.takes_over {
            handout.lease_ends = fail_exhausted(&transaction, claim.stage, context)?;
        }
        if claim.stage.in_file_order() {
            claim_in_order(&transaction, claim, context, &mut handout)?;
        } else {
            claim_files(&transaction, claim, context, &mut handout)?;
        }
    }
    transaction.commit()?;
    Ok(handout)
}

/// What this claim id got before and still holds, with a fresh lease: the first answer was lost.
fn replay(transaction: &Transaction<'_>, claim: &Claim, context: Context) -> Result<Vec<Claimed>> {
    let keys = keys(transaction, &for_stage(claim.stage, HELD), params![claim.claim_id])?;
    let update = for_stage(claim.stage, REPLAY) + RETURNING;
    let mut claimed = Vec::new();
    for key in keys {
        let until = timestamp_text(context.now.plus_ms(context.policy.moves.lease_ms));
        let values = named_params! {
            ":filename": key.file.as_str(), ":shard": key.shard.get(), ":lease_until": until, ":claim_id": claim.claim_id,
        };
        let held = take(transaction, &update, values, &key, claim.stage, context)?;
        claimed.extend(held.map(|task| Claimed { is_replay: true, ..task }));
    }
    Ok(claimed)
}

/// The clock is this machine's, and it can be set back: then a lease would last as much longer. None is granted for
/// more than its length, so what ends later than that was granted by another clock and gets its length from now on.
fn shorten_leases(transaction: &Transaction<'_>, stage: Stage, context: Context) -> Result<()> {
    let update = "UPDATE pipeline_tracking SET lease_until = ?1 WHERE {status} = 'started' AND lease_until > ?2";
    let lease_ms = context.policy.moves.lease_ms;
    // Twice the length: two instances read the same clock, but not at the same moment.
    let (until, too_late) = (context.now.plus_ms(lease_ms), context.now.plus_ms(lease_ms.saturating_mul(2)));
    transaction
        .prepare_cached(&for_stage(stage, update))?
        .execute(params![timestamp_text(until), timestamp_text(too_late)])?;
    Ok(())
}

/// The same for backoffs. Once at the start is enough, as no process waits for them meanwhile.
pub(super) fn shorten_waits(connection: &mut Connection, context: Context) -> Result<()> {
    let too_late = context.now.plus_ms(context.policy.backoff_max_ms.saturating_mul(2));
    connection.execute(
        "UPDATE pipeline_tracking SET next_at = ?1 WHERE next_at > ?2",
        params![timestamp_text(context.now), timestamp_text(too_late)],
    )?;
    Ok(())
}

/// Marks tasks failed whose last allowed attempt let its lease run out: a crash counts as an attempt.
fn fail_exhausted(transaction: &Transaction<'_>, stage: Stage, context: Context) -> Result<Vec<LeaseEnd>> {
    let update = "UPDATE pipeline_tracking SET {status} = 'failed', claim_id = NULL, lease_until = NULL, updated_at = ?1,
         last_error = 'gave up: the lease of attempt ' || attempts || ' ran out (worker ' || COALESCE(owner, 'unknown') || ')'
         WHERE {status} = 'started' AND lease_until < ?1 AND attempts >= ?2
         RETURNING filename, shard, attempts, owner";
    let mut statement = transaction.prepare_cached(&for_stage(stage, update))?;
    let mut rows = statement.query(params![timestamp_text(context.now), context.policy.moves.attempts_max])?;
    let mut ends = Vec::new();
    while let Some(row) = rows.next()? {
        let key = TaskKey { file: file_column(row, "filename")?, shard: shard_column(row, "shard")? };
        ends.push(LeaseEnd { key, stage, attempt: row.get("attempts")?, worker: row.get("owner")?, taken_by: None });
    }
    Ok(ends)
}

/// The lease of a task, if it ran out.
fn lease_over(
    transaction: &Transaction<'_>,
    key: &TaskKey,
    claim: &Claim,
    context: Context,
) -> Result<Option<LeaseEnd>> {
    let select = "SELECT attempts, owner FROM pipeline_tracking
         WHERE filename = ?1 AND shard = ?2 AND {status} = 'started' AND lease_until < ?3";
    let found = transaction
        .prepare_cached(&for_stage(claim.stage, select))?
        .query_row(params![key.file.as_str(), key.shard.get(), timestamp_text(context.now)], |row| {
            Ok((row.get("attempts")?, row.get("owner")?))
        });
    let end = |(attempt, worker)| LeaseEnd {
        key: key.clone(),
        stage: claim.stage,
        attempt,
        worker,
        taken_by: Some(claim.worker.clone()),
    };
    Ok(found.optional()?.map(end))
}

/// The splitter's way: all ready shards of a file together, file by file until the limit is reached.
fn claim_files(transaction: &Transaction<'_>, claim: &Claim, context: Context, handout: &mut Handout) -> Result<()> {
    let select = for_stage(claim.stage, NEXT_FILE);
    let mut after = String::new();
    while decisions::goes_on(claim, handout.claimed.len()) {
        let next: Option<String> = transaction
            .prepare_cached(&select)?
            .query_row(params![timestamp_text(context.now), after], |row| row.get(0))
            .optional()?;
        let Some(file) = next else {
            break;
        };
        for key in keys(transaction, OF_FILE, params![file])? {
            if decisions::asks_for(claim, key.shard) {
                claim_one(transaction, &key, claim, context, handout)?;
            }
        }
        after = file;
    }
    Ok(())
}

/// The way of worker and sender: per shard only the oldest unfinished file.
fn claim_in_order(transaction: &Transaction<'_>, claim: &Claim, context: Context, handout: &mut Handout) -> Result<()> {
    let mut candidates = Vec::new();
    for shard in shards(transaction, claim.shard)? {
        if let Some(file) = oldest_unfinished(transaction, claim.stage, shard, context.policy.strict_order, None)? {
            candidates.push(TaskKey { file, shard });
        }
    }
    for key in decisions::in_turn(candidates) {
        if !decisions::goes_on(claim, handout.claimed.len()) {
            break;
        }
        claim_one(transaction, &key, claim, context, handout)?;
    }
    Ok(())
}

/// The shards there are. Each is found by one step in the index, not by reading all rows.
fn shards(transaction: &Transaction<'_>, only: Option<ShardId>) -> Result<Vec<ShardId>> {
    if let Some(shard) = only {
        return Ok(vec![shard]);
    }
    let mut shards = Vec::new();
    let mut after = -1_i16;
    loop {
        let next: Option<u8> = transaction.prepare_cached(NEXT_SHARD)?.query_row([after], |row| row.get(0))?;
        let Some(shard) = next else {
            return Ok(shards);
        };
        after = i16::from(shard);
        shards.extend(ShardId::new(shard.into()));
    }
}

/// The oldest file, beside that one, that this stage has neither done nor given up in some shard.
pub(super) fn oldest_besides(
    transaction: &Transaction<'_>,
    stage: Stage,
    besides: &FileName,
) -> Result<Option<FileName>> {
    let mut oldest = None;
    for shard in shards(transaction, None)? {
        let found = oldest_unfinished(transaction, stage, shard, false, Some(besides))?;
        oldest = oldest.into_iter().chain(found).min();
    }
    Ok(oldest)
}

/// The oldest file of a shard that this stage has neither done nor given up. Files that an earlier stage gave up, or
/// whose event file was registered but never completed, do not block the others, unless the order is strict.
pub(super) fn oldest_unfinished(
    transaction: &Transaction<'_>,
    stage: Stage,
    shard: ShardId,
    strict: bool,
    besides: Option<&FileName>,
) -> Result<Option<FileName>> {
    let select = for_stage(stage, &sql::oldest_unfinished(stage, strict, decisions::looked_at(besides)));
    let shards = vec![shard.get(); sql::unfinished(strict).len()];
    let mut statement = transaction.prepare_cached(&select)?;
    let found = statement.query_map(rusqlite::params_from_iter(shards), |row| row.get::<_, String>(0))?;
    let names: Vec<String> = found.collect::<rusqlite::Result<_>>()?;
    let files = names.iter().map(|name| file_name(name, "filename")).collect::<Result<_>>()?;
    Ok(decisions::oldest(files, besides))
}

/// The claim itself: zero rows mean that the task is not ready, or that another claim won it.
fn claim_one(
    transaction: &Transaction<'_>,
    key: &TaskKey,
    claim: &Claim,
    context: Context,
    handout: &mut Handout,
) -> Result<()> {
    let over = lease_over(transaction, key, claim, context)?;
    let now = timestamp_text(context.now);
    let until = timestamp_text(context.now.plus_ms(context.policy.moves.lease_ms));
    let values = named_params! {
        ":filename": key.file.as_str(), ":shard": key.shard.get(), ":owner": claim.worker, ":claim_id": claim.claim_id,
        ":now": now, ":lease_until": until, ":takes_over": claim.takes_over,
    };
    let update = for_stage(claim.stage, CLAIM) + RETURNING;
    if let Some(claimed) = take(transaction, &update, values, key, claim.stage, context)? {
        handout.claimed.push(claimed);
        handout.lease_ends.extend(over);
    }
    Ok(())
}

fn take(
    transaction: &Transaction<'_>,
    update: &str,
    values: &[(&str, &dyn rusqlite::ToSql)],
    key: &TaskKey,
    stage: Stage,
    context: Context,
) -> Result<Option<Claimed>> {
    let won: Option<(i64, u32, u64)> = transaction
        .prepare_cached(update)?
        .query_row(values, |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, u8>(2)?.into())))
        .optional()?;
    let Some((token, attempt, count)) = won else {
        return Ok(None);
    };
    let input = match stage.previous() {
        Some(previous) => output_of(transaction, key, previous)?,
        None => None,
    };
    Ok(Some(Claimed {
        key: key.clone(),
        token: u64::try_from(token).map_err(|_| Error::broken(format!("token holds {token}")))?,
        lease_ms: u64::try_from(context.policy.moves.lease_ms).unwrap_or_default(),
        attempt,
        shards_count: ShardCount::new(count).ok_or_else(|| Error::broken(format!("shards_count holds {count}")))?,
        input,
        is_replay: false,
    }))
}

fn output_of(transaction: &Transaction<'_>, key: &TaskKey, stage: Stage) -> Result<Option<Output>> {
    let select = "SELECT output_lines, output_bytes, output_sha256, index_sha256 FROM pipeline_stage_result
         WHERE filename = ?1 AND shard = ?2 AND stage = ?3 AND output_sha256 IS NOT NULL";
    let values = params![key.file.as_str(), key.shard.get(), stage.name()];
    let mut statement = transaction.prepare_cached(select)?;
    let mut rows = statement.query(values)?;
    rows.next()?.map(read::output).transpose().map(Option::flatten)
}

fn keys(transaction: &Transaction<'_>, select: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<TaskKey>> {
    let mut statement = transaction.prepare_cached(select)?;
    let mut rows = statement.query(values)?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(TaskKey { file: file_column(row, "filename")?, shard: shard_column(row, "shard")? });
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::apid::store::FileQuery;
    use crate::pipeline::task::Status;

    /// The statements that look for work must find it by an index that has it in order, however many rows there are.
    #[test]
    fn candidates_are_found_by_index_without_sorting() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::base::db::sqlite::migrate::run(&mut connection, &crate::pipeline::schemas::TRACKING).unwrap();
        let oldest = |stage, strict| for_stage(stage, &crate::pipeline::apid::sql::oldest_unfinished(stage, strict, 2));
        for select in [
            for_stage(Stage::ShardSplitter, NEXT_FILE),
            OF_FILE.to_owned(),
            NEXT_SHARD.to_owned(),
            oldest(Stage::ShardWorker, false),
            oldest(Stage::ShardWorker, true),
            oldest(Stage::MysqlSender, false),
            oldest(Stage::MysqlSender, true),
        ] {
            let plan = plan(&connection, &select);
            let is_scan = plan.split("; ").any(|step| step.starts_with("SCAN pipeline_tracking"));
            assert!(plan.contains("SEARCH pipeline_tracking USING") && !is_scan, "{plan}");
            assert!(plan.contains("INDEX pipeline_tracking_") || select == OF_FILE, "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
        // These are sorted: one claim's tasks are few.
        let plan = plan(&connection, &for_stage(Stage::ShardWorker, HELD));
        assert!(plan.starts_with("SEARCH pipeline_tracking USING INDEX pipeline_tracking_claim"), "{plan}");
    }

    #[test]
    fn files_in_a_status_are_found_by_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::base::db::sqlite::migrate::run(&mut connection, &crate::pipeline::schemas::TRACKING).unwrap();
        for stage in Stage::ALL {
            let query = FileQuery { status: Some(Status::New), stage: Some(stage), ..FileQuery::default() };
            let select =
                crate::pipeline::apid::sql::list_files(&query, 10).replacen('?', "''", 1).replacen('?', "'new'", 1);
            let plan = plan(&connection, &select);
            assert!(plan.starts_with("SEARCH") && plan.contains("INDEX") && !plan.contains("SCAN"), "{plan}");
        }
    }

    fn plan(connection: &Connection, select: &str) -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
        let values = rusqlite::params_from_iter(vec![1; statement.parameter_count()]);
        let rows = statement.query_map(values, |row| row.get::<_, String>("detail")).unwrap();
        rows.map(|row| row.unwrap()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn lease_columns_compare_as_text() {
        let at = |ms| timestamp_text(crate::base::timestamp::Timestamp::from_unix_ms(ms));
        assert!(at(999) < at(1000) && at(59_999) < at(60_000));
    }
}
