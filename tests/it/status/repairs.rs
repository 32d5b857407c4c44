//! Every class of failures is made for real; then exactly what `status` prints is run, and everything ends exact.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use shopctl::pipeline::task::Class;

use super::status;
use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually};

/// The roles that a task goes through, in their order.
const WAY: [&[Role]; 3] = [&[Role::Split], &[Role::Work0, Role::Work1], &[Role::Send]];
/// Their columns.
const COLUMNS: [&str; 3] = ["shard_splitter_status", "shard_worker_status", "mysql_sender_status"];

/// A pipeline with one file that the first so many stages have finished.
struct Case {
    pipeline: Pipeline,
    file: String,
    done: usize,
}

impl Case {
    fn new(done: usize, more: &[&str]) -> Self {
        let mut pipeline = Pipeline::new(more);
        pipeline.start_with_services(&[]);
        pipeline.import(&generated(40, MISHAPS, 400), 1000);
        let file = pipeline.event_files()[0].0.clone();
        let mut case = Self { pipeline, file, done };
        for stage in 0..done {
            case.start(stage);
            eventually("the stage is done", PATIENCE, || (0..2).all(|shard| case.status_of(shard, stage) == "done"));
        }
        case
    }

    fn start(&mut self, stage: usize) {
        WAY[stage].iter().for_each(|role| self.pipeline.start(*role));
    }

    /// Starts the other stages.
    fn go_on(&mut self) {
        (self.done..WAY.len()).for_each(|stage| self.start(stage));
    }

    fn status_of(&self, shard: usize, stage: usize) -> String {
        let view = self.pipeline.find(&format!("/files/{}", self.file)).unwrap_or_default();
        view["shards"][shard][COLUMNS[stage]].as_str().unwrap_or_default().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pipeline.shared().join(name.replace("FILE", &self.file))
    }

    /// Waits until `status` tells of a failure of this class; answers the commands that it prints for it.
    fn told(&self, class: Class) -> BTreeSet<String> {
        let mut commands = BTreeSet::new();
        eventually(&format!("status tells of {}", class.code()), PATIENCE, || {
            let ended = status(&self.pipeline, &[]);
            let is_failed = matches!(ended.status.code(), Some(1 | 2));
            commands = commands_of(&ended.out, class);
            is_failed && !commands.is_empty()
        });
        // Both shards of a file may fail, one after the other.
        eventually("the document names what failed, and counts it", PATIENCE, || {
            let report = super::json(&status(&self.pipeline, &["--json"]));
            let tasks = report["failed_tasks"].as_array().unwrap();
            let shards = report["by_shard"].as_array().unwrap();
            let failed: u64 = shards.iter().filter_map(|shard| shard["failed_tasks"].as_u64()).sum();
            let is_named = tasks.iter().any(|task| task["repair"]["class"] == class.code());
            is_named && failed == tasks.len() as u64
        });
        commands
    }

    /// Runs exactly what was printed.
    fn run(&self, commands: &BTreeSet<String>) {
        for command in commands {
            if command.contains(" --cascade") {
                let plain = self.pipeline.run(&["retry", &self.file, "--dry-run"], 0);
                assert!(
                    plain.log.contains("this fails again") && plain.log.contains(command.as_str()),
                    "{}",
                    plain.log
                );
            }
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            self.pipeline.run(&words, 0);
        }
    }

    /// Waits for the failure, runs what is printed, and wants everything to end exact.
    fn repair(&self, class: Class, before: impl FnOnce()) {
        let commands = self.told(class);
        before();
        self.run(&commands);
        self.is_well();
    }

    fn is_well(&self) {
        self.pipeline.wait_settled();
        self.pipeline.assert_all_is_well(&Known::new());
        // An answer of the API may be a moment old.
        eventually("all is well", PATIENCE, || status(&self.pipeline, &[]).status.code() == Some(0));
    }
}

