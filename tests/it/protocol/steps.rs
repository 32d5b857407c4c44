//! Every step that the world can take, and what no step may do.

use shopctl::pipeline::task::moves::Call as Move;
use shopctl::pipeline::task::{MoveVerdict, Stage, Status, TaskRow};

use super::explorer::{Model, Next};
use super::world::{At, Bounds, Call, File, NOW, OVER, Report, STAGES, Without, Worker, World};

/// Claim, lease and fence over one task.
pub(super) struct Protocol {
    pub(super) bounds: Bounds,
    pub(super) without: Without,
    /// Where everything shall be able to end.
    pub(super) end: End,
}

/// What counts as an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Delivered or given up.
    Settled,
    /// Delivered, with a person who retries what was given up.
    Delivered,
}

/// A step; the number is that of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Ask(usize),
    AskAgain(usize),
    StopAsking(usize),
    LookAtOwnClock(usize),
    Draft(usize),
    Publish(usize),
    SendCommit(usize),
    CommitAgain(usize),
    SendReport(usize, Report),
    ReportAgain(usize),
    StopReporting(usize),
    Beat(usize),
    Crash(usize),
    /// A call arrives; its answer may be lost, and it may arrive once more.
    Arrives {
        call: Call,
        answer_lost: bool,
        once_more: bool,
    },
    CallLost(Call),
    /// The clock jumps past every lease and every wait.
    TimePasses,
    /// A person fails a stage that no worker has.
    PersonFails(Stage),
    PersonRetries(Stage),
    PersonRetriesCascade(Stage),
}

type Steps = Vec<Next<Protocol>>;

impl Model for Protocol {
    type State = World;
    type Step = Step;

    fn start(&self) -> World {
        World::new(&self.bounds)
    }

    fn steps(&self, world: &World, steps: &mut Steps) {
        for number in 0..self.bounds.workers {
            // Two workers in the same state have the same steps; the worlds are the same in canonical form.
            if number == 0 || world.workers[number] != world.workers[number - 1] {
                self.worker_steps(world, number, steps);
            }
        }
        for call in world.flying.into_iter().flatten() {
            self.call_steps(world, call, steps);
        }
        let mut later = world.clone();
        later.row.lease_until = later.row.lease_until.map(|_| OVER);
        later.row.next_at = None;
        if self.without == Without::MarkerButClock {
            for worker in &mut later.workers {
                if let Worker::Busy { late, .. } = worker {
                    *late = true;
                }
            }
        }
        push(steps, Step::TimePasses, Ok(later), true);
        if self.bounds.operator {
            self.person_steps(world, steps);
        }
    }

    fn fault(&self, world: &World) -> Option<String> {
        let row = &world.row;
        let (file, rows) = (row.status(Stage::ShardWorker), row.status(Stage::MysqlSender));
        if world.rows > 1 {
            return Some("the rows are written twice".to_owned());
        }
        if rows == Status::Done && world.rows == 0 {
            return Some("delivered without its rows".to_owned());
        }
        if file == Status::Done && Some(world.file) != world.reported.map(File::Whole) {
            return Some("the file is not what its report says".to_owned());
        }
        if matches!(rows, Status::Started | Status::Done) && file != Status::Done {
            return Some("a stage has begun before the one before it was done".to_owned());
        }
        if row.attempts > self.bounds.attempts {
            return Some("more attempts than allowed".to_owned());
        }
        for (number, worker) in world.workers.iter().enumerate() {
            if let Worker::Busy { token, .. } = worker {
                let holds = |other: &Worker| matches!(other, Worker::Busy { token: theirs, .. } if theirs == token);
                if world.workers[..number].iter().any(holds) {
                    return Some("two workers have the same token".to_owned());
                }
            }
        }
        self.stale_move(row)
    }

    fn is_end(&self, world: &World) -> bool {
        let status = |stage| world.row.status(stage);
        let given_up = STAGES.iter().any(|stage| status(*stage) == Status::Failed);
        status(Stage::MysqlSender) == Status::Done || self.end == End::Settled && given_up
    }
}

