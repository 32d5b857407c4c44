//! The loop that all stages share: it claims tasks, works on them and reports them. A claim waits at the API until
//! there is work, so that the loop does not poll (docs/semantics.md, 2).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::lease::{Heart, Lease};
use super::pauses::{Ask, Pauses};
use crate::base::backoff::Backoff;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::client::{Client, ClientError, Transition};
use crate::pipeline::calls::Service;
use crate::pipeline::event::{Reasons, ShardId};
use crate::pipeline::task::wire::{ClaimRequest, ClaimResponse, TaskRequest};
use crate::pipeline::task::{Claimed, Class, Counts, Output, Stage, TaskKey};

/// The waits after a claim that the API did not answer.
const CLAIM_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30)).with_jitter();
/// The waits after a report that the API did not answer.
const REPORT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5)).with_jitter();
/// The waits after work was given back as unavailable. The task is ready again for other workers.
const TROUBLE_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10)).with_jitter();
/// How long a report is repeated before the task is left to its lease. Longer than a lease on purpose: while the API
/// does not answer, no other worker gets the task either, and a report that comes in time saves an attempt.
const REPORT_PATIENCE: Duration = Duration::from_secs(3600);
/// How long the report of finished work is repeated once the stop was requested: where everything stops together the
/// API may be gone for good. What is not reported comes back when its lease runs out.
const STOPPING_PATIENCE: Duration = Duration::from_secs(3);
/// Characters of a reason.
const REASON_CHARS_MAX: usize = 1000;

/// What a stage does with tasks.
pub trait Job {
    /// The stage.
    fn stage(&self) -> Stage;

    /// Works on tasks of one file that were claimed together; answers what to report for each of them.
    ///
    /// # Errors
    /// [`Fault`], for all of the tasks.
    fn work(&mut self, claimed: &[Claimed], lease: &Lease) -> Result<Vec<Finished>, Fault>;

    /// The API has taken the report of a task. If the process ends before, this is never called for the task.
    fn reported(&mut self, _key: &TaskKey) {}
}

/// One file of one task, as a stage opens it.
#[derive(Debug, Clone)]
pub struct FileTask {
    /// Which task.
    pub key: TaskKey,
    /// Where the file is.
    pub source: PathBuf,
    /// What it must be, if that was reported.
    pub input: Option<Output>,
    /// The token of the claim; 0 without one.
    pub token: u64,
}

/// A task that is finished and has to be reported.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Which task.
    pub key: TaskKey,
    /// The conservation counts.
    pub counts: Counts,
    /// What the next stage must find, if there is one.
    pub output: Option<Output>,
    /// Why lines were rejected, as far as this run rejected them.
    pub reasons: Reasons,
}

/// What a run did, for the summary line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks reported done.
    pub done: u64,
    /// Tasks that failed or were given back.
    pub failed: u64,
    /// The counts of the tasks that are done.
    pub counts: Counts,
}

/// How the work on a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskOutcome {
    /// It was finished, and the report of it was taken.
    Done,
    /// It was not finished, or the report of it was not taken.
    Failed,
    /// It was given back, and counts no attempt.
    Released,
    /// Another owner has the task.
    Stale,
}

impl TaskOutcome {
    /// What it is called in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Stale => "stale",
        }
    }
}

/// What the loop tells its observer, for the metrics.
pub trait Watch: Send + Sync {
    /// A task's work is over. `finished` is there if it is done.
    fn task_over(&self, stage: Stage, outcome: TaskOutcome, took: Duration, finished: Option<&Finished>);
    /// The API answers, or why it does not.
    fn api_answers(&self, problem: Option<String>);
    /// Work succeeds, or what around us does not work.
    fn unavailable(&self, problem: Option<String>);
    /// There was nothing to do.
    fn idle(&self);
}

/// The claim-work-finish loop of one stage.
pub struct Driver<'a> {
    /// The API.
    pub client: &'a Client,
    /// When to stop.
    pub stop: &'a Stop,
    /// The worker that claims: host, process and a random part.
    pub worker: String,
    /// Only this shard's tasks.
    pub shard: Option<ShardId>,
    /// The most tasks per claim.
    pub limit: u32,
    /// How long a claim waits at the API.
    pub wait: Duration,
    /// The observer, for the metrics.
    pub watch: &'a dyn Watch,
}

