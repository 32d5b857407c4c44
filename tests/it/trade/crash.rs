//! The services are killed in the middle of everything; the callers repeat what was not answered. What was answered
//! once is what is true in the end.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use shopctl::base::clock::Clock;
use shopctl::base::db::StoreUrl;
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::balance::client::BalanceClient;
use shopctl::pipeline::balance::open::open_balance;
use shopctl::pipeline::balance::store::BalanceStore;
use shopctl::pipeline::cache::client::CacheClient;
use shopctl::pipeline::calls::ClientError;
use shopctl::pipeline::event::{Money, ShardId};
use shopctl::pipeline::settings::{Settings, principal};
use shopctl::pipeline::task::TaskKey;
use shopctl::pipeline::trade::{
    Amount, EarlyReturn, NewOrder, Operation, OperationKey, OperationKind, OrderId, OrderState, Outcome, PutOutcome,
    UserId,
};

use crate::support::pipeline::{Pipeline, settings_of};
use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::{PATIENCE, eventually};

/// Callers at once.
const CALLERS: usize = 4;
/// Calls of each of them.
const CALLS: usize = 60;
/// How often the service is killed.
const KILLS: usize = 8;

/// A service behind a proxy that keeps its address while the service is killed and started again.
struct Killed {
    pipeline: Pipeline,
    proxy: Proxy,
    role: &'static str,
    process: Option<Process>,
}

impl Killed {
    fn start(role: &'static str) -> Self {
        let mut killed = Self {
            pipeline: Pipeline::new(&["balance.opening_balance=20"]),
            proxy: Proxy::start(),
            role,
            process: None,
        };
        killed.start_again();
        killed
    }

    fn start_again(&mut self) {
        let process = self.pipeline.spawn(&[self.role], None);
        self.proxy.set_backend(process.wait_port());
        self.process = Some(process);
    }

    /// The settings of a caller.
    fn settings(&self) -> Settings {
        let flags = ["balance.url", "cache.url"].map(|key| (key.to_owned(), self.proxy.root())).to_vec();
        settings_of(flags)
    }

    /// Kills it again and again while `calls` go on, each time after some more of them were answered.
    fn kill_during(&mut self, answered: &AtomicUsize, all: usize, calls: impl Fn(usize) + Sync) {
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                let calls = &calls;
                scope.spawn(move || calls(caller));
            }
            for kill in 1..=KILLS {
                let wanted = all * kill / (KILLS + 1);
                eventually("calls are answered", PATIENCE, || answered.load(Ordering::SeqCst) >= wanted);
                self.process.take().unwrap().kill9();
                self.start_again();
            }
        });
        assert_eq!(answered.load(Ordering::SeqCst), all);
        let ended = self.process.take().unwrap().terminate(PATIENCE).expect_code(0);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
}

/// Makes a call until it is answered; counts how often it was not.
fn until_answered<T>(lost: &AtomicUsize, call: impl Fn() -> Result<T, ClientError>) -> T {
    let mut answer = None;
    eventually("the service answers", PATIENCE, || match call() {
        Ok(value) => {
            answer = Some(value);
            true
        }
        Err(e) if e.is_away() => {
            lost.fetch_add(1, Ordering::SeqCst);
            false
        }
        Err(other) => panic!("{other}"),
    });
    answer.unwrap()
}

fn operation(key: String, user: usize, kind: OperationKind, minor: i64) -> Operation {
    Operation {
        key: OperationKey::new(key).unwrap(),
        user: UserId::new(1 + i64::try_from(user).unwrap()).unwrap(),
        kind,
        amount: Amount::from_minor(minor).unwrap(),
        reason: String::new(),
    }
}

/// A call's operations: debits of which some find too little, and credits. All callers share six users.
fn batch(caller: usize, call: usize) -> Vec<Operation> {
    let debits = (0..30).map(|n| (format!("{caller} {call} d{n}"), (n + call) % 6, OperationKind::Debit, 700));
    let credits = (0..20).map(|n| (format!("{caller} {call} c{n}"), (n * 5 + caller) % 6, OperationKind::Credit, 531));
    debits.chain(credits).map(|(key, user, kind, minor)| operation(key, user, kind, minor)).collect()
}

async fn open(folder: &Path) -> std::sync::Arc<dyn BalanceStore> {
    let url = StoreUrl::Sqlite(folder.join("db/balance_db.sqlite"));
    open_balance(&url, Clock::System, Money::from_minor(0)).await.unwrap()
}

