//! Databases that an earlier version made: their rows are there afterwards, as they were, and the program works on them.

use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use shopctl::base::db::{SchemaState, schema_state};
use shopctl::pipeline::event::Money;
use shopctl::pipeline::rules::{OrderStatus, Remembered, TradeOrder};
use shopctl::pipeline::shard_db::{Delivered, Delivery, Entry, EventRow};

use super::served::{Served, to};
use super::servers::on_every_server;
use super::*;

mod of_rows {
    use super::*;

    on_every_backend! {
        a_shard_of_the_first_version_keeps_its_rows_and_gets_its_books
        code_of_the_second_version_works_on_the_digests_schema
        tracking_of_the_first_version_keeps_its_tasks_and_learns_who_asked
    }
}

on_every_server! {
    a_migration_that_lost_a_note_is_gone_on_with
    a_migration_waits_for_the_one_that_is_at_it
}

/// What the shards' second migration is called.
const BOOKS: &str = "0002_books";
/// How many migrations a shard's database has.
const KNOWN: usize = 3;
/// How a program notes on a server what it has applied.
const NOTES: &str = "CREATE TABLE schema_migration (
    number INT NOT NULL, name VARCHAR(255) NOT NULL, statements INT NOT NULL, finished_at DATETIME(3) NULL, PRIMARY KEY (number)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
/// More than any migration here takes.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn folder(dialect: &str, kind: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("db/migrations").join(dialect).join(kind)
}

/// A migration's statements, one by one.
fn statements(dialect: &str, kind: &str, migration: &str) -> Vec<String> {
    let sql = std::fs::read_to_string(folder(dialect, kind).join(format!("{migration}.sql"))).unwrap();
    let is_one = |statement: &&str| statement.lines().any(|line| !line.trim().is_empty() && !line.starts_with("--"));
    sql.split(";\n").filter(is_one).map(str::to_owned).collect()
}

/// Whoever adds a migration adds a test with rows from before it.
#[test]
fn every_later_migration_has_its_test_here() {
    let mut later = Vec::new();
    for dialect in ["mysql", "sqlite"] {
        for kind in ["balance", "cache", "shard", "tracking", "worker"] {
            let Ok(files) = std::fs::read_dir(folder(dialect, kind)) else { continue };
            let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
            let names = names.filter(|name| !name.starts_with("0001_")).map(|name| format!("{dialect}/{kind}/{name}"));
            later.extend(names);
        }
    }
    later.sort();
    assert_eq!(
        later,
        [
            "mysql/shard/0002_books.sql",
            "mysql/shard/0003_row_digests.sql",
            "mysql/tracking/0002_askers.sql",
            "sqlite/shard/0002_books.sql",
            "sqlite/shard/0003_row_digests.sql",
            "sqlite/tracking/0002_askers.sql",
            "sqlite/worker/0002_trade.sql"
        ]
    );
}

/// A shard's database as the program left it that knew the first migration only.
async fn make_first(backend: &dyn Backend, url: &StoreUrl) {
    make_first_of(backend, url, "shard").await;
}

/// A database of this kind as the program left it that knew the first migration only.
async fn make_first_of(backend: &dyn Backend, url: &StoreUrl, kind: &str) {
    backend.make(url).await;
    let note = format!("INSERT INTO schema_migration VALUES (1, '0001_{kind}', 2, '2025-01-01')");
    let (dialect, notes) = match url {
        StoreUrl::Sqlite(_) => ("sqlite", ["PRAGMA journal_mode = WAL", "PRAGMA user_version = 1"]),
        StoreUrl::Mysql(_) => ("mysql", [NOTES, note.as_str()]),
    };
    let first = statements(dialect, kind, &format!("0001_{kind}"));
    assert!(dialect == "sqlite" || first.len() == 2);
    for statement in first.iter().map(String::as_str).chain(notes) {
        backend.change(url, statement).await;
    }
}

fn row(number: u32, line: u64, entry: Option<Entry>) -> EventRow {
    EventRow {
        event_type: 0,
        shop_id: Some(3),
        user_id: None,
        timestamp: Timestamp::from_unix_ms(START_MS),
        source_file: file(number),
        source_line: line,
        entry,
    }
}

fn delivery(number: u32, byte: u8, rows: Vec<EventRow>) -> Delivery {
    let count = rows.len() as u64;
    let source = Box::new(rows.into_iter().map(Ok));
    Delivery { key: key(number, 0), sha256: Digest::new([byte; 32]), rows: count, source }
}