impl Driver<'_> {
    /// Works until the stop is requested.
    pub fn run(&self, job: &mut dyn Job) -> Tally {
        let mut run = Run::new(self, job);
        while !self.stop.is_requested() {
            let (shard, wait) = match run.pauses.ask(Instant::now()) {
                Ask::Any => (self.shard, self.wait),
                Ask::Shard(shard) => (Some(shard), Duration::ZERO),
                Ask::Later(pause) => {
                    self.stop.wait(pause);
                    continue;
                }
            };
            // Without an answer the process stops.
            let Some(grant) = self.claim_patiently(run.stage, shard, wait) else {
                break;
            };
            if grant.tasks.is_empty() {
                if let Some(shard) = shard {
                    run.pauses.nothing(shard);
                }
                self.watch.idle();
                continue;
            }
            run.work_all(&grant);
        }
        run.tally
    }

    /// Works on what is ready and answers when nothing is left.
    ///
    /// # Errors
    /// [`ClientError`] when the API does not hand out work.
    pub(crate) fn run_once(&self, job: &mut dyn Job) -> Result<Tally, ClientError> {
        let mut run = Run::new(self, job);
        while !self.stop.is_requested() {
            let grant = self.claim(run.stage, &self.claim_request(self.shard, Duration::ZERO))?;
            if grant.tasks.is_empty() {
                break;
            }
            run.work_all(&grant);
        }
        Ok(run.tally)
    }

    fn claim_request(&self, shard: Option<ShardId>, wait: Duration) -> ClaimRequest {
        ClaimRequest {
            worker: self.worker.clone(),
            limit: self.limit,
            shard,
            wait_ms: Some(u64::try_from(wait.as_millis()).unwrap_or(0)),
            claim_id: random_id(),
        }
    }

    /// Asks for work until there is an answer; none when the stop was requested meanwhile. The same claim id is used
    /// until then: a lost reply costs nothing.
    fn claim_patiently(&self, stage: Stage, shard: Option<ShardId>, wait: Duration) -> Option<Grant> {
        let request = self.claim_request(shard, wait);
        let mut backoff = CLAIM_BACKOFF;
        loop {
            let e = match self.claim(stage, &request) {
                Ok(grant) => return Some(grant),
                Err(e) => e,
            };
            self.watch.api_answers(Some(Fault::from(e.clone()).to_string()));
            let wait = backoff.next_wait();
            log::warn!(stage = stage.name(), retry_ms = millis(wait); "{e}");
            if self.stop.wait(wait) {
                return None;
            }
        }
    }

    /// Asks for work once.
    fn claim(&self, stage: Stage, request: &ClaimRequest) -> Result<Grant, ClientError> {
        let sent = Instant::now();
        let response = self.client.claim(stage, request)?;
        let waited_ms = response.waited_ms;
        let tasks = self.handed_out(stage, request.shard, response)?;
        self.watch.api_answers(None);
        // The leases began when the tasks were handed out, which was not before this moment.
        Ok(Grant { tasks, since: sent + Duration::from_millis(waited_ms).min(sent.elapsed()) })
    }

    /// The tasks of an answer, if they are what was asked for. They become paths here, so the API is not trusted: the
    /// names were checked when the answer was read.
    fn handed_out(
        &self,
        stage: Stage,
        asked: Option<ShardId>,
        response: ClaimResponse,
    ) -> Result<Vec<Claimed>, ClientError> {
        let not_asked_for = |what: String| {
            let why = format!("it handed out what was not asked for: {what}");
            ClientError::Unavailable { service: Service::Status, url: self.client.base().to_owned(), why }
        };
        if response.stage != stage {
            return Err(not_asked_for(format!("a task of {}", response.stage)));
        }
        let mut claimed = Vec::new();
        for item in response.items {
            let (shard, count) = (item.shard, item.shards_count);
            let is_ours = asked.is_none_or(|only| only == shard);
            match item.into_claimed() {
                Some(task) if is_ours && shard.get() < count => claimed.push(task),
                _ => return Err(not_asked_for(format!("shard {shard} of {count}"))),
            }
        }
        Ok(claimed)
    }
}

/// What one claim brought.
struct Grant {
    tasks: Vec<Claimed>,
    /// The moment from which the leases count here.
    since: Instant,
}

/// One run of the loop: the job, and how it gets on.
struct Run<'a> {
    driver: &'a Driver<'a>,
    job: &'a mut dyn Job,
    stage: Stage,
    tally: Tally,
    /// The waits after work was given back as unavailable, in a row.
    trouble: Backoff,
    pauses: Pauses,
}

impl<'a> Run<'a> {
    fn new(driver: &'a Driver<'a>, job: &'a mut dyn Job) -> Self {
        let (stage, pauses) = (job.stage(), Pauses::new(TROUBLE_BACKOFF));
        Self { driver, job, stage, tally: Tally::default(), trouble: TROUBLE_BACKOFF, pauses }
    }

