//! A crash at every file and socket call of every role: the calls of a small batch are counted, then the role is run
//! once for each of them from a fresh copy of the same state and killed right before that call, which is right after
//! the one before it. What is run again without the fault must end in the same rows, rejects and bytes.
//!
//! Needs `strace` and the right to trace one's own children.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::seq::IndexedRandom;
use rusqlite::Connection;

use super::{Class, Size, assert_imported};
use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, SERVICES, has_table};
use crate::support::process::Under;
use crate::support::{PATIENCE, pause_briefly};

/// Calls that change or read files, or talk to others. A question mark: not every processor has it.
const CALLS: &str = "?open,openat,?mkdir,mkdirat,read,pread64,write,writev,pwrite64,fsync,fdatasync,?rename,renameat,\
    renameat2,?unlink,unlinkat,?link,linkat,ftruncate,flock,fcntl,socket,connect,bind,listen,accept4,sendto,sendmsg,\
    recvfrom,recvmsg,sendfile,copy_file_range,shutdown,close";
/// The lease is so long that only the test's own hand ends it: nothing here depends on how slow the tracer is.
const SETTINGS: [&str; 2] = ["shared.cleanup=none", "pipeline.lease_ms=3600000"];
const LINES: usize = 60;
const BATCH: &str = "20";
/// A service does its work on threads that share it by chance: some need more work than one input until they come to a
/// call for the nth time.
const INPUTS: u64 = 3;
/// The order of threads differs from run to run, and so do their last few calls: a call that is not reached is tried
/// again, and of all of them so many percent may never be.
const TRIES_MAX: usize = 3;
const UNREACHED_PERCENT: usize = 2;
/// Calls of a small run: as many, and more until one has met work, but no more than these.
const SAMPLE: (usize, usize) = (8, 40);
/// Rounds of one-shot runs until everything is delivered.
const ROUNDS_MAX: usize = 6;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Ingest,
    Split,
    Work,
    Send,
    /// A service, while the others call it.
    Service(Role),
}

impl Victim {
    fn class(self) -> &'static str {
        match self {
            Self::Ingest => "crash at a call: ingest --from",
            Self::Split => "crash at a call: split --once",
            Self::Work => "crash at a call: work --once",
            Self::Send => "crash at a call: send --once",
            Self::Service(Role::Balance) => "crash at a call: balance",
            Self::Service(Role::Cache) => "crash at a call: cache",
            Self::Service(_) => "crash at a call: apid",
        }
    }

    /// How many of the one-shot runs come before the victim's own.
    fn runs_before(self) -> usize {
        match self {
            Self::Ingest | Self::Service(_) => 0,
            Self::Split => 1,
            Self::Work => 2,
            Self::Send => 4,
        }
    }
}

/// A call of the victim: the first thread to make its `nth` one is killed before it is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    call: String,
    nth: usize,
}

/// What one run with a fault did.
struct Strike {
    was_killed: bool,
    in_flight: bool,
    /// How many of the inputs it came to.
    inputs: usize,
}

/// The state before the victim runs.
struct Stage {
    victim: Victim,
    pipeline: Pipeline,
    inputs: Vec<String>,
    /// What the folders of the stages hold after a run without a fault.
    artifacts: BTreeMap<PathBuf, Vec<u8>>,
}

/// The one-shot runs in their order.
fn runs(input: &str) -> [Vec<&str>; 5] {
    [
        vec!["ingest", "--batch", BATCH, "--from", input],
        vec!["split", "--once"],
        vec!["work", "--once", "--shard", "0"],
        vec!["work", "--once", "--shard", "1"],
        vec!["send", "--once"],
    ]
}

impl Stage {
    fn prepare(victim: Victim, seed: u64) -> Self {
        let mut pipeline = Pipeline::new(&SETTINGS);
        let input = |number: u64| {
            let path = pipeline.write(&format!("input-{number}.ndjson"), &generated(seed + number, MISHAPS, LINES));
            path.to_str().unwrap().to_owned()
        };
        let inputs: Vec<String> = (0..INPUTS).map(input).collect();
        pipeline.start_with_services(&[]);
        for args in &runs(&inputs[0])[..victim.runs_before()] {
            pipeline.run(args, 0);
        }
        SERVICES.into_iter().for_each(|role| drop(pipeline.terminate(role)));
        let mut stage = Self { victim, pipeline, inputs, artifacts: BTreeMap::new() };
        let mut whole = stage.copy();
        whole.start_with_services(&[]);
        stage.finish(&mut whole, 1);
        stage.artifacts = artifacts(&whole);
        stage
    }

    fn args(&self) -> Vec<&str> {
        runs(&self.inputs[0])[self.victim.runs_before()].clone()
    }

    fn copy(&self) -> Pipeline {
        let copy = Pipeline::new(&SETTINGS);
        copy_tree(&self.pipeline.shared(), &copy.shared());
        copy
    }