#[test]
fn money_is_exact_after_kills_and_repetitions() {
    let mut killed = Killed::start("balance");
    let client = BalanceClient::of(&killed.settings(), principal::SHARD_WORKER);
    let lost = AtomicUsize::new(0);
    let (answered, outcomes) = (AtomicUsize::new(0), std::sync::Mutex::new(BTreeMap::new()));
    killed.kill_during(&answered, CALLERS * CALLS, |caller| {
        for call in 0..CALLS {
            let batch = batch(caller, call);
            let first = until_answered(&lost, || client.apply(&batch));
            // Every third call is made again, as a task does that is done again.
            if call % 3 == 0 {
                assert_eq!(until_answered(&lost, || client.apply(&batch)), first);
            }
            outcomes.lock().unwrap().insert((caller, call), first);
            answered.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert!(lost.load(Ordering::SeqCst) >= KILLS, "no kill came in the middle of a call");
    let mut expected: BTreeMap<i64, i128> = (1..=6).map(|user| (user, 2000)).collect();
    let (mut applied, mut refused) = (0_u64, 0_u64);
    for ((caller, call), outcomes) in outcomes.into_inner().unwrap() {
        for (operation, outcome) in batch(caller, call).iter().zip(outcomes) {
            if outcome == Outcome::InsufficientFunds {
                assert_eq!(operation.kind, OperationKind::Debit);
                refused += 1;
                continue;
            }
            applied += 1;
            let minor = i128::from(operation.amount.money().minor());
            let change = if operation.kind == OperationKind::Debit { -minor } else { minor };
            *expected.get_mut(&operation.user.get()).unwrap() += change;
        }
    }
    assert!(applied > 1000 && refused > 1000, "{applied} {refused}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(&killed.pipeline.shared()).await;
        let booked = store.list_booked(None, 100).await.unwrap();
        let balances: BTreeMap<i64, i128> = booked.iter().map(|one| (one.user.get(), one.balance)).collect();
        assert_eq!(balances, expected, "every answered operation counts once, and no other");
        let totals = store.totals().await.unwrap();
        assert_eq!((totals.unbalanced, totals.transactions), (0, applied));
        // Every answer is what is stored.
        let answers = store.apply(&batch(0, 0)).await.unwrap();
        assert!(answers.iter().all(|answer| answer.is_repeated));
    });
}

#[test]
fn a_call_whose_caller_went_away_takes_effect_once() {
    let killed = Killed::start("balance");
    let client = BalanceClient::of(&killed.settings(), principal::SHARD_WORKER);
    let addr = SocketAddr::from(([127, 0, 0, 1], killed.process.as_ref().unwrap().wait_ready()));
    let ask = |key: &str| {
        let item = json!({"key": key, "user_id": 1, "type": "debit", "amount": "1", "reason": ""});
        let body = json!({ "operations": [item] }).to_string();
        let head =
            format!("POST /api/v1/operations HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        stream
    };
    // Some go before they are heard, or in the middle of it; this one when the answer is there, unread.
    (0..6).for_each(|n| drop(ask(&format!("k{n}"))));
    let answered = ask("k");
    assert_eq!(answered.peek(&mut [0]).unwrap(), 1);
    drop(answered);
    let user = UserId::new(1).unwrap();
    assert!(client.find_balance(user).unwrap().is_some());
    let keys = (0..6).map(|n| format!("k{n}")).chain(["k".to_owned()]);
    let same: Vec<Operation> = keys.map(|key| operation(key, 0, OperationKind::Debit, 100)).collect();
    for _again in 0..3 {
        assert_eq!(client.apply(&same).unwrap(), [Outcome::Applied; 7]);
    }
    assert_eq!(client.find_balance(user).unwrap().unwrap().balance.to_string(), "13.00");
    let other = operation("k".to_owned(), 0, OperationKind::Debit, 701);
    let refused = client.apply(&[other]).unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { code, .. } if code == "key_conflict"), "{refused}");
    assert!(refused.to_string().starts_with("the balance-daemon refused (422 key_conflict): "), "{refused}");
}

/// More operations than go in one call, in their order.
#[test]
fn a_long_list_of_operations_goes_in_several_calls() {
    let killed = Killed::start("balance");
    let client = BalanceClient::of(&killed.settings(), principal::SHARD_WORKER);
    let list: Vec<Operation> = (0..5000).map(|n| operation(format!("k{n}"), n % 7, OperationKind::Debit, 10)).collect();
    let outcomes = client.apply(&list).unwrap();
    // Every user has 20.00: the first 200 debits of each are taken.
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(*outcome == Outcome::Applied, number / 7 < 200, "{number}");
    }
    assert_eq!(client.apply(&list).unwrap(), outcomes);
}

