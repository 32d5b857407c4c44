//! What the protocol's model consists of: one task with two stages, workers that may die, sleep and wake at any
//! moment, calls that are lost, late or come twice, a clock that jumps, and the two effects: a file and a table.
//!
//! A worker that sleeps past its lease needs no step of its own: nothing ever makes a worker act, and the clock may
//! jump meanwhile. A lost answer and one that comes late look the same to it: it hears nothing, or acts late.

use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::task::moves::RetryPolicy;
use shopctl::pipeline::task::{Stage, Status, TaskRow};

/// Workers at the most.
pub(super) const WORKERS_MAX: usize = 3;
/// Calls on their way at the same time, at the most.
pub(super) const FLYING_MAX: usize = 3;
/// The API's clock always shows this; when time passes, what it is compared with moves into the past.
pub(super) const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);
/// A lease that is over.
pub(super) const OVER: Timestamp = Timestamp::from_unix_ms(999_999);

/// The bounds of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Workers, up to [`WORKERS_MAX`].
    pub(super) workers: usize,
    /// Calls on their way, up to [`FLYING_MAX`].
    pub(super) flying: usize,
    /// Attempts at a stage.
    pub(super) attempts: u32,
    /// The stages, one or both of [`STAGES`].
    pub(super) stages: &'static [Stage],
    /// Whether a person fails and retries stages as well.
    pub(super) operator: bool,
}

/// The stage that writes a file, and the one that writes rows.
pub(super) const STAGES: &[Stage] = &[Stage::ShardWorker, Stage::MysqlSender];

impl Bounds {
    pub(super) fn policy(&self) -> RetryPolicy {
        RetryPolicy { lease_ms: 1000, backoff_ms: 100, attempts_max: self.attempts }
    }
}

/// What is left out of the protocol, in order to see that the model notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Nothing: this is the protocol.
    Nothing,
    /// Reports are taken from any sender while the stage is started.
    Fence,
    /// The rows are written without a marker in the same transaction.
    Marker,
    /// No marker either, but the worker looks at its own clock right before it commits.
    MarkerButClock,
    /// The file is written under its own name, not renamed when it is whole.
    Rename,
    /// The bytes of the file depend on the attempt.
    SameBytes,
}

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    /// The API's row, moved by the program's own state machine.
    pub(super) row: TaskRow,
    /// Beside the row in the table: the id of the claim that holds it.
    pub(super) claim: Option<u8>,
    /// What `done` said about the file.
    pub(super) reported: Option<u64>,
    /// What stands under the file's name.
    pub(super) file: File,
    /// Whether the marker is in the shard's database.
    pub(super) marker: bool,
    /// How often the rows are in the shard's database; 2 stands for more as well.
    pub(super) rows: u8,
    /// The first so many of them, in no order.
    pub(super) workers: [Worker; WORKERS_MAX],
    /// Calls that may still arrive, in no order.
    pub(super) flying: [Option<Call>; FLYING_MAX],
}

/// The file that one stage leaves for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum File {
    Absent,
    Half,
    /// The same bytes from every attempt, 0; without that, the attempt they come from.
    Whole(u64),
}

/// What one process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Worker {
    Idle,
    /// It has asked for work by a claim of this id.
    Asking(u8),
    /// It believes that it has the task.
    Busy {
        stage: Stage,
        token: u64,
        at: At,
        /// Its own clock says that the lease is over; kept only where that matters.
        late: bool,
    },
    /// There are fewer; the last of the order.
    Absent,
}

/// How far a busy worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum At {
    Claimed,
    /// It has looked at its own clock.
    Checked,
    /// The file is written, not published.
    Drafted,
    /// It has sent the commit and hears nothing yet.
    Committing,
    /// The effect is there.
    Written,
    /// It has sent this report and hears nothing yet.
    Reporting(Report),
}

/// What a worker says in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Report {
    Done,
    FailAttempt,
    Release,
    ReleaseLater,
}

/// A call that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Call {
    /// To the API: give me work. It gets whichever stage is ready, which is more than any real asker gets.
    Claim(u8),
    /// To the API.
    Report { stage: Stage, report: Report, token: u64 },
    /// To the shard's database.
    Commit { token: u64 },
}

