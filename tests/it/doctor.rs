//! `shopctl doctor`: what is broken for real is found, named, and left as it is.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::events::{MISHAPS, generated};
use crate::support::mariadb::Mariadb;
use crate::support::mount::Mount;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually};

/// Runs it; answers its findings that are not well, as `level check: found`.
fn troubles(pipeline: &Pipeline, more: &[&str], code: i32) -> Vec<String> {
    let ended = pipeline.spawn_with(&["doctor", "-o", "json"], more, None).wait_exit(PATIENCE).expect_code(code);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    let findings = answer["findings"].as_array().unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let bad = findings.iter().filter(|finding| finding["level"] != "ok");
    bad.map(|finding| {
        assert!(!text(finding, "todo").is_empty(), "{finding}");
        format!("{} {}: {}", text(finding, "level"), text(finding, "check"), text(finding, "found"))
    })
    .collect()
}

fn assert_found(troubles: &[String], expected: &str) {
    assert!(troubles.iter().any(|trouble| trouble.contains(expected)), "{expected}: {troubles:#?}");
}

/// Disks and limits are those of the machine; the leases of these tests are short.
fn of_the_folder(troubles: Vec<String>) -> Vec<String> {
    let is_other = |text: &String| text.contains(" disk ") || text.contains(" open files");
    troubles.into_iter().filter(|text| !is_other(text)).collect()
}

#[test]
fn a_store_that_is_well_has_no_trouble_and_is_left_as_it_is() {
    let pipeline = Pipeline::new(&[]);
    assert_found(&troubles(&pipeline, &[], 1), "fail folder:");
    assert!(!pipeline.shared().exists(), "it makes nothing");
    let path = pipeline.write("input.ndjson", &generated(3, MISHAPS, 200));
    pipeline.run(&["up", "--any-port", "--from", path.to_str().unwrap()], 0);
    assert_eq!(of_the_folder(troubles(&pipeline, &[], 0)), [] as [String; 0]);
    let shown = pipeline.run(&["doctor"], 0).out;
    assert!(shown.contains("ok    database.tracking") && shown.contains(" 0 failures"), "{shown}");
}

#[test]
fn what_was_left_behind_is_named_and_stays() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Apid);
    pipeline.import(&generated(3, MISHAPS, 200), 100);
    let shared = pipeline.shared();
    std::fs::remove_file(&pipeline.list("events")[0]).unwrap();
    std::fs::write(shared.join("events/20200101000000.event-ingest.txt"), "").unwrap();
    let temporary = shared.join("events/.x.t1.tmp");
    std::fs::write(&temporary, "half").unwrap();
    File::options().write(true).open(&temporary).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    let note = shared.join("run/shard-splitter.0123.json");
    let elsewhere = shared.join("run/shard-splitter.4567.json");
    for (path, instance, host) in [
        (&note, "0123", shopctl::pipeline::addresses::host_name()),
        (&elsewhere, "4567", "no-such-machine.invalid".to_owned()),
    ] {
        let addr = if instance == "0123" { "127.0.0.1:1" } else { "0.0.0.0:1" };
        let text = serde_json::json!({
            "role": "shard-splitter", "instance": instance, "addr": addr, "host": host, "pid": 4_194_305_u32,
            "started_at": "2025-01-01 00:00:00.000", "version": "0.1.0",
        });
        std::fs::write(path, text.to_string()).unwrap();
    }
    std::fs::create_dir_all(shared.join("mysql-sender")).unwrap();
    std::os::unix::fs::symlink("/tmp", shared.join("shard-splitter")).unwrap();
    let found = troubles(&pipeline, &[], 1);
    for expected in [
        "warn temporary files: 1 left behind: ",
        "warn event files: 1 left behind: 20200101000000",
        "fail tasks: 2 left behind: ",
        "shard 0 at shard-splitter",
        "warn addresses: 1 left behind: shard-splitter (http://127.0.0.1:1)",
        "shard-splitter is a link, or no folder",
    ] {
        assert_found(&found, expected);
    }
    assert!(temporary.exists() && note.exists());
}

#[test]
fn an_old_schema_is_named_and_not_migrated() {
    let pipeline = Pipeline::new(&[]);
    pipeline.run(&["migrate", "up"], 0);
    let path = pipeline.shared().join("db/pipeline_db.sqlite");
    let old = Connection::open(&path).unwrap();
    old.execute_batch("DROP TABLE pipeline_tracking; PRAGMA user_version = 0").unwrap();
    drop(old);
    assert_found(&troubles(&pipeline, &[], 1), "fail database.tracking: ");
    let version: i64 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 0);
    std::fs::write(&path, "no database at all, but a text of some length").unwrap();
    assert_found(&troubles(&pipeline, &[], 1), "fail database.tracking: ");
}

#[test]
fn a_port_is_ours_or_its_holder_is_named() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.run(&["migrate", "up"], 0);
    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = foreign.local_addr().unwrap().port();
    let found = troubles(&pipeline, &[&format!("server.port={port}")], 1);
    assert_found(&found, &format!("fail port {port}: process {} (", std::process::id()));
    pipeline.start(Role::Balance);
    let port = pipeline.role(Role::Balance).wait_port();
    let settings = format!("server.port={port}");
    eventually("its note is found", PATIENCE, || of_the_folder(troubles(&pipeline, &[&settings], 0)).is_empty());
    let other = Pipeline::new(&[]);
    other.run(&["migrate", "up"], 0);
    assert_found(&troubles(&other, &[&settings], 0), &format!("warn port {port}: balance-daemon ("));
    pipeline.role(Role::Balance).signal(Signal::STOP);
    let found = troubles(&pipeline, &[&settings], 1);
    let pid = pipeline.role(Role::Balance).id();
    assert_found(&found, &format!("fail port {port}: process {pid} of shopctl holds the port and does not answer"));
}

