//! The state machine of one task: which call is legal in which state (docs/contracts.md, 4; docs/semantics.md, 2).
//!
//! The stores enforce the same rules in the WHERE of one UPDATE each, because only that is safe when several
//! callers race. This page says them in plain words, explains a refusal, and is the model that the stores are
//! tested against.

use std::fmt;

use super::{Stage, Status};
use crate::base::timestamp::Timestamp;

/// The state of one task as far as moves depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskRow {
    /// The statuses, by [`Stage::index`].
    pub statuses: [Status; 4],
    /// The last fencing token that was handed out.
    pub token: u64,
    /// Claims of the present stage so far.
    pub attempts: u32,
    /// Set while a claim holds the task. A task started by the plain call has none and never expires.
    pub lease_until: Option<Timestamp>,
    /// Not to be claimed before this moment.
    pub next_at: Option<Timestamp>,
    /// The tokens that finished each stage, by [`Stage::index`]; 0 where none was used.
    pub done_by: [Option<u64>; 4],
}

/// A call that would move a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// The plain `start`.
    Start,
    /// Take a ready or expired task under a lease.
    Claim,
    /// Extend the lease.
    Heartbeat(u64),
    /// Finish, with the claim's token or, for a task started plainly, without.
    Done(Option<u64>),
    /// Give up for good.
    Fail(Option<u64>),
    /// Give this attempt up; the task becomes ready again while attempts are left.
    FailAttempt(u64),
    /// Give the task back because the worker stops: not an attempt.
    Release(u64),
    /// Give the task back because something around the worker does not work: not an attempt, but not at once again.
    ReleaseLater(u64),
    /// A person asks for a failed stage again.
    Retry,
    /// A person asks for a stage again together with the failed ones after it.
    RetryCascade,
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveVerdict {
    /// The row changes to this.
    Change(TaskRow),
    /// Everything is so already: answered as if it had just been done.
    Same,
    /// Not now.
    Refuse(MoveRefusal),
}

/// Why a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveRefusal {
    /// The status does not allow it.
    #[error("{stage} is {status}: {call} is not possible from there")]
    IllegalMove {
        /// The stage.
        stage: Stage,
        /// Its status now.
        status: Status,
        /// What was asked.
        call: &'static str,
    },
    /// The stage before is not done.
    #[error("{stage} is not ready: {previous} is {status}")]
    NotReady {
        /// The stage.
        stage: Stage,
        /// The stage before.
        previous: Stage,
        /// The status of the stage before.
        status: Status,
    },
    /// The token is not the newest, or the lease is over and another owner has the task.
    #[error("the lease is stale: {stage} is {status} and token {token} is not the one that holds it")]
    StaleLease {
        /// The stage.
        stage: Stage,
        /// Its status now.
        status: Status,
        /// The token that was named.
        token: u64,
    },
    /// The task is held by a claim; a call about it must name the token.
    #[error("{stage} is {status} under a lease: the call must name its token")]
    TokenRequired {
        /// The stage.
        stage: Stage,
        /// Its status now.
        status: Status,
    },
    /// A later stage has begun.
    #[error("{stage} cannot be retried: {later} is {status} already")]
    LaterBegun {
        /// The stage.
        stage: Stage,
        /// The later stage.
        later: Stage,
        /// Its status.
        status: Status,
    },
    /// The file exists with other shards.
    #[error("the file is registered with {0} shards already; its shards never change")]
    OtherShards(u8),
    /// The file was announced before with other content.
    #[error("the file was announced before with other content (SHA-256 {0})")]
    OtherContent(String),
    /// The reported counts break the conservation law.
    #[error("the counts do not add up: {0}")]
    Conservation(String),
}

impl MoveRefusal {
    /// The stable code of this refusal, for problem documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::IllegalMove { .. } => "illegal_move",
            Self::NotReady { .. } => "not_ready",
            Self::StaleLease { .. } => "stale_lease",
            Self::TokenRequired { .. } => "token_required",
            Self::LaterBegun { .. } => "later_stage_begun",
            Self::OtherShards(_) => "other_shards",
            Self::OtherContent(_) => "other_content",
            Self::Conservation(_) => "conservation",
        }
    }
}

impl Call {
    const fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Claim => "claim",
            Self::Heartbeat(_) => "heartbeat",
            Self::Done(_) => "done",
            Self::Fail(_) | Self::FailAttempt(_) => "fail",
            Self::Release(_) | Self::ReleaseLater(_) => "release",
            Self::Retry | Self::RetryCascade => "retry",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())
    }
}

impl TaskRow {
    /// The row of a file that was just registered: its event file is in work, nothing else has begun.
    pub fn registered() -> Self {
        Self {
            statuses: [Status::Started, Status::New, Status::New, Status::New],
            token: 0,
            attempts: 0,
            lease_until: None,
            next_at: None,
            done_by: [None; 4],
        }
    }