    /// The calls of a run without a fault.
    fn sites(&self) -> Vec<Site> {
        let mut pipeline = self.copy();
        let trace = pipeline.beside("trace");
        let under = tracer(&trace, &["-e", &format!("trace={CALLS}")]);
        if let Victim::Service(role) = self.victim {
            start_but(&mut pipeline, role);
            pipeline.start_under(role, &under);
            self.finish(&mut pipeline, 1);
            pipeline.kill9(role);
        } else {
            pipeline.start_with_services(&[]);
            pipeline.spawn_under(&under, &self.args()).wait_exit(PATIENCE).expect_code(0);
        }
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        assert!(text.contains("openat("), "strace traced nothing; {NEEDS}");
        sites_of(&text)
    }

    /// One run that is killed at a site, and everything that is needed to end well all the same.
    fn strike(&self, site: &Site) -> Strike {
        let mut pipeline = self.copy();
        let trace = pipeline.beside("trace");
        let (only, inject) =
            (format!("trace={}", site.call), format!("inject={}:signal=KILL:when={}", site.call, site.nth));
        let under = tracer(&trace, &["-e", &only, "-e", &inject]);
        let strike = if let Victim::Service(role) = self.victim {
            self.strike_service(role, &mut pipeline, &under)
        } else {
            pipeline.start_with_services(&[]);
            let process = pipeline.spawn_under(&under, &self.args());
            let id = process.id();
            let was_killed = process.wait_exit(PATIENCE).status.signal() == Some(9);
            Strike { was_killed, in_flight: was_killed && self.holds_work(&pipeline, id), inputs: 1 }
        };
        self.finish(&mut pipeline, strike.inputs);
        self.compare(&pipeline, strike.inputs);
        strike
    }

    /// A service is killed while the others call it, one after another; the next one takes its place at once.
    fn strike_service(&self, role: Role, pipeline: &mut Pipeline, under: &Under) -> Strike {
        start_but(pipeline, role);
        let mut victim = pipeline.spawn_under(under, role.args());
        let mut strike = Strike { was_killed: false, in_flight: false, inputs: 0 };
        match victim.find_port() {
            Some(port) => pipeline.proxy_of(role).set_backend(port),
            None => {
                strike.was_killed = true;
                pipeline.start(role);
            }
        }
        for input in &self.inputs {
            strike.inputs += 1;
            for args in runs(input) {
                let mut client = pipeline.spawn(&args, None);
                while client.is_running() {
                    if !strike.was_killed && !victim.is_running() {
                        strike = Strike { was_killed: true, in_flight: pipeline.proxy_of(role).lost() > 0, ..strike };
                        pipeline.start(role);
                    }
                    pause_briefly();
                }
            }
            if strike.was_killed {
                return strike;
            }
        }
        // Perhaps it died after the last client had ended.
        let was_killed = !victim.is_running();
        victim.kill9();
        pipeline.start(role);
        Strike { was_killed, ..strike }
    }

    /// Whether the victim died with a task claimed, or with a part of its input imported and not announced.
    fn holds_work(&self, pipeline: &Pipeline, id: u32) -> bool {
        let database = pipeline.database("pipeline_db");
        let count = |query: &str, whose: &str| database.query_row(query, [whose], |row| row.get::<_, i64>(0)).unwrap();
        if self.victim == Victim::Ingest {
            let announced =
                count("SELECT COUNT(*) FROM pipeline_tracking WHERE event_ingest_status = 'done' AND shard >= ?1", "0");
            let has_begun = pipeline.shared().join("events/imports").exists();
            return has_begun && announced < 6;
        }
        let query = "SELECT COUNT(*) FROM pipeline_tracking WHERE owner LIKE ?1 AND lease_until IS NOT NULL
             AND 'started' IN (shard_splitter_status, shard_worker_status, mysql_sender_status)";
        count(query, &format!("%-{id}-%")) > 0
    }

    /// Runs everything once more, as often as needed, until all is delivered. The leases of the dead are over by then.
    fn finish(&self, pipeline: &mut Pipeline, inputs: usize) {
        for _ in 0..ROUNDS_MAX {
            end_leases(pipeline);
            for args in self.inputs[..inputs].iter().flat_map(|input| runs(input)) {
                pipeline.run(&args, 0);
            }
            let (done, all) = pipeline.delivered();
            if done == all && all > 0 {
                return;
            }
        }
        panic!("{:?}: not delivered after {ROUNDS_MAX} rounds", self.victim);
    }

    fn compare(&self, pipeline: &Pipeline, inputs: usize) {
        pipeline.assert_all_is_well(&Known::new());
        let input: Vec<u8> = self.inputs[..inputs].iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
        assert_imported(pipeline, &input);
        // Where the import is part of the run, the names come from the clock.
        if !matches!(self.victim, Victim::Ingest | Victim::Service(_)) {
            let found = artifacts(pipeline);
            let names = |all: &BTreeMap<PathBuf, Vec<u8>>| all.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(names(&found), names(&self.artifacts));
            assert!(found == self.artifacts, "other bytes than without the crash");
        }
    }
}