#[test]
fn a_tracking_database_that_is_locked_is_looked_at_all_the_same() {
    let pipeline = Pipeline::new(&[]);
    pipeline.run(&["migrate", "up"], 0);
    let connection = Connection::open(pipeline.shared().join("db/pipeline_db.sqlite")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(of_the_folder(troubles(&pipeline, &[], 0)), [] as [String; 0]);
}

#[test]
fn settings_and_secrets_are_looked_at() {
    let pipeline = Pipeline::new(&[]);
    pipeline.run(&["migrate", "up"], 0);
    let token = pipeline.write("token", b"0123456789abcdef");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = format!("auth.operator_file={}", token.display());
    let found = troubles(&pipeline, &[&file, "pipeline.claim_wait_ms=1500"], 0);
    assert_found(&found, "warn auth.operator_file: ");
    assert_found(&found, "is not below pipeline.lease_ms");
    assert_found(&found, "none for producer");
}

#[test]
fn a_disk_with_little_room_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mount = Mount::tmpfs(&folder.path().join("small"), "size=8m,nr_inodes=100");
    let pipeline = Pipeline::on(&mount.path().join("shared"), &[]);
    pipeline.run(&["migrate", "up"], 0);
    let found = troubles(&pipeline, &[], 1);
    assert_found(&found, "fail disk room: ");
    assert_found(&found, "fail disk files: ");
    assert!(Path::new(mount.path()).exists());
}

#[test]
fn a_database_on_a_read_only_mount_is_named_by_ready_status_and_doctor() {
    let mut pipeline = Pipeline::new(&["database.shard=sqlite://{shared}/shards/shop_shard_{shard}.sqlite"]);
    pipeline.run(&["migrate", "up"], 0);
    let folder = pipeline.shared().join("shards");
    let mount = Mount::read_only(&folder);
    let file = folder.join("shop_shard_0.sqlite");
    let cause = "its file system is mounted read-only";
    let found = troubles(&pipeline, &[], 1);
    for expected in [
        &format!("fail database.shard 0: sqlite://{} is read-only: {cause}", file.display()),
        "fail database.shard 1: ",
        &format!("fail disk: {} is mounted read-only", folder.display()),
    ] {
        assert_found(&found, expected);
    }
    assert!(!found.iter().any(|trouble| trouble.contains("database.tracking")), "{found:#?}");
    let shown = pipeline.run(&["doctor"], 1).out;
    let todo = "-> make it writable for the user of the roles: docs/runbook.md#database-read-only";
    assert!(shown.contains(todo), "{shown}");

    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Work1, Role::Send]);
    pipeline.import(&generated(3, MISHAPS, 200), 200);
    let mut told = String::new();
    eventually("the sender says what is wrong", PATIENCE, || {
        told = pipeline.spawn(&["status"], None).wait_exit(PATIENCE).out;
        told.lines().any(|line| line.starts_with("mysql-sender at ") && line.contains(cause))
    });
    let first = told.lines().find(|line| line.starts_with("mysql-sender at ")).unwrap();
    let named = format!("{}: database_read_only: ", file.display());
    assert!(first.contains("is not ready: ") && first.contains(&named), "{first}");
    assert!(first.contains(&format!("{cause} (docs/runbook.md#database-read-only)")), "{first}");
    assert!(told.contains("  -> a database takes no changes; make it writable"), "{told}");
    drop(mount);
    pipeline.wait_settled();
    assert_eq!(of_the_folder(troubles(&pipeline, &[], 0)), [] as [String; 0]);
}

#[test]
fn a_server_that_may_forget_or_does_not_answer_is_named() {
    let mut server = Mariadb::start();
    let pipeline = Pipeline::served(server.databases(server.ports()), &[]);
    std::fs::create_dir_all(pipeline.shared()).unwrap();
    assert_eq!(of_the_folder(troubles(&pipeline, &[], 0)), [] as [String; 0]);
    server.root().run(&["SET GLOBAL innodb_flush_log_at_trx_commit = 2", "SET GLOBAL max_allowed_packet = 65536"]);
    let found = troubles(&pipeline, &[], 1);
    assert_found(&found, "warn database.tracking: innodb_flush_log_at_trx_commit is 2");
    assert_found(&found, "fail database.cache: max_allowed_packet is 65536");
    server.root().run(&["SET GLOBAL read_only = ON"]);
    assert_found(&troubles(&pipeline, &[], 1), "fail database.tracking: the server is read-only");
    server.root().run(&["SET GLOBAL read_only = OFF"]);
    server.root().run(&["DROP DATABASE balance_db"]);
    assert_found(&troubles(&pipeline, &[], 1), "fail database.balance: ");
    server.kill9();
    assert_found(&troubles(&pipeline, &[], 75), "fail database.tracking: ");
}
