//! Pipelines that earlier versions left in mid-work (`tests/fixtures/`): the present version takes them to their end, and
//! nothing of what was there is lost or changed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::store::served::Served;
use crate::support::database::{self, Databases};
use crate::support::events::purchase;
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, SHARDS, STAGES};
use crate::support::{PATIENCE, eventually};

/// The fixtures are older than what is forgotten by default.
const NOTHING_IS_TOO_OLD: [&str; 3] =
    ["shared.retention_hours=87600", "worker.key_retention_days=36500", "cache.retention_days=36500"];
/// What came in, file by file; then what was posted and is in no file yet.
const INPUTS: [&str; 4] = ["input-1.ndjson", "input-2.ndjson", "input-3.ndjson", "input-4.ndjson"];
const POSTS: &str = "posts.ndjson";
/// What is there and must stay as it is: database, query. Columns that later versions add are not asked for.
const KEPT: [(&str, &str); 5] = [
    (
        "shop_shard_{shard}",
        "SELECT id, event_type, shop_id, user_id, `timestamp`, shard, created_at, source_file, source_line FROM events",
    ),
    ("shop_shard_{shard}", "SELECT filename, shard, sha256, `rows`, sent_at FROM sent_file"),
    ("balance_db", "SELECT id, user_id, amount, type, reason, created_at FROM account_transaction"),
    ("pipeline_db", "SELECT filename, shard, stage, token, attempt, finished_at FROM pipeline_stage_result"),
    ("cache_db", "SELECT order_id, shop_id, shard, filename, created_at FROM order_directory WHERE state <> 'awaited'"),
];

mod sqlite {
    #[test]
    fn a_pipeline_of_an_earlier_version_is_taken_to_its_end() {
        super::each("sqlite", || ((), super::Databases::Sqlite));
    }
}

mod on_mariadb {
    #[test]
    fn a_pipeline_of_an_earlier_version_is_taken_to_its_end() {
        super::each("mariadb", || super::on(super::Served::mariadb()));
    }
}

mod on_mysql {
    #[test]
    fn a_pipeline_of_an_earlier_version_is_taken_to_its_end() {
        super::each("mariadb", || super::on(super::Served::mysql()));
    }
}

fn on(server: Served) -> (Served, Databases) {
    let databases = server.databases();
    (server, databases)
}

/// Every fixture of this kind, each with databases of its own that go away with the first part.
fn each<T>(kind: &str, databases: impl Fn() -> (T, Databases)) {
    let fixtures = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap();
    let folders = fixtures.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let archives: Vec<PathBuf> = folders.map(|folder| folder.join(format!("{kind}.tar.gz"))).collect();
    assert!(!archives.is_empty(), "there is no fixture");
    for archive in archives {
        println!("{}", archive.display());
        let (_server, databases) = databases();
        take_to_its_end(&archive, databases);
    }
}

fn take_to_its_end(archive: &Path, databases: Databases) {
    let temp = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(temp.path()).status().unwrap();
    assert!(unpacked.success(), "{}", archive.display());
    if let Databases::Server { url, .. } = &databases {
        restore(url, &temp.path().join("dumps"));
    }
    let mut pipeline = Pipeline::opened(&temp.path().join("shared"), databases, &NOTHING_IS_TOO_OLD);
    let input = |name: &str| std::fs::read(temp.path().join(name)).unwrap();
    let before = kept(&pipeline);
    assert!(before.iter().all(|rows| !rows.is_empty()), "the fixture has rows in every table");

    pipeline.run(&["migrate", "up"], 0);
    assert_all_are_there(&before, &kept(&pipeline), "after the migrations");
    STAGES.into_iter().chain([Role::Ingest]).for_each(|role| pipeline.start(role));
    eventually("the journal became a file", PATIENCE, || pipeline.event_files().len() > INPUTS.len());
    pipeline.wait_settled();
    let files: Vec<Vec<u8>> = pipeline.event_files().into_iter().map(|(_, content)| content).collect();
    let expected: Vec<Vec<u8>> = INPUTS.into_iter().chain([POSTS]).map(input).collect();
    assert!(files == expected, "the event files are what came in");
    let oracle = pipeline.assert_all_is_well(&Known::new());
    assert_all_are_there(&before, &kept(&pipeline), "at the end");
    // Each of these is decided by what the earlier version remembered.
    assert_eq!((oracle.duplicates, oracle.world.pending.len()), (3, 1));
    let reasons: Vec<&str> = oracle.world.rejected.iter().map(|(_, _, reason, _)| reason.as_str()).collect();
    assert_eq!(reasons, ["bad_json", "insufficient_stock", "return_exceeds_purchase"]);
    let attempt = "SELECT MAX(attempt) FROM pipeline_stage_result WHERE stage = 'shard-worker'";
    assert_eq!(
        pipeline.open("pipeline_db").texts(attempt)[0][0].as_deref(),
        Some("2"),
        "who had claimed it never came"
    );

    // What was imported then is known, and what comes now goes its way.
    for name in INPUTS {
        let again = pipeline.import(&input(name), 1000);
        assert!(again.out.contains("in 1 file, 1 of them imported before"), "{}", again.out);
    }
    pipeline.import((purchase(9_000_000_007, 1) + "\n").as_bytes(), 1000);
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    assert_eq!(pipeline.event_files().len(), INPUTS.len() + 2);
}

/// Makes the databases that were dumped, at this URL up to their names.
fn restore(url: &str, dumps: &Path) {
    let (server, prefix) = url.rsplit_once('/').unwrap();
    for dump in std::fs::read_dir(dumps).unwrap().map(|entry| entry.unwrap().path()) {
        let name = format!("{prefix}{}", dump.file_stem().unwrap().to_str().unwrap());
        let create = format!("CREATE DATABASE {name} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
        database::Served(server.to_owned()).run(&[&create]);
        let dump = std::fs::read_to_string(dump).unwrap();
        let statements: Vec<&str> = dump.split(";\n").filter(|statement| !statement.trim().is_empty()).collect();
        database::Served(format!("{server}/{name}")).run(&statements);
    }
}

/// The rows that must stay, by database and table.
fn kept(pipeline: &Pipeline) -> Vec<Vec<database::Texts>> {
    let shards = 0..SHARDS;
    let of = |(database, query): (&str, &str)| {
        let names = shards.clone().map(|shard| database.replace("{shard}", &shard.to_string()));
        let names: Vec<String> = if database.contains('{') { names.collect() } else { vec![database.to_owned()] };
        names.into_iter().map(|name| pipeline.open(&name).texts(query)).collect::<Vec<_>>()
    };
    KEPT.into_iter().flat_map(of).collect()
}

fn assert_all_are_there(before: &[Vec<database::Texts>], now: &[Vec<database::Texts>], when: &str) {
    assert_eq!(before.len(), now.len());
    for (before, now) in before.iter().zip(now) {
        let lost: Vec<_> = before.iter().filter(|row| !now.contains(row)).collect();
        assert!(lost.is_empty(), "lost or changed {when}: {lost:#?}");
    }
}
