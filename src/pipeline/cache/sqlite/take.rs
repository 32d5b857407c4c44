//! Hands out returns, each to one task.

use std::collections::BTreeSet;

use rusqlite::{Transaction as Tx, named_params, params};

use super::read;
use crate::base::db::Result;
use crate::base::db::sqlite::db::{count_column, count_value, timestamp_text};
use crate::base::timestamp::Timestamp;
use crate::pipeline::cache::sql::{CLAIM_RETURN, CONFIRM};
use crate::pipeline::cache::store::{CachePolicy, Forgotten, Take, within_bytes};
use crate::pipeline::columns::sqlite::file_column;
use crate::pipeline::task::{FileName, TaskKey};
use crate::pipeline::trade::{OrderId, Taken};

/// A return by its name, and how long it is.
type Candidate = (FileName, u64, usize);

/// Hands out the returns of these orders: those that the task got before, and of `new` those that wait too.
pub(super) fn of_orders(
    tx: &Tx<'_>,
    by: &TaskKey,
    orders: &[OrderId],
    new: &[OrderId],
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Taken>> {
    let mut candidates = Vec::new();
    for order in new {
        if candidates.len() >= limit {
            break;
        }
        let mut select = tx.prepare_cached(
            "SELECT p.filename, p.line, OCTET_LENGTH(p.raw) AS bytes
             FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id
             WHERE p.order_id = ?1 AND p.taken_file IS NULL AND d.shard = ?2 ORDER BY p.filename, p.line LIMIT ?3",
        )?;
        let mut rows =
            select.query(params![order.get(), by.shard.get(), count_value((limit - candidates.len()) as u64)])?;
        while let Some(row) = rows.next()? {
            candidates.push(candidate(row)?);
        }
    }
    claim(tx, by, Take::Orders(&[]), candidates, now)?;
    let mut all = Vec::new();
    for order in BTreeSet::from_iter(orders) {
        let mut select = tx.prepare_cached(
            "SELECT filename, line, order_id, happened_at, raw FROM pending_return
             WHERE order_id = ?1 AND taken_file = ?2 AND taken_shard = ?3 AND taken_as = 'order'",
        )?;
        let mut rows = select.query(params![order.get(), by.file.as_str(), by.shard.get()])?;
        while let Some(row) = rows.next()? {
            all.push(read::taken(row)?);
        }
    }
    Ok(in_order(all))
}

/// Hands out what the task's shard has for it, the first time; afterwards what it was the first time.
pub(super) fn once(
    tx: &Tx<'_>,
    by: &TaskKey,
    what: Take<'_>,
    limit: usize,
    policy: CachePolicy,
    now: Timestamp,
) -> Result<Vec<Taken>> {
    let is_first = tx
        .prepare_cached(
            "INSERT INTO pending_claim (filename, shard, kind, claimed_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (filename, shard, kind) DO NOTHING",
        )?
        .execute(params![by.file.as_str(), by.shard.get(), what.name(), timestamp_text(now)])?;
    if is_first == 1 {
        let select = if matches!(what, Take::Expired(_)) {
            "SELECT p.filename, p.line, OCTET_LENGTH(p.raw) AS bytes
             FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id
             WHERE p.taken_file IS NULL AND p.put_shard = :shard AND p.expires_at <= :now AND p.filename < :before
               AND d.state = 'awaited'
             ORDER BY p.filename, p.line LIMIT :limit"
        } else {
            // Timestamp and file are bound in both, and are no part of this one's question.
            "SELECT p.filename, p.line, OCTET_LENGTH(p.raw) AS bytes
             FROM pending_return p JOIN order_directory d ON d.order_id = p.order_id
             WHERE p.taken_file IS NULL AND d.shard = :shard AND :now IS NOT NULL AND :before IS NOT NULL
             ORDER BY p.filename, p.line LIMIT :limit"
        };
        let mut select = tx.prepare_cached(select)?;
        let values = named_params! {
            ":shard": by.shard.get(), ":now": timestamp_text(now), ":before": what.handed_in_before(policy.ttl_ms),
            ":limit": count_value(limit as u64),
        };
        let mut rows = select.query(values)?;
        let mut candidates = Vec::new();
        while let Some(row) = rows.next()? {
            candidates.push(candidate(row)?);
        }
        claim(tx, by, what, candidates, now)?;
    }
    let mut select = tx.prepare_cached(
        "SELECT filename, line, order_id, happened_at, raw FROM pending_return
         WHERE taken_file = ?1 AND taken_shard = ?2 AND taken_as = ?3",
    )?;
    let mut rows = select.query(params![by.file.as_str(), by.shard.get(), what.name()])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read::taken(row)?);
    }
    Ok(in_order(all))
}

/// Marks the candidates as the task's own, as far as they may be handed out at once.
fn claim(tx: &Tx<'_>, by: &TaskKey, what: Take<'_>, mut candidates: Vec<Candidate>, now: Timestamp) -> Result<()> {
    let statement = CLAIM_RETURN.replace("{now}", ":now");
    candidates.sort();
    for (file, line, _) in within_bytes(candidates, |candidate| candidate.2) {
        tx.prepare_cached(&statement)?.execute(named_params! {
            ":by_file": by.file.as_str(), ":by_shard": by.shard.get(), ":kind": what.name(), ":now": timestamp_text(now),
            ":filename": file.as_str(), ":line": count_value(line),
        })?;
    }
    Ok(())
}

/// Marks what the task took as done.
pub(super) fn confirm(tx: &Tx<'_>, by: &TaskKey, now: Timestamp) -> Result<u64> {
    let values =
        named_params! { ":by_file": by.file.as_str(), ":by_shard": by.shard.get(), ":now": timestamp_text(now) };
    let done = tx.prepare_cached(&CONFIRM.replace("{now}", ":now"))?.execute(values)?;
    tx.prepare_cached("UPDATE pending_claim SET done_at = ?3 WHERE filename = ?1 AND shard = ?2 AND done_at IS NULL")?
        .execute(params![by.file.as_str(), by.shard.get(), timestamp_text(now)])?;
    Ok(done as u64)
}

/// Forgets what was done before this moment.
pub(super) fn forget(tx: &Tx<'_>, before: Timestamp, limit: u32) -> Result<Forgotten> {
    let returns = "DELETE FROM pending_return WHERE (filename, line) IN
         (SELECT filename, line FROM pending_return WHERE done_at < ?1 LIMIT ?2)";
    let claims = "DELETE FROM pending_claim WHERE (filename, shard, kind) IN
         (SELECT filename, shard, kind FROM pending_claim WHERE done_at < ?1 LIMIT ?2)";
    let returns = tx.prepare_cached(returns)?.execute(params![timestamp_text(before), limit])?;
    let claims = tx.prepare_cached(claims)?.execute(params![timestamp_text(before), limit])?;
    Ok(Forgotten { returns: returns as u64, claims: claims as u64 })
}

fn candidate(row: &rusqlite::Row<'_>) -> Result<Candidate> {
    let bytes = usize::try_from(count_column(row, "bytes")?).unwrap_or(usize::MAX);
    Ok((file_column(row, "filename")?, count_column(row, "line")?, bytes))
}

fn in_order(mut taken: Vec<Taken>) -> Vec<Taken> {
    taken.sort_by(|a, b| (&a.file, a.entry.line).cmp(&(&b.file, b.entry.line)));
    taken
}
