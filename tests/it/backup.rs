//! Backups: made while roles run, put back elsewhere, refused when they are not whole.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use shopctl::pipeline::files::artifact::{Lock, lock_folder};

use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, SHARDS, STAGES};
use crate::support::process::{Ended, Under};
use crate::support::{PATIENCE, eventually};

/// Backups that are made one after the other under load.
const ROUNDS: usize = 3;

/// A small store that is settled and stopped, and a backup of it.
fn backed_up() -> (Pipeline, PathBuf) {
    let pipeline = Pipeline::new(&[]);
    let path = pipeline.write("input.ndjson", &generated(11, MISHAPS, 600));
    let args = ["up", "--any-port", "--from", path.to_str().unwrap(), "--batch", "100"];
    pipeline.run(&args, 0);
    let dir = pipeline.beside("backup");
    pipeline.run(&["backup", dir.to_str().unwrap()], 0);
    (pipeline, dir)
}

fn restore(pipeline: &Pipeline, dir: &Path, to: &Path, more: &[&str]) -> Ended {
    let args: Vec<&str> = ["restore", dir.to_str().unwrap()].iter().chain(more).copied().collect();
    let shared = format!("shared.dir={}", to.display());
    pipeline.spawn_with(&args, &[&shared], None).wait_exit(PATIENCE)
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path).into_iter().map(|(below, bytes)| (path.join(below), bytes)));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found.into_iter().map(|(path, bytes)| (path.strip_prefix(folder).unwrap().to_owned(), bytes)).collect()
}

/// Puts a backup into a folder of its own and runs its roles until nothing is open.
fn run_again(pipeline: &Pipeline, dir: &Path, to: &str) -> Pipeline {
    let mut restored = Pipeline::on(&pipeline.beside(to), &[]);
    let said = restored.run(&["restore", dir.to_str().unwrap()], 0).out;
    assert!(said.contains("run 'shopctl audit --settled'"), "{said}");
    STAGES.into_iter().chain([Role::Ingest]).for_each(|role| restored.start(role));
    restored.wait_settled();
    // What was handed to another shard last is due, and the ingest's timer may come late for the audit.
    while !restored.run(&["ingest", "--once"], 0).out.starts_with("ingest: nothing to do") {
        restored.wait_settled();
    }
    restored
}

#[test]
fn a_backup_while_an_import_runs_is_put_back_and_nothing_is_lost_or_doubled() {
    let mut pipeline = Pipeline::running(&[]);
    let input = generated(13, MISHAPS, 12_000);
    let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    for (round, part) in lines.chunks(lines.len().div_ceil(ROUNDS)).enumerate() {
        let path = pipeline.write(&format!("input-{round}.ndjson"), &part.concat());
        let before = pipeline.row_count(0);
        let import = pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", "50"], None);
        eventually("rows come", PATIENCE, || pipeline.row_count(0) > before);
        let dir = pipeline.beside(&format!("backup-{round}"));
        let backup = pipeline.spawn(&["backup", dir.to_str().unwrap()], None);
        if round == 1 {
            // It ends in the middle of a backup, and leaves what it would clear.
            pipeline.terminate(Role::Split);
            pipeline.start(Role::Split);
        }
        backup.wait_exit(PATIENCE).expect_code(0);
        let restored = run_again(&pipeline, &dir, &format!("restored-{round}"));
        // The oracle decides the event files that the backup holds: each line is once where it belongs, and the money too.
        restored.assert_all_is_well(&Known::new());
        import.wait_exit(PATIENCE).expect_code(0);
    }
}

#[test]
fn a_backup_of_everything_in_one_process_is_put_back_whole() {
    let pipeline = Pipeline::new(&[]);
    let more = [
        "events.generate=true",
        "events.events_per_batch=300",
        "events.duplicate_rate=0.05",
        "events.malformed_rate=0.02",
        "events.out_of_order_rate=0.05",
    ];
    let running = pipeline.spawn_with(&["up", "--any-port"], &more, None);
    running.wait_log("delivered", |line| line["rows"].as_u64().filter(|rows| *rows > 0));
    let dir = pipeline.beside("backup");
    pipeline.run(&["backup", dir.to_str().unwrap()], 0);
    let restored = run_again(&pipeline, &dir, "restored");
    // No rule says when a return without a shop changes shards: the audit says that each line ended once.
    let audit = restored.audit();
    assert_eq!(audit["lines_in_flight"], 0, "{audit}");
    assert_eq!(audit["rejects"].as_u64(), Some(restored.world().rejected.len() as u64), "{audit}");
    running.signal(Signal::INT);
    running.wait_exit(PATIENCE).expect_code(0);
}

