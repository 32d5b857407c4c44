//! What the relay asks: which shards are its own, which events are new, and that they are on the bus.

use std::time::Duration;

use rusqlite::{Connection, Row, TransactionBehavior, named_params, params};
use uuid::Uuid;

use super::events::{COLUMNS, stored};
use crate::base::db::Result;
use crate::base::timestamp::Timestamp;
use crate::hub::store::{Backlog, Published, SHARDS, ShardLease, Stored};

/// Makes the rows of the shards.
pub(super) fn fill_shards(connection: &mut Connection) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for shard in 0..SHARDS {
        tx.execute("INSERT OR IGNORE INTO hub_shard (shard, token, lease_until) VALUES (?1, 0, 0)", [shard])?;
    }
    Ok(tx.commit()?)
}

/// Renews leases, gives back what is beyond the share, and takes what is free up to it.
pub(super) fn lease_shards(
    connection: &mut Connection,
    owner: Uuid,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<ShardLease>> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let until = now.plus(lease).unix_ms();
    let others: u32 = tx
        .prepare_cached("SELECT COUNT(DISTINCT owner) FROM hub_shard WHERE owner <> ?1 AND lease_until >= ?2")?
        .query_row(params![owner.as_bytes(), now.unix_ms()], |row| row.get(0))?;
    let share = SHARDS.div_ceil(others + 1);
    tx.prepare_cached("UPDATE hub_shard SET lease_until = ?2 WHERE owner = ?1")?
        .execute(params![owner.as_bytes(), until])?;
    tx.prepare_cached(
        "UPDATE hub_shard SET owner = NULL, lease_until = 0 WHERE shard IN (
           SELECT shard FROM hub_shard WHERE owner = ?1 ORDER BY shard LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![owner.as_bytes(), share])?;
    tx.prepare_cached(
        "UPDATE hub_shard SET owner = :owner, token = token + 1, lease_until = :until WHERE shard IN (
           SELECT shard FROM hub_shard WHERE owner IS NULL OR (owner <> :owner AND lease_until < :now) ORDER BY shard
           LIMIT max(0, :share - (SELECT COUNT(*) FROM hub_shard WHERE owner = :owner)))",
    )?
    .execute(named_params! {
        ":owner": owner.as_bytes(), ":until": until, ":now": now.unix_ms(), ":share": share,
    })?;
    let lease = |row: &Row<'_>| Ok(ShardLease { shard: row.get("shard")?, token: row.get("token")? });
    let held = tx
        .prepare_cached("SELECT shard, token FROM hub_shard WHERE owner = ?1 ORDER BY shard")?
        .query_map([owner.as_bytes()], lease)?
        .collect::<rusqlite::Result<_>>()?;
    tx.commit()?;
    Ok(held)
}

/// Gives all shards of a relay back.
pub(super) fn release_shards(connection: &mut Connection, owner: Uuid) -> Result<()> {
    connection
        .prepare_cached("UPDATE hub_shard SET owner = NULL, lease_until = 0 WHERE owner = ?1")?
        .execute([owner.as_bytes()])?;
    Ok(())
}

/// New events of these shards, in the order in which they were taken.
pub(super) fn list_new(connection: &mut Connection, shards: &[ShardLease], limit: usize) -> Result<Vec<Stored>> {
    // One view of all shards.
    let tx = connection.transaction()?;
    let mut events = Vec::new();
    let select = format!(
        "SELECT {COLUMNS} FROM hub_event WHERE shard = ?1 AND position IS NULL ORDER BY received_at, id LIMIT ?2"
    );
    let mut select = tx.prepare_cached(&select)?;
    for lease in shards {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        for event in select.query_and_then(params![lease.shard, limit], stored)? {
            events.push(event?);
        }
    }
    events.sort_by_key(|event| (event.received_at, event.id));
    events.truncate(limit);
    Ok(events)
}

/// Notes positions, as far as the leases are still held.
pub(super) fn mark_published(connection: &mut Connection, published: &[Published]) -> Result<usize> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut update = tx.prepare_cached(
        "UPDATE hub_event SET position = ?2 WHERE id = ?1 AND position IS NULL
           AND EXISTS (SELECT 1 FROM hub_shard WHERE shard = ?3 AND token = ?4)",
    )?;
    let mut marked = 0;
    for event in published {
        let (position, lease) = (event.position.to_string(), event.lease);
        marked += update.execute(params![event.id.as_bytes(), position, lease.shard, lease.token])?;
    }
    drop(update);
    tx.commit()?;
    Ok(marked)
}

/// What waits for the bus, counted up to a limit.
pub(super) fn backlog(connection: &mut Connection, limit: u64) -> Result<Backlog> {
    let tx = connection.transaction()?;
    let mut events = 0;
    let mut oldest: Option<i64> = None;
    for shard in 0..SHARDS {
        let left = i64::try_from(limit.saturating_sub(events)).unwrap_or(i64::MAX);
        let count: i64 = tx
            .prepare_cached(
                "SELECT COUNT(*) FROM (SELECT 1 FROM hub_event WHERE shard = ?1 AND position IS NULL LIMIT ?2)",
            )?
            .query_row(params![shard, left], |row| row.get(0))?;
        events += u64::try_from(count).unwrap_or_default();
        let first: Option<i64> = tx
            .prepare_cached("SELECT MIN(received_at) FROM hub_event WHERE shard = ?1 AND position IS NULL")?
            .query_row([shard], |row| row.get(0))?;
        oldest = [oldest, first].into_iter().flatten().min();
    }
    Ok(Backlog { events, oldest: oldest.map(Timestamp::from_unix_ms) })
}

/// Has events published again.
pub(super) fn republish(connection: &mut Connection, from: Timestamp) -> Result<u64> {
    let changed = connection.execute(
        "UPDATE hub_event SET position = NULL WHERE received_at >= ?1 AND position IS NOT NULL",
        [from.unix_ms()],
    )?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}
