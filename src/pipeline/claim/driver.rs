//! The loop that all stages share: it claims tasks, works on them and reports them. A claim waits at the API until
//! there is work, so that the loop does not poll (docs/semantics.md, 2).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::apid::client::{Client, ClientError};
use super::super::calls::Service;
use super::fault::Fault;
use super::lease::{Heart, Lease};
use super::pauses::{Ask, Pauses};
use crate::base::shutdown::Stop;
use crate::pipeline::event::{Reasons, ShardId};
use crate::pipeline::task::wire::{ClaimRequest, ClaimResponse, TaskRequest};
use crate::pipeline::task::{Claimed, Class, Counts, Output, Stage, TaskKey};

/// The first and the longest wait after the API did not answer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How long a report is repeated before the task is left to its lease. Longer than a lease on purpose: while the API
/// does not answer, no other worker gets the task either, and a report that comes in time saves an attempt.
const REPORT_PATIENCE: Duration = Duration::from_secs(3600);
/// The longest wait between two reports.
const REPORT_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The first and the longest wait after work was given back as unavailable. The task is ready again for other workers.
const TROUBLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
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

/// How a run gets on.
#[derive(Default)]
struct Run {
    tally: Tally,
    /// How often in a row work was given back as unavailable.
    in_trouble: u32,
    pauses: Pauses,
}

