//! The statements of the log.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, named_params, params};
use uuid::Uuid;

use crate::base::bus::{Delivered, Group, Message, Position, Refused, Topic, VALUE_BYTES_MAX};
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;

/// The offset of the first message of a partition.
pub(super) const FIRST: u64 = 1;
/// Offsets of a partition: a message's place is the partition's id times this, plus its offset.
const PARTITION_SPAN: i64 = 1 << 40;
/// Messages beyond what is kept are deleted in steps, so that no publish takes much longer than another.
const TRIMMED_PER_PUBLISH: u64 = 1000;

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partition {
    /// Its row.
    pub(super) id: i64,
    /// Its number within the topic.
    pub(super) number: u32,
}

/// From where to where a partition goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The partition's number.
    pub(super) number: u32,
    /// The oldest offset that is kept.
    pub(super) first: u64,
    /// The offset of the next message.
    pub(super) next: u64,
}

/// A member's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The partition's row.
    pub(super) id: i64,
    /// Which assignment it is: a later one has a larger token.
    pub(super) token: i64,
    /// The offset that is delivered next.
    pub(super) acked: u64,
}

impl Partition {
    fn place(self, offset: u64) -> i64 {
        self.id * PARTITION_SPAN + i64::try_from(offset).unwrap_or(PARTITION_SPAN - 1).min(PARTITION_SPAN - 1)
    }
}

/// Makes a topic where it is missing, and lists its partitions in the order of their numbers.
pub(super) fn create(connection: &mut Connection, topic: &Topic) -> Result<Vec<Partition>> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let insert = "INSERT INTO bus_topic (name, partitions) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
    if tx.execute(insert, params![topic.name(), topic.partitions()])? == 1 {
        let id = tx.last_insert_rowid();
        for number in 0..topic.partitions() {
            tx.execute(
                "INSERT INTO bus_partition (topic, number, first_offset, next_offset) VALUES (?1, ?2, ?3, ?3)",
                params![id, number, number_of(FIRST)],
            )?;
        }
    }
    let select = "SELECT p.id, p.number FROM bus_partition p JOIN bus_topic t ON t.id = p.topic
        WHERE t.name = ?1 ORDER BY p.number";
    let partition = |row: &Row<'_>| Ok(Partition { id: row.get("id")?, number: row.get("number")? });
    let partitions = tx.prepare(select)?.query_map([topic.name()], partition)?.collect::<rusqlite::Result<_>>()?;
    tx.commit()?;
    Ok(partitions)
}

/// Writes messages in one transaction.
pub(super) fn publish(
    connection: &mut Connection,
    topic: &Topic,
    partitions: &[Partition],
    batch: &[Message],
    now: Timestamp,
) -> Result<Vec<std::result::Result<Position, Refused>>> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut next = HashMap::new();
    let mut results = Vec::with_capacity(batch.len());
    for message in batch {
        let bytes = message.value.len();
        if bytes > VALUE_BYTES_MAX {
            results.push(Err(Refused::TooLarge { bytes, max: VALUE_BYTES_MAX }));
            continue;
        }
        let number = topic.partition_of(&message.key);
        let partition = find(partitions, number)?;
        let offset = match next.get(&number) {
            Some(offset) => *offset,
            None => bounds_of(&tx, partition)?.next,
        };
        insert(&tx, partition.place(offset), message, now)?;
        next.insert(number, offset + 1);
        results.push(Ok(Position { partition: number, offset: u128::from(offset) }));
    }
    for (number, next) in next {
        let partition = find(partitions, number)?;
        tx.prepare_cached("UPDATE bus_partition SET next_offset = ?2 WHERE id = ?1")?
            .execute(params![partition.id, number_of(next)])?;
        if let Some(kept) = topic.kept_max() {
            trim(&tx, partition, next.saturating_sub(kept))?;
        }
    }
    tx.commit()?;
    Ok(results)
}

