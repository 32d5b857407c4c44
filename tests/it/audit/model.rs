//! Files, shards, failures, retries, rebuilds and handed-over returns in any order, through the real stages on real
//! stores: the audit finds nothing wrong, unless something was taken away, doubled or changed. Then it names it.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shopctl::pipeline::ops::audit::Audit;
use shopctl::pipeline::task::Stage;

use super::chain::{Chain, Mishap};
use crate::support::database::Databases;
use crate::support::events::event;

/// Runs of the model: all of them take some seconds.
const CASES: u32 = 10;
const USERS: i64 = 3;

/// What happens next.
#[derive(Debug, Clone)]
enum Op {
    /// An event file comes.
    File(Vec<String>),
    /// A stage takes a step, in the shard of this number.
    Step(Stage, u8, Mishap),
    /// All stages take all their steps.
    Run,
    /// What failed is asked for again.
    Retry,
    /// A worker's state is made again.
    Rebuild(u8),
    /// So many milliseconds pass.
    Later(i64),
}

fn line() -> impl Strategy<Value = String> {
    let kind = prop_oneof![3 => Just(0_u8), 6 => Just(1), 1 => Just(2), 6 => Just(3), 1 => Just(4)];
    let numbers = (1_i64..40, 1_i64..5, 1_i64..3, 1_i64..4, 0..USERS, any::<bool>(), 0_u32..1000);
    (kind, numbers).prop_map(|(kind, (order, shop, good, qty, user, flag, ms))| {
        let user = if user == 0 { "null".to_owned() } else { user.to_string() };
        // Some returns name another shop than that of their purchase, or none.
        let named = if flag { format!(r#""shop_id":{shop},"#) } else { String::new() };
        let payload = match kind {
            0 => format!(
                r#""shop_id":{shop},"good_id":{good},"delta_count":{},"reason":"x","sub_event_type":"restock""#,
                qty * 3
            ),
            1 => format!(
                r#""order_id":{order},"user_id":{user},"shop_id":{shop},"good_id":{good},"qty":{qty},"price_at_order":{order}.5"#
            ),
            2 => format!(r#""shop_id":{shop},"good_id":{good},"new_price":{qty}"#),
            3 => format!(r#""order_id":{order},{named}"good_id":{good},"qty":1"#),
            _ => format!(r#""shop_id":{shop},"active":{flag}"#),
        };
        event(kind, &payload).replace("08:00:00.001", &format!("08:00:00.{ms:03}")) + "\n"
    })
}

fn op() -> impl Strategy<Value = Op> {
    let stage =
        prop_oneof![1 => Just(Stage::ShardSplitter), 2 => Just(Stage::ShardWorker), 2 => Just(Stage::MysqlSender)];
    let mishap = prop_oneof![
        6 => Just(Mishap::None),
        2 => (0_u32..5, any::<bool>()).prop_map(|(calls, is_lost)| Mishap::CallFails(calls, is_lost)),
        1 => Just(Mishap::ReportLost),
        1 => Just(Mishap::Fails),
    ];
    prop_oneof![
        4 => proptest::collection::vec(line(), 0..20).prop_map(Op::File),
        12 => (stage, any::<u8>(), mishap).prop_map(|(stage, shard, mishap)| Op::Step(stage, shard, mishap)),
        3 => Just(Op::Run),
        1 => Just(Op::Retry),
        1 => any::<u8>().prop_map(Op::Rebuild),
        1 => prop_oneof![Just(1_000_i64), Just(3_700_000)].prop_map(Op::Later),
    ]
}

/// Does one thing; answers whether it made a state again.
fn take(chain: &mut Chain, op: &Op) -> bool {
    let count = u8::try_from(chain.shards().count()).unwrap();
    let shard = |number: u8| (number % count).to_string().parse().unwrap();
    match op {
        Op::File(lines) => drop(chain.file(lines)),
        Op::Step(stage, number, mishap) => {
            // The splitter takes files of all shards.
            let of = (*stage != Stage::ShardSplitter).then(|| shard(*number));
            chain.step(*stage, of, *mishap);
        }
        Op::Run => chain.run(),
        Op::Retry => drop(chain.retry()),
        Op::Rebuild(number) => return chain.rebuild(shard(*number)),
        Op::Later(ms) => chain.advance_ms(*ms),
    }
    false
}

/// Differences beside the tasks that failed, which the audit names as such.
fn wrong(audit: &Audit) -> Vec<&str> {
    let all = audit.ledger.differences.iter().map(|one| one.what.as_str());
    all.filter(|what| !what.contains(" failed: ")).collect()
}

/// Something that is done to the data: where, to which table, by which statement; and what must be said of it.
struct Damage {
    database: String,
    table: &'static str,
    statement: String,
    expected: String,
}

/// The first column of the row of this number of a query, if there is any.
fn pick(chain: &Chain, database: &str, query: &str, number: usize) -> Option<String> {
    let rows = chain.texts(database, query);
    let row = rows.get(number.checked_rem(rows.len())?)?;
    row[0].clone()
}

/// All kinds of damage, each to a row that the number picks; those that the data has no row for are left out.
fn damages(chain: &Chain, number: usize) -> Vec<Damage> {
    let shards: Vec<_> = chain.shards().collect();
    let shard = shards[number % shards.len()];
    let mut all = of_rows(chain, &format!("shop_shard_{shard}"), number);
    all.extend(of_books(chain, &format!("shop_shard_{shard}"), number));
    all.extend(of_services(chain, number));
    let state = format!("worker_{shard}");
    if let Some(order) = pick(chain, &state, "SELECT order_id FROM orders WHERE state = 'accepted'", number) {
        let statement = format!("DELETE FROM orders WHERE order_id = {order}");
        let expected = format!("order {order} is in purchase_history, but the worker did not accept it");
        all.push(Damage { database: state, table: "orders", statement, expected });
    }
    all
}

fn of_rows(chain: &Chain, database: &str, number: usize) -> Vec<Damage> {
    let Some(id) = pick(chain, database, "SELECT id FROM events", number) else { return Vec::new() };
    let column = [
        "shop_id = coalesce(shop_id, 0) + 4",
        "user_id = coalesce(user_id, 0) + 1",
        "event_type = 4 - event_type + (event_type = 2)",
        "`timestamp` = '2024-12-31 23:59:59.999'",
        "shard = shard + 1",
        "source_line = source_line + 1000000",
    ][number % 6];
    let columns = "event_type, shop_id, user_id, `timestamp`, shard, created_at, source_file";
    let events = |statement: String, expected: &str| Damage {
        database: database.to_owned(),
        table: "events",
        statement,
        expected: expected.to_owned(),
    };
    vec![
        events(format!("DELETE FROM events WHERE id = {id}"), "rows were delivered, "),
        events(format!("UPDATE events SET {column} WHERE id = {id}"), "not as they were delivered"),
        events(
            format!(
                "INSERT INTO events ({columns}, source_line, delivered_with)
                 SELECT {columns}, source_line + 1000000, delivered_with FROM events WHERE id = {id}"
            ),
            "rows were delivered, ",
        ),
        events(
            format!(
                "INSERT INTO events ({columns}, source_line)
                 SELECT {columns}, source_line + 1000000 FROM events WHERE id = {id}"
            ),
            "in the database that no delivery wrote",
        ),
        Damage {
            table: "sent_file",
            ..events("DELETE FROM sent_file WHERE rows > 0".to_owned(), "and their marker in sent_file is gone")
        },
    ]
}

fn of_books(chain: &Chain, database: &str, number: usize) -> Vec<Damage> {
    let damage = |table, statement: String, expected: String| Damage {
        database: database.to_owned(),
        table,
        statement,
        expected,
    };
    let mut all = Vec::new();
    if let Some(order) = pick(chain, database, "SELECT order_id FROM purchase_history", number) {
        let delete = format!("DELETE FROM purchase_history WHERE order_id = {order}");
        let not_in = format!("order {order} was accepted by the worker and is not in purchase_history");
        all.push(damage("purchase_history", delete, not_in));
        let more = format!("UPDATE purchase_history SET qty = qty + 1 WHERE order_id = {order}");
        all.push(damage("purchase_history", more, format!("order {order} is ")));
    }
    if let Some(order) = pick(chain, database, "SELECT order_id FROM order_return", number) {
        let delete = format!("DELETE FROM order_return WHERE order_id = {order}");
        all.push(damage("order_return", delete, format!("order {order}: 0 came back by order_return")));
    }
    if let Some(shop) = pick(chain, database, "SELECT id FROM shop WHERE count IS NOT NULL", number) {
        let more = format!("UPDATE shop SET count = count + 1 WHERE id = {shop}");
        all.push(damage("shop", more, format!("of shop {shop}: the books count")));
    }
    all
}

fn of_services(chain: &Chain, number: usize) -> Vec<Damage> {
    let damage = |database: &str, table, statement: String, expected: String| Damage {
        database: database.to_owned(),
        table,
        statement,
        expected,
    };
    let mut all = Vec::new();
    if let Some(user) = pick(chain, "balance_db", "SELECT id FROM user", number) {
        let more = format!("UPDATE user SET balance = balance + 1 WHERE id = {user}");
        all.push(damage("balance_db", "user", more, format!("user {user} has ")));
    }
    if let Some(id) = pick(chain, "balance_db", "SELECT id FROM account_transaction", number) {
        let delete = format!("DELETE FROM account_transaction WHERE id = {id}");
        all.push(damage("balance_db", "account_transaction", delete, "but the opening ".to_owned()));
    }
    let known = "SELECT order_id FROM order_directory WHERE state <> 'awaited'";
    if let Some(order) = pick(chain, "cache_db", known, number) {
        let delete = format!("DELETE FROM order_directory WHERE order_id = {order}");
        all.push(damage("cache_db", "order_directory", delete, format!("order {order} was ")));
        let other = format!("UPDATE order_directory SET shard = shard + 60 WHERE order_id = {order}");
        all.push(damage("cache_db", "order_directory", other, "whose worker does not know it".to_owned()));
    }
    let accepted = "SELECT order_id FROM order_directory WHERE state = 'accepted'";
    if let Some(order) = pick(chain, "cache_db", accepted, number) {
        let shop = format!("UPDATE order_directory SET shop_id = shop_id + 60 WHERE order_id = {order}");
        all.push(damage("cache_db", "order_directory", shop, format!("has order {order} in shop ")));
    }
    if pick(chain, "cache_db", "SELECT line FROM pending_return WHERE done_at IS NULL", number).is_some() {
        let delete = "DELETE FROM pending_return WHERE done_at IS NULL".to_owned();
        all.push(damage("cache_db", "pending_return", delete, "0 are kept for them".to_owned()));
    }
    all
}

/// One run: what happens, the settled end, and one damage after the other. Answers how many these were, and how many
/// states were made again.
fn run(shards: u8, ops: &[Op], number: usize) -> Result<(usize, usize), TestCaseError> {
    let mut chain = Chain::new(shards, Databases::Sqlite);
    let mut rebuilt = 0;
    for (at, op) in ops.iter().enumerate() {
        rebuilt += usize::from(take(&mut chain, op));
        let audit = chain.audit(false);
        prop_assert!(wrong(&audit).is_empty(), "after {at}, {op:?}: {:#?}", wrong(&audit));
    }
    chain.settle();
    let settled = chain.audit(true);
    prop_assert!(settled.is_clean(), "settled: {:#?}", settled.ledger.differences);
    let damages = damages(&chain, number);
    for Damage { database, table, statement, expected } in &damages {
        let audit = chain.audit_with(database, table, statement);
        let found = wrong(&audit);
        prop_assert!(found.iter().any(|what| what.contains(expected)), "{database}: {statement}: {found:#?}");
    }
    let mended = chain.audit(true);
    prop_assert!(mended.is_clean(), "put back: {:#?}", mended.ledger.differences);
    Ok((damages.len(), rebuilt))
}

#[test]
fn nothing_is_wrong_until_something_is_taken_away_doubled_or_changed() {
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 50, ..Config::default() };
    // The same runs every time: what fails here fails again.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (damaged, rebuilt) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let history = (1_u8..4, proptest::collection::vec(op(), 10..40), any::<usize>());
    let found = runner.run(&history, |(shards, ops, number)| {
        let (damages, states) = run(shards, &ops, number)?;
        damaged.set(damaged.get() + damages);
        rebuilt.set(rebuilt.get() + states);
        Ok(())
    });
    found.unwrap();
    assert!(damaged.get() >= 100, "only {} kinds of damage had a row", damaged.get());
    assert!(rebuilt.get() > 0, "no state was made again");
}
