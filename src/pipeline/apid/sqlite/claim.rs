//! Finds the tasks that a claim is tried on. The claim's UPDATE alone decides which claim wins. The steps are those of the
//! store on a server (`mysql/claim.rs`), under the same names.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};

use super::{Context, for_stage, read};
use crate::base::db::sqlite::db::{count_column, timestamp_text};
use crate::base::db::{Error, Result};
use crate::pipeline::apid::decisions::{self, Handout, Mend};
use crate::pipeline::apid::lease_end::LeaseEnd;
use crate::pipeline::apid::sql::{self, CLAIM, EXHAUSTED, LEASE_TOO_LONG, READ_CLAIMED, REPLAY};
use crate::pipeline::columns::sqlite::{file_column, file_name, shard_column, shards_count};
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{Claim, Claimed, FileName, Stage, TaskKey};

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
/// A task, if its lease ran out.
const EXPIRED: &str = "SELECT filename, shard, attempts, owner FROM pipeline_tracking
     WHERE filename = ?1 AND shard = ?2 AND {status} = 'started' AND lease_until < ?3";
/// The first shard after a number.
const NEXT_SHARD: &str = "SELECT MIN(shard) FROM pipeline_tracking WHERE shard > ?1";
/// Hands out tasks.
pub(super) fn claim(connection: &mut Connection, claim: &Claim, context: Context) -> Result<Handout> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut handout = Handout { claimed: replay(&transaction, claim, context)?, ..Handout::default() };
    if handout.claimed.is_empty() {
        for mend in decisions::mends(claim) {
            match mend {
                Mend::ShortenLeases => shorten_leases(&transaction, claim.stage, context)?,
                Mend::FailExhausted => fail_exhausted(&transaction, claim.stage, context, &mut handout)?,
            }
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
    let mut claimed = Vec::new();
    for key in keys(transaction, &for_stage(claim.stage, HELD), params![claim.claim_id])? {
        let values = named_params! {
            ":filename": key.file.as_str(), ":shard": key.shard.get(), ":lease_until": lease_until(context),
            ":claim_id": claim.claim_id,
        };
        if transaction.prepare_cached(&for_stage(claim.stage, REPLAY))?.execute(values)? > 0 {
            let task = read_claimed(transaction, key, claim.stage, context)?;
            claimed.push(Claimed { is_replay: true, ..task });
        }
    }
    Ok(claimed)
}

/// Gives a lease that ends later than any can its length from now on: the clock was set back since it was granted.
fn shorten_leases(transaction: &Transaction<'_>, stage: Stage, context: Context) -> Result<()> {
    let update = format!("UPDATE pipeline_tracking SET lease_until = {{lease_until}} WHERE {LEASE_TOO_LONG}");
    let limit = context.now.plus_ms(decisions::lease_limit_ms(context.policy));
    transaction
        .prepare_cached(&for_stage(stage, &update))?
        .execute(named_params! { ":lease_until": lease_until(context), ":lease_limit": timestamp_text(limit) })?;
    Ok(())
}

/// Marks tasks failed whose last allowed attempt let its lease run out: a crash counts as an attempt.
fn fail_exhausted(transaction: &Transaction<'_>, stage: Stage, context: Context, handout: &mut Handout) -> Result<()> {
    let update = format!(
        "UPDATE pipeline_tracking SET {{status}} = 'failed', claim_id = NULL, lease_until = NULL, updated_at = {{now}},
         last_error = 'gave up: the lease of attempt ' || attempts || ' ran out (worker ' || COALESCE(owner, 'unknown') || ')'
         WHERE {EXHAUSTED} RETURNING filename, shard, attempts, owner"
    );
    let mut statement = transaction.prepare_cached(&for_stage(stage, &update))?;
    let attempts_max = context.policy.moves.attempts_max;
    let mut rows =
        statement.query(named_params! { ":now": timestamp_text(context.now), ":attempts_max": attempts_max })?;
    while let Some(row) = rows.next()? {
        handout.lease_ends.push(lease_end(row, stage, None)?);
    }
    Ok(())
}

/// The splitter's way: all ready shards of a file together, file by file until the limit is reached.
fn claim_files(transaction: &Transaction<'_>, claim: &Claim, context: Context, handout: &mut Handout) -> Result<()> {
    let mut after = String::new();
    while decisions::goes_on(claim, handout.claimed.len()) {
        let Some(file) = next_file(transaction, claim.stage, &after, context)? else {
            break;
        };
        for key in keys(transaction, OF_FILE, params![file])? {
            if decisions::asks_for(claim, key.shard) {
                claim_one(transaction, key, claim, context, handout)?;
            }
        }
        after = file;
    }
    Ok(())
}

/// The oldest file after this name with a ready or an expired task.
fn next_file(transaction: &Transaction<'_>, stage: Stage, after: &str, context: Context) -> Result<Option<String>> {
    let mut statement = transaction.prepare_cached(&for_stage(stage, NEXT_FILE))?;
    Ok(statement.query_row(params![timestamp_text(context.now), after], |row| row.get(0)).optional()?)
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
        claim_one(transaction, key, claim, context, handout)?;
    }
    Ok(())
}

