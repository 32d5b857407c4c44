//! The store against the pure model: the same calls, step by step, must have the same outcome.
//!
//! [`TaskRow::decide`] says what is legal in plain words, the store says it in the WHERE of its statements. Random
//! sequences over two files with two shards each find where the two disagree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use shopctl::pipeline::task::{MoveVerdict, TaskRow};

use super::*;

/// One step of a random sequence.
#[derive(Debug, Clone)]
enum Step {
    /// A call about one task.
    Call { task: usize, stage: Stage, call: Call },
    /// A claim; with `again`, under the id of the claim before.
    Claim { stage: Stage, limit: u32, shard: Option<u64>, again: bool },
    /// Marks a file's event file complete.
    IngestDone { file: usize },
    /// Time passes.
    Wait { ms: i64 },
}

/// The model of one task: its row, and the id of the claim that holds it.
#[derive(Debug, Clone)]
struct Modelled {
    row: TaskRow,
    claim_id: Option<String>,
}

/// The model of the whole store.
struct Model {
    tasks: BTreeMap<TaskKey, Modelled>,
    policy: RetryPolicy,
}

const STAGES: [Stage; 3] = [SPLIT, WORK, SEND];

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![3 => Just(SPLIT), 2 => Just(WORK), 2 => Just(SEND)]
}

/// Calls with tokens as offsets from the newest: most are right, some are late or invented.
fn call() -> impl Strategy<Value = Call> {
    let token = prop_oneof![6 => Just(100_u64), 1 => Just(99_u64), 1 => Just(101_u64)];
    prop_oneof![
        3 => Just(Call::Start),
        2 => token.clone().prop_map(Call::Heartbeat),
        3 => Just(Call::Done(None)),
        5 => token.clone().prop_map(|token| Call::Done(Some(token))),
        1 => Just(Call::Fail(None)),
        2 => token.clone().prop_map(|token| Call::Fail(Some(token))),
        2 => token.clone().prop_map(Call::FailAttempt),
        2 => token.clone().prop_map(Call::Release),
        1 => token.prop_map(Call::ReleaseLater),
        3 => Just(Call::Retry),
        2 => Just(Call::RetryCascade),
    ]
}

/// The ends of a lease more often than chance would hit them.
fn wait() -> impl Strategy<Value = i64> {
    prop_oneof![Just(LEASE_MS - 1), Just(LEASE_MS), Just(LEASE_MS + 1), 0_i64..LEASE_MS]
}

fn step() -> impl Strategy<Value = Step> {
    let shard = prop_oneof![3 => Just(None), 1 => (0_u64..3).prop_map(Some)];
    prop_oneof![
        10 => (0_usize..4, stage(), call()).prop_map(|(task, stage, call)| Step::Call { task, stage, call }),
        5 => (stage(), 1_u32..4, shard, proptest::bool::weighted(0.2))
            .prop_map(|(stage, limit, shard, again)| Step::Claim { stage, limit, shard, again }),
        1 => (0_usize..2).prop_map(|file| Step::IngestDone { file }),
        3 => wait().prop_map(|ms| Step::Wait { ms }),
    ]
}

/// The call with real tokens: 100 stands for the newest one.
fn with_tokens(call: Call, newest: u64) -> Call {
    let real = |token: u64| (newest + token).saturating_sub(100);
    match call {
        Call::Heartbeat(token) => Call::Heartbeat(real(token)),
        Call::Done(token) => Call::Done(token.map(real)),
        Call::Fail(token) => Call::Fail(token.map(real)),
        Call::FailAttempt(token) => Call::FailAttempt(real(token)),
        Call::Release(token) => Call::Release(real(token)),
        Call::ReleaseLater(token) => Call::ReleaseLater(real(token)),
        other => other,
    }
}

impl Model {
    fn new(policy: RetryPolicy) -> Self {
        let fresh = || Modelled { row: TaskRow::registered(), claim_id: None };
        let keys = [key(1, 0), key(1, 1), key(2, 0), key(2, 1)];
        Self { tasks: keys.into_iter().map(|key| (key, fresh())).collect(), policy }
    }