fn task(second: usize, shard: u64) -> TaskKey {
    let file = format!("202501010000{second:02}").parse().unwrap();
    TaskKey { file, shard: ShardId::new(shard).unwrap() }
}

fn order(number: usize) -> OrderId {
    OrderId::new(i64::try_from(number).unwrap()).unwrap()
}

#[test]
fn no_return_is_lost_or_doubled_by_kills_and_repetitions() {
    const PER_CALL: usize = 20;
    let mut killed = Killed::start("cache");
    let client = CacheClient::of(&killed.settings(), principal::SHARD_WORKER);
    let lost = AtomicUsize::new(0);
    let (answered, dealt) = (AtomicUsize::new(0), std::sync::Mutex::new(BTreeMap::<usize, usize>::new()));
    let count = |line: u64| {
        *dealt.lock().unwrap().entry(usize::try_from(line).unwrap()).or_default() += 1;
    };
    let half = CALLERS / 2;
    // Half of the callers bring returns, the others buy what they are about; every caller asks everything twice.
    killed.kill_during(&answered, CALLERS * CALLS, |caller| {
        let of = caller % half;
        for call in 0..CALLS {
            let numbers = (0..PER_CALL).map(|n| 1 + (call * PER_CALL + n) * half + of);
            if caller < half {
                let returns: Vec<EarlyReturn> = numbers
                    .map(|number| {
                        let happened_at = Timestamp::from_unix_ms(0);
                        EarlyReturn { line: number as u64, order: order(number), happened_at, raw: "{}".to_owned() }
                    })
                    .collect();
                let first = until_answered(&lost, || client.put(&task(of, 0), &returns));
                let known = |outcome: &PutOutcome| matches!(outcome, PutOutcome::Known(_));
                assert!(until_answered(&lost, || client.put(&task(of, 0), &returns)) == first);
                returns
                    .iter()
                    .zip(&first)
                    .filter(|(_, outcome)| known(outcome))
                    .for_each(|(entry, _)| count(entry.line));
            } else {
                let orders: Vec<NewOrder> =
                    numbers.map(|n| NewOrder { order: order(n), shop_id: 1, state: OrderState::Accepted }).collect();
                let by = task(10 + of, 0);
                let (_, first) = until_answered(&lost, || client.record_and_take(&by, &orders));
                assert_eq!(until_answered(&lost, || client.record_and_take(&by, &orders)).1, first);
                first.iter().for_each(|taken| count(taken.entry.line));
            }
            answered.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert!(lost.load(Ordering::SeqCst) >= KILLS, "no kill came in the middle of a call");
    let dealt = dealt.into_inner().unwrap();
    assert_eq!(dealt.len(), half * CALLS * PER_CALL, "none is lost");
    assert!(dealt.values().all(|times| *times == 1), "none is dealt with twice");
    killed.start_again();
    assert!(client.take(&task(50, 0), 10_000).unwrap().is_empty(), "none is stuck");
    let confirmed: u64 = (0..half).map(|of| client.confirm(&task(10 + of, 0)).unwrap()).sum();
    let held = killed.pipeline.database("cache_db").query_row(
        "SELECT COUNT(*) FROM pending_return WHERE done_at IS NOT NULL",
        [],
        |row| row.get::<_, i64>(0),
    );
    assert_eq!(i64::try_from(confirmed).unwrap(), held.unwrap());
}

#[test]
fn back_pressure_is_no_fault_of_the_call() {
    let pipeline = Pipeline::new(&["cache.pending_max=2"]);
    let (process, proxy) = (pipeline.spawn(&["cache"], None), Proxy::start());
    proxy.set_backend(process.wait_ready());
    let flags = vec![("cache.url".to_owned(), proxy.root())];
    let client = CacheClient::of(&settings_of(flags), principal::SHARD_WORKER);
    let returns: Vec<EarlyReturn> = (1..=3)
        .map(|n| EarlyReturn {
            line: n as u64,
            order: order(n),
            happened_at: Timestamp::from_unix_ms(0),
            raw: "{}".to_owned(),
        })
        .collect();
    let full = client.put(&task(1, 0), &returns).unwrap_err();
    assert!(full.is_temporary() && full.to_string().contains("cache.pending_max allows"), "{full}");
    assert_eq!(client.put(&task(1, 0), &returns[..2]).unwrap(), [PutOutcome::Held, PutOutcome::Held]);
}
