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

    /// The only note of a role.
    fn note(&self, role: &str) -> PathBuf {
        let start = format!("{role}.");
        let found = || self.notes().into_iter().find(|name| name.starts_with(&start));
        eventually("it notes where it listens", PATIENCE, || found().is_some());
        self.0.path().join("shared/run").join(found().unwrap())
    }

    fn notes(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.0.path().join("shared/run")) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Moves a file.
fn put_at(from: &Path, to: &Path) {
    std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
    std::fs::remove_file(from).unwrap();
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
    let well = || Some(place.start(&["status"]).wait_exit(PATIENCE)).filter(|ended| ended.status.success());
    eventually("all roles are well", PATIENCE, || well().is_some_and(|ended| ended.out.contains("mysql-sender")));
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
fn a_note_that_is_stale_or_of_another_machine_is_told_of() {
    let place = Place::new();
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    let port = apid.wait_port();
    let note = place.note("pipeline-apid");
    let whole = std::fs::read(&note).unwrap();
    eventually("the API is ready", PATIENCE, || place.start(&["status"]).wait_exit(PATIENCE).status.success());

    let told = |word: &str| {
        // What it does then depends on what else listens on this machine.
        let status = place.start(&["status"]).wait_exit(PATIENCE);
        assert!(status.log.contains("pipeline-apid") && status.log.contains(word), "{word}: {}", status.log);
    };
    change(&note, |note| note["host"] = "another-machine".into());
    told("which this machine cannot reach");
    std::fs::write(&note, &whole).unwrap();
    let other = note.with_file_name("pipeline-apid.0123456789abcdef.json");
    put_at(&note, &other);
    change(&other, |note| note["instance"] = "0123456789abcdef".into());
    // A call would reach another pipeline.
    for args in [&["status"][..], &["retry", "20250101000000"]] {
        let refused = place.run(args, 75);
        assert!(refused.log.contains("but not the one that noted it"), "{}", refused.log);
    }
    // What another process put there is not removed by the role that stops.
    apid.terminate(PATIENCE).expect_code(0);
    assert_eq!(place.notes(), ["pipeline-apid.0123456789abcdef.json"]);

    let status = place.run(&["status"], 75);
    assert!(status.log.contains("has ended without removing its note"), "{}", status.log);
    assert!(status.log.contains(&format!("http://127.0.0.1:{port}/")), "not the default port: {}", status.log);
    let elsewhere = place.0.path().join("elsewhere.json");
    put_at(&other, &elsewhere);
    std::os::unix::fs::symlink(&elsewhere, &other).unwrap();
    told("no plain file");
    std::fs::remove_file(&other).unwrap();
    put_at(&elsewhere, &other);

    // The next start removes what an ended process left, and one that was killed leaves its own.
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    apid.wait_port();
    eventually("the old note is gone", PATIENCE, || !other.exists() && place.notes().len() == 1);
    apid.kill9();
    let status = place.run(&["status", "--json"], 75);
    let document: Value = serde_json::from_str(&status.out).unwrap();
    assert!(document["error"].as_str().unwrap().contains("does not answer"), "{document}");
    let role = &document["roles"][0];
    assert_eq!((role["role"].as_str(), role["state"].as_str()), (Some("pipeline-apid"), Some("absent")), "{document}");
}

#[test]
fn an_api_that_is_started_again_elsewhere_is_found_while_watching() {
    let place = Place::new();
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    apid.wait_port();
    place.note("pipeline-apid");
    let watching = place.start(&["status", "--watch", "1"]);
    let shown = || watching.out_so_far().matches("\nas of ").count();
    eventually("it is shown", PATIENCE, || shown() > 0);
    apid.terminate(PATIENCE).expect_code(0);
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    apid.wait_port();
    let before = shown();
    eventually("it is found again", PATIENCE, || shown() > before + 1);
    watching.terminate(PATIENCE);
}

#[test]
fn a_url_that_is_set_beats_the_note_and_needs_no_path() {
    let place = Place::new();
    let apid = place.start(&["apid", "--set", "server.port=0"]);
    let port = apid.wait_ready();
    let bare = format!("http://127.0.0.1:{port}");
    std::fs::remove_file(place.note("pipeline-apid")).unwrap();
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
    place.note("shard-worker-1");
    place.run(&["healthcheck"], 0);

    worker.signal(Signal::STOP);
    place.run(&["healthcheck"], 1);
    let status = place.run(&["status"], 1);
    assert!(status.out.contains("shard-worker-1 at http://127.0.0.1:"), "{}", status.out);
    assert!(status.out.contains("accepts connections and does not answer"), "{}", status.out);

    worker.signal(Signal::KILL);
    drop(worker);
    place.run(&["healthcheck"], 1);
    let status = place.run(&["status", "--json"], 1);
    let report: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!((report["health"].as_str(), report["roles_well"].as_bool()), (Some("well"), Some(false)), "{report}");
    assert!(status.out.contains("has ended without removing its note"), "{}", status.out);
    // A shard that there is no more needs no worker.
    place.run(&["healthcheck", "--set", "pipeline.shards_count=1"], 0);
    place.run(&["healthcheck", "work", "--shard", "1"], 1);
}