    /// The status of a stage.
    pub fn status(&self, stage: Stage) -> Status {
        self.statuses[stage.index()]
    }

    /// Decides a call about a stage after event-ingest. `lease_ms` is the length of a new lease, `backoff_ms` the
    /// wait before another attempt, `attempts_max` the attempts allowed.
    ///
    /// The life of a lease: a claim hands out a token; when the lease is over another claim gets a newer one, and the
    /// older one moves nothing any more.
    ///
    /// ```
    /// use shopctl::base::timestamp::Timestamp;
    /// use shopctl::pipeline::task::moves::RetryPolicy;
    /// use shopctl::pipeline::task::{Call, TaskRow, Stage, Status, MoveVerdict};
    ///
    /// let stage = Stage::ShardSplitter;
    /// let policy = RetryPolicy { lease_ms: 60_000, backoff_ms: 1000, attempts_max: 5 };
    /// let now = Timestamp::parse("2025-01-01 08:00:00.000").unwrap();
    /// let mut row = TaskRow::registered();
    /// row.statuses[Stage::EventIngest.index()] = Status::Done;
    ///
    /// let MoveVerdict::Change(first) = row.decide(stage, Call::Claim, now, policy) else { panic!() };
    /// assert_eq!((first.status(stage), first.token), (Status::Started, 1));
    /// assert!(matches!(first.decide(stage, Call::Claim, now, policy), MoveVerdict::Refuse(_)), "the lease lasts");
    ///
    /// let later = now.plus_ms(60_001);
    /// let MoveVerdict::Change(second) = first.decide(stage, Call::Claim, later, policy) else { panic!() };
    /// let MoveVerdict::Refuse(refusal) = second.decide(stage, Call::Done(Some(1)), later, policy) else { panic!() };
    /// assert_eq!(refusal.code(), "stale_lease");
    /// let MoveVerdict::Change(done) = second.decide(stage, Call::Done(Some(2)), later, policy) else { panic!() };
    /// assert_eq!(done.status(stage), Status::Done);
    /// ```
    pub fn decide(&self, stage: Stage, call: Call, now: Timestamp, policy: RetryPolicy) -> MoveVerdict {
        let status = self.status(stage);
        let refuse = MoveVerdict::Refuse;
        let illegal = || refuse(MoveRefusal::IllegalMove { stage, status, call: call.verb() });
        match (call, status) {
            (Call::Start | Call::Claim, Status::New) => self.begin(stage, call, now, policy),
            (Call::Start, Status::Started) if self.lease_until.is_none() => MoveVerdict::Same,
            (Call::Start, Status::Started) => refuse(MoveRefusal::TokenRequired { stage, status }),
            (Call::Claim, Status::Started) if self.expired(now) => {
                if self.attempts >= policy.attempts_max {
                    MoveVerdict::Change(self.ended(stage, Status::Failed))
                } else {
                    self.begin(stage, call, now, policy)
                }
            }
            (Call::Done(None), Status::Started) if self.lease_until.is_none() => self.finish(stage, 0),
            (Call::Fail(None), Status::Started | Status::New) if self.lease_until.is_none() => {
                MoveVerdict::Change(self.ended(stage, Status::Failed))
            }
            (Call::Done(None) | Call::Fail(None), Status::Started) => {
                refuse(MoveRefusal::TokenRequired { stage, status })
            }
            (Call::Done(None), Status::Done) | (Call::Fail(None), Status::Failed) => MoveVerdict::Same,
            (Call::Done(Some(token)), Status::Done) if self.done_by[stage.index()] == Some(token) => MoveVerdict::Same,
            // The repeat of a call whose answer was lost; no attempt has begun since.
            (Call::Fail(Some(token)), Status::Failed) if self.token == token && self.lease_until.is_none() => {
                MoveVerdict::Same
            }
            (Call::FailAttempt(token), Status::New | Status::Failed)
            | (Call::Release(token) | Call::ReleaseLater(token), Status::New)
                if self.token == token && self.lease_until.is_none() =>
            {
                MoveVerdict::Same
            }
            (Call::Retry, Status::New) => MoveVerdict::Same,
            (Call::RetryCascade, Status::New) if !stage.later().iter().any(|s| self.status(*s) == Status::Failed) => {
                MoveVerdict::Same
            }
            (Call::Retry, Status::Failed) | (Call::RetryCascade, Status::Failed | Status::Done) => {
                self.again(stage, call == Call::RetryCascade)
            }
            (
                Call::Heartbeat(token)
                | Call::Release(token)
                | Call::ReleaseLater(token)
                | Call::FailAttempt(token)
                | Call::Done(Some(token))
                | Call::Fail(Some(token)),
                _,
            ) => self.fenced(stage, call, token, now, policy),
            _ => illegal(),
        }
    }

