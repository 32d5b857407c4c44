//! One role at a time has a wall clock that is two hours off, forward or back, and then the right one again. Leases and
//! names come from clocks; what arrives must not.
//!
//! Needs `libfaketime` (Debian: faketime).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::{Class, Size, aim, assert_imported_in_any_order};
use crate::support::events::purchase;
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, STAGES};
use crate::support::process::Under;
use crate::support::proxy::HoldAt;
use crate::support::{PATIENCE, eventually};

const HOURS: [&str; 2] = ["+2h", "-2h"];
/// Work is not kept longer than this by a clock that is two hours off: leases are a second and a half.
const CHAOS: Duration = PATIENCE;
const LINES: i64 = 1000;

/// The machine's own clock.
static RIGHT: Under = Under { command: Vec::new(), env: Vec::new() };

/// The library that moves the clock of a process. Only the wall clock: nothing sets a machine's monotonic one.
fn library() -> String {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).filter(|path| path.exists());
    let path: PathBuf = found.next().expect("this test needs libfaketime (Debian: apt-get install faketime)");
    path.to_str().unwrap().to_owned()
}

fn clock(off: &str) -> Under {
    let env = [
        ("LD_PRELOAD", library().as_str()),
        ("FAKETIME", off),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DISABLE_SHM", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Under { command: Vec::new(), env: env.into() }
}

/// Orders that were never placed before: names that go back in time bring no duplicates then.
fn orders(round: i64) -> Vec<u8> {
    let line = |number: i64| purchase(round * LINES + number + 1, number % 7 - 3) + "\n";
    (0..LINES).map(line).collect::<String>().into_bytes()
}

/// The moment that a running role writes into its log.
fn log_hour(pipeline: &Pipeline, role: Role) -> String {
    pipeline.role(role).wait_log("listening", |line| line["ts"].as_str().map(|ts| ts[..13].to_owned()))
}

/// A pipeline whose clocks are moved.
struct Clocks {
    pipeline: Pipeline,
    class: Class,
    rng: ChaCha8Rng,
    /// Imports so far, each with orders of its own.
    rounds: i64,
    /// Jumps of a clock until its role was at work, at the most.
    jumps_max: usize,
}

impl Clocks {
    /// Jumps until the role was at work, but not for ever.
    fn jump(&mut self, role: Role, under: &Under) {
        for _ in 0..self.jumps_max {
            if self.jump_once(role, under) {
                return;
            }
        }
    }

    /// Imports some orders and, when the first of them are delivered, lets the role die with what it holds and come
    /// back under this clock; everything must be delivered soon. Answers whether it was at work.
    fn jump_once(&mut self, role: Role, under: &Under) -> bool {
        let Self { pipeline, class, rng, rounds, .. } = self;
        let path = pipeline.write("orders.ndjson", &orders(*rounds));
        let args = ["ingest", "--from", path.to_str().unwrap(), "--batch", "100"];
        let (before, tracking) = (pipeline.delivered().0, pipeline.keep_open("pipeline_db"));
        let mut import = pipeline.spawn_under(if role == Role::Ingest { under } else { &RIGHT }, &args);
        eventually("some files are delivered", PATIENCE, || pipeline.delivered().0 > before);
        let began = Instant::now();
        let in_flight = if role == Role::Ingest {
            // Nothing is posted here: it is the import whose clock is off, as long as it runs.
            pipeline.kill9(role);
            import.is_running()
        } else {
            aim::kill(pipeline, tracking.as_ref(), role, rng).in_flight
        };
        class.struck(in_flight);
        pipeline.start_under(role, under);
        // Without the API for a moment, an import says so.
        import.wait_exit(PATIENCE);
        pipeline.run(&args, 0);
        *rounds += 1;
        let rows = usize::try_from(*rounds * LINES).unwrap();
        let count = || (0..2).map(|shard| pipeline.row_count(shard)).sum::<usize>();
        eventually(&format!("all is delivered after the clock of {role:?} was moved"), CHAOS, || count() == rows);
        class.recovered(began.elapsed());
        in_flight
    }
}

#[test]
fn a_clock_that_is_two_hours_off_changes_nothing() {
    let size = Size::asked();
    let rng = size.chances("clocks");
    let mut pipeline = Pipeline::running(&["pipeline.attempts_max=1000"]);
    pipeline.start(Role::Ingest);
    let class = Class::new(size, "clock two hours off");
    let mut clocks = Clocks { pipeline, class, rng, rounds: 0, jumps_max: size.pick(1, 3) };
    for _ in 0..size.pick(1, 3) {
        for role in STAGES.into_iter().chain([Role::Ingest]) {
            let off = *HOURS.choose(&mut clocks.rng).unwrap();
            let right = log_hour(&clocks.pipeline, role);
            clocks.jump(role, &clock(off));
            assert_ne!(log_hour(&clocks.pipeline, role), right, "the clock of {role:?} was not moved");
            clocks.jump(role, &RIGHT);
        }
    }
    let Clocks { pipeline, class, rounds, .. } = clocks;
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    assert_imported_in_any_order(&pipeline, &(0..rounds).flat_map(orders).collect::<Vec<_>>());
    class.finish();
}

#[test]
fn a_lease_from_before_the_clock_went_back_does_not_last_for_hours() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_under(Role::Apid, &clock("+2h"));
    let others = [Role::Balance, Role::Cache, Role::Split, Role::Work0, Role::Work1, Role::Send];
    others.into_iter().for_each(|role| pipeline.start(role));
    let held = pipeline.proxy.hold_next("/stages/shard-worker/done", HoldAt::Request);
    let path = pipeline.write("orders.ndjson", &orders(0));
    let import = ["ingest", "--from", path.to_str().unwrap()];
    pipeline.run(&import, 0);
    held.wait();
    // The worker dies with the task, and the API that had granted the lease under a clock that was fast.
    [Role::Work0, Role::Work1, Role::Apid].into_iter().for_each(|role| pipeline.kill9(role));
    held.release();
    [Role::Apid, Role::Work0, Role::Work1].into_iter().for_each(|role| pipeline.start(role));
    let count = || (0..2).map(|shard| pipeline.row_count(shard)).sum::<usize>();
    eventually("all is delivered", CHAOS, || count() == usize::try_from(LINES).unwrap());
    pipeline.assert_all_is_well(&Known::new());
    assert_imported_in_any_order(&pipeline, &orders(0));
}
