//! Accounts against a model in a few lines: random batches, with keys that come again, must have the same outcomes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use shopctl::pipeline::balance::open::open_balance;
use shopctl::pipeline::balance::store::BalanceStore;
use shopctl::pipeline::event::Money;
use shopctl::pipeline::trade::{Operation, OperationKind, Outcome};

use super::balance::{operation, user};
use super::*;

const OPENING: i64 = 40;
const USERS: i64 = 3;

/// What is known of the accounts, in plain words.
#[derive(Debug, Clone, Default)]
struct Model {
    balances: BTreeMap<i64, i64>,
    decided: BTreeMap<String, (Operation, Outcome)>,
}

impl Model {
    /// What a batch comes to; an error leaves everything as it was.
    fn apply(&mut self, batch: &[Operation]) -> std::result::Result<Vec<(Outcome, bool)>, &'static str> {
        let mut next = self.clone();
        let mut answers = Vec::new();
        for operation in batch {
            answers.push(next.take(operation)?);
        }
        *self = next;
        Ok(answers)
    }

    fn take(&mut self, operation: &Operation) -> std::result::Result<(Outcome, bool), &'static str> {
        let key = operation.key.as_str().to_owned();
        if let Some((before, outcome)) = self.decided.get(&key) {
            return if before.is_same(operation) { Ok((*outcome, true)) } else { Err("key_conflict") };
        }
        let balance = self.balances.entry(operation.user.get()).or_insert(OPENING);
        let amount = operation.amount.money().minor();
        let outcome = match operation.kind {
            OperationKind::Credit => {
                *balance += amount;
                Outcome::Applied
            }
            OperationKind::Debit if *balance >= amount => {
                *balance -= amount;
                Outcome::Applied
            }
            OperationKind::Debit => Outcome::InsufficientFunds,
        };
        self.decided.insert(key, (operation.clone(), outcome));
        Ok((outcome, false))
    }
}

/// Mostly one content per key, so that most batches are taken.
fn one() -> impl Strategy<Value = Operation> {
    let strange = proptest::bool::weighted(0.01);
    (0_i64..40, strange).prop_map(|(key, is_strange)| {
        let kind = if key % 3 == 0 { OperationKind::Credit } else { OperationKind::Debit };
        let amount = 1 + key * 7 % 30 + i64::from(is_strange);
        operation(&format!("key {key}"), 1 + key % USERS, kind, amount)
    })
}

async fn run_batches(backend: &dyn Backend, batches: &[Vec<Operation>]) -> std::result::Result<(), TestCaseError> {
    migrate(&backend.balance(), &schemas::BALANCE).await.unwrap();
    for table in ["account_operation", "account_transaction", "user"] {
        backend.change(&backend.balance(), &format!("DELETE FROM {table}")).await;
    }
    let clock = Clock::manual(Timestamp::from_unix_ms(START_MS));
    let store: Arc<dyn BalanceStore> =
        open_balance(&backend.balance(), clock, Money::from_minor(OPENING)).await.unwrap();
    let mut model = Model::default();
    for batch in batches {
        let expected = model.apply(batch);
        let got = match store.apply(batch).await {
            Ok(answers) => Ok(answers.into_iter().map(|answer| (answer.outcome, answer.is_repeated)).collect()),
            refused => Err(code(refused)),
        };
        prop_assert_eq!(got, expected, "{:?}", batch);
        for number in 1..=USERS {
            let balance = store.find_account(user(number)).await.unwrap().map(|account| account.balance.minor());
            prop_assert_eq!(balance, model.balances.get(&number).copied());
        }
    }
    prop_assert_eq!(store.totals().await.unwrap().unbalanced, 0);
    store.close().await;
    Ok(())
}

/// Random batches; the seed is the same every time.
fn agrees_on_random_batches(backend: &dyn Backend, cases: u32) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let batches = proptest::collection::vec(proptest::collection::vec(one(), 0..12), 1..8);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let run = |batches: Vec<Vec<Operation>>| runtime.block_on(run_batches(backend, &batches));
    runner.run(&batches, run).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn sqlite_does_what_the_model_says() {
    agrees_on_random_batches(&Sqlite::fresh(), 200);
}

mod on_mariadb {
    use super::*;

    #[test]
    fn does_what_the_model_says() {
        agrees_on_random_batches(&served::Served::mariadb(), 60);
    }
}

mod on_mysql {
    use super::*;

    #[test]
    fn does_what_the_model_says() {
        agrees_on_random_batches(&served::Served::mysql(), 60);
    }
}