async fn a_shard_of_the_first_version_keeps_its_rows_and_gets_its_books(backend: &dyn Backend) {
    let url = backend.shard(shard(0));
    make_first(backend, &url).await;
    let columns = "(event_type, shop_id, user_id, `timestamp`, shard, created_at, source_file, source_line)";
    let at = "'2025-01-01 00:00:00.007', 0, '2025-01-01 00:00:01.000', '20250101000001'";
    backend
        .change(
            &url,
            &format!(
                "INSERT INTO events {columns} VALUES (0, -9223372036854775808, 9223372036854775807, {at}, 1),
                 (3, NULL, NULL, {at}, 2), (4, 5, NULL, {at}, 9007199254740993)"
            ),
        )
        .await;
    let sha256 = "ab".repeat(32);
    let marker =
        format!("INSERT INTO sent_file VALUES ('20250101000001', 0, '{sha256}', 3, '2025-01-01 00:00:01.000')");
    backend.change(&url, &marker).await;
    let events = "SELECT concat_ws('|', id, event_type, coalesce(shop_id, 'NULL'), coalesce(user_id, 'NULL'),
             `timestamp`, shard, created_at, source_file, source_line) FROM events ORDER BY id";
    let markers = "SELECT concat_ws('|', filename, shard, sha256, `rows`, sent_at) FROM sent_file";
    let before = (backend.texts(&url, events).await, backend.texts(&url, markers).await);
    assert_eq!((before.0.len(), before.1.len()), (3, 1));

    let behind = schema_state(&url, &schemas::SHARD).await.unwrap();
    assert_eq!(behind, Some(SchemaState { applied: 1, known: KNOWN }));
    // The role itself migrates, when it first needs the database.
    let store = open_shard(&url, Clock::System).await.unwrap();
    store.ping().await.unwrap();
    let current = Some(SchemaState { applied: KNOWN, known: KNOWN });
    assert_eq!(schema_state(&url, &schemas::SHARD).await.unwrap(), current);
    assert_eq!((backend.texts(&url, events).await, backend.texts(&url, markers).await), before);

    assert_eq!(store.deliver(delivery(1, 0xab, Vec::new())).await.unwrap(), Delivered::Before);
    assert_eq!(code(store.deliver(delivery(1, 0xac, Vec::new())).await), "broken", "another content of an old file");
    assert_eq!(code(store.deliver(delivery(2, 1, vec![row(1, 2, None)])).await), "broken", "an old file's line");
    let entry = Entry::Stock { shop_id: 3, good_id: 5, delta: 7 };
    assert_eq!(store.deliver(delivery(3, 1, vec![row(3, 1, Some(entry))])).await.unwrap(), Delivered::Now);
    let census = store.census(shard(0)).await.unwrap();
    let sent: Vec<_> = census.sent.iter().map(|sent| (sent.file.clone(), sent.rows, sent.present)).collect();
    assert_eq!((census.rows, sent), (4, vec![(file(1), 3, 3), (file(3), 1, 1)]));
    assert!(census.sent[0].is_undigested() && !census.sent[1].is_undigested(), "the rows of before have no digest");
    assert!(census.sent[1].is_as_delivered(), "{census:?}");
    assert_eq!(store.list_stock(None, 9).await.unwrap()[0].count, Some(7));
    store.close().await;
}

/// A sender that knows neither of the new columns goes on beside one that does: its rows and markers are as they were.
async fn code_of_the_second_version_works_on_the_digests_schema(backend: &dyn Backend) {
    let url = backend.shard(shard(0));
    migrate(&url, &schemas::SHARD).await.unwrap();
    let old_marker = "INSERT INTO sent_file (filename, shard, sha256, `rows`, sent_at)
         VALUES ('20250101000001', 0, '{sha256}', 2, '2025-01-01 00:00:01.000')";
    let old_rows =
        "INSERT INTO events (event_type, shop_id, user_id, `timestamp`, shard, created_at, source_file, source_line)
         VALUES (0, 3, NULL, '2025-01-01 00:00:00.007', 0, '2025-01-01 00:00:01.000', '20250101000001', 1),
                (3, NULL, 5, '2025-01-01 00:00:00.007', 0, '2025-01-01 00:00:01.000', '20250101000000', 9)";
    backend.change(&url, &old_marker.replace("{sha256}", &"ab".repeat(32))).await;
    backend.change(&url, old_rows).await;
    let store = open_shard(&url, Clock::System).await.unwrap();
    assert_eq!(store.deliver(delivery(1, 0xab, Vec::new())).await.unwrap(), Delivered::Before);
    let rows = vec![row(2, 1, None), row(1, 2, None)];
    assert_eq!(store.deliver(delivery(2, 1, rows)).await.unwrap(), Delivered::Now);
    let census = store.census(shard(0)).await.unwrap();
    let sent: Vec<_> = census.sent.iter().map(|sent| (sent.rows, sent.present, sent.is_undigested())).collect();
    assert_eq!(sent, [(2, 1, true), (2, 2, false)]);
    assert!(census.sent[1].is_as_delivered(), "{census:?}");
    let of_earlier = census.unattributed.into_iter().collect::<Vec<_>>();
    assert_eq!((of_earlier, census.unmarked.len()), (vec![("20250101000000".to_owned(), 1)], 0));
    store.close().await;
}