    /// What the model answers to a call about one task.
    fn apply(
        &mut self,
        key: &TaskKey,
        stage: Stage,
        call: Call,
        now: Timestamp,
    ) -> std::result::Result<Status, &'static str> {
        let task = self.tasks.get_mut(key).unwrap();
        match task.row.decide(stage, call, now, self.policy) {
            MoveVerdict::Change(row) => {
                task.row = row;
                if !matches!(call, Call::Heartbeat(_) | Call::Retry | Call::RetryCascade) {
                    task.claim_id = None;
                }
                Ok(task.row.status(stage))
            }
            MoveVerdict::Same => Ok(task.row.status(stage)),
            MoveVerdict::Refuse(refusal) => Err(refusal.code()),
        }
    }

    /// What the model hands out: (task, token, attempt).
    fn claim(&mut self, claim: &Claim, now: Timestamp) -> Vec<(TaskKey, u64, u32)> {
        let replayed = self.replay(claim, now);
        if !replayed.is_empty() {
            return replayed;
        }
        self.give_up_exhausted(claim.stage, now);
        if claim.stage.in_file_order() { self.claim_in_order(claim, now) } else { self.claim_files(claim, now) }
    }

    fn replay(&mut self, claim: &Claim, now: Timestamp) -> Vec<(TaskKey, u64, u32)> {
        let mut held = Vec::new();
        for (key, task) in &mut self.tasks {
            let is_held = task.claim_id.as_ref() == Some(&claim.claim_id) && task.row.lease_until.is_some();
            if is_held && task.row.status(claim.stage) == Status::Started {
                task.row.lease_until = Some(now.plus_ms(self.policy.lease_ms));
                held.push((key.clone(), task.row.token, task.row.attempts));
            }
        }
        held
    }

    /// A claim of a task whose last attempt ran out is what fails it; no worker gets it.
    fn give_up_exhausted(&mut self, stage: Stage, now: Timestamp) {
        for task in self.tasks.values_mut() {
            if task.row.status(stage) != Status::Started {
                continue;
            }
            if let MoveVerdict::Change(row) = task.row.decide(stage, Call::Claim, now, self.policy)
                && row.status(stage) == Status::Failed
            {
                *task = Modelled { row, claim_id: None };
            }
        }
    }

    fn claim_one(&mut self, key: &TaskKey, claim: &Claim, now: Timestamp) -> Option<(TaskKey, u64, u32)> {
        let task = self.tasks.get_mut(key).unwrap();
        let MoveVerdict::Change(row) = task.row.decide(claim.stage, Call::Claim, now, self.policy) else {
            return None;
        };
        *task = Modelled { row, claim_id: Some(claim.claim_id.clone()) };
        Some((key.clone(), task.row.token, task.row.attempts))
    }

    fn claim_files(&mut self, claim: &Claim, now: Timestamp) -> Vec<(TaskKey, u64, u32)> {
        let mut claimed = Vec::new();
        for number in [1, 2] {
            if claimed.len() >= claim.limit as usize {
                break;
            }
            for of_shard in 0..2 {
                if claim.shard.is_none_or(|only| only == shard(of_shard)) {
                    claimed.extend(self.claim_one(&key(number, of_shard), claim, now));
                }
            }
        }
        claimed
    }

    fn claim_in_order(&mut self, claim: &Claim, now: Timestamp) -> Vec<(TaskKey, u64, u32)> {
        let unfinished = |key: &TaskKey| {
            let row = &self.tasks[key].row;
            let given_up = row.statuses[..claim.stage.index()].contains(&Status::Failed);
            let complete = row.status(INGEST) == Status::Done;
            complete && !given_up && matches!(row.status(claim.stage), Status::New | Status::Started)
        };
        let shards = (0..2).filter(|of_shard| claim.shard.is_none_or(|only| only == shard(*of_shard)));
        let oldest = |of_shard| [1, 2].map(|number| key(number, of_shard)).into_iter().find(unfinished);
        let mut candidates: Vec<TaskKey> = shards.filter_map(oldest).collect();
        candidates.sort();
        let mut claimed = Vec::new();
        for key in candidates {
            if claimed.len() < claim.limit as usize {
                claimed.extend(self.claim_one(&key, claim, now));
            }
        }
        claimed
    }
}

/// The store and the model side by side.
struct Pair {
    world: World,
    model: Model,
    claims: usize,
}

impl Pair {
    async fn open(backend: &dyn Backend) -> Self {
        let world = World::open(backend).await;
        for number in [1, 2] {
            world.tracking.register(&file(number), &all(2)).await.unwrap();
        }
        Self { world, model: Model::new(policy().moves), claims: 0 }
    }

    async fn take(&mut self, step: &Step) -> std::result::Result<(), TestCaseError> {
        let now = self.world.clock.now();
        match step {
            Step::Wait { ms } => self.world.clock.advance_ms(*ms),
            Step::IngestDone { file: index } => {
                let name = file([1, 2][*index]);
                self.world.tracking.ingest_done(&name, None).await.unwrap();
                for (_, task) in self.model.tasks.iter_mut().filter(|(key, _)| key.file == name) {
                    task.row.statuses[0] = Status::Done;
                    task.row.done_by[0] = Some(0);
                }
            }
            Step::Call { task, stage, call } => {
                let key = [key(1, 0), key(1, 1), key(2, 0), key(2, 1)][*task].clone();
                let call = with_tokens(*call, self.model.tasks[&key].row.token);
                let expected = self.model.apply(&key, *stage, call, now);
                let got = match self.world.apply(&key, *stage, call).await {
                    Ok(status) => Ok(status),
                    refused => Err(code(refused)),
                };
                prop_assert_eq!(got, expected, "{:?} of {} by {:?}", stage, key, call);
            }
            Step::Claim { stage, limit, shard: only, again } => {
                self.claims += usize::from(!*again);
                let claim = Claim {
                    stage: *stage,
                    worker: "w".to_owned(),
                    limit: *limit,
                    shard: only.map(shard),
                    claim_id: self.claims.to_string(),
                    takes_over: true,
                };
                let expected = self.model.claim(&claim, now);
                let got = self.world.tracking.claim(&claim).await.unwrap();
                let got: Vec<_> = got.into_iter().map(|task| (task.key, task.token, task.attempt)).collect();
                prop_assert_eq!(got, expected, "{:?}", claim);
            }
        }
        self.compare(step).await
    }