/// The commands of the failures of this class in what `status` printed.
fn commands_of(text: &str, class: Class) -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    for task in text.split("\nfailed: ").skip(1) {
        let is_of_class = task.lines().next().unwrap().contains(&format!("{}: ", class.code()))
            || class == Class::Reported
            || class == Class::LeaseExpired;
        let advice = task.lines().find_map(|line| line.strip_prefix("        shopctl "));
        if let Some(advice) = advice.filter(|_| is_of_class) {
            let (command, runbook) = advice.split_once("  (").unwrap();
            assert_eq!(runbook, format!("{})", class.runbook()), "{text}");
            commands.extend(
                command.split("; ").map(|command| format!("shopctl {}", command.trim_start_matches("shopctl "))),
            );
        }
    }
    commands
}

/// Moves a file as a person would.
fn move_file(from: &Path, to: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::renameat(rustix::fs::CWD, from, rustix::fs::CWD, to)?)
}

fn aside(path: &Path) -> PathBuf {
    let aside = path.with_extension("aside");
    move_file(path, &aside).unwrap();
    aside
}

fn alter(path: &Path) -> Vec<u8> {
    let whole = std::fs::read(path).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    std::fs::write(path, altered).unwrap();
    whole
}

const EVENTS: &str = "events/FILE.event-ingest.txt";
const SPLIT: &str = "shard-splitter/FILE.shard-splitter.0.txt";
const PREPARED: &str = "shard-worker-0/FILE.shard-worker.0.prepared.txt";

/// Made for real by a test of this file, or why it cannot be from outside.
fn is_made(class: Class) -> Result<(), &'static str> {
    match class {
        Class::Corrupt
        | Class::Missing
        | Class::CopyLost
        | Class::Unreadable
        | Class::Conservation
        | Class::LeaseExpired
        | Class::DatabaseBroken
        | Class::MarkerConflict
        | Class::Reported => Ok(()),
        Class::InputChanged => Err("the digest that was announced refuses such an input before"),
        Class::Panicked | Class::Internal => Err("only a defect of the program makes it"),
        Class::KeyConflict | Class::ServiceRefused => Err("only services of another moment or version make it"),
        Class::StateLost => Err("the worker does not start; tests/it/rebuild.rs runs its command"),
        class if class.passes_by_itself() => Err("no task fails of it; tests/it/status/mod.rs makes some of them"),
        other => Err(other.code()),
    }
}

#[test]
fn every_class_is_made_or_it_is_said_why_not() {
    let made = Class::ALL.into_iter().filter(|class| is_made(*class).is_ok()).count();
    assert_eq!(made, 9);
    for class in Class::ALL {
        let said = is_made(class);
        assert!(said.is_ok() || said.unwrap_err().contains(' '), "{}: nothing is said about it", class.code());
    }
}

#[test]
fn an_input_that_is_gone_or_altered_is_made_again_by_the_stage_before() {
    for (done, name) in [(1, SPLIT), (2, PREPARED)] {
        let mut case = Case::new(done, &[]);
        std::fs::remove_file(case.path(name)).unwrap();
        case.go_on();
        case.repair(Class::Missing, || {});
        let log = case.pipeline.role(Role::Apid).log();
        let lines = |msg: &str| log.lines().filter(|line| line.contains(msg)).count();
        assert_eq!(lines("the attempt failed and is repeated: missing: "), 4, "{log}");
        assert_eq!(lines("\"failed: missing: "), 1, "{log}");
        assert_eq!(lines("a retry was asked for"), 1, "{log}");

        let mut case = Case::new(done, &[]);
        alter(&case.path(name));
        case.go_on();
        case.repair(Class::Corrupt, || {});
    }
}

#[test]
fn an_event_file_is_put_back_and_the_file_is_tried_again() {
    let mut case = Case::new(0, &[]);
    let path = case.path(EVENTS);
    let aside = aside(&path);
    case.go_on();
    case.repair(Class::Missing, || move_file(&aside, &path).unwrap());

    let mut case = Case::new(0, &[]);
    let path = case.path(EVENTS);
    let whole = alter(&path);
    case.go_on();
    case.repair(Class::Corrupt, || std::fs::write(&path, &whole).unwrap());
}

#[test]
fn a_published_file_whose_copy_is_lost_too_is_put_back() {
    let mut case = Case::new(2, &[]);
    let path = case.path(PREPARED);
    let backup = aside(&path);
    std::fs::remove_file(case.path("shard-worker-0/state/kept/FILE.shard-worker.0.prepared.txt")).unwrap();
    case.go_on();
    // The first advice leads to the next failure, and that one's to the end.
    let commands = case.told(Class::Missing);
    case.run(&commands);
    case.repair(Class::CopyLost, || move_file(&backup, &path).unwrap());
}