    /// Works on what one claim brought, file by file.
    fn work_all(&mut self, grant: &Grant) {
        let is_one = |a: &Claimed, b: &Claimed| self.stage == Stage::ShardSplitter && a.key.file == b.key.file;
        let groups: Vec<&[Claimed]> = grant.tasks.chunk_by(is_one).collect();
        for group in groups {
            if self.driver.stop.is_requested() {
                self.give_up(group, &Fault::Stopped, Duration::ZERO);
            } else {
                self.work(group, grant.since);
            }
        }
    }

    /// Works on tasks of one file, and reports them.
    fn work(&mut self, group: &[Claimed], granted: Instant) {
        let began = Instant::now();
        let lease = Lease::new(self.stage, group, granted, self.driver.stop.clone());
        let heart = match Heart::start(&lease, self.driver.client) {
            Ok(heart) => heart,
            Err(fault) => return self.give_up(group, &fault, began.elapsed()),
        };
        // A panic over one file must not end the worker of all others; the attempt is counted and reported.
        let result = catch_unwind(AssertUnwindSafe(|| self.job.work(group, &lease)))
            .unwrap_or_else(|panic| Err(Fault::panicked(&*panic)));
        match result.and_then(|finished| check_is_whole(group, finished)) {
            Ok(finished) => {
                for (claimed, finished) in group.iter().zip(&finished) {
                    if self.report_done(claimed, finished, began.elapsed()) {
                        self.job.reported(&claimed.key);
                    }
                }
            }
            Err(fault) => self.give_up(group, &fault, began.elapsed()),
        }
        drop(heart);
    }

    /// Answers whether the report was taken.
    fn report_done(&mut self, claimed: &Claimed, finished: &Finished, took: Duration) -> bool {
        let request = TaskRequest {
            token: Some(claimed.token),
            counts: Some(finished.counts),
            output: finished.output,
            ..TaskRequest::new(&claimed.key)
        };
        let (stage, file, shard) = (self.stage.name(), claimed.key.file.as_str(), claimed.key.shard.get());
        if let Err(e) = self.report(Transition::Done, &request) {
            log::warn!(stage, file, shard; "finished, but the report was not taken: {e}");
            self.tally.failed += 1;
            let outcome = if e.is_task_taken() { TaskOutcome::Stale } else { TaskOutcome::Failed };
            self.driver.watch.task_over(self.stage, outcome, took, None);
            return false;
        }
        let counts = finished.counts;
        log::info!(stage, file, shard, attempt = claimed.attempt, read = counts.read, written = counts.written,
            duplicate = counts.duplicate, rejected = counts.rejected, ms = millis(took); "done");
        self.tally.done += 1;
        self.tally.counts = self.tally.counts.plus(counts);
        self.trouble.reset();
        self.pauses.end(claimed.key.shard);
        self.driver.watch.task_over(self.stage, TaskOutcome::Done, took, Some(finished));
        if !self.pauses.is_any() {
            self.driver.watch.unavailable(None);
        }
        true
    }

    /// Reports tasks that were not finished, and waits if something around them does not work.
    fn give_up(&mut self, group: &[Claimed], fault: &Fault, took: Duration) {
        let (transition, retry, outcome) = match fault {
            Fault::Permanent(_) => (Transition::Fail, false, TaskOutcome::Failed),
            Fault::Retryable(_) => (Transition::Fail, true, TaskOutcome::Failed),
            Fault::Unavailable(_) => (Transition::Release, true, TaskOutcome::Released),
            Fault::Stopped => (Transition::Release, false, TaskOutcome::Released),
            Fault::LeaseLost(_) => (Transition::Release, false, TaskOutcome::Stale),
        };
        if let Fault::Unavailable(why) = fault {
            self.driver.watch.unavailable(Some(why.clone()));
        }
        for claimed in group {
            let (stage, file, shard) = (self.stage.name(), claimed.key.file.as_str(), claimed.key.shard.get());
            match fault {
                Fault::Stopped => log::info!(stage, file, shard; "given back: {fault}"),
                Fault::Permanent(_) => log::error!(stage, file, shard; "failed: {fault}"),
                _ => log::warn!(stage, file, shard, attempt = claimed.attempt; "not finished: {fault}"),
            }
            let reason: String = fault.to_string().chars().take(REASON_CHARS_MAX).collect();
            let request = TaskRequest {
                token: Some(claimed.token),
                reason: Some(reason),
                retry,
                ..TaskRequest::new(&claimed.key)
            };
            self.tally.failed += u64::from(!matches!(fault, Fault::Stopped));
            self.driver.watch.task_over(self.stage, outcome, took, None);
            if let Err(e) = self.report(transition, &request)
                && !e.is_task_taken()
            {
                log::warn!(stage, file, shard; "the lease will have to run out: {e}");
            }
        }
        if matches!(fault, Fault::Unavailable(_)) {
            self.pause(group);
        }
    }