/// What the loop tells its observer, for the metrics.
pub trait Watch: Send + Sync {
    /// A task's work is over; `outcome` is `done`, `failed`, `released` or `stale`.
    fn task_over(&self, stage: Stage, outcome: &'static str, took: Duration, finished: Option<&Finished>);
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
        let mut run = Run::default();
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
            let Some((claimed, granted)) = self.claim_patiently(job.stage(), shard, wait) else {
                break;
            };
            if claimed.is_empty() {
                if let Some(shard) = shard {
                    run.pauses.nothing(shard);
                }
                self.watch.idle();
                continue;
            }
            self.work_all(job, claimed, granted, &mut run);
        }
        run.tally
    }

    /// Works on what is ready and answers when nothing is left.
    ///
    /// # Errors
    /// [`ClientError`] when the API does not hand out work.
    pub fn run_once(&self, job: &mut dyn Job) -> Result<Tally, ClientError> {
        let mut run = Run::default();
        while !self.stop.is_requested() {
            let request = self.claim_request(self.shard, Duration::ZERO);
            let (claimed, granted) = self.claim(job.stage(), &request)?;
            if claimed.is_empty() {
                break;
            }
            self.work_all(job, claimed, granted, &mut run);
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
    fn claim_patiently(&self, stage: Stage, shard: Option<ShardId>, wait: Duration) -> Option<(Vec<Claimed>, Instant)> {
        let request = self.claim_request(shard, wait);
        let mut backoff = BACKOFF.0;
        loop {
            let e = match self.claim(stage, &request) {
                Ok(answer) => return Some(answer),
                Err(e) => e,
            };
            self.watch.api_answers(Some(Fault::from(e.clone()).to_string()));
            log::warn!(stage = stage.name(), retry_ms = millis(backoff); "{e}");
            if self.stop.wait(jittered(backoff)) {
                return None;
            }
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Asks for work once; answers the tasks, and the moment from which their leases count here.
    fn claim(&self, stage: Stage, request: &ClaimRequest) -> Result<(Vec<Claimed>, Instant), ClientError> {
        let sent = Instant::now();
        let response = self.client.claim(stage, request)?;
        let waited_ms = response.waited_ms;
        let claimed = self.handed_out(stage, request.shard, response)?;
        self.watch.api_answers(None);
        // The leases began when the tasks were handed out, which was not before this moment.
        Ok((claimed, sent + Duration::from_millis(waited_ms).min(sent.elapsed())))
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

    /// Works on what one claim brought, file by file.
    fn work_all(&self, job: &mut dyn Job, claimed: Vec<Claimed>, granted: Instant, run: &mut Run) {
        let stage = job.stage();
        for group in claimed.chunk_by(|a, b| stage == Stage::ShardSplitter && a.key.file == b.key.file) {
            if self.stop.is_requested() {
                self.give_up(stage, group, &Fault::Stopped, Instant::now(), run);
                continue;
            }
            self.work(job, group, granted, run);
        }
    }

    fn work(&self, job: &mut dyn Job, group: &[Claimed], granted: Instant, run: &mut Run) {
        let (stage, began) = (job.stage(), Instant::now());
        let lease = Lease::new(stage, group, granted, self.stop.clone());
        let heart = match Heart::start(&lease, self.client) {
            Ok(heart) => heart,
            Err(fault) => return self.give_up(stage, group, &fault, began, run),
        };
        // A panic over one file must not end the worker of all others; the attempt is counted and reported.
        let result = catch_unwind(AssertUnwindSafe(|| job.work(group, &lease)))
            .unwrap_or_else(|panic| Err(Fault::panicked(&*panic)));
        match result.and_then(|finished| check_is_whole(group, finished)) {
            Ok(finished) => {
                for (claimed, finished) in group.iter().zip(&finished) {
                    if self.report_done(stage, claimed, finished, began.elapsed(), run) {
                        job.reported(&claimed.key);
                    }
                }
            }
            Err(fault) => self.give_up(stage, group, &fault, began, run),
        }
        drop(heart);
    }

    /// Answers whether the report was taken.
    fn report_done(&self, stage: Stage, claimed: &Claimed, finished: &Finished, took: Duration, run: &mut Run) -> bool {
        let request = TaskRequest {
            token: Some(claimed.token),
            counts: Some(finished.counts),
            output: finished.output,
            ..TaskRequest::new(&claimed.key)
        };
        let (file, shard) = (claimed.key.file.as_str(), claimed.key.shard.get());
        match self.report(stage, "done", &request) {
            Ok(()) => {
                let counts = finished.counts;
                run.tally.done += 1;
                run.tally.counts = run.tally.counts.plus(counts);
                run.in_trouble = 0;
                run.pauses.end(claimed.key.shard);
                log::info!(stage = stage.name(), file, shard, attempt = claimed.attempt, read = counts.read,
                    written = counts.written, duplicate = counts.duplicate, rejected = counts.rejected, ms = millis(took);
                    "done");
                self.watch.task_over(stage, "done", took, Some(finished));
                if !run.pauses.is_any() {
                    self.watch.unavailable(None);
                }
                true
            }
            Err(e) => {
                run.tally.failed += 1;
                let outcome = if e.is_conflict() { "stale" } else { "failed" };
                log::warn!(stage = stage.name(), file, shard; "finished, but the report was not taken: {e}");
                self.watch.task_over(stage, outcome, took, None);
                false
            }
        }
    }

    fn give_up(&self, stage: Stage, group: &[Claimed], fault: &Fault, began: Instant, run: &mut Run) {
        let (transition, retry, outcome) = match fault {
            Fault::Permanent(_) => ("fail", false, "failed"),
            Fault::Retryable(_) => ("fail", true, "failed"),
            Fault::Unavailable(_) => ("release", true, "released"),
            Fault::Stopped => ("release", false, "released"),
            Fault::LeaseLost(_) => ("release", false, "stale"),
        };
        let took = began.elapsed();
        if let Fault::Unavailable(why) = fault {
            self.watch.unavailable(Some(why.clone()));
        }
        for claimed in group {
            let (file, shard) = (claimed.key.file.as_str(), claimed.key.shard.get());
            match fault {
                Fault::Stopped => log::info!(stage = stage.name(), file, shard; "given back: {fault}"),
                Fault::Permanent(_) => log::error!(stage = stage.name(), file, shard; "failed: {fault}"),
                _ => log::warn!(stage = stage.name(), file, shard, attempt = claimed.attempt; "not finished: {fault}"),
            }
            let reason: String = fault.to_string().chars().take(REASON_CHARS_MAX).collect();
            let request = TaskRequest {
                token: Some(claimed.token),
                reason: Some(reason),
                retry,
                ..TaskRequest::new(&claimed.key)
            };
            run.tally.failed += u64::from(!matches!(fault, Fault::Stopped));
            self.watch.task_over(stage, outcome, took, None);
            if let Err(e) = self.report(stage, transition, &request)
                && !e.is_conflict()
            {
                log::warn!(stage = stage.name(), file, shard; "the lease will have to run out: {e}");
            }
        }
        if matches!(fault, Fault::Unavailable(_)) {
            self.pause(stage, group, run);
        }
    }

    /// Waits before the next claim. A sender of several shards leaves only the shard alone that is in trouble.
    fn pause(&self, stage: Stage, group: &[Claimed], run: &mut Run) {
        let wait = |failures: u32| jittered((TROUBLE.0 * (1 << failures.min(8))).min(TROUBLE.1));
        if let (Stage::MysqlSender, None, [claimed]) = (stage, self.shard, group) {
            return run.pauses.begin(claimed.key.shard, claimed.shards_count, Instant::now(), wait);
        }
        self.stop.wait(wait(run.in_trouble));
        run.in_trouble = run.in_trouble.saturating_add(1);
    }

    /// Reports until there is an answer: the effect is there already, and the report can be repeated safely.
    fn report(&self, stage: Stage, transition: &str, request: &TaskRequest) -> Result<(), ClientError> {
        let (mut backoff, began) = (BACKOFF.0, Instant::now());
        let patience = if transition == "done" { STOPPING_PATIENCE } else { Duration::ZERO };
        let mut stopping: Option<Instant> = None;
        loop {
            let unanswered = match self.client.transition(stage, transition, request) {
                Err(e) if e.is_temporary() => e,
                other => {
                    self.watch.api_answers(None);
                    return other.map(|_| ());
                }
            };
            self.watch.api_answers(Some(Fault::from(unanswered.clone()).to_string()));
            let is_over = self.stop.is_requested() && stopping.get_or_insert_with(Instant::now).elapsed() > patience;
            if is_over || self.stop.is_ended() || began.elapsed() > REPORT_PATIENCE {
                return Err(unanswered);
            }
            log::warn!(stage = stage.name(), file = request.filename.as_str(), retry_ms = millis(backoff);
                "cannot report '{transition}': {unanswered}");
            // The stop does not end this wait at once: reporting is part of finishing. The deadline does.
            let rest = jittered(backoff);
            let ended = tokio::runtime::Handle::current()
                .block_on(async { tokio::time::timeout(rest, self.stop.ended()).await.is_ok() });
            if ended {
                return Err(unanswered);
            }
            backoff = (backoff * 2).min(REPORT_BACKOFF_MAX);
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

/// Half of the wait, and a random part of the other half.
fn jittered(backoff: Duration) -> Duration {
    backoff / 2 + backoff.mul_f64(rand::random_range(0.0..0.5))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// 64 random bits as text.
pub fn random_id() -> String {
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
