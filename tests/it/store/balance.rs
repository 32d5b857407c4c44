//! Accounts: every operation takes effect once, in order, and its first outcome is its outcome for ever.

use shopctl::pipeline::balance::open::open_balance;
use shopctl::pipeline::balance::store::BalanceStore;
use shopctl::pipeline::event::Money;
use shopctl::pipeline::trade::{Amount, Answer, Operation, OperationKey, OperationKind, Outcome, UserId};
use tokio::task::JoinSet;

use super::*;

on_every_backend! {
    operations_take_effect_in_their_order
    a_repeated_key_is_answered_as_the_first_time
    a_key_comes_twice_in_a_batch
    another_content_under_a_key_changes_nothing
    keys_are_bytes
    a_user_begins_with_the_opening_balance_of_that_day
    nothing_is_taken_out_that_is_not_there
    a_balance_never_leaves_its_column
    statements_come_in_pages
    the_sums_find_what_was_changed_by_hand
    the_largest_batch_is_taken_and_no_larger_one
    crossed_batches_lose_nothing
    the_same_batch_at_once_takes_effect_once
    values_are_stored_as_money
}

/// A fresh balance database.
async fn open(backend: &dyn Backend, opening: i64) -> Arc<dyn BalanceStore> {
    migrate(&backend.balance(), &schemas::BALANCE).await.unwrap();
    let clock = Clock::manual(Timestamp::from_unix_ms(START_MS));
    open_balance(&backend.balance(), clock, Money::from_minor(opening)).await.unwrap()
}

pub(super) fn user(number: i64) -> UserId {
    UserId::new(number).unwrap()
}

pub(super) fn operation(key: &str, of: i64, kind: OperationKind, minor: i64) -> Operation {
    Operation {
        key: OperationKey::new(key).unwrap(),
        user: user(of),
        kind,
        amount: Amount::from_minor(minor).unwrap(),
        reason: format!("reason of {key}"),
    }
}

fn debit(key: &str, of: i64, minor: i64) -> Operation {
    operation(key, of, OperationKind::Debit, minor)
}

fn credit(key: &str, of: i64, minor: i64) -> Operation {
    operation(key, of, OperationKind::Credit, minor)
}

fn outcomes(answers: &[Answer]) -> Vec<Outcome> {
    answers.iter().map(|answer| answer.outcome).collect()
}

const DONE: Outcome = Outcome::Applied;
const POOR: Outcome = Outcome::InsufficientFunds;

async fn balance(store: &dyn BalanceStore, of: i64) -> i64 {
    store.find_account(user(of)).await.unwrap().unwrap().balance.minor()
}

/// The double entry: every balance is its opening and its transactions.
async fn assert_booked(store: &dyn BalanceStore) {
    let totals = store.totals().await.unwrap();
    assert_eq!(totals.balance, totals.opening + totals.credits - totals.debits, "{totals:?}");
    assert_eq!(totals.unbalanced, 0, "{totals:?}");
    let booked = store.list_booked(None, 1000).await.unwrap();
    assert!(booked.iter().all(shopctl::pipeline::trade::Booked::is_balanced), "{booked:?}");
}

async fn operations_take_effect_in_their_order(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    let batch = [debit("a", 1, 50), credit("b", 1, 70), debit("c", 1, 50), debit("d", 1, 50), debit("e", 1, 20)];
    let answers = store.apply(&batch).await.unwrap();
    assert_eq!(outcomes(&answers), [POOR, DONE, DONE, POOR, DONE]);
    assert!(answers.iter().all(|answer| !answer.is_repeated));
    assert_eq!(balance(&*store, 1).await, 0);
    assert_eq!(store.apply(&[]).await.unwrap(), []);
    assert_booked(&*store).await;
}

async fn a_repeated_key_is_answered_as_the_first_time(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    let batch = [debit("refused", 1, 50), credit("paid", 1, 100), debit("taken", 1, 60)];
    assert_eq!(outcomes(&store.apply(&batch).await.unwrap()), [POOR, DONE, DONE]);
    for _again in 0..2 {
        // There would be enough for the first one now, and no longer enough for the last one.
        let answers = store.apply(&batch).await.unwrap();
        assert_eq!(outcomes(&answers), [POOR, DONE, DONE]);
        assert!(answers.iter().all(|answer| answer.is_repeated));
        assert_eq!(balance(&*store, 1).await, 40);
    }
    // Old and new ones together; the reason is no part of what a key stands for.
    let other_reason = Operation { reason: "another".to_owned(), ..debit("taken", 1, 60) };
    let answers = store.apply(&[other_reason, debit("new", 1, 40)]).await.unwrap();
    assert_eq!(answers.iter().map(|a| (a.outcome, a.is_repeated)).collect::<Vec<_>>(), [(DONE, true), (DONE, false)]);
    assert_eq!(balance(&*store, 1).await, 0);
    assert_booked(&*store).await;
}