#[test]
fn an_input_that_cannot_be_read_is_tried_again_when_it_can() {
    let mut case = Case::new(1, &[]);
    let path = case.path(SPLIT);
    let aside = aside(&path);
    std::os::unix::fs::symlink(&aside, &path).unwrap();
    case.go_on();
    case.repair(Class::Unreadable, || {
        std::fs::remove_file(&path).unwrap();
        move_file(&aside, &path).unwrap();
    });
}

/// Claims a task of shard 1 by hand.
fn claim(case: &Case, stage: &str) -> u64 {
    let body = json!({"worker": "by hand", "limit": 1, "shard": 1, "claim_id": "by hand"});
    let claimed = case.pipeline.post(&format!("/queues/{stage}/claim"), &body);
    claimed["items"][0]["token"].as_u64().unwrap_or_else(|| panic!("nothing to claim: {claimed}"))
}

#[test]
fn counts_that_do_not_add_up_are_made_again() {
    let mut case = Case::new(0, &["pipeline.lease_ms=60000"]);
    let token = claim(&case, "shard-splitter");
    case.start(0);
    eventually("the other shard is split", PATIENCE, || case.status_of(0, 0) == "done");
    let counts = json!({"read": 0, "written": 0, "duplicate": 0, "rejected": 0});
    let body = json!({"filename": case.file, "shard": 1, "token": token, "counts": counts});
    let refused = ureq::post(format!("{}/stages/shard-splitter/done", case.pipeline.proxy.url())).send_json(&body);
    assert!(matches!(refused, Err(ureq::Error::StatusCode(409))), "{refused:?}");
    case.done = 1;
    case.go_on();
    case.repair(Class::Conservation, || {});
    let log = case.pipeline.role(Role::Apid).log();
    assert_eq!(log.lines().filter(|line| line.contains("\"failed: conservation: ")).count(), 1, "{log}");
}

#[test]
fn a_task_whose_worker_never_came_back_is_tried_again() {
    let mut case = Case::new(1, &["pipeline.attempts_max=1"]);
    claim(&case, "shard-worker");
    case.go_on();
    case.repair(Class::LeaseExpired, || {});
    let told = case.pipeline.role(Role::Apid).wait_log("failed: the lease of the last attempt ran out", |line| {
        Some((line["shard"].as_u64(), line["attempt"].as_u64(), line["worker"].as_str().map(str::to_owned)))
    });
    assert_eq!(told, (Some(1), Some(1), Some("by hand".to_owned())));
}

#[test]
fn what_the_database_refuses_is_tried_again_when_the_database_is_right() {
    for class in [Class::MarkerConflict, Class::DatabaseBroken] {
        let mut case = Case::new(2, &[]);
        case.pipeline.run(&["migrate", "up"], 0);
        let path = case.pipeline.shared().join("db/shop_shard_0.sqlite");
        let change = |statement: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(statement).unwrap();
        let (harm, mend) = if class == Class::MarkerConflict {
            let insert = format!(
                "INSERT INTO sent_file VALUES ('{}', 0, '{}', 0, '2025-01-01 00:00:00.000', NULL)",
                case.file,
                "0".repeat(64)
            );
            (insert, "DELETE FROM sent_file")
        } else {
            ("ALTER TABLE events RENAME TO elsewhere".to_owned(), "ALTER TABLE elsewhere RENAME TO events")
        };
        change(&harm);
        case.go_on();
        case.repair(class, || change(mend));
    }
}

#[test]
fn what_a_person_failed_is_tried_again() {
    let mut case = Case::new(1, &[]);
    let body = json!({"filename": case.file, "shard": 1, "reason": "I am looking at it"});
    case.pipeline.post("/stages/shard-worker/fail", &body);
    case.pipeline.post("/stages/shard-worker/fail", &body);
    case.go_on();
    case.repair(Class::Reported, || {});
    let log = case.pipeline.role(Role::Apid).log();
    assert_eq!(log.lines().filter(|line| line.contains("\"failed: I am looking at it\"")).count(), 1, "once: {log}");
}