fn insert(tx: &Transaction<'_>, place: i64, message: &Message, now: Timestamp) -> Result<()> {
    let headers = serde_json::to_string(&message.headers).map_err(|e| Error::Invalid(e.to_string()))?;
    tx.prepare_cached(
        "INSERT INTO bus_message (place, id, key, value, headers, published_at)
         VALUES (:place, :id, :key, :value, :headers, :published_at)",
    )?
    .execute(named_params! {
        ":place": place,
        ":id": message.id.as_bytes(),
        ":key": message.key,
        ":value": message.value,
        ":headers": headers,
        ":published_at": now.unix_ms(),
    })?;
    Ok(())
}

/// Deletes messages below this offset that every group has acknowledged.
fn trim(tx: &Transaction<'_>, partition: Partition, below: u64) -> Result<()> {
    let first = bounds_of(tx, partition)?.first;
    let acked: Option<i64> = tx
        .prepare_cached("SELECT MIN(acked) FROM bus_assignment WHERE partition = ?1")?
        .query_row([partition.id], |row| row.get(0))?;
    let acked = acked.map_or(u64::MAX, |acked| u64::try_from(acked).unwrap_or(FIRST));
    let below = below.min(acked).min(first.saturating_add(TRIMMED_PER_PUBLISH));
    if below <= first {
        return Ok(());
    }
    tx.prepare_cached("DELETE FROM bus_message WHERE place >= ?1 AND place < ?2")?
        .execute(params![partition.place(first), partition.place(below)])?;
    tx.prepare_cached("UPDATE bus_partition SET first_offset = ?2 WHERE id = ?1")?
        .execute(params![partition.id, number_of(below)])?;
    Ok(())
}

/// From where to where the partitions go.
pub(super) fn bounds(connection: &mut Connection, partitions: &[Partition]) -> Result<Vec<Bounds>> {
    let tx = connection.transaction()?;
    partitions.iter().map(|partition| bounds_of(&tx, *partition)).collect()
}

fn bounds_of(connection: &Connection, partition: Partition) -> Result<Bounds> {
    let mut select = connection.prepare_cached("SELECT first_offset, next_offset FROM bus_partition WHERE id = ?1")?;
    let (first, next) = select.query_row([partition.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Bounds { number: partition.number, first: offset_of(first)?, next: offset_of(next)? })
}

/// What one look at a partition finds.
pub(super) struct Found {
    /// From where to where the partition goes.
    pub(super) bounds: Bounds,
    /// Its messages from the offset on.
    pub(super) messages: Vec<Delivered>,
}

/// The messages of partitions from these offsets on, at most `max` in all; the first partitions come first.
pub(super) fn read(connection: &mut Connection, places: &[(Partition, u64)], max: usize) -> Result<Vec<Found>> {
    // One view of all partitions.
    let tx = connection.transaction()?;
    let mut left = max;
    let mut found = Vec::with_capacity(places.len());
    for (partition, from) in places {
        let bounds = bounds_of(&tx, *partition)?;
        let messages = if bounds.next > *from { read_one(&tx, *partition, *from, left)? } else { Vec::new() };
        left -= messages.len();
        found.push(Found { bounds, messages });
    }
    Ok(found)
}

fn read_one(tx: &Transaction<'_>, partition: Partition, from: u64, max: usize) -> Result<Vec<Delivered>> {
    let mut select = tx.prepare_cached(
        "SELECT place, id, key, value, headers, published_at FROM bus_message
         WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3",
    )?;
    let end = (partition.id + 1) * PARTITION_SPAN;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = select.query_and_then(params![partition.place(from), end, max], |row| delivered(row, partition))?;
    rows.collect()
}

fn delivered(row: &Row<'_>, partition: Partition) -> Result<Delivered> {
    let place: i64 = row.get("place")?;
    let headers: String = row.get("headers")?;
    let id: Vec<u8> = row.get("id")?;
    let broken = |what: &str| Error::broken(format!("message {place} of the bus holds no {what}"));
    let message = Message {
        id: Uuid::from_slice(&id).map_err(|_| broken("id"))?,
        key: row.get("key")?,
        value: row.get("value")?,
        headers: serde_json::from_str(&headers).map_err(|_| broken("headers"))?,
    };
    let offset = offset_of(place - partition.id * PARTITION_SPAN)?;
    Ok(Delivered {
        position: Position { partition: partition.number, offset: u128::from(offset) },
        published_at: Timestamp::from_unix_ms(row.get("published_at")?),
        message,
    })
}

/// Messages that a group has not acknowledged. A group that never joined has acknowledged none.
pub(super) fn lag(connection: &mut Connection, partitions: &[Partition], group: &Group) -> Result<u64> {
    let tx = connection.transaction()?;
    let mut lag = 0;
    for partition in partitions {
        let bounds = bounds_of(&tx, *partition)?;
        let acked = acked(&tx, group, *partition)?.unwrap_or(bounds.first);
        lag += bounds.next.saturating_sub(acked.max(bounds.first));
    }
    Ok(lag)
}

fn acked(tx: &Transaction<'_>, group: &Group, partition: Partition) -> Result<Option<u64>> {
    let mut select = tx.prepare_cached("SELECT acked FROM bus_assignment WHERE group_name = ?1 AND partition = ?2")?;
    let acked: Option<i64> = select.query_row(params![group.as_str(), partition.id], |row| row.get(0)).optional()?;
    acked.map(offset_of).transpose()
}

/// Notes where a new group begins, by partition. A group that is known stays where it is.
pub(super) fn enter(connection: &mut Connection, group: &Group, starts: &[(Partition, u64)]) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (partition, offset) in starts {
        tx.prepare_cached(
            "INSERT INTO bus_assignment (group_name, partition, acked, member, token, lease_until)
             VALUES (?1, ?2, ?3, NULL, 0, 0) ON CONFLICT (group_name, partition) DO NOTHING",
        )?
        .execute(params![group.as_str(), partition.id, number_of(*offset)])?;
    }
    Ok(tx.commit()?)
}