    fn expired(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| until < now)
    }

    fn begin(&self, stage: Stage, call: Call, now: Timestamp, policy: RetryPolicy) -> MoveVerdict {
        if let Some(previous) = stage.previous().filter(|previous| self.status(*previous) != Status::Done) {
            return MoveVerdict::Refuse(MoveRefusal::NotReady { stage, previous, status: self.status(previous) });
        }
        let too_early = call == Call::Claim && self.next_at.is_some_and(|at| at > now);
        if too_early {
            return MoveVerdict::Refuse(MoveRefusal::IllegalMove {
                stage,
                status: self.status(stage),
                call: call.verb(),
            });
        }
        let mut row = self.clone();
        row.statuses[stage.index()] = Status::Started;
        row.token += 1;
        row.attempts += 1;
        row.next_at = None;
        row.lease_until = (call == Call::Claim).then(|| now.plus_ms(policy.lease_ms));
        MoveVerdict::Change(row)
    }

    fn finish(&self, stage: Stage, token: u64) -> MoveVerdict {
        let mut row = self.ended(stage, Status::Done);
        row.done_by[stage.index()] = Some(token);
        MoveVerdict::Change(row)
    }

    /// The row after the present stage's work is over.
    fn ended(&self, stage: Stage, status: Status) -> Self {
        let mut row = self.clone();
        row.statuses[stage.index()] = status;
        row.lease_until = None;
        row.next_at = None;
        row.attempts = if status == Status::Done { 0 } else { row.attempts };
        row
    }

    fn fenced(&self, stage: Stage, call: Call, token: u64, now: Timestamp, policy: RetryPolicy) -> MoveVerdict {
        let status = self.status(stage);
        if status != Status::Started || self.lease_until.is_none() || self.token != token {
            return MoveVerdict::Refuse(MoveRefusal::StaleLease { stage, status, token });
        }
        let back = |attempts: u32, next_at: Option<Timestamp>| {
            let mut row = self.ended(stage, Status::New);
            row.attempts = attempts;
            row.next_at = next_at;
            MoveVerdict::Change(row)
        };
        match call {
            Call::Done(_) => self.finish(stage, token),
            Call::Release(_) => back(self.attempts.saturating_sub(1), None),
            Call::ReleaseLater(_) => back(self.attempts.saturating_sub(1), Some(now.plus_ms(policy.backoff_ms))),
            Call::FailAttempt(_) if self.attempts < policy.attempts_max => {
                back(self.attempts, Some(now.plus_ms(policy.backoff_ms)))
            }
            Call::Heartbeat(_) => {
                let mut row = self.clone();
                row.lease_until = Some(now.plus_ms(policy.lease_ms));
                MoveVerdict::Change(row)
            }
            _ => MoveVerdict::Change(self.ended(stage, Status::Failed)),
        }
    }

    fn again(&self, stage: Stage, cascade: bool) -> MoveVerdict {
        let blocking = |status: Status| status != Status::New && !(cascade && status == Status::Failed);
        for later in stage.later() {
            let status = self.status(*later);
            if blocking(status) {
                return MoveVerdict::Refuse(MoveRefusal::LaterBegun { stage, later: *later, status });
            }
        }
        let mut row = self.clone();
        row.statuses[stage.index()] = Status::New;
        // A lease here is an earlier stage's: this one was failed before it began. It is left alone.
        if self.lease_until.is_none() {
            row.token += 1;
            row.attempts = 0;
            row.next_at = None;
        }
        row.done_by[stage.index()] = None;
        for later in stage.later() {
            row.statuses[later.index()] = Status::New;
            row.done_by[later.index()] = None;
        }
        MoveVerdict::Change(row)
    }
}

