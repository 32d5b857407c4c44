//! What the stores decide alike, whatever the engine: the walk of a claim, what is refused before a statement, and what a
//! statement that changed nothing means. No SQL and no clock.

use super::lease_end::LeaseEnd;
use super::store::TrackingPolicy;
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::moves::RetryPolicy;
use crate::pipeline::task::{
    Call, Claim, Claimed, Counts, FileName, MoveRefusal, MoveVerdict, Stage, Status, TaskKey, TaskRow,
};

/// How many tasks a new file gets. A shard without a task would lose its lines: no splitter would ever split them off.
///
/// # Errors
/// [`Error::Invalid`] unless the shards are all of 0 to n-1.
pub(super) fn shards_count(shards: &[ShardId]) -> Result<u8> {
    let count = u8::try_from(shards.len()).unwrap_or(u8::MAX);
    if count == 0 || (0..count).any(|number| !shards.iter().any(|shard| shard.get() == number)) {
        return Err(Error::Invalid("shards must be all of 0 to n-1, each once".to_owned()));
    }
    Ok(count)
}

/// Refuses a report if its counts do not add up.
///
/// # Errors
/// [`MoveRefusal::Conservation`].
pub(super) fn check_counts(counts: Option<Counts>) -> Result<()> {
    match counts.filter(|counts| !counts.balanced()) {
        Some(counts) => Err(MoveRefusal::Conservation(format!("{counts:?}")).into()),
        None => Ok(()),
    }
}

/// The token that a call names.
pub(super) const fn token_of(call: Call) -> Option<u64> {
    match call {
        Call::Done(token) | Call::Fail(token) => token,
        Call::Heartbeat(token) | Call::FailAttempt(token) | Call::Release(token) | Call::ReleaseLater(token) => {
            Some(token)
        }
        Call::Start | Call::Claim | Call::Retry | Call::RetryCascade => None,
    }
}

/// What a move came to that is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Moved {
    /// The stage has this status.
    To(Status),
    /// Lines were lost or made: the task is marked as failed, and the call is refused.
    Lost(String),
}

impl Moved {
    /// What the caller is told.
    pub(super) fn answer(self) -> Result<Status> {
        match self {
            Self::To(status) => Ok(status),
            Self::Lost(loss) => Err(MoveRefusal::Conservation(loss).into()),
        }
    }
}

/// Why the UPDATE of a call changed no row: everything is so already, or the call is refused.
///
/// # Errors
/// [`Error::Gone`] without a row; the refusal; [`Error::Busy`] if by now the UPDATE would change the row.
pub(super) fn unchanged(
    row: Option<&TaskRow>,
    key: &TaskKey,
    stage: Stage,
    call: Call,
    now: Timestamp,
    policy: RetryPolicy,
) -> Result<Status> {
    let row = row.ok_or_else(|| Error::Gone(format!("task {key}")))?;
    match row.decide(stage, call, now, policy) {
        MoveVerdict::Same => Ok(row.status(stage)),
        MoveVerdict::Refuse(refusal) => Err(refusal.into()),
        MoveVerdict::Change(_) => Err(Error::busy(format!("task {key} changed at the same moment"))),
    }
}

/// What a claim brought.
#[derive(Debug, Default)]
pub(super) struct Handout {
    /// The tasks.
    pub(super) claimed: Vec<Claimed>,
    /// The leases that were found expired.
    pub(super) lease_ends: Vec<LeaseEnd>,
}

/// What a claim puts right in the rows of its stage before it takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mend {
    /// Gives a lease that ends later than any can its length from now on.
    ShortenLeases,
    /// Marks tasks failed whose last allowed attempt let its lease run out: a crash counts as an attempt.
    FailExhausted,
}

/// What a claim puts right, in this order. A lease that is too long is shortened by every claim: its owner keeps the task.
/// A task is failed only by a claim that may take over, as another one leaves the owner time to report.
pub(super) const fn mends(claim: &Claim) -> &'static [Mend] {
    if claim.takes_over { &[Mend::ShortenLeases, Mend::FailExhausted] } else { &[Mend::ShortenLeases] }
}

/// How far ahead a lease can end, in milliseconds. The clock can be set back, and then a lease that was granted before
/// would last as much longer. Twice the length, as two instances do not read the clock at the same moment.
pub(super) const fn lease_limit_ms(policy: TrackingPolicy) -> i64 {
    policy.moves.lease_ms.saturating_mul(2)
}

/// How far ahead a backoff can end, in milliseconds: as [`lease_limit_ms`] for leases.
pub(super) const fn wait_limit_ms(policy: TrackingPolicy) -> i64 {
    policy.backoff_max_ms.saturating_mul(2)
}

/// Whether a claim that has so many tasks tries another one. Only between files: the shards of one file are handed out
/// together where the stage takes whole files.
pub(super) const fn goes_on(claim: &Claim, claimed: usize) -> bool {
    claimed < claim.limit as usize
}

/// Whether a claim asks for tasks of this shard.
pub(super) fn asks_for(claim: &Claim, shard: ShardId) -> bool {
    claim.shard.is_none_or(|own| own == shard)
}

/// The order in which a claim tries the oldest file of each shard: the oldest file first, so that a shard with much to do
/// does not keep the others waiting.
pub(super) fn in_turn(mut candidates: Vec<TaskKey>) -> Vec<TaskKey> {
    candidates.sort();
    candidates
}

/// How many files of each status are looked at to find the oldest: one more, should the first be passed over.
pub(super) const fn looked_at(besides: Option<&FileName>) -> u32 {
    if besides.is_some() { 2 } else { 1 }
}

/// The oldest of these files, beside that one.
pub(super) fn oldest(files: Vec<FileName>, besides: Option<&FileName>) -> Option<FileName> {
    files.into_iter().filter(|file| besides != Some(file)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(numbers: &[u64]) -> Vec<ShardId> {
        numbers.iter().map(|number| ShardId::new(*number).unwrap()).collect()
    }

    #[test]
    fn a_file_has_a_task_in_every_shard_or_none() {
        assert_eq!(shards_count(&shards(&[0])).unwrap(), 1);
        assert_eq!(shards_count(&shards(&[2, 0, 1])).unwrap(), 3);
        for wrong in [&[][..], &[1], &[0, 2], &[0, 0]] {
            assert!(matches!(shards_count(&shards(wrong)), Err(Error::Invalid(_))), "{wrong:?}");
        }
    }

    #[test]
    fn the_oldest_file_comes_first_and_the_one_named_is_passed_over() {
        let file = |name: &str| name.parse::<FileName>().unwrap();
        let (old, new) = (file("20250101000000"), file("20250101000001"));
        let key = |file: &FileName, shard| TaskKey { file: file.clone(), shard: ShardId::new(shard).unwrap() };
        let turns = in_turn(vec![key(&new, 0), key(&old, 1), key(&old, 0)]);
        assert_eq!(turns, [key(&old, 0), key(&old, 1), key(&new, 0)]);
        assert_eq!(oldest(vec![new.clone(), old.clone()], None), Some(old.clone()));
        assert_eq!(oldest(vec![old.clone(), new.clone()], Some(&old)), Some(new));
        assert_eq!(oldest(vec![old.clone()], Some(&old)), None);
    }

    #[test]
    fn a_loss_is_refused_after_it_was_written_down() {
        assert_eq!(Moved::To(Status::Done).answer().unwrap(), Status::Done);
        let refused = Moved::Lost("1 line".to_owned()).answer().unwrap_err();
        assert!(matches!(refused.refusal(), Some(MoveRefusal::Conservation(loss)) if loss == "1 line"));
    }
}