fn push(steps: &mut Steps, step: Step, to: Result<World, String>, fair: bool) {
    steps.push(Next { step, to: to.map(World::canonical), fair });
}

impl Protocol {
    fn worker_steps(&self, world: &World, number: usize, steps: &mut Steps) {
        let mine = world.workers[number];
        if !matches!(mine, Worker::Absent | Worker::Idle) {
            push(steps, Step::Crash(number), Ok(becomes(world, number, Worker::Idle)), false);
        }
        match mine {
            Worker::Absent => {}
            Worker::Idle => {
                let id = world.unused_id();
                let asking = becomes(world, number, Worker::Asking(id));
                self.sends(steps, Step::Ask(number), asking, Call::Claim(id), true);
            }
            Worker::Asking(id) => {
                self.sends(steps, Step::AskAgain(number), world.clone(), Call::Claim(id), true);
                push(steps, Step::StopAsking(number), Ok(becomes(world, number, Worker::Idle)), true);
            }
            Worker::Busy { stage, token, at, late } => {
                push(steps, Step::Beat(number), self.beat(world, number), false);
                let at_step = |at| becomes(world, number, Worker::Busy { stage, token, at, late });
                let report = |steps: &mut Steps, report, fair| {
                    let to = at_step(At::Reporting(report));
                    self.sends(
                        steps,
                        Step::SendReport(number, report),
                        to,
                        Call::Report { stage, report, token },
                        fair,
                    );
                };
                match at {
                    At::Reporting(report) => {
                        let call = Call::Report { stage, report, token };
                        self.sends(steps, Step::ReportAgain(number), world.clone(), call, true);
                        push(steps, Step::StopReporting(number), Ok(becomes(world, number, Worker::Idle)), false);
                        return;
                    }
                    At::Written => report(steps, Report::Done, true),
                    _ if stage == Stage::MysqlSender => self.sender_steps(world, number, steps, at_step),
                    _ => self.file_steps(number, token, at, steps, at_step),
                }
                for given_up in [Report::FailAttempt, Report::Release, Report::ReleaseLater] {
                    report(steps, given_up, false);
                }
            }
        }
    }

    /// A step with a call. One that finds no room is not sent now; some other one has to arrive or to be lost first.
    fn sends(&self, steps: &mut Steps, step: Step, to: World, call: Call, fair: bool) {
        if let Some(to) = to.send(call, &self.bounds) {
            push(steps, step, Ok(to), fair);
        }
    }

    /// Writes the file under another name, then gives it its own.
    fn file_steps(&self, number: usize, token: u64, at: At, steps: &mut Steps, at_step: impl Fn(At) -> World) {
        if at == At::Claimed {
            let mut to = at_step(At::Drafted);
            to.file = if self.without == Without::Rename { File::Half } else { to.file };
            push(steps, Step::Draft(number), Ok(to), true);
        } else {
            let mut to = at_step(At::Written);
            to.file = File::Whole(self.content(token));
            push(steps, Step::Publish(number), Ok(to), true);
        }
    }

    /// Reads the file and writes the rows in one transaction, whose end it may never hear of.
    fn sender_steps(&self, world: &World, number: usize, steps: &mut Steps, at_step: impl Fn(At) -> World) {
        let Worker::Busy { token, at, late, .. } = world.workers[number] else {
            return;
        };
        if at == At::Committing {
            push(steps, Step::CommitAgain(number), Ok(at_step(At::Claimed)), true);
            return;
        }
        if at == At::Claimed && self.without == Without::MarkerButClock {
            if !late {
                push(steps, Step::LookAtOwnClock(number), Ok(at_step(At::Checked)), true);
            }
            return;
        }
        // A late one compares with what it was told, which is what is reported now if anything is.
        let is_sound = match world.file {
            File::Whole(content) => world.reported.is_none_or(|reported| reported == content),
            File::Absent | File::Half => false,
        };
        if is_sound {
            self.sends(steps, Step::SendCommit(number), at_step(At::Committing), Call::Commit { token }, true);
        } else {
            let fault = "the sender reads another file than was reported".to_owned();
            push(steps, Step::SendCommit(number), Err(fault), true);
        }
    }