async fn a_key_comes_twice_in_a_batch(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    let batch = [credit("in", 1, 100), debit("out", 1, 60), debit("out", 1, 60), credit("in", 1, 100)];
    let answers = store.apply(&batch).await.unwrap();
    let expected = [(DONE, false), (DONE, false), (DONE, true), (DONE, true)];
    assert_eq!(answers.iter().map(|a| (a.outcome, a.is_repeated)).collect::<Vec<_>>(), expected);
    assert_eq!(balance(&*store, 1).await, 40);
}

async fn another_content_under_a_key_changes_nothing(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    store.apply(&[credit("a", 1, 100)]).await.unwrap();
    for other in [credit("a", 1, 101), credit("a", 2, 100), debit("a", 1, 100)] {
        let batch = [credit("new", 1, 5), credit("new user", 3, 5), other];
        let refused = store.apply(&batch).await;
        assert!(refused.as_ref().unwrap_err().to_string().contains("the key 'a' was used before"), "{refused:?}");
        assert_eq!(code(refused), "key_conflict");
    }
    assert_eq!(code(store.apply(&[debit("b", 1, 1), debit("b", 1, 2)]).await), "key_conflict");
    assert_eq!(balance(&*store, 1).await, 100);
    assert_eq!(store.find_account(user(3)).await.unwrap(), None);
    assert_eq!(store.totals().await.unwrap().transactions, 1);
    assert_eq!(outcomes(&store.apply(&[credit("new", 1, 5)]).await.unwrap()), [DONE]);
}

async fn keys_are_bytes(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    let keys = ["evt-a", "EVT-A", "evt-a ", "evt-ä", "evt-a\u{308}", "e\0", "e", " ", "\u{1f600}"];
    let batch: Vec<Operation> = keys.iter().map(|key| credit(key, 1, 1)).collect();
    for is_repeated in [false, true] {
        let answers = store.apply(&batch).await.unwrap();
        assert!(answers.iter().all(|answer| answer.is_repeated == is_repeated), "{answers:?}");
    }
    let long = "é".repeat(127);
    assert_eq!(outcomes(&store.apply(&[credit(&long, 1, 1)]).await.unwrap()), [DONE]);
    assert_eq!(balance(&*store, 1).await, 10);
    let page = store.statement(user(1), None, 1).await.unwrap();
    assert_eq!(page.transactions[0].key, long);
}

async fn a_user_begins_with_the_opening_balance_of_that_day(backend: &dyn Backend) {
    let first = open(backend, 1000).await;
    assert_eq!(outcomes(&first.apply(&[debit("a", 1, 600), debit("b", 1, 600)]).await.unwrap()), [DONE, POOR]);
    // A refusal makes the account too: what its opening balance is was decided then.
    assert_eq!(outcomes(&first.apply(&[debit("c", 2, 1001)]).await.unwrap()), [POOR]);
    let second = open(backend, 50).await;
    assert_eq!(outcomes(&second.apply(&[debit("d", 2, 1000), debit("e", 3, 51)]).await.unwrap()), [DONE, POOR]);
    let mut accounts = Vec::new();
    for number in [1, 2, 3] {
        let account = second.find_account(user(number)).await.unwrap().unwrap();
        assert_eq!((account.name.as_deref(), account.role.as_str()), (None, "customer"));
        accounts.push((account.balance.minor(), account.opening.minor()));
    }
    assert_eq!(accounts, [(400, 1000), (0, 1000), (50, 50)]);
    assert_eq!(second.find_account(user(4)).await.unwrap(), None);
    assert_booked(&*second).await;
}

async fn nothing_is_taken_out_that_is_not_there(backend: &dyn Backend) {
    let store = open(backend, 100).await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.apply(&[debit(&format!("d{number}"), 1, 7)]).await.unwrap()[0].outcome });
    }
    let applied = tasks.join_all().await.into_iter().filter(|outcome| *outcome == DONE).count();
    assert_eq!((applied, balance(&*store, 1).await), (14, 2));
}

