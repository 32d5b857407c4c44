//! Where the roles listen is noted in the shared folder, and commands find them by it.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::events::{MISHAPS, generated};
use crate::support::process::{Ended, Process, Under};
use crate::support::{PATIENCE, eventually};

/// A folder whose `shared` is that of the defaults, and whose settings are all defaults but the log and waits.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn start(&self, args: &[&str]) -> Process {
        self.start_with(args, &[])
    }

    fn start_with(&self, args: &[&str], env: &[(&str, &str)]) -> Process {
        let own = ["--set", "logging.format=json", "--set", "logging.level=INFO"];
        let args: Vec<String> = args.iter().chain(&own).map(|arg| (*arg).to_owned()).collect();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Process::start_under(&Under { env, ..Under::default() }, self.0.path(), &args, None)
    }

    fn run(&self, args: &[&str], code: i32) -> Ended {
        self.start(args).wait_exit(PATIENCE).expect_code(code)
    }

    fn note(&self, name: &str) -> PathBuf {
        self.0.path().join("shared/run").join(name)
    }

    fn notes(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path().join("shared/run")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn change(path: &Path, change: impl Fn(&mut Value)) {
    let mut note: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut note);
    std::fs::write(path, note.to_string()).unwrap();
}

#[test]
fn commands_find_all_roles_of_up_on_any_ports() {
    let place = Place::new();
    std::fs::write(place.0.path().join("input.ndjson"), generated(3, MISHAPS, 200)).unwrap();
    let up = place.start(&["up", "--any-port", "--set", "events.generate=false"]);
    up.wait_log("listening", |line| (line["role"] == "mysql-sender").then_some(()));
    for role in ["pipeline-apid", "event-ingest", "shard-splitter"] {
        up.wait_log("listening", |line| (line["role"] == role).then_some(()));
    }
    for shard in ["0", "1"] {
        let prefix = format!("shard-worker-{shard}.");
        eventually(&format!("a note {prefix}*"), PATIENCE, || {
            place.notes().iter().any(|name| name.starts_with(&prefix))
        });
        let asked = place.run(&["healthcheck", "work", "--shard", shard], 0);
        assert!(asked.out.contains("is well") && !asked.out.contains(":8100"), "{}", asked.out);
    }
    assert!(place.run(&["status"], 0).out.contains("mysql-sender"));
    let imported = place.run(&["ingest", "--from", "input.ndjson", "--batch", "100"], 0);
    assert!(imported.out.contains("200 lines in 2 files"), "{}", imported.out);
    place.run(&["split", "--once"], 0);
    place.run(&["rejects", "redrive", "--all", "--dry-run"], 0);
    assert!(place.run(&["retry", "20250101000000"], 1).log.contains("unknown to the API"));
    assert_eq!(place.run(&["healthcheck"], 0).out.lines().count(), 8, "all roles of up");
    up.signal(Signal::TERM);
    up.wait_exit(PATIENCE).expect_code(0);
    assert_eq!(place.notes(), [""; 0], "removed at the stop");
}

#[test]
fn a_note_that_is_stale_or_of_another_machine_is_ignored_with_a_word() {
    let place = Place::new();
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    apid.wait_port();
    let note = place.note("pipeline-apid.json");
    let whole = std::fs::read(&note).unwrap();
    place.run(&["status"], 0);

    let ignored = |word: &str| {
        // What it does then depends on what else listens on this machine.
        let status = place.start(&["status"]).wait_exit(PATIENCE);
        assert!(status.log.contains("the address of pipeline-apid is ignored"), "{}", status.log);
        assert!(status.log.contains(word), "{word}: {}", status.log);
    };
    change(&note, |note| note["host"] = "another-machine".into());
    ignored("which this machine cannot reach");
    std::fs::write(&note, &whole).unwrap();
    change(&note, |note| note["instance"] = "0123456789abcdef".into());
    ignored("but not the one that noted it");
    // What somebody else put there is not removed by the role that stops.
    apid.terminate(PATIENCE).expect_code(0);
    assert_eq!(place.notes(), ["pipeline-apid.json"]);

    std::fs::write(&note, &whole).unwrap();
    ignored("has ended without removing it");
    let elsewhere = place.0.path().join("elsewhere.json");
    std::fs::write(&elsewhere, &whole).unwrap();
    std::fs::remove_file(&note).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &note).unwrap();
    ignored("no plain file");

    // The link is replaced, not written through.
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    apid.wait_port();
    assert_eq!(std::fs::read(&elsewhere).unwrap(), whole);
    place.run(&["status"], 0);
    apid.kill9();
    ignored("has ended without removing it");
}

#[test]
fn a_url_that_is_set_beats_the_note_and_needs_no_path() {
    let place = Place::new();
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    let port = apid.wait_port();
    let bare = format!("http://127.0.0.1:{port}");
    std::fs::remove_file(place.note("pipeline-apid.json")).unwrap();
    let found = place.start_with(&["status"], &[("PIPELINE_URL", &bare)]).wait_exit(PATIENCE).expect_code(0);
    assert!(found.out.contains("shard-splitter"), "{}", found.out);

    let apid2 = place.start(&["apid", "--set", "server.port=0"]);
    apid2.wait_port();
    let closed = "pipeline.url=http://127.0.0.1:9/";
    let refused = place.run(&["status", "--set", closed], 75);
    assert!(refused.log.contains("http://127.0.0.1:9/api/v1/pipeline"), "{}", refused.log);
    std::fs::write(place.0.path().join("shopctl.toml"), "[pipeline]\nurl = \"http://127.0.0.1:9\"\n").unwrap();
    place.run(&["status"], 75);
}

#[test]
fn a_role_that_stands_still_and_one_that_was_killed_are_named() {
    let place = Place::new();
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    apid.wait_port();
    let worker = place.start(&["work", "--shard", "1", "--set", "server.port=0"]);
    worker.wait_port();
    let noted = || place.notes().contains(&"shard-worker-1.json".to_owned());
    eventually("the worker notes where it listens", PATIENCE, noted);
    place.run(&["healthcheck"], 0);

    worker.signal(Signal::STOP);
    place.run(&["healthcheck"], 1);
    let status = place.start(&["status"]).wait_exit(PATIENCE);
    assert!(status.out.contains("shard-worker-1 at http://127.0.0.1:"), "{}", status.out);
    assert!(status.out.contains("accepts connections and does not answer"), "{}", status.out);

    worker.signal(Signal::KILL);
    drop(worker);
    place.run(&["healthcheck"], 1);
    let status = place.start(&["status"]).wait_exit(PATIENCE);
    assert!(status.out.contains("does not answer: io: Connection refused"), "{}", status.out);
}