    /// Waits before the next claim. A sender of several shards leaves only the shard alone that is in trouble.
    fn pause(&mut self, group: &[Claimed]) {
        if let (Stage::MysqlSender, None, [claimed]) = (self.stage, self.driver.shard, group) {
            self.pauses.begin(claimed.key.shard, claimed.shards_count, Instant::now());
        } else {
            self.driver.stop.wait(self.trouble.next_wait());
        }
    }

    /// Reports until there is an answer: the effect is there already, and the report can be repeated safely.
    fn report(&self, transition: Transition, request: &TaskRequest) -> Result<(), ClientError> {
        let Driver { client, stop, watch, .. } = self.driver;
        let (mut backoff, began) = (REPORT_BACKOFF, Instant::now());
        let patience = if transition == Transition::Done { STOPPING_PATIENCE } else { Duration::ZERO };
        let mut stopping: Option<Instant> = None;
        loop {
            let unanswered = match client.transition(self.stage, transition, request) {
                Err(e) if e.is_temporary() => e,
                other => {
                    watch.api_answers(None);
                    return other.map(|_| ());
                }
            };
            watch.api_answers(Some(Fault::from(unanswered.clone()).to_string()));
            let is_over = stop.is_requested() && stopping.get_or_insert_with(Instant::now).elapsed() > patience;
            if is_over || stop.is_ended() || began.elapsed() > REPORT_PATIENCE {
                return Err(unanswered);
            }
            let wait = backoff.next_wait();
            log::warn!(stage = self.stage.name(), file = request.filename.as_str(), retry_ms = millis(wait);
                "cannot report '{}': {unanswered}", transition.name());
            // The stop does not end this wait at once: reporting is part of finishing. The deadline does.
            let ended = tokio::runtime::Handle::current()
                .block_on(async { tokio::time::timeout(wait, stop.ended()).await.is_ok() });
            if ended {
                return Err(unanswered);
            }
        }
    }
}

/// What a stage finished, if it is what was claimed, task by task: a task that is left out would not be reported, and one in
/// another's place would be reported with the counts of the other.
fn check_is_whole(claimed: &[Claimed], finished: Vec<Finished>) -> Result<Vec<Finished>, Fault> {
    if claimed.iter().map(|claimed| &claimed.key).eq(finished.iter().map(|finished| &finished.key)) {
        return Ok(finished);
    }
    let list = |keys: &mut dyn Iterator<Item = &TaskKey>| keys.map(TaskKey::to_string).collect::<Vec<_>>().join(", ");
    let claimed = list(&mut claimed.iter().map(|claimed| &claimed.key));
    let finished = list(&mut finished.iter().map(|finished| &finished.key));
    let why = format!("the stage was given {claimed} and finished {finished}");
    Err(Fault::Retryable(Class::Internal.tag(why)))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// 64 random bits as text.
pub(crate) fn random_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::ShardCount;

    fn key(shard: u64) -> TaskKey {
        TaskKey { file: "20250101000000".parse().unwrap(), shard: ShardId::new(shard).unwrap() }
    }

    fn claimed(shard: u64) -> Claimed {
        Claimed {
            key: key(shard),
            token: 1,
            lease_ms: 1000,
            attempt: 1,
            shards_count: ShardCount::new(2).unwrap(),
            input: None,
            is_replay: false,
        }
    }

    fn finished(shard: u64) -> Finished {
        Finished { key: key(shard), counts: Counts::default(), output: None, reasons: Reasons::default() }
    }

    #[test]
    fn a_stage_that_finishes_other_tasks_than_it_was_given_is_at_fault() {
        let both = [claimed(0), claimed(1)];
        assert_eq!(check_is_whole(&both, vec![finished(0), finished(1)]).unwrap().len(), 2);
        for wrong in [vec![], vec![finished(0)], vec![finished(1), finished(0)], [0, 1, 1].map(finished).to_vec()] {
            let fault = check_is_whole(&both, wrong).unwrap_err();
            assert!(matches!(&fault, Fault::Retryable(why) if why.contains("the stage was given")), "{fault}");
        }
    }
}