async fn a_balance_never_leaves_its_column(backend: &dyn Backend) {
    const MAX: i64 = 999_999_999_999_999_999;
    let store = open(backend, MAX - 1).await;
    assert_eq!(outcomes(&store.apply(&[credit("a", 1, 1)]).await.unwrap()), [DONE]);
    for amount in [1, MAX] {
        let refused = store.apply(&[credit("b", 2, 1), credit("c", 1, amount)]).await;
        assert_eq!(code(refused), "balance_limit");
    }
    assert_eq!((balance(&*store, 1).await, store.find_account(user(2)).await.unwrap()), (MAX, None));
    let both = [debit("d", 1, MAX), debit("e", 1, 1), credit("f", 1, MAX)];
    assert_eq!(outcomes(&store.apply(&both).await.unwrap()), [DONE, POOR, DONE]);
    assert_eq!(balance(&*store, 1).await, MAX);
    // Sums are larger than any amount.
    for number in 3..30 {
        store
            .apply(&[credit(&format!("g{number}"), number, 1), debit(&format!("h{number}"), number, MAX)])
            .await
            .unwrap();
    }
    let totals = store.totals().await.unwrap();
    assert_eq!(totals.opening, 28 * i128::from(MAX - 1));
    assert_eq!((totals.debits, totals.users), (28 * i128::from(MAX), 28));
    assert_booked(&*store).await;
}

async fn statements_come_in_pages(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    for number in 0..7 {
        let others = [credit(&format!("other {number}"), 2, 1), credit(&format!("own {number}"), 1, 100 + number)];
        store.apply(&others).await.unwrap();
        store.apply(&[debit(&format!("refused {number}"), 1, 10_000)]).await.unwrap();
    }
    let (mut all, mut before) = (Vec::new(), None);
    for expected in [3, 3, 1] {
        let page = store.statement(user(1), before, 3).await.unwrap();
        assert_eq!(page.transactions.len(), expected);
        all.extend(page.transactions);
        before = page.next;
    }
    assert_eq!(before, None, "the last page says so");
    let keys: Vec<&str> = all.iter().map(|transaction| transaction.key.as_str()).collect();
    assert_eq!(keys, ["own 6", "own 5", "own 4", "own 3", "own 2", "own 1", "own 0"], "the newest first, refusals not");
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id));
    let newest = &all[0];
    assert_eq!(
        (newest.amount.minor(), newest.kind, newest.reason.as_str()),
        (106, OperationKind::Credit, "reason of own 6")
    );
    assert_eq!(newest.created_at, Timestamp::from_unix_ms(START_MS));
    assert_eq!(store.statement(user(1), None, 7).await.unwrap().next, None);
    assert_eq!(code(store.statement(user(9), None, 7).await), "gone");
}

async fn the_sums_find_what_was_changed_by_hand(backend: &dyn Backend) {
    let store = open(backend, 500).await;
    for number in 1..=5 {
        store
            .apply(&[credit(&format!("c{number}"), number, 100), debit(&format!("d{number}"), number, 30)])
            .await
            .unwrap();
    }
    assert_booked(&*store).await;
    // One unit of each dialect more in the account than was ever put in, and one transaction less than there were.
    let url = backend.balance();
    backend.change(&url, "UPDATE user SET balance = balance + 1 WHERE id = 2").await;
    backend.change(&url, "DELETE FROM account_transaction WHERE user_id = 4 AND type = 'debit'").await;
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.unbalanced, totals.negative), (2, 0));
    let first = store.list_booked(None, 3).await.unwrap();
    let second = store.list_booked(Some(first[2].user), 3).await.unwrap();
    let wrong: Vec<i64> =
        first.iter().chain(&second).filter(|booked| !booked.is_balanced()).map(|booked| booked.user.get()).collect();
    assert_eq!((first.len(), second.len(), wrong), (3, 2, vec![2, 4]));
}

async fn the_largest_batch_is_taken_and_no_larger_one(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    let mut batch: Vec<Operation> =
        (0..10_000_i64).map(|number| credit(&format!("k{number}"), 1 + number % 777, 1 + number)).collect();
    let answers = store.apply(&batch).await.unwrap();
    assert!(answers.len() == 10_000 && answers.iter().all(|a| a.outcome == DONE && !a.is_repeated));
    let again = store.apply(&batch).await.unwrap();
    assert!(again.len() == 10_000 && again.iter().all(|a| a.outcome == DONE && a.is_repeated));
    batch.push(credit("one more", 1, 1));
    assert_eq!(code(store.apply(&batch).await), "invalid");
    let totals = store.totals().await.unwrap();
    assert_eq!((totals.balance, totals.users, totals.transactions), (10_000 * 10_001 / 2, 777, 10_000));
    assert_booked(&*store).await;
}