/// The numbers that moves depend on, all times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The length of a lease.
    pub lease_ms: i64,
    /// The wait before the next attempt.
    pub backoff_ms: i64,
    /// Attempts in all, the first included.
    pub attempts_max: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { lease_ms: 1000, backoff_ms: 10, attempts_max: 3 };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn ready() -> TaskRow {
        let mut row = TaskRow::registered();
        row.statuses[0] = Status::Done;
        row
    }

    fn change(verdict: MoveVerdict) -> TaskRow {
        match verdict {
            MoveVerdict::Change(row) => row,
            other => panic!("expected a change, got {other:?}"),
        }
    }

    fn code(verdict: MoveVerdict) -> &'static str {
        match verdict {
            MoveVerdict::Refuse(refusal) => refusal.code(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    const S: Stage = Stage::ShardSplitter;

    #[test]
    fn expired_lease_is_taken_by_another_and_the_first_one_is_fenced() {
        let first = change(ready().decide(S, Call::Claim, at(0), POLICY));
        assert_eq!(code(first.decide(S, Call::Claim, at(1000), POLICY)), "illegal_move");
        let second = change(first.decide(S, Call::Claim, at(1001), POLICY));
        assert_eq!((first.token, second.token), (1, 2));
        assert_eq!(code(second.decide(S, Call::Done(Some(1)), at(1002), POLICY)), "stale_lease");
        let done = change(second.decide(S, Call::Done(Some(2)), at(1002), POLICY));
        assert_eq!(done.decide(S, Call::Done(Some(2)), at(9), POLICY), MoveVerdict::Same);
        assert_eq!(code(done.decide(S, Call::Fail(Some(2)), at(9), POLICY)), "stale_lease");
    }

    #[test]
    fn a_repeated_fail_is_answered_like_the_first() {
        let claimed = change(ready().decide(S, Call::Claim, at(0), POLICY));
        let failed = change(claimed.decide(S, Call::Fail(Some(1)), at(1), POLICY));
        assert_eq!(failed.decide(S, Call::Fail(Some(1)), at(2), POLICY), MoveVerdict::Same);
        assert_eq!(code(failed.decide(S, Call::Fail(Some(0)), at(2), POLICY)), "stale_lease");
        let again = change(failed.decide(S, Call::Retry, at(3), POLICY));
        assert_eq!(code(again.decide(S, Call::Fail(Some(1)), at(4), POLICY)), "stale_lease");
    }

    #[test]
    fn a_crash_counts_as_an_attempt_and_a_release_does_not() {
        let mut row = ready();
        for round in 0..5 {
            row = change(row.decide(S, Call::Claim, at(round), POLICY));
            row = change(row.decide(S, Call::Release(row.token), at(round), POLICY));
        }
        assert_eq!(row.attempts, 0);
        for round in 0..3 {
            row = change(row.decide(S, Call::Claim, at(round * 5000), POLICY));
        }
        row = change(row.decide(S, Call::Claim, at(50_000), POLICY));
        assert_eq!(row.status(S), Status::Failed);
    }

    #[test]
    fn a_plain_caller_cannot_touch_a_leased_task() {
        let leased = change(ready().decide(S, Call::Claim, at(0), POLICY));
        for call in [Call::Start, Call::Done(None), Call::Fail(None)] {
            assert_eq!(code(leased.decide(S, call, at(1), POLICY)), "token_required");
        }
    }

    #[test]
    fn a_stage_is_not_retried_once_a_later_one_has_begun() {
        let mut row = ready();
        row.statuses = [Status::Done, Status::Done, Status::Failed, Status::New];
        assert_eq!(code(row.decide(S, Call::Retry, at(0), POLICY)), "illegal_move");
        let repaired = change(row.decide(S, Call::RetryCascade, at(0), POLICY));
        assert_eq!(repaired.statuses, [Status::Done, Status::New, Status::New, Status::New]);
        row.statuses[2] = Status::Started;
        assert_eq!(code(row.decide(S, Call::RetryCascade, at(0), POLICY)), "later_stage_begun");
    }

    fn call() -> impl Strategy<Value = Call> {
        let token = 0_u64..6;
        prop_oneof![
            Just(Call::Start),
            Just(Call::Claim),
            token.clone().prop_map(Call::Heartbeat),
            proptest::option::of(token.clone()).prop_map(Call::Done),
            proptest::option::of(token.clone()).prop_map(Call::Fail),
            token.clone().prop_map(Call::FailAttempt),
            token.clone().prop_map(Call::Release),
            token.prop_map(Call::ReleaseLater),
            Just(Call::Retry),
            Just(Call::RetryCascade),
        ]
    }

    proptest! {
        #[test]
        fn no_sequence_of_calls_breaks_the_order_of_stages(
            calls in proptest::collection::vec((1_usize..4, call(), 0_i64..700), 0..60)
        ) {
            let mut row = ready();
            let mut now = 0;
            for (stage, call, pause) in calls {
                now += pause;
                let before = row.clone();
                if let MoveVerdict::Change(next) = row.decide(Stage::ALL[stage], call, at(now), POLICY) {
                    row = next;
                }
                for pair in row.statuses.windows(2) {
                    prop_assert!(
                        pair[0] == Status::Done || pair[1] == Status::New || pair[1] == Status::Failed,
                        "{before:?} {call:?} {row:?}"
                    );
                }
                prop_assert!(row.token >= before.token, "a token is never handed out twice");
                prop_assert!(row.attempts <= POLICY.attempts_max + 60);
                prop_assert!(row.lease_until.is_none() || row.statuses.contains(&Status::Started));
            }
        }
    }
}
