//! Every kind of damage to the rows, the markers and the order directory is named, with its file and its numbers, on
//! every kind of database; and what is no damage is not.

use shopctl::pipeline::ops::audit::Audit;
use shopctl::pipeline::task::Stage;

use super::chain::{Chain, Mishap};
use crate::store::served::Served;
use crate::support::database::Databases;
use crate::support::events::event;

macro_rules! on_every_database {
    ($($case:ident)+) => {
        mod sqlite {
            $(#[test] fn $case() { super::$case(|| (super::Databases::Sqlite, None)); })+
        }
        mod on_mariadb {
            $(#[test] fn $case() { super::$case(|| super::served(super::Served::mariadb())); })+
        }
        mod on_mysql {
            $(#[test] fn $case() { super::$case(|| super::served(super::Served::mysql())); })+
        }
    };
}

on_every_database! {
    what_is_changed_by_hand_is_named
    a_row_less_of_one_file_and_one_more_of_another_are_both_named
    early_returns_of_a_file_that_failed_are_no_difference
    what_an_earlier_version_delivered_is_audited_as_before
    a_return_of_a_decided_purchase_is_unfinished_work
}

/// New databases, and what removes them when it is dropped.
type Fresh = fn() -> (Databases, Option<Served>);

fn served(server: Served) -> (Databases, Option<Served>) {
    (server.databases(), Some(server))
}

/// The files' names.
const FIRST: &str = "20250101000001";
const SECOND: &str = "20250101000002";

fn line(kind: u8, ms: u32, payload: &str) -> String {
    event(kind, payload).replace("08:00:00.001", &format!("08:00:00.{ms:03}")) + "\n"
}

fn restock(ms: u32, shop: i64) -> String {
    line(0, ms, &format!(r#""shop_id":{shop},"good_id":3,"delta_count":9,"reason":"new","sub_event_type":"restock""#))
}

fn sale(ms: u32, order: i64, shop: i64) -> String {
    line(1, ms, &format!(r#""order_id":{order},"user_id":7,"shop_id":{shop},"good_id":3,"qty":2,"price_at_order":1.5"#))
}

/// A return that names this shop, whatever shop its purchase is of.
fn back(ms: u32, order: i64, shop: i64) -> String {
    line(3, ms, &format!(r#""order_id":{order},"user_id":7,"shop_id":{shop},"good_id":3,"qty":1"#))
}

/// Two shards, two files. The first brings a return of an order of the second, and one of an order of the other shard.
fn trade() -> [Vec<String>; 2] {
    let closed = line(4, 9, r#""shop_id":6,"active":false"#);
    let first = vec![
        restock(1, 2),
        restock(2, 1),
        sale(3, 1, 1),
        sale(4, 2, 2),
        back(5, 12, 2),
        back(6, 11, 2),
        closed,
        sale(10, 5, 6),
    ];
    let second = vec![sale(21, 12, 2), sale(22, 11, 1), back(23, 2, 2), restock(24, 4)];
    [first, second]
}

fn settled(databases: Databases) -> Chain {
    let mut chain = Chain::new(2, databases);
    for lines in trade() {
        chain.file(&lines);
        chain.run();
    }
    chain.settle();
    assert_clean(&chain.audit(true));
    chain
}

/// The differences as the table shows them: file, shard, words.
fn named(audit: &Audit) -> Vec<String> {
    let name = |one: &shopctl::pipeline::task::ledger::Difference| {
        let file = one.file.as_ref().map_or("all files", |file| file.as_str());
        format!("{file} {}: {}", one.shard.map_or_else(String::new, |shard| shard.to_string()), one.what)
    };
    audit.ledger.differences.iter().map(name).collect()
}

fn assert_clean(audit: &Audit) {
    assert_eq!(named(audit), [] as [&str; 0]);
}

fn what_is_changed_by_hand_is_named(fresh: Fresh) {
    let (databases, _server) = fresh();
    let chain = settled(databases);
    let second_row = "WHERE source_file = '20250101000001' AND source_line = 4";
    // The row of the early return, which the second file's delivery wrote.
    let early = "WHERE source_file = '20250101000001' AND source_line = 5";
    let columns = "event_type, shop_id, user_id, `timestamp`, shard, created_at";
    let changes = [
        (format!("UPDATE events SET shop_id = 4 {second_row}"), FIRST, "not as they were delivered"),
        (format!("UPDATE events SET shop_id = NULL {second_row}"), FIRST, "not as they were delivered"),
        (format!("UPDATE events SET user_id = 8 {second_row}"), FIRST, "not as they were delivered"),
        (format!("UPDATE events SET event_type = 3 {second_row}"), FIRST, "not as they were delivered"),
        (format!("UPDATE events SET `timestamp` = '2025-01-01 00:00:00.000' {second_row}"), FIRST, "not as they were"),
        (format!("UPDATE events SET shard = 1 {second_row}"), FIRST, "not as they were delivered"),
        (format!("UPDATE events SET source_line = 400 {second_row}"), FIRST, "not as they were delivered"),
        (format!("UPDATE events SET user_id = 8 {early}"), SECOND, "not as they were delivered"),
        (format!("UPDATE events SET delivered_with = '{FIRST}' {early}"), SECOND, "4 rows were delivered, 3 are in"),
        (format!("UPDATE events SET delivered_with = '20240101000000' {early}"), "20240101000000", "1 rows are in"),
        (format!("UPDATE events SET delivered_with = NULL {early}"), FIRST, "1 rows of it are in the database that no"),
        (format!("DELETE FROM events {early}"), SECOND, "rows were delivered"),
        (
            format!(
                "INSERT INTO events ({columns}, source_file, source_line)
                 SELECT {columns}, source_file, 400 FROM events {second_row}"
            ),
            FIRST,
            "1 rows of it are in the database that no delivery wrote",
        ),
    ];
    for (statement, file, expected) in changes {
        let found = named(&chain.audit_with("shop_shard_0", "events", &statement));
        let is_named = |one: &String| one.starts_with(file) && one.contains(expected);
        assert!(found.iter().any(is_named), "{statement}: {found:#?}");
    }
    of_markers(&chain);
    of_the_directory(&chain);
    assert_clean(&chain.audit(true));
}

fn of_markers(chain: &Chain) {
    let markers = [
        ("UPDATE sent_file SET rows_sha256 = sha256 WHERE filename = '20250101000001'", "not as they were delivered"),
        ("DELETE FROM sent_file WHERE filename = '20250101000001'", "and their marker in sent_file is gone"),
    ];
    for (statement, expected) in markers {
        let found = named(&chain.audit_with("shop_shard_0", "sent_file", statement));
        assert!(found.iter().any(|one| one.starts_with(FIRST) && one.contains(expected)), "{statement}: {found:#?}");
    }
}

fn of_the_directory(chain: &Chain) {
    let entries = [
        (
            "DELETE FROM order_directory WHERE order_id = 2",
            "order 2 was accepted by the worker of shard 0 and is not in",
        ),
        (
            "DELETE FROM order_directory WHERE order_id = 5",
            "order 5 was rejected by the worker of shard 0 and is not in",
        ),
        (
            "UPDATE order_directory SET shard = 1 WHERE order_id = 2",
            "order 2 as accepted in shard 1, whose worker does not",
        ),
        ("UPDATE order_directory SET shard = 99 WHERE order_id = 2", "order 2 as accepted in shard 99, whose worker"),
        (
            "UPDATE order_directory SET shop_id = 4 WHERE order_id = 2",
            "order 2 in shop 4, the worker of shard 0 in shop 2",
        ),
        (
            "UPDATE order_directory SET state = 'accepted' WHERE order_id = 5",
            "order 5 as accepted, the worker of shard 0",
        ),
        (
            "UPDATE order_directory SET order_id = 77 WHERE order_id = 2",
            "order 77 as accepted in shard 0, whose worker",
        ),
    ];
    for (statement, expected) in entries {
        let found = named(&chain.audit_with("cache_db", "order_directory", statement));
        assert!(found.iter().any(|one| one.contains(expected)), "{statement}: {found:#?}");
    }
}

/// The sum of the shard is right, and each of the files is wrong.
fn a_row_less_of_one_file_and_one_more_of_another_are_both_named(fresh: Fresh) {
    let (databases, _server) = fresh();
    let chain = settled(databases);
    let columns = "event_type, shop_id, user_id, `timestamp`, shard, created_at";
    let doubled = format!(
        "INSERT INTO events ({columns}, source_file, source_line, delivered_with)
         SELECT {columns}, source_file, 400, delivered_with FROM events
         WHERE source_file = '{SECOND}' AND source_line = 4"
    );
    let deleted = format!("DELETE FROM events WHERE source_file = '{FIRST}' AND source_line = 4");
    chain.change("shop_shard_0", &[&deleted, &doubled]);
    let found = named(&chain.audit(true));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with(&format!("{FIRST} 0: 3 rows were delivered, 2 are in the database;")), "{found:#?}");
    assert!(found[1].starts_with(&format!("{SECOND} 0: 4 rows were delivered, 5 are in the database;")), "{found:#?}");
}

/// The first file brings a return of an order of the second. Its task in the order's shard fails at the sender, so that
/// file has no marker there, while its return is delivered with the second.
fn early_returns_of_a_file_that_failed_are_no_difference(fresh: Fresh) {
    for is_of_earlier_version in [false, true] {
        let (databases, _server) = fresh();
        let mut chain = Chain::new(2, databases);
        let [first, second] = trade();
        chain.file(&first);
        chain.step(Stage::ShardSplitter, None, Mishap::None);
        for shard in chain.shards() {
            chain.step(Stage::ShardWorker, Some(shard), Mishap::None);
        }
        chain.step(Stage::MysqlSender, Some("0".parse().unwrap()), Mishap::Fails);
        chain.file(&second);
        chain.run();
        if is_of_earlier_version {
            forget_deliveries(&chain);
        }
        let found = named(&chain.audit(false));
        assert!(found.len() == 1 && found[0].contains("mysql-sender failed"), "{found:#?}");
        chain.settle();
        assert_clean(&chain.audit(true));
    }
}

/// As a sender left it that knew neither column.
fn forget_deliveries(chain: &Chain) {
    for shard in chain.shards() {
        let database = format!("shop_shard_{shard}");
        chain
            .change(&database, &["UPDATE events SET delivered_with = NULL", "UPDATE sent_file SET rows_sha256 = NULL"]);
    }
}

/// Files of both versions beside each other: early returns of either are delivered by either.
fn what_an_earlier_version_delivered_is_audited_as_before(fresh: Fresh) {
    let (databases, _server) = fresh();
    let mut chain = Chain::new(2, databases);
    let [first, second] = trade();
    chain.file(&first);
    chain.run();
    forget_deliveries(&chain);
    assert_clean(&chain.audit(false));
    chain.file(&second);
    chain.settle();
    assert_clean(&chain.audit(true));
    let gone = chain.audit_with(
        "shop_shard_0",
        "events",
        "DELETE FROM events WHERE source_line = 4 AND delivered_with IS NULL",
    );
    let found = named(&gone);
    assert!(
        found.iter().any(|one| one.contains("rows were delivered") && one.contains("are in the database")),
        "{found:#?}"
    );
    // The other way round: the early return is of a file whose digest is known, and was delivered by the older sender.
    let columns = format!("UPDATE events SET delivered_with = NULL WHERE delivered_with = '{SECOND}'");
    let marker = format!("UPDATE sent_file SET rows_sha256 = NULL WHERE filename = '{SECOND}'");
    let (databases, _other_server) = fresh();
    let mut chain = settled(databases);
    chain.change("shop_shard_0", &[&columns, &marker]);
    assert_clean(&chain.audit(true));
    chain.file(&[restock(31, 2)]);
    chain.settle();
    assert_clean(&chain.audit(true));
}

/// The return names a shop of shard 0, its purchase is of shard 1, and was decided when the return came.
fn a_return_of_a_decided_purchase_is_unfinished_work(fresh: Fresh) {
    let (databases, _server) = fresh();
    let mut chain = Chain::new(2, databases);
    chain.file(&[restock(1, 1), sale(2, 1, 1), back(3, 99, 2)]);
    chain.run();
    chain.file(&[back(11, 1, 2)]);
    // The order's shard takes the file before the return is handed in.
    chain.step(Stage::ShardSplitter, None, Mishap::None);
    for shard in chain.shards().collect::<Vec<_>>().into_iter().rev() {
        chain.step(Stage::ShardWorker, Some(shard), Mishap::None);
    }
    chain.run();
    assert_clean(&chain.audit(false));
    let unfinished = chain.audit(true);
    assert_eq!((unfinished.pending.kept, unfinished.pending.decided), (2, 1));
    let found = named(&unfinished);
    let expected =
        "1 early returns wait although their purchase is decided; a flush file takes them up: 'shopctl ingest --once'";
    assert!(found.len() == 1 && found[0].contains(expected), "{found:#?}");
    chain.file(&[]);
    chain.run();
    let settled = chain.audit(true);
    assert_clean(&settled);
    assert_eq!(
        (settled.pending.kept, settled.pending.decided),
        (1, 0),
        "the other one waits for a purchase that never came"
    );
}