    fn content(&self, token: u64) -> u64 {
        if self.without == Without::SameBytes { token } else { 0 }
    }

    /// A heartbeat that arrives at once: one that comes late only lets less time pass.
    fn beat(&self, world: &World, number: usize) -> Result<World, String> {
        let Worker::Busy { stage, token, at, .. } = world.workers[number] else {
            return Ok(world.clone());
        };
        let mut to = world.clone();
        if self.moves(&mut to.row, stage, Move::Heartbeat(token))? {
            to.workers[number] = Worker::Busy { stage, token, at, late: false };
        }
        Ok(to)
    }

    fn call_steps(&self, world: &World, call: Call, steps: &mut Steps) {
        let mut without = world.clone();
        without.flying.iter_mut().filter(|place| **place == Some(call)).for_each(|place| *place = None);
        for (once_more, before) in [(false, &without), (true, world)] {
            for answer_lost in [false, true] {
                let step = Step::Arrives { call, answer_lost, once_more };
                push(steps, step, self.arrives(before, call, answer_lost), !once_more && !answer_lost);
            }
        }
        push(steps, Step::CallLost(call), Ok(without), false);
    }

    fn arrives(&self, world: &World, call: Call, answer_lost: bool) -> Result<World, String> {
        let mut to = world.clone();
        match call {
            Call::Claim(id) => self.claim(&mut to, id, answer_lost)?,
            Call::Report { stage, report, token } => {
                self.report(&mut to, stage, report, token)?;
                if !answer_lost {
                    hears(&mut to, token, At::Reporting(report), |_| Worker::Idle);
                }
            }
            Call::Commit { token } => {
                let has_marker = !matches!(self.without, Without::Marker | Without::MarkerButClock);
                if !has_marker || !to.marker {
                    to.rows = (to.rows + 1).min(2);
                    to.marker = has_marker;
                }
                if !answer_lost {
                    hears(&mut to, token, At::Committing, |busy| busy);
                }
            }
        }
        Ok(to)
    }

    /// As the store does it: the same id again gets the same token and counts no attempt.
    fn claim(&self, world: &mut World, id: u8, answer_lost: bool) -> Result<(), String> {
        let mut won = None;
        for stage in STAGES.iter().copied() {
            let again = world.claim == Some(id) && world.row.status(stage) == Status::Started;
            let call = if again { Move::Heartbeat(world.row.token) } else { Move::Claim };
            if self.moves(&mut world.row, stage, call)? && world.row.status(stage) == Status::Started {
                won = Some(stage);
                break;
            }
        }
        // The column is emptied by whatever ends a lease.
        world.claim = if won.is_some() { Some(id) } else { world.claim.filter(|_| world.row.lease_until.is_some()) };
        let asker = world.workers.iter_mut().find(|worker| **worker == Worker::Asking(id));
        if let (Some(asker), Some(stage), false) = (asker, won, answer_lost) {
            *asker = Worker::Busy { stage, token: world.row.token, at: At::Claimed, late: false };
        }
        Ok(())
    }

    fn report(&self, world: &mut World, stage: Stage, report: Report, token: u64) -> Result<(), String> {
        let trusted = self.without == Without::Fence && world.row.status(stage) == Status::Started;
        let named = if trusted { world.row.token } else { token };
        let call = match report {
            Report::Done => Move::Done(Some(named)),
            Report::FailAttempt => Move::FailAttempt(named),
            Report::Release => Move::Release(named),
            Report::ReleaseLater => Move::ReleaseLater(named),
        };
        let held_by = world.row.token;
        if self.moves(&mut world.row, stage, call)? {
            if token != held_by {
                return Err(format!("a stale token moved the task: {report:?}"));
            }
            world.claim = None;
            if stage == Stage::ShardWorker && report == Report::Done {
                world.reported = Some(self.content(token));
            }
        }
        Ok(())
    }

