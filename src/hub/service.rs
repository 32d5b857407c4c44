//! What all doors call: one event or a batch goes in, one verdict for each comes out.
//!
//! ```text
//! REST ----.            check          queue            one transaction for all that wait
//! gRPC -----+--> Service::accept --> [Job Job ..] --> writer --> HubStore::accept --> verdicts
//! GraphQL --'   (rules, ids)        (JOBS_MAX)
//! ```
//!
//! The writer takes whatever waits while the last transaction is committed (group commit): a single post costs a share
//! of an fsync, and no timer is involved.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::{ContextV7, Uuid};

use super::model::{Draft, Reason, Rejection, Rules};
use super::store::{ACCEPTED_MAX, Arrival, HubStore, Outcome};
use crate::base::clock::Clock;
use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;

/// Calls that wait for the writer at the most; later ones wait for room.
const JOBS_MAX: usize = 1024;

/// What became of an event at a door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, under this id.
    Accepted(Uuid),
    /// It was kept before, under this id.
    Duplicate(Uuid),
    /// It is not kept.
    Rejected(Rejection),
}

impl Verdict {
    /// What became of the event, in one word: `accepted`, `duplicate` or `rejected`.
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Duplicate(_) => "duplicate",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// The verdicts of a batch, put together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchOutcome {
    /// Events that were taken now.
    pub accepted: usize,
    /// Events that were there already.
    pub duplicates: usize,
    /// The ids of both, in the order of the batch.
    pub ids: Vec<Uuid>,
    /// The others, with their numbers in the batch, from 0.
    pub rejected: Vec<(usize, Rejection)>,
}

impl From<Vec<Verdict>> for BatchOutcome {
    fn from(verdicts: Vec<Verdict>) -> Self {
        let mut outcome = Self::default();
        for (index, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Verdict::Accepted(id) => {
                    outcome.accepted += 1;
                    outcome.ids.push(id);
                }
                Verdict::Duplicate(id) => {
                    outcome.duplicates += 1;
                    outcome.ids.push(id);
                }
                Verdict::Rejected(rejection) => outcome.rejected.push((index, rejection)),
            }
        }
        outcome
    }
}

/// How events are taken.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The rules of an event.
    pub rules: Rules,
    /// How long an idempotency key is remembered.
    pub keys_kept: Duration,
}

/// The one service behind all doors.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    limits: Limits,
    clock: Clock,
    ids: Mutex<ContextV7>,
    jobs: mpsc::Sender<Job>,
    store: Arc<dyn HubStore>,
    writer: JoinHandle<()>,
}

/// The events of one call, and where to answer.
struct Job {
    arrivals: Vec<Arrival>,
    answer: oneshot::Sender<Result<Vec<Outcome>>>,
}

impl Service {
    /// Starts the writer.
    pub fn start(store: Arc<dyn HubStore>, limits: Limits, clock: Clock) -> Self {
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let keys_kept = limits.keys_kept;
        let writer = tokio::spawn(write(Arc::clone(&store), queue, clock.clone(), keys_kept));
        Self { inner: Arc::new(Inner { limits, clock, ids: Mutex::new(ContextV7::new()), jobs, store, writer }) }
    }

    /// The store, for what only reads.
    pub fn store(&self) -> &Arc<dyn HubStore> {
        &self.inner.store
    }

    /// The clock of the rules.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Takes one event. `scope` is the caller's principal.
    ///
    /// # Errors
    /// [`Error`] when the store takes nothing now: the caller may try again.
    pub async fn accept(&self, draft: Draft, scope: &str) -> Result<Verdict> {
        let mut verdicts = self.accept_all(vec![Ok(draft)], scope).await?;
        verdicts.pop().ok_or_else(|| Error::broken("an event got no verdict".to_owned()))
    }