/// The claim itself: zero rows mean that the task is not ready, or that another claim won it.
fn claim_one(
    transaction: &Transaction<'_>,
    key: TaskKey,
    claim: &Claim,
    context: Context,
    handout: &mut Handout,
) -> Result<()> {
    let over = lease_over(transaction, &key, claim, context)?;
    let values = named_params! {
        ":filename": key.file.as_str(), ":shard": key.shard.get(), ":owner": claim.worker, ":claim_id": claim.claim_id,
        ":now": timestamp_text(context.now), ":lease_until": lease_until(context), ":takes_over": claim.takes_over,
    };
    if transaction.prepare_cached(&for_stage(claim.stage, CLAIM))?.execute(values)? > 0 {
        handout.claimed.push(read_claimed(transaction, key, claim.stage, context)?);
        handout.lease_ends.extend(over);
    }
    Ok(())
}

/// The lease of a task, if it ran out. It is read before the claim, which overwrites it.
fn lease_over(
    transaction: &Transaction<'_>,
    key: &TaskKey,
    claim: &Claim,
    context: Context,
) -> Result<Option<LeaseEnd>> {
    let mut statement = transaction.prepare_cached(&for_stage(claim.stage, EXPIRED))?;
    let mut rows = statement.query(params![key.file.as_str(), key.shard.get(), timestamp_text(context.now)])?;
    rows.next()?.map(|row| lease_end(row, claim.stage, Some(&claim.worker))).transpose()
}

/// A task that this claim holds, with what the stage before left for it.
fn read_claimed(transaction: &Transaction<'_>, key: TaskKey, stage: Stage, context: Context) -> Result<Claimed> {
    let values = params![stage.previous().map(Stage::name), key.file.as_str(), key.shard.get()];
    let mut statement = transaction.prepare_cached(READ_CLAIMED)?;
    let mut rows = statement.query(values)?;
    let row = rows.next()?.ok_or_else(|| Error::broken(format!("task {key} is gone while it is claimed")))?;
    Ok(Claimed {
        token: count_column(row, "token")?,
        lease_ms: u64::try_from(context.policy.moves.lease_ms).unwrap_or_default(),
        attempt: row.get("attempts")?,
        shards_count: shards_count(row)?,
        input: read::output(row)?,
        is_replay: false,
        key,
    })
}

fn lease_until(context: Context) -> String {
    timestamp_text(context.now.plus_ms(context.policy.moves.lease_ms))
}

fn lease_end(row: &rusqlite::Row<'_>, stage: Stage, taken_by: Option<&String>) -> Result<LeaseEnd> {
    Ok(LeaseEnd {
        key: key_of(row)?,
        stage,
        attempt: row.get("attempts")?,
        worker: row.get("owner")?,
        taken_by: taken_by.cloned(),
    })
}

fn key_of(row: &rusqlite::Row<'_>) -> Result<TaskKey> {
    Ok(TaskKey { file: file_column(row, "filename")?, shard: shard_column(row, "shard")? })
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

/// Ends backoffs that were set before the clock went back. Once at the start is enough: no process waits for them then.
pub(super) fn shorten_waits(connection: &mut Connection, context: Context) -> Result<()> {
    let limit = context.now.plus_ms(decisions::wait_limit_ms(context.policy));
    connection.execute(
        "UPDATE pipeline_tracking SET next_at = ?1 WHERE next_at > ?2",
        params![timestamp_text(context.now), timestamp_text(limit)],
    )?;
    Ok(())
}

fn keys(transaction: &Transaction<'_>, select: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<TaskKey>> {
    let mut statement = transaction.prepare_cached(select)?;
    let mut rows = statement.query(values)?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(key_of(row)?);
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