/// A member as it is known to its group.
pub(super) struct Identity {
    /// The group.
    pub(super) group: Group,
    /// The member.
    pub(super) member: Uuid,
}

/// What the members of a group are to share.
pub(super) struct Shares {
    /// What this member holds after the call.
    pub(super) held: Vec<Assignment>,
    /// What every member gets at least.
    pub(super) least: usize,
    /// What a member gets at the most.
    pub(super) most: usize,
}

/// Renews a member's leases, gives back what is beyond its share as far as it may, and takes what is free up to it.
///
/// A share is the partitions divided by the living members, rounded up where it does not come out even: `spare` are the
/// partitions that may be given back, as nothing of theirs is in flight.
pub(super) fn balance(
    connection: &mut Connection,
    identity: &Identity,
    partitions: &[Partition],
    spare: &[i64],
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Shares> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let members = living(&tx, identity, partitions, now, lease_until)?;
    let (least, most) = (partitions.len() / members, partitions.len().div_ceil(members));
    let mut held = renew(&tx, identity, partitions, lease_until)?;
    for id in spare {
        if held.len() > most && held.iter().any(|assignment| assignment.id == *id) {
            give_back(&tx, identity, *id)?;
            held.retain(|assignment| assignment.id != *id);
        }
    }
    for partition in partitions {
        if held.len() >= most {
            break;
        }
        held.extend(take(&tx, identity, partition.id, now, lease_until)?);
    }
    tx.commit()?;
    Ok(Shares { held, least, most })
}