    /// Takes a batch, at most [`ACCEPTED_MAX`]; one verdict each, in their order. What a door could not even read comes
    /// as a rejection and stays one.
    ///
    /// # Errors
    /// As [`Service::accept`]; then nothing of the batch is kept.
    pub async fn accept_all(
        &self,
        drafts: Vec<std::result::Result<Draft, Rejection>>,
        scope: &str,
    ) -> Result<Vec<Verdict>> {
        if drafts.len() > ACCEPTED_MAX {
            let detail = format!("{} events at once; at most {ACCEPTED_MAX} are taken", drafts.len());
            return Err(Error::Invalid(detail));
        }
        let now = self.inner.clock.now();
        let mut arrivals = Vec::with_capacity(drafts.len());
        let checked: Vec<_> = drafts
            .into_iter()
            .map(|draft| {
                let event = self.inner.limits.rules.check(draft?, now)?;
                let arrival = Arrival { id: self.new_id(now), received_at: now, scope: scope.to_owned(), event };
                let id = arrival.id;
                arrivals.push(arrival);
                Ok(id)
            })
            .collect();
        let mut outcomes = self.keep(arrivals).await?.into_iter();
        checked
            .into_iter()
            .map(|checked: std::result::Result<Uuid, Rejection>| match checked {
                Err(rejection) => Ok(Verdict::Rejected(rejection)),
                Ok(id) => match outcomes.next() {
                    Some(outcome) => Ok(verdict(id, outcome)),
                    None => Err(Error::broken("an event got no outcome from the store".to_owned())),
                },
            })
            .collect()
    }

    /// Hands events to the writer and waits until they are durable.
    async fn keep(&self, arrivals: Vec<Arrival>) -> Result<Vec<Outcome>> {
        if arrivals.is_empty() {
            return Ok(Vec::new());
        }
        let stopped = || Error::unavailable("the hub is stopping".to_owned());
        let (answer, outcomes) = oneshot::channel();
        self.inner.jobs.send(Job { arrivals, answer }).await.map_err(|_| stopped())?;
        outcomes.await.map_err(|_| stopped())?
    }

    /// An id that sorts behind those that this process gave before.
    fn new_id(&self, now: Timestamp) -> Uuid {
        let ms = u64::try_from(now.unix_ms()).unwrap_or_default();
        let nanos = u32::try_from(ms % 1000).unwrap_or_default() * 1_000_000;
        let ids = self.inner.ids.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(uuid::Timestamp::from_unix(&*ids, ms / 1000, nanos))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

fn verdict(id: Uuid, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Stored => Verdict::Accepted(id),
        Outcome::Duplicate(id) => Verdict::Duplicate(id),
        Outcome::Reused => {
            let detail = "this idempotency key stands for another event; a new event needs a new key";
            Verdict::Rejected(Rejection::new(Reason::IdempotencyKeyReused, detail))
        }
    }
}

/// Writes what waits, again and again, until the service is gone.
async fn write(store: Arc<dyn HubStore>, mut queue: mpsc::Receiver<Job>, clock: Clock, keys_kept: Duration) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(job) => job,
            None => match queue.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let (jobs, next) = gather(first, &mut queue);
        held = next;
        let keys_since = clock.now().minus(keys_kept);
        commit(&*store, jobs, keys_since).await;
    }
}

/// What waits, up to the events of one transaction; and the job that did not fit any more.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>) -> (Vec<Job>, Option<Job>) {
    let mut events = first.arrivals.len();
    let mut jobs = vec![first];
    while let Ok(job) = queue.try_recv() {
        if events + job.arrivals.len() > ACCEPTED_MAX {
            return (jobs, Some(job));
        }
        events += job.arrivals.len();
        jobs.push(job);
    }
    (jobs, None)
}

/// One transaction for several calls, and an answer to each. A caller that is gone misses its answer only.
async fn commit(store: &dyn HubStore, jobs: Vec<Job>, keys_since: Timestamp) {
    let mut arrivals = Vec::new();
    let mut callers = Vec::with_capacity(jobs.len());
    for mut job in jobs {
        callers.push((job.arrivals.len(), job.answer));
        arrivals.append(&mut job.arrivals);
    }
    let events = arrivals.len();
    let result = store.accept(arrivals, keys_since).await.and_then(|outcomes| {
        let found = outcomes.len();
        let is_whole = found == events;
        is_whole.then_some(outcomes).ok_or_else(|| Error::broken(format!("{events} events got {found} outcomes")))
    });
    match result {
        Ok(mut outcomes) => {
            for (count, answer) in callers {
                let rest = outcomes.split_off(count);
                drop(answer.send(Ok(std::mem::replace(&mut outcomes, rest))));
            }
        }
        Err(error) => {
            log::warn!(err:% = error, events; "events were not kept; their callers are told to come again");
            for (_, answer) in callers {
                drop(answer.send(Err(same(&error))));
            }
        }
    }
}

/// The error once more, for another caller.
fn same(error: &Error) -> Error {
    if error.is_temporary() { Error::unavailable(error.to_string()) } else { Error::broken(error.to_string()) }
}