/// Batches that name the same users in opposite orders, and move money between them. Two stores have the database, as
/// two balance-daemons would: within one of them, reading a balance and then writing it would lose nothing either.
async fn crossed_batches_lose_nothing(backend: &dyn Backend) {
    const ASKERS: usize = 8;
    const BATCHES: usize = 25;
    let stores = [open(backend, 10_000).await, open(backend, 10_000).await];
    let mut askers = JoinSet::new();
    for asker in 0..ASKERS {
        // Both orders in both stores.
        let store = Arc::clone(&stores[asker / 2 % 2]);
        askers.spawn(async move {
            for batch in 0..BATCHES {
                let mut users: Vec<i64> = (1..=10).collect();
                if asker % 2 == 1 {
                    users.reverse();
                }
                // Each pair: what one user pays, the next one gets. Another amount for each asker, so that what is lost of
                // some is not made good by what is lost of others.
                let amount = 1 + i64::try_from(asker).unwrap();
                let pairs = users.windows(2).enumerate().flat_map(|(number, pair)| {
                    let key = format!("{asker} {batch} {number}");
                    [debit(&format!("{key} out"), pair[0], amount), credit(&format!("{key} in"), pair[1], amount)]
                });
                let answers = apply_when_free(&*store, &pairs.collect::<Vec<_>>()).await;
                assert!(outcomes(&answers).iter().all(|outcome| *outcome == DONE));
            }
        });
    }
    askers.join_all().await;
    for store in stores {
        let totals = store.totals().await.unwrap();
        assert_eq!((totals.balance, totals.transactions), (100_000, (ASKERS * BATCHES * 18) as u64));
        assert_booked(&*store).await;
    }
}

/// Applies a batch, again where another store had the database for so long that it was busy: nothing is done then.
async fn apply_when_free(store: &dyn BalanceStore, batch: &[Operation]) -> Vec<Answer> {
    loop {
        match store.apply(batch).await {
            Err(Error::Busy(_)) => tokio::task::yield_now().await,
            answered => return answered.unwrap(),
        }
    }
}

/// Several callers that do not know of each other repeat one batch: new users, old users, refusals.
async fn the_same_batch_at_once_takes_effect_once(backend: &dyn Backend) {
    let store = open(backend, 0).await;
    for round in 0..5 {
        let batch: Vec<Operation> = (1..=20_i64)
            .flat_map(|of| {
                let key = format!("{round} {of}");
                [debit(&format!("{key} early"), of, 1_000_000), credit(&format!("{key} in"), of, 10)]
            })
            .collect();
        let mut askers = JoinSet::new();
        for _asker in 0..6 {
            let (store, batch) = (Arc::clone(&store), batch.clone());
            askers.spawn(async move { store.apply(&batch).await.unwrap() });
        }
        let all = askers.join_all().await;
        let new: usize = all.iter().flatten().filter(|answer| !answer.is_repeated).count();
        assert_eq!(new, batch.len(), "every operation was new to one asker only");
        assert!(all.iter().all(|answers| outcomes(answers) == outcomes(&all[0])));
    }
    assert_eq!(store.totals().await.unwrap().balance, 5 * 20 * 10);
    assert_booked(&*store).await;
}

/// The values as another program reads them.
async fn values_are_stored_as_money(backend: &dyn Backend) {
    let store = open(backend, 1).await;
    store.apply(&[credit("a", 7, 1_234_567), debit("b", 7, 9), debit("c", 7, 99_999_999_999)]).await.unwrap();
    let url = backend.balance();
    let is_served = matches!(url, StoreUrl::Mysql(_));
    let money = |minor: i64| if is_served { Money::from_minor(minor).to_string() } else { minor.to_string() };
    let users = "SELECT concat_ws(' ', id, balance, opening_balance, role, created_at) FROM user";
    let expected = format!("7 {} {} customer 2025-01-01 00:00:00.000", money(1_234_559), money(1));
    assert_eq!(backend.texts(&url, users).await, [expected]);
    let transactions = "SELECT concat_ws(' ', user_id, amount, type, reason, CAST(idempotency_key AS CHAR)) FROM account_transaction ORDER BY id";
    let expected =
        [format!("7 {} credit reason of a a", money(1_234_567)), format!("7 {} debit reason of b b", money(9))];
    assert_eq!(backend.texts(&url, transactions).await, expected);
    let operations = "SELECT concat_ws(' ', CAST(idempotency_key AS CHAR), user_id, amount, type, outcome) FROM account_operation ORDER BY idempotency_key";
    let expected = [
        format!("a 7 {} credit applied", money(1_234_567)),
        format!("b 7 {} debit applied", money(9)),
        format!("c 7 {} debit insufficient_funds", money(99_999_999_999)),
    ];
    assert_eq!(backend.texts(&url, operations).await, expected);
}