async fn tracking_of_the_first_version_keeps_its_tasks_and_learns_who_asked(backend: &dyn Backend) {
    let url = backend.tracking();
    make_first_of(backend, &url, "tracking").await;
    let task =
        "INSERT INTO pipeline_tracking (filename, event_ingest_status, shard, created_at, updated_at, shards_count)
         VALUES ('20250101000001', 'done', 0, '2025-01-01 00:00:00.000', '2025-01-01 00:00:00.001', 1)";
    backend.change(&url, task).await;
    let result = "INSERT INTO pipeline_stage_result (filename, shard, stage, token, attempt, finished_at)
         VALUES ('20250101000001', 0, 'event-ingest', 0, 1, '2025-01-01 00:00:00.001')";
    backend.change(&url, result).await;
    let tasks = "SELECT concat_ws('|', id, filename, event_ingest_status, shard_splitter_status, shard, created_at,
             updated_at, shards_count, token, attempts) FROM pipeline_tracking";
    let results =
        "SELECT concat_ws('|', filename, shard, stage, token, attempt, finished_at) FROM pipeline_stage_result";
    let before = (backend.texts(&url, tasks).await, backend.texts(&url, results).await);
    assert_eq!((before.0.len(), before.1.len()), (1, 1));

    let behind = schema_state(&url, &schemas::TRACKING).await.unwrap();
    assert_eq!(behind, Some(SchemaState { applied: 1, known: 2 }));
    let tracking = open_tracking(&url, Clock::System, policy()).await.unwrap();
    tracking.ping().await.unwrap();
    let current = Some(SchemaState { applied: 2, known: 2 });
    assert_eq!(schema_state(&url, &schemas::TRACKING).await.unwrap(), current);
    assert_eq!((backend.texts(&url, tasks).await, backend.texts(&url, results).await), before);

    tracking.note_asker(Stage::ShardSplitter, None, "host-1-ab").await.unwrap();
    let asked = "SELECT concat_ws('|', stage, shard, worker) FROM pipeline_asker";
    assert_eq!(backend.texts(&url, asked).await, ["shard-splitter|-1|host-1-ab"]);
    let claim = Claim {
        stage: Stage::ShardSplitter,
        worker: "host-1-ab".to_owned(),
        limit: 1,
        shard: None,
        claim_id: "c1".to_owned(),
        takes_over: true,
    };
    assert_eq!(names(&tracking.claim(&claim).await.unwrap()), [key(1, 0)], "the task of before is handed out");
    tracking.close().await;
}

/// The process ended between a statement and its note, whichever of them.
async fn a_migration_that_lost_a_note_is_gone_on_with(backend: &Served) {
    let second = statements("mysql", "shard", BOOKS);
    let straight = backend.shard(shard(100));
    migrate(&straight, &schemas::SHARD).await.unwrap();
    let columns = "SELECT concat_ws(' ', table_name, column_name, column_type, is_nullable, column_key, column_default)
         FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";
    for noted in 0..second.len() {
        let url = backend.shard(shard(noted as u64));
        make_first(backend, &url).await;
        for statement in &second[..=noted] {
            backend.change(&url, statement).await;
        }
        backend.change(&url, "INSERT INTO shop (id, good_id, count) VALUES (3, 5, 4)").await;
        let note = format!("INSERT INTO schema_migration VALUES (2, '{BOOKS}', {noted}, NULL)");
        backend.change(&url, &note).await;
        migrate(&url, &schemas::SHARD).await.unwrap();
        let state = schema_state(&url, &schemas::SHARD).await.unwrap().unwrap();
        assert!(state.is_current(), "{noted}: {state:?}");
        assert_eq!(backend.texts(&url, columns).await, backend.texts(&straight, columns).await, "{noted}");
        let store = open_shard(&url, Clock::System).await.unwrap();
        let entry = Entry::Stock { shop_id: 3, good_id: 5, delta: 7 };
        assert_eq!(store.deliver(delivery(3, 1, vec![row(3, 1, Some(entry))])).await.unwrap(), Delivered::Now);
        assert_eq!(store.list_stock(None, 9).await.unwrap()[0].count, Some(11), "{noted}");
        store.close().await;
    }
}