    /// Every row of the store is the model's row.
    async fn compare(&self, step: &Step) -> std::result::Result<(), TestCaseError> {
        for (key, task) in &self.model.tasks {
            let view = self.world.task(key).await;
            let stored = TaskRow {
                statuses: view.statuses,
                token: view.token,
                attempts: view.attempts,
                lease_until: view.lease_until,
                next_at: view.next_at,
                done_by: Stage::ALL.map(|stage| view.result(stage).map(|result| result.token)),
            };
            prop_assert_eq!(&stored, &task.row, "{} after {:?}", key, step);
        }
        Ok(())
    }
}

fn run_steps(backend: &dyn Backend, steps: &[Step]) -> std::result::Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        migrate(&backend.tracking(), &schemas::TRACKING).await.unwrap();
        // The same database for every run: making one takes a server longer than all the steps.
        for table in ["pipeline_tracking", "pipeline_stage_result"] {
            backend.change(&backend.tracking(), &format!("DELETE FROM {table}")).await;
        }
        let mut pair = Pair::open(backend).await;
        for step in steps {
            pair.take(step).await?;
        }
        pair.world.tracking.close().await;
        Ok(())
    })
}

/// Random sequences; the seed is the same every time.
fn agrees_on_random_steps(backend: &dyn Backend, cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let steps = proptest::collection::vec(step(), 1..60);
    runner.run(&steps, |steps| run_steps(backend, &steps)).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn sqlite_does_what_the_model_says() {
    agrees_on_random_steps(&Sqlite::fresh(), 48);
}

#[test]
fn sqlite_agrees_in_every_reachable_state() {
    agrees_in_every_state(&Sqlite::fresh());
}

mod on_mariadb {
    use super::*;

    #[test]
    fn does_what_the_model_says() {
        agrees_on_random_steps(&served::Served::mariadb(), 24);
    }

    #[test]
    fn agrees_in_every_reachable_state() {
        agrees_in_every_state(&served::Served::mariadb());
    }
}

mod on_mysql {
    use super::*;

    #[test]
    fn does_what_the_model_says() {
        agrees_on_random_steps(&served::Served::mysql(), 24);
    }

    #[test]
    fn agrees_in_every_reachable_state() {
        agrees_in_every_state(&served::Served::mysql());
    }
}

/// Every call in every state that three stages can reach within a few moves: what chance may miss.
fn agrees_in_every_state(backend: &dyn Backend) {
    let prefixes: [&[(Stage, Call)]; 8] = [
        &[],
        &[(SPLIT, Call::Start)],
        &[(SPLIT, Call::Claim)],
        &[(SPLIT, Call::Fail(None))],
        &[(SPLIT, Call::Claim), (WORK, Call::Fail(None))],
        &[(SPLIT, Call::Start), (WORK, Call::Fail(None))],
        &[(SPLIT, Call::Start), (SPLIT, Call::Done(None)), (WORK, Call::Claim)],
        &[(SPLIT, Call::Start), (SPLIT, Call::Done(None)), (WORK, Call::Fail(None))],
    ];
    let calls = [
        Call::Start,
        Call::Heartbeat(100),
        Call::Done(None),
        Call::Done(Some(100)),
        Call::Fail(None),
        Call::Fail(Some(100)),
        Call::FailAttempt(100),
        Call::Release(100),
        Call::Retry,
        Call::RetryCascade,
    ];
    let as_step = |(stage, call): (Stage, Call)| match call {
        Call::Claim => Step::Claim { stage, limit: 1, shard: Some(0), again: false },
        call => Step::Call { task: 0, stage, call },
    };
    for prefix in prefixes {
        let begin = [Step::IngestDone { file: 0 }].into_iter().chain(prefix.iter().copied().map(as_step));
        let begin: Vec<Step> = begin.collect();
        for stage in STAGES {
            for call in calls {
                // Twice: a repeat is answered like the call itself.
                let mut steps = begin.clone();
                steps.extend([Step::Call { task: 0, stage, call }, Step::Call { task: 0, stage, call }]);
                run_steps(backend, &steps).unwrap_or_else(|e| panic!("{steps:?}: {e}"));
            }
        }
    }
}