    fn person_steps(&self, world: &World, steps: &mut Steps) {
        for stage in self.bounds.stages.iter().copied() {
            let calls = [
                (Step::PersonFails(stage), Move::Fail(None)),
                (Step::PersonRetries(stage), Move::Retry),
                (Step::PersonRetriesCascade(stage), Move::RetryCascade),
            ];
            for (step, call) in calls {
                let mut to = world.clone();
                let moved = self.moves(&mut to.row, stage, call);
                let again = call != Move::Fail(None);
                // The report is forgotten with the work.
                if again && stage == Stage::ShardWorker && moved == Ok(true) {
                    to.reported = None;
                }
                push(steps, step, moved.map(|_| to), again && self.end == End::Delivered);
            }
        }
    }

    /// Lets the program decide; answers whether the row changed, or what the change breaks.
    fn moves(&self, row: &mut TaskRow, stage: Stage, call: Move) -> Result<bool, String> {
        let MoveVerdict::Change(next) = row.decide(stage, call, NOW, self.bounds.policy()) else {
            return Ok(false);
        };
        let before = std::mem::replace(row, next);
        match broken(&before, row, stage, call, self.bounds.attempts) {
            Some(rule) => Err(format!("{rule}: {before:?} {stage} {call:?} {row:?}")),
            None => Ok(true),
        }
    }

    /// Whatever token was ever handed out before the newest one: no call that names it changes anything, now or later.
    /// This is stronger than what the calls on their way can show, because those are few.
    fn stale_move(&self, row: &TaskRow) -> Option<String> {
        for token in 0..row.token {
            for stage in STAGES.iter().copied() {
                for call in [
                    Move::Heartbeat(token),
                    Move::Done(Some(token)),
                    Move::Fail(Some(token)),
                    Move::FailAttempt(token),
                    Move::Release(token),
                    Move::ReleaseLater(token),
                ] {
                    if matches!(row.decide(stage, call, NOW, self.bounds.policy()), MoveVerdict::Change(_)) {
                        return Some(format!("a stale token would move the task: {stage} {call:?}"));
                    }
                }
            }
        }
        None
    }
}

/// The world in which this worker has become another one.
fn becomes(world: &World, number: usize, worker: Worker) -> World {
    let mut world = world.clone();
    world.workers[number] = worker;
    world
}

/// The worker with this token hears an answer if it still waits for it.
fn hears(world: &mut World, token: u64, waits: At, then: impl Fn(Worker) -> Worker) {
    for worker in &mut world.workers {
        match worker {
            Worker::Busy { token: own, at, .. } if *own == token && *at == waits => {
                *at = At::Written;
                *worker = then(*worker);
            }
            _ => {}
        }
    }
}

/// The rule that this change of a row breaks, if it does.
fn broken(before: &TaskRow, after: &TaskRow, stage: Stage, call: Move, attempts_max: u32) -> Option<&'static str> {
    let by_person = matches!(call, Move::Retry | Move::RetryCascade);
    let undone = STAGES.iter().any(|s| before.status(*s) == Status::Done && after.status(*s) != Status::Done);
    if undone && !by_person {
        return Some("what is done did not stay done");
    }
    if after.token < before.token {
        return Some("a token was taken back");
    }
    let held = |row: &TaskRow| row.lease_until.is_some_and(|until| until >= NOW);
    match call {
        Move::Claim if after.status(stage) == Status::Started => {
            if held(before) {
                return Some("a live lease was given to another one");
            }
            if (after.token, after.attempts) != (before.token + 1, before.attempts + 1) {
                return Some("a claim without a token and an attempt of its own");
            }
            (before.attempts >= attempts_max).then_some("an attempt more than allowed")
        }
        Move::Release(_) | Move::ReleaseLater(_) if after.attempts + 1 != before.attempts => {
            Some("giving a task back counts as an attempt")
        }
        Move::Fail(None) | Move::Retry | Move::RetryCascade if held(before) && !held(after) => {
            Some("a person took a lease away")
        }
        _ => None,
    }
}