impl World {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let mut row = TaskRow::registered();
        let first = bounds.stages[0].index();
        row.statuses[..first].fill(Status::Done);
        let has_file = bounds.stages[0] == Stage::MysqlSender;
        let mut workers = [Worker::Absent; WORKERS_MAX];
        workers[..bounds.workers].fill(Worker::Idle);
        Self {
            row,
            claim: None,
            reported: has_file.then_some(0),
            file: if has_file { File::Whole(0) } else { File::Absent },
            marker: false,
            rows: 0,
            workers,
            flying: [None; FLYING_MAX],
        }
    }

    /// A claim id that no worker uses; real ones are random.
    pub(super) fn unused_id(&self) -> u8 {
        let taken = |id: u8| {
            self.claim == Some(id)
                || self.workers.contains(&Worker::Asking(id))
                || self.flying.contains(&Some(Call::Claim(id)))
        };
        (0..=u8::MAX).find(|id| !taken(*id)).expect("there are fewer claims than ids")
    }

    /// Sends a call; `None` if too much is on its way. A call that is on its way already is not sent twice: it may
    /// arrive twice anyway.
    pub(super) fn send(mut self, call: Call, bounds: &Bounds) -> Option<Self> {
        if self.flying.contains(&Some(call)) {
            return Some(self);
        }
        *self.flying[..bounds.flying].iter_mut().find(|place| place.is_none())? = Some(call);
        Some(self)
    }

    /// The same world in the form that all worlds have that cannot be told apart from it: workers and calls sorted,
    /// claims and tokens renamed in their order. Sound, because the program compares tokens and ids for being the
    /// same only, and hands out a token by adding 1 to the greatest.
    pub(super) fn canonical(mut self) -> Self {
        self.rename_tokens();
        let claim = self.claim;
        self.workers.sort_unstable_by_key(|worker| match *worker {
            Worker::Asking(id) => (Worker::Asking(0), claim != Some(id)),
            other => (other, false),
        });
        self.rename_claims();
        self.flying.sort_unstable_by_key(|call| (call.is_none(), *call));
        self
    }

    fn rename_tokens(&mut self) {
        let mut known = [0_u64; 7 + WORKERS_MAX + FLYING_MAX];
        let mut count = 0;
        self.for_each_token(|token| {
            known[count] = *token;
            count += 1;
        });
        known[..count].sort_unstable();
        // The rank among different tokens, from 1; 0 is no token.
        self.for_each_token(|token| {
            let mut rank = 0;
            let mut before = 0;
            for other in known[..count].iter().take_while(|other| **other <= *token) {
                rank += u64::from(*other != before);
                before = *other;
            }
            *token = rank;
        });
    }

    fn for_each_token(&mut self, mut each: impl FnMut(&mut u64)) {
        each(&mut self.row.token);
        self.row.done_by.iter_mut().flatten().for_each(&mut each);
        self.reported.iter_mut().for_each(&mut each);
        if let File::Whole(content) = &mut self.file {
            each(content);
        }
        for worker in &mut self.workers {
            if let Worker::Busy { token, .. } = worker {
                each(token);
            }
        }
        for call in self.flying.iter_mut().flatten() {
            if let Call::Report { token, .. } | Call::Commit { token } = call {
                each(token);
            }
        }
    }

    fn rename_claims(&mut self) {
        let mut names: [Option<u8>; 1 + WORKERS_MAX + FLYING_MAX] = [None; 1 + WORKERS_MAX + FLYING_MAX];
        let mut name = |id: &mut u8| {
            let place = names.iter().position(|known| known.is_none_or(|known| known == *id)).unwrap_or(0);
            names[place] = Some(*id);
            *id = u8::try_from(place).unwrap_or(u8::MAX);
        };
        self.claim.iter_mut().for_each(&mut name);
        for worker in &mut self.workers {
            if let Worker::Asking(id) = worker {
                name(id);
            }
        }
        for call in self.flying.iter_mut().flatten() {
            if let Call::Claim(id) = call {
                name(id);
            }
        }
    }
}