async fn a_migration_waits_for_the_one_that_is_at_it(backend: &Served) {
    let url = backend.shard(shard(0));
    make_first(backend, &url).await;
    let mut other = to(&url).await;
    let lock = "CONCAT('shopctl migrate ', LEFT(DATABASE(), 48))";
    let locked: Option<i64> = other.query_first(format!("SELECT GET_LOCK({lock}, 0)")).await.unwrap();
    assert_eq!(locked, Some(1));
    let of_task = url.clone();
    let migrating = tokio::spawn(async move { migrate(&of_task, &schemas::SHARD).await });
    let waiting = "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.processlist
         WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE '%GET_LOCK%'";
    let waits = async {
        while backend.texts(&url, waiting).await != ["1"] {
            assert!(!migrating.is_finished(), "it did not wait");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, waits).await.unwrap();
    assert_eq!(schema_state(&url, &schemas::SHARD).await.unwrap(), Some(SchemaState { applied: 1, known: KNOWN }));
    other.query_drop(format!("DO RELEASE_LOCK({lock})")).await.unwrap();
    tokio::time::timeout(WAIT_MAX, migrating).await.unwrap().unwrap().unwrap();
    assert_eq!(schema_state(&url, &schemas::SHARD).await.unwrap(), Some(SchemaState { applied: KNOWN, known: KNOWN }));
}

#[test]
fn a_worker_of_the_first_version_keeps_its_keys_and_learns_to_trade() {
    let sqlite = Sqlite::fresh();
    let first = rusqlite::Connection::open(sqlite.0.path().join("worker.sqlite")).unwrap();
    first.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    for statement in statements("sqlite", "worker", "0001_worker") {
        first.execute_batch(&statement).unwrap();
    }
    first.execute_batch("PRAGMA user_version = 1").unwrap();
    let (print, other_print, day) = ([1; 16], [2; 16], 20_000);
    for (line, key) in [(1, b"evt-a".as_slice()), (2, b"EVT-A "), (3, b"\0\xff"), (4, b"")] {
        let insert = "INSERT INTO seen (key, filename, line, fingerprint, seen_day) VALUES (?1, ?2, ?3, ?4, ?5)";
        first.execute(insert, rusqlite::params![key, file(1).as_str(), line, print, day]).unwrap();
    }
    let dump = |connection: &rusqlite::Connection| {
        let select = "SELECT hex(key) || ' ' || filename || ' ' || line || ' ' || hex(fingerprint) || ' ' || seen_day
             FROM seen ORDER BY key";
        let mut statement = connection.prepare(select).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|row| row.unwrap()).collect::<Vec<_>>()
    };
    let before = dump(&first);
    assert_eq!(before.len(), 4);
    drop(first);

    let mut state = sqlite.worker();
    assert_eq!(dump(&rusqlite::Connection::open(sqlite.0.path().join("worker.sqlite")).unwrap()), before);
    state.begin().unwrap();
    assert_eq!(state.remember(b"evt-a", &file(1), 1, &print, day).unwrap(), Remembered::Here);
    let elsewhere = Remembered::Elsewhere { file: file(1), line: 3 };
    assert_eq!(state.remember(b"\0\xff", &file(2), 1, &print, day).unwrap(), elsewhere);
    let other = Remembered::OtherContent { file: file(1), line: 4 };
    assert_eq!(state.remember(b"", &file(2), 2, &other_print, day).unwrap(), other);
    assert_eq!(state.remember(b"evt-b", &file(2), 3, &print, day).unwrap(), Remembered::New);
    let order = TradeOrder {
        user_id: None,
        shop_id: 3,
        good_id: 5,
        qty: 2,
        price: Money::from_minor(150),
        returned: 0,
        standing: OrderStatus::Accepted,
    };
    assert_eq!(state.find_order(7).unwrap(), None);
    state.put_order(7, &order).unwrap();
    state.put_stock(3, 5, 9).unwrap();
    state.commit().unwrap();
    drop(state);
    let mut state = sqlite.worker();
    assert_eq!((state.find_order(7).unwrap(), state.find_stock(3, 5).unwrap()), (Some(order), Some(9)));
    assert_eq!(state.forget_before(day + 1).unwrap(), 5);
}
