//! Money, stock, orders and early returns: whatever is changed by hand is named, and what is put back is not.

use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::events::event;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually};

/// Every table of the books gets a row: both shards sell, one order comes back, one return comes too early.
fn trade() -> Vec<u8> {
    let restock = |shop: u8| {
        format!(r#""shop_id":{shop},"good_id":3,"delta_count":10,"reason":"new","sub_event_type":"restock""#)
    };
    let sale = |order: u8, shop: u8, user: &str| {
        format!(r#""order_id":{order},"user_id":{user},"shop_id":{shop},"good_id":3,"qty":2,"price_at_order":1.5"#)
    };
    let back = |order: u8| format!(r#""order_id":{order},"user_id":7,"shop_id":2,"good_id":3,"qty":1"#);
    let lines = [
        (0, restock(1)),
        (0, restock(2)),
        (2, r#""shop_id":2,"good_id":3,"new_price":2"#.to_owned()),
        (4, r#""shop_id":4,"active":false"#.to_owned()),
        (1, sale(1, 1, "7")),
        (1, sale(2, 2, "7")),
        (1, sale(3, 2, "null")),
        (3, back(2)),
        (3, back(99)),
    ];
    let lines = lines.iter().zip(1..).map(|((kind, payload), ms)| {
        event(*kind, payload).replace("08:00:00.001", &format!("08:00:00.{ms:03}")) + "\n"
    });
    lines.collect::<String>().into_bytes()
}

fn settled() -> Pipeline {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.import(&trade(), 100);
    pipeline.wait_settled();
    for role in [Role::Send, Role::Work1, Role::Work0, Role::Split, Role::Cache, Role::Balance, Role::Apid] {
        pipeline.terminate(role);
    }
    pipeline
}

fn change(path: &Path, statement: &str) {
    let database = Connection::open(path).unwrap();
    database.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    assert!(database.execute(statement, []).unwrap() > 0, "{statement}");
}

fn audit(pipeline: &Pipeline, code: i32) -> Value {
    serde_json::from_str(&pipeline.run(&["audit", "--settled", "--json"], code).out).unwrap()
}

/// The copy is the whole database: the process that wrote it has ended.
fn put_back(path: &Path, copy: &Path) {
    for beside in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        drop(std::fs::remove_file(name));
    }
    std::fs::copy(copy, path).unwrap();
}

#[test]
fn what_is_changed_by_hand_is_named_first() {
    let pipeline = settled();
    let found = audit(&pipeline, 0);
    let accounts = r#"{"accounts":1,"balances":"999999995.50","differences":0,"note":null,"transactions":3}"#;
    assert_eq!(found["accounts"].to_string(), accounts);
    assert_eq!(found["stock"]["0"].to_string(), r#"{"compared":2,"differences":0,"is_under_way":false,"note":null}"#);
    assert_eq!(found["orders"]["0"].to_string(), r#"{"compared":2,"differences":0,"is_under_way":false,"note":null}"#);
    assert_eq!(
        (found["stock"]["1"]["compared"].as_u64(), found["orders"]["1"]["compared"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(found["pending"].to_string(), r#"{"decided":0,"differences":0,"kept":1,"note":null,"reported":1}"#);

    let (shard, worker) = ("db/shop_shard_0.sqlite", "shard-worker-0/state/worker.sqlite");
    let (balance, cache) = ("db/balance_db.sqlite", "db/cache_db.sqlite");
    let changes = [
        (balance, "UPDATE user SET balance = balance + 1", "user 7 has 999999995.51, but the opening"),
        (balance, "DELETE FROM account_transaction WHERE id = 2", "2 transactions make 999999998.50"),
        (balance, "DELETE FROM user", "all accounts have 0.00, but their openings and all transactions make -4.50"),
        (balance, "UPDATE user SET balance = -450, opening_balance = 0", "user 7 has -4.50, less than nothing"),
        (
            shard,
            "UPDATE shop SET count = count + 1 WHERE count IS NOT NULL",
            "the books count 8, those of the worker count 7",
        ),
        (shard, "UPDATE shop SET count = NULL", "the books do not count it, those of the worker count 7"),
        (
            shard,
            "UPDATE shop SET price = 201 WHERE price IS NOT NULL",
            "its price is 2.01 in the books, 2.00 for the worker",
        ),
        (shard, "UPDATE shop SET active = 1", "shop 4 is open in the books (good 0), closed for the worker"),
        (worker, "DELETE FROM stock", "the books count 7, those of the worker do not count it"),
        (shard, "DELETE FROM purchase_history WHERE order_id = 3", "order 3 was accepted by the worker and is not in"),
        (
            shard,
            "UPDATE purchase_history SET qty = 3 WHERE order_id = 2",
            "order 2 is 3 of good 3 of shop 2 at 1.50 by user 7",
        ),
        (shard, "DELETE FROM order_return", "order 2: 0 came back by order_return, 1 by the worker's orders"),
        (shard, "UPDATE order_return SET order_id = 5", "order 2: 0 came back"),
        (
            worker,
            "DELETE FROM orders WHERE order_id = 2",
            "order 2 is in purchase_history, but the worker did not accept it",
        ),
        (cache, "DELETE FROM pending_return", "the tasks hold 1 early returns, 0 are kept for them"),
        (cache, "UPDATE pending_return SET done_at = put_at", "the tasks hold 1 early returns, 0 are kept for them"),
    ];
    for (name, statement, expected) in changes {
        let (path, copy) = (pipeline.shared().join(name), pipeline.beside("copy.sqlite"));
        std::fs::copy(&path, &copy).unwrap();
        change(&path, statement);
        let first = audit(&pipeline, 1)["ledger"]["differences"][0]["what"].as_str().unwrap().to_owned();
        assert!(first.contains(expected), "{statement}: {first}");
        put_back(&path, &copy);
    }
    audit(&pipeline, 0);
    assert!(pipeline.run(&["audit"], 0).out.contains("1 accounts, 3 transactions, 999999995.50 in all"));
}

/// Each account adds up, and the books are as the worker knows them: only both together show it.
#[test]
fn a_debit_without_an_order_is_named() {
    let pipeline = settled();
    let (path, copy) = (pipeline.shared().join("db/balance_db.sqlite"), pipeline.beside("copy.sqlite"));
    std::fs::copy(&path, &copy).unwrap();
    let put = |kind: &str, key: &str, sign: char| {
        change(&path, &format!("UPDATE user SET balance = balance {sign} 100"));
        change(
            &path,
            &format!(
                "INSERT INTO account_transaction (user_id, amount, type, reason, idempotency_key, created_at)
                 SELECT user_id, 100, '{kind}', '', CAST('{key}' AS BLOB), created_at FROM account_transaction LIMIT 1"
            ),
        );
    };
    put("debit", "purchase:55:1", '-');
    let found = audit(&pipeline, 1);
    let first = found["ledger"]["differences"][0]["what"].as_str().unwrap();
    assert!(
        first.contains("7.00 was taken from the accounts for purchases") && first.contains("come to 6.00"),
        "{first}"
    );
    assert_eq!((&found["accounts"]["differences"], &found["ledger"]["difference_count"]), (&1.into(), &1.into()));
    // A debit that was given back has no order and needs none.
    put("credit", "reversal:55:1", '+');
    audit(&pipeline, 0);
    put("credit", "reversal:2:2", '+');
    let first = audit(&pipeline, 1)["ledger"]["differences"][0]["what"].to_string();
    assert!(first.contains("5.00 was taken"), "{first}");
    put_back(&path, &copy);
    // What a task that failed for good asked for is no difference until the task is done.
    put("debit", "purchase:55:1", '-');
    let tracking = pipeline.shared().join("db/pipeline_db.sqlite");
    change(&tracking, "UPDATE pipeline_tracking SET shard_worker_status = 'failed' WHERE shard = 0");
    let found = pipeline.run(&["audit"], 1).out;
    assert!(!found.contains("was taken from the accounts"), "{found}");
}

#[test]
fn a_database_that_is_gone_is_a_difference_where_it_was_used() {
    let pipeline = settled();
    let gone = [
        ("db/balance_db.sqlite", "orders of shard 0 were paid for, but there is no balance database at sqlite://"),
        (
            "db/cache_db.sqlite",
            "the tasks hold 1 early returns, 0 are kept for them; there is no database at sqlite://",
        ),
        ("shard-worker-1/state/worker.sqlite", "the worker's state is gone, the books are there"),
    ];
    for (name, expected) in gone {
        let (path, aside) = (pipeline.shared().join(name), pipeline.beside("aside.sqlite"));
        std::fs::copy(&path, &aside).unwrap();
        std::fs::remove_file(&path).unwrap();
        let first = audit(&pipeline, 1)["ledger"]["differences"][0]["what"].as_str().unwrap().to_owned();
        assert!(first.contains(expected), "{name}: {first}");
        assert!(!path.exists(), "an audit makes no database");
        put_back(&path, &aside);
    }
    audit(&pipeline, 0);
}

#[test]
fn what_was_never_used_is_no_difference() {
    let mut pipeline = Pipeline::new(&[]);
    for role in [Role::Apid, Role::Split, Role::Send] {
        pipeline.start(role);
    }
    assert!(pipeline.run(&["audit"], 0).out.contains("not used"));
}

/// The worker is ahead of the sender: its state and the books are of different files.
#[test]
fn what_is_decided_and_not_delivered_is_not_compared() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.run(&["migrate", "up"], 0);
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Work1]);
    pipeline.import(&trade(), 100);
    eventually("both shards are decided", PATIENCE, || {
        pipeline.find("/metrics/summary").unwrap_or_default()["by_stage"]["shard_worker"]["done"] == 2
    });
    let found = pipeline.run(&["audit"], 0).out;
    assert_eq!(found.matches("is decided and not delivered").count(), 4, "{found}");
    let found = audit(&pipeline, 1)["ledger"]["differences"].to_string();
    assert!(found.contains("2 tasks are not finished") && !found.contains("could not be compared"), "{found}");
    pipeline.start(Role::Send);
    pipeline.wait_settled();
    let found = pipeline.run(&["audit"], 0).out;
    assert_eq!(found.matches("agree\n").count(), 5, "{found}");
}