/// What the stages have left, by its path in the shared folder. The worker's memory is a database: its rows count.
fn artifacts(pipeline: &Pipeline) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for folder in ["shard-splitter", "shard-worker-0", "shard-worker-1", "mysql-sender"] {
        for folder in [folder.to_owned(), format!("{folder}/rejects")] {
            for path in pipeline.list(&folder) {
                let content = std::fs::read(&path).unwrap();
                all.insert(path.strip_prefix(pipeline.shared()).unwrap().to_owned(), content);
            }
        }
    }
    all
}

/// Starts the services beside this one.
fn start_but(pipeline: &mut Pipeline, role: Role) {
    SERVICES.into_iter().filter(|other| *other != role).for_each(|other| pipeline.start(other));
}

/// As if an hour had passed: the owners of all leases are dead.
fn end_leases(pipeline: &Pipeline) {
    let path = pipeline.shared().join("db/pipeline_db.sqlite");
    if path.exists() {
        let database = Connection::open(path).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        let update =
            "UPDATE pipeline_tracking SET lease_until = '2000-01-01 00:00:00.000' WHERE lease_until IS NOT NULL";
        // A database that was killed at its birth has no table yet.
        if has_table(&database, "pipeline_tracking") {
            database.execute(update, []).unwrap();
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

const NEEDS: &str = "this test needs strace (Debian: apt-get install strace) and the right to trace its own children \
    (in a container: --cap-add SYS_PTRACE)";

/// The tracer runs beside, so that the process keeps its own id and takes its own signals.
fn tracer(trace: &Path, more: &[&str]) -> Under {
    let mut command: Vec<String> = ["strace", "-D", "-f", "-qq", "-o"].map(str::to_owned).into();
    command.push(trace.to_str().unwrap().to_owned());
    command.extend(more.iter().map(|word| (*word).to_owned()));
    Under { command, env: vec![("TOKIO_WORKER_THREADS".to_owned(), "1".to_owned())] }
}

/// Every (call, nth of a thread) of a trace, each at its first place. The tracer counts the calls of each thread.
fn sites_of(trace: &str) -> Vec<Site> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut sites = Vec::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        if call.is_empty() || !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        if seen.insert((call, *count)) {
            sites.push(Site { call: call.to_owned(), nth: *count });
        }
    }
    sites
}

fn crash_at_every_call(victim: Victim) {
    let size = Size::asked();
    let found = Command::new("strace").arg("-V").output();
    assert!(found.is_ok_and(|found| found.status.success()), "{NEEDS}");
    let mut rng = size.chances(victim.class());
    let stage = Stage::prepare(victim, size.seed);
    let all = stage.sites();
    // A sample leaves out what comes before the first file of ours: loading the program, reading the settings.
    let begins = all.len() / 5;
    let sites: Vec<&Site> = match size.pick(Some(SAMPLE.1), None) {
        Some(most) => all[begins..].sample(&mut rng, most).collect(),
        None => all.iter().collect(),
    };
    let mut class = Class::new(size, victim.class());
    let (mut unreached, mut tried) = (Vec::new(), 0);
    for site in &sites {
        // A sample may have met no work: then some calls more.
        if tried >= size.pick(SAMPLE.0, usize::MAX) && class.in_flight() > 0 {
            break;
        }
        tried += 1;
        println!("{victim:?} is killed at {site:?}");
        match (0..TRIES_MAX).map(|_| stage.strike(site)).find(|strike| strike.was_killed) {
            Some(strike) => class.struck(strike.in_flight),
            None => unreached.push(format!("{}:{}", site.call, site.nth)),
        }
    }
    let count = unreached.len();
    println!("{victim:?}: {tried} of {} calls tried, not reached: {count} {unreached:?}", all.len());
    assert!(count * 100 <= tried * UNREACHED_PERCENT, "of {tried} calls {count} were not reached");
    class.finish();
}

#[test]
fn an_import_that_dies_at_any_call_imports_everything_once() {
    crash_at_every_call(Victim::Ingest);
}

#[test]
fn a_splitter_that_dies_at_any_call_changes_nothing() {
    crash_at_every_call(Victim::Split);
}

#[test]
fn a_worker_that_dies_at_any_call_changes_nothing() {
    crash_at_every_call(Victim::Work);
}

#[test]
fn a_sender_that_dies_at_any_call_delivers_once() {
    crash_at_every_call(Victim::Send);
}

#[test]
fn an_api_that_dies_at_any_call_forgets_nothing() {
    crash_at_every_call(Victim::Service(Role::Apid));
}

#[test]
fn a_balance_daemon_that_dies_at_any_call_moves_no_money_twice() {
    crash_at_every_call(Victim::Service(Role::Balance));
}

#[test]
fn a_cache_service_that_dies_at_any_call_forgets_nothing() {
    crash_at_every_call(Victim::Service(Role::Cache));
}