/// Notes that the member lives, forgets those that do not, and counts the rest.
fn living(
    tx: &Transaction<'_>,
    identity: &Identity,
    partitions: &[Partition],
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<usize> {
    let Some(first) = partitions.first() else { return Ok(1) };
    let topic: i64 =
        tx.prepare_cached("SELECT topic FROM bus_partition WHERE id = ?1")?.query_row([first.id], |row| row.get(0))?;
    let (group, member) = (identity.group.as_str(), identity.member.as_bytes());
    tx.prepare_cached(
        "INSERT INTO bus_member (group_name, topic, member, lease_until) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (group_name, topic, member) DO UPDATE SET lease_until = excluded.lease_until",
    )?
    .execute(params![group, topic, member, lease_until.unix_ms()])?;
    tx.prepare_cached("DELETE FROM bus_member WHERE group_name = ?1 AND topic = ?2 AND lease_until < ?3")?
        .execute(params![group, topic, now.unix_ms()])?;
    let count: i64 = tx
        .prepare_cached("SELECT COUNT(*) FROM bus_member WHERE group_name = ?1 AND topic = ?2")?
        .query_row(params![group, topic], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(1).max(1))
}

fn renew(
    tx: &Transaction<'_>,
    identity: &Identity,
    partitions: &[Partition],
    lease_until: Timestamp,
) -> Result<Vec<Assignment>> {
    let mut update = tx.prepare_cached(
        "UPDATE bus_assignment SET lease_until = ?4 WHERE group_name = ?1 AND partition = ?2 AND member = ?3
         RETURNING partition, token, acked",
    )?;
    let mut held = Vec::new();
    for partition in partitions {
        let known = params![identity.group.as_str(), partition.id, identity.member.as_bytes(), lease_until.unix_ms()];
        let mut rows = update.query(known)?;
        if let Some(row) = rows.next()? {
            held.push(assignment(row)?);
        }
    }
    Ok(held)
}

fn give_back(tx: &Transaction<'_>, identity: &Identity, id: i64) -> Result<()> {
    tx.prepare_cached(
        "UPDATE bus_assignment SET member = NULL, lease_until = 0
         WHERE group_name = ?1 AND partition = ?2 AND member = ?3",
    )?
    .execute(params![identity.group.as_str(), id, identity.member.as_bytes()])?;
    Ok(())
}

fn take(
    tx: &Transaction<'_>,
    identity: &Identity,
    id: i64,
    now: Timestamp,
    lease_until: Timestamp,
) -> Result<Option<Assignment>> {
    let mut update = tx.prepare_cached(
        "UPDATE bus_assignment SET member = :member, token = token + 1, lease_until = :lease_until
         WHERE group_name = :group AND partition = :partition
           AND (member IS NULL OR (member <> :member AND lease_until < :now))
         RETURNING partition, token, acked",
    )?;
    let mut rows = update.query(named_params! {
        ":member": identity.member.as_bytes(),
        ":lease_until": lease_until.unix_ms(),
        ":group": identity.group.as_str(),
        ":partition": id,
        ":now": now.unix_ms(),
    })?;
    rows.next()?.map(assignment).transpose()
}

fn assignment(row: &Row<'_>) -> Result<Assignment> {
    Ok(Assignment { id: row.get("partition")?, token: row.get("token")?, acked: offset_of(row.get("acked")?)? })
}

/// Acknowledges everything below these offsets; whether all partitions were still the member's.
pub(super) fn ack(connection: &mut Connection, identity: &Identity, acks: &[(i64, i64, u64)]) -> Result<bool> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut changed = 0;
    for (id, token, next) in acks {
        let mut update = tx.prepare_cached(
            "UPDATE bus_assignment SET acked = max(acked, ?5)
             WHERE group_name = ?1 AND partition = ?2 AND member = ?3 AND token = ?4",
        )?;
        changed += update.execute(params![
            identity.group.as_str(),
            id,
            identity.member.as_bytes(),
            token,
            number_of(*next)
        ])?;
    }
    tx.commit()?;
    Ok(changed == acks.len())
}

/// Gives back all that a member holds.
pub(super) fn leave(connection: &mut Connection, identity: &Identity, partitions: &[Partition]) -> Result<()> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for partition in partitions {
        give_back(&tx, identity, partition.id)?;
    }
    tx.execute(
        "DELETE FROM bus_member WHERE group_name = ?1 AND member = ?2",
        params![identity.group.as_str(), identity.member.as_bytes()],
    )?;
    Ok(tx.commit()?)
}

fn find(partitions: &[Partition], number: u32) -> Result<Partition> {
    let found = partitions.iter().find(|partition| partition.number == number).copied();
    found.ok_or_else(|| Error::broken(format!("partition {number} of the bus is missing")))
}

fn offset_of(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::broken(format!("an offset of the bus is {number}")))
}

fn number_of(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