#[test]
fn the_manifest_names_every_part_and_locks_and_notes_are_none() {
    let pipeline = Pipeline::new(&[]);
    let path = pipeline.write("input.ndjson", &generated(11, MISHAPS, 600));
    pipeline.run(&["up", "--any-port", "--from", path.to_str().unwrap(), "--batch", "100"], 0);
    for (path, content) in [("events/.x.t1.tmp", "half"), ("run/apid.json", "{}"), ("events/spool/a.spool", "posted\n")]
    {
        let path = pipeline.shared().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", pipeline.shared().join("events/link")).unwrap();
    let dir = pipeline.beside("backup");
    let planned = pipeline.run(&["backup", dir.to_str().unwrap(), "--dry-run", "-o", "json"], 0).out;
    assert!(!dir.exists(), "a dry run makes nothing");
    let made = pipeline.run(&["backup", dir.to_str().unwrap(), "--json"], 0).out;
    let [planned, made] = [planned, made].map(|text| serde_json::from_str::<Value>(&text).unwrap());
    assert_eq!((&planned["files"], &planned["databases"]), (&made["files"], &made["databases"]));
    assert_eq!((&made["left_out"], &made["databases"]), (&Value::from(1), &Value::from(7)));
    let manifest = manifest(&dir);
    assert_eq!((&manifest["format"], &manifest["shards_count"]), (&Value::from(1), &Value::from(SHARDS)));
    let parts: BTreeMap<&str, &Value> =
        manifest["parts"].as_array().unwrap().iter().map(|part| (part["path"].as_str().unwrap(), part)).collect();
    for part in [
        "databases/tracking.sqlite",
        "databases/shard-1.sqlite",
        "databases/worker-0.sqlite",
        "databases/balance.sqlite",
        "databases/cache.sqlite",
    ] {
        assert!(parts[part]["schema"].as_u64().unwrap() > 0, "{part}");
    }
    assert!(parts.contains_key("shared/events/spool/a.spool"));
    assert!(parts.keys().any(|path| path.starts_with("shared/events/imports/")), "{parts:?}");
    assert!(parts.keys().any(|path| path.starts_with("shared/shard-worker-0/state/kept/")), "{parts:?}");
    let alien = |path: &&&str| path.contains(".tmp") || path.contains("run/") || path.ends_with("link");
    assert_eq!(parts.keys().find(alien), None);
    let files = content(&dir).len();
    assert_eq!(files, parts.len() + 2, "every file but the manifest and its digest is a part");
    // A folder that holds something is no place for a backup, and neither is the shared folder.
    for (at, why) in
        [(dir.clone(), "holds a backup already"), (pipeline.shared().join("b"), "inside the shared folder")]
    {
        let refused = pipeline.run(&["backup", at.to_str().unwrap()], 64);
        assert!(refused.log.contains(why), "{}", refused.log);
    }
}

#[test]
fn another_bit_in_any_part_is_refused_and_nothing_is_touched() {
    let (pipeline, dir) = backed_up();
    let target = pipeline.beside("target");
    let parts = manifest(&dir)["parts"].as_array().unwrap().clone();
    let pick = |start: &str| {
        let path = |part: &&Value| part["path"].as_str().unwrap().starts_with(start) && part["bytes"] != 0;
        parts.iter().find(path).unwrap()["path"].as_str().unwrap().to_owned()
    };
    let all = ["databases/tracking", "databases/worker", "shared/events/2", "shared/shard-"].map(pick);
    for part in all.into_iter().chain(["manifest.json", "manifest.sha256"].map(str::to_owned)) {
        let path = dir.join(&part);
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        let refused = restore(&pipeline, &dir, &target, &[]).expect_code(1);
        assert!(refused.log.contains("corrupt"), "{part}: {}", refused.log);
        std::fs::remove_file(&path).unwrap();
        restore(&pipeline, &dir, &target, &["--dry-run"]).expect_code(1);
        std::fs::write(&path, whole).unwrap();
        assert!(!target.exists(), "{part}");
    }
    restore(&pipeline, &dir, &target, &[]).expect_code(0);
}

#[test]
fn a_folder_in_use_is_refused_and_one_that_is_not_empty_is_moved_aside() {
    let (mut pipeline, dir) = backed_up();
    let shared = pipeline.shared();
    let old = content(&shared);
    let refused = restore(&pipeline, &dir, &shared, &[]).expect_code(1);
    assert!(refused.log.contains("--force"), "{}", refused.log);
    // A role that has no database open, and a program that has nothing but a database open.
    pipeline.start(Role::Split);
    pipeline.role(Role::Split).wait_port();
    let refused = restore(&pipeline, &dir, &shared, &["--force"]).expect_code(1);
    assert!(refused.log.contains("a role runs"), "{}", refused.log);
    pipeline.terminate(Role::Split);
    let open = pipeline.database("balance_db");
    open.query_row("SELECT COUNT(*) FROM user", [], |row| row.get::<_, i64>(0)).unwrap();
    let refused = restore(&pipeline, &dir, &shared, &["--force"]).expect_code(1);
    assert!(refused.log.contains("balance_db.sqlite open"), "{}", refused.log);
    drop(open);
    std::fs::write(shared.join("events/mark"), "old").unwrap();
    let done = restore(&pipeline, &dir, &shared, &["--force"]).expect_code(0);
    let aside = done.out.lines().find_map(|line| line.strip_prefix("the folder that was there is ")).unwrap();
    let aside = content(Path::new(aside.strip_suffix(" now").unwrap()));
    assert!(old.keys().all(
        |path| aside.contains_key(path) || ["-shm", "-wal"].iter().any(|end| path.to_string_lossy().ends_with(end))
    ));
    assert!(aside.contains_key(Path::new("events/mark")) && !shared.join("events/mark").exists());
    pipeline.run(&["audit", "--settled"], 0);
    // A restore that is at work keeps roles from starting.
    let held = lock_folder(&shared, Lock::Exclusive).unwrap().unwrap();
    let refused = pipeline.run(&["split"], 75);
    assert!(refused.log.contains("'shopctl restore' is at work"), "{}", refused.log);
    drop(held);
}

#[test]
fn nothing_is_cleared_while_a_backup_is_made() {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.import(&generated(12, MISHAPS, 200), 100);
    pipeline.wait_settled();
    let held = lock_folder(&pipeline.shared().join("shard-splitter"), Lock::Exclusive).unwrap().unwrap();
    let log = pipeline.terminate(Role::Split);
    assert!(log.contains("a backup is being made"), "{log}");
    assert_eq!(pipeline.list("shard-splitter").len(), 2 * 2 * usize::from(SHARDS));
    drop(held);
    pipeline.start(Role::Split);
    pipeline.role(Role::Split).wait_ready();
    pipeline.terminate(Role::Split);
    assert_eq!(pipeline.list("shard-splitter").len(), 0);
}

/// Under a tracer that kills at the n-th of these calls.
fn killed_at(pipeline: &Pipeline, args: &[&str], call: &str, nth: usize) -> Ended {
    let trace = pipeline.beside("trace");
    let words = ["strace", "-D", "-f", "-qq", "-o", trace.to_str().unwrap(), "-e"];
    let inject = [format!("trace={call}"), "-e".to_owned(), format!("inject={call}:signal=KILL:when={nth}")];
    let command = words.map(str::to_owned).into_iter().chain(inject).collect();
    let env = vec![("TOKIO_WORKER_THREADS".to_owned(), "1".to_owned())];
    pipeline.spawn_under(&Under { command, env }, args).wait_exit(PATIENCE)
}

#[test]
fn a_backup_that_is_killed_has_no_manifest() {
    let (pipeline, _) = backed_up();
    let mut killed = 0;
    for nth in [1, 3, 5, 9, 14, 20, 27] {
        let dir = pipeline.beside(&format!("killed-{nth}"));
        let ended = killed_at(&pipeline, &["backup", dir.to_str().unwrap()], "fsync", nth);
        assert_eq!(ended.status.signal(), Some(9), "{nth}: {}", ended.log);
        killed += 1;
        assert!(!dir.join("manifest.json").exists(), "{nth}");
        let refused = restore(&pipeline, &dir, &pipeline.beside("target"), &[]).expect_code(1);
        assert!(refused.log.contains("no manifest.json") || refused.log.contains("it is no backup"), "{}", refused.log);
    }
    assert_eq!(killed, 7);
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_folder_or_the_new_one() {
    let (pipeline, dir) = backed_up();
    let shared = pipeline.shared();
    restore(&pipeline, &dir, &shared, &["--force"]).expect_code(0);
    let new = content(&shared);
    std::fs::write(shared.join("events/mark"), "old").unwrap();
    let old = content(&shared);
    for (call, nth) in [("fsync", 1), ("fsync", 9), ("fsync", 30), ("renameat2", 1), ("renameat2", 2)] {
        let ended = killed_at(&pipeline, &["restore", dir.to_str().unwrap(), "--force"], call, nth);
        assert_eq!(ended.status.signal(), Some(9), "{call} {nth}: {}", ended.log);
        let found = content(&shared);
        assert!(found == old || found == new, "{call} {nth}: neither the old folder nor the new one");
        std::fs::write(shared.join("events/mark"), "old").unwrap();
        pipeline.run(&["audit", "--settled"], 0);
        // Databases that were looked at may have other files beside them; the next round compares with those.
        for name in content(&shared).into_keys().filter(|path| !old.contains_key(path)) {
            std::fs::remove_file(shared.join(name)).unwrap();
        }
    }
    restore(&pipeline, &dir, &shared, &["--force"]).expect_code(0);
}

#[test]
fn for_databases_on_servers_the_commands_are_printed_without_their_passwords() {
    let (mut pipeline, _) = backed_up();
    let on_server = "database.balance=mysql://balance:geheim@127.0.0.1:1/balance_db";
    let dir = pipeline.beside("with-server");
    let backup = |more: &[&str]| {
        let args: Vec<&str> = ["backup", dir.to_str().unwrap()].iter().chain(more).copied().collect();
        pipeline.spawn_with(&args, &[on_server], None).wait_exit(PATIENCE)
    };
    let planned = backup(&["--dry-run"]).expect_code(0).out;
    let command = "MYSQL_PWD=\"$BALANCE_PASSWORD\" mysqldump --protocol=TCP --host=127.0.0.1 --port=1 --user=balance";
    assert!(planned.contains(command) && planned.contains("Stop every shard-worker"), "{planned}");
    let made = backup(&[]).expect_code(0).out;
    assert_eq!(manifest(&dir)["servers"], serde_json::json!(["balance"]));
    let target = format!("shared.dir={}", pipeline.beside("target").display());
    let args = ["restore", dir.to_str().unwrap()];
    let put_back = pipeline.spawn_with(&args, &[on_server, &target], None).wait_exit(PATIENCE).expect_code(0).out;
    assert!(put_back.contains("mysql --protocol=TCP --host=127.0.0.1"), "{put_back}");
    assert!(![planned, made, put_back].concat().contains("geheim"));
    // Other settings than those of the backup would leave the accounts behind in silence.
    let other = restore(&pipeline, &dir, &pipeline.beside("other"), &[]).expect_code(64);
    assert!(other.log.contains("balance was on a server"), "{}", other.log);
    // A worker that runs would write decisions whose money is in no dump.
    pipeline.start(Role::Work0);
    pipeline.role(Role::Work0).wait_port();
    eventually("the worker holds its state", PATIENCE, || {
        let state = pipeline.shared().join("shard-worker-0/state");
        lock_folder(&state, Lock::Exclusive).unwrap().is_none()
    });
    let late = pipeline.beside("late");
    let refused = pipeline.spawn_with(&["backup", late.to_str().unwrap()], &[on_server], None);
    let refused = refused.wait_exit(PATIENCE).expect_code(75);
    assert!(refused.log.contains("worker-0 runs"), "{}", refused.log);
}
