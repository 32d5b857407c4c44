//! The proving ground: faults by force, seeded and bounded, each class of which counts what it hit.
//!
//! Small with the other tests; at full size by `tests/chaos`. A run is void, and fails, unless every class struck work in
//! flight: its victim held a claimed task or an open request at that moment. Once is enough for a small one.

mod aim;
mod clocks;
mod corrupt;
mod crash;
mod disk;
mod kills;
mod mariadb;
mod poster;
mod power;
mod recovery;
mod replies;
mod synced;
mod zombies;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::support::pipeline::Pipeline;

/// A run is void if a class hit less work in flight than this: a small one, a full one.
const HITS_MIN: (u64, u64) = (1, 20);
/// The seed where none is given.
const SEED: u64 = 20_250_301;

/// How much is tried, and with which seed.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    is_full: bool,
    pub(crate) seed: u64,
}

impl Size {
    /// What the caller asked for: small unless `SHOPCTL_CHAOS=full`.
    pub(crate) fn asked() -> Self {
        let seed = variable("SHOPCTL_CHAOS_SEED").map_or(SEED, |seed| seed.parse().expect("a seed is a number"));
        Self { is_full: variable("SHOPCTL_CHAOS").as_deref() == Some("full"), seed }
    }

    /// One number or the other.
    pub(crate) fn pick<T>(self, small: T, full: T) -> T {
        if self.is_full { full } else { small }
    }

    /// The chances of one test; another test has others.
    pub(crate) fn chances(self, of: &str) -> ChaCha8Rng {
        let of = of.bytes().fold(self.seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        println!("{}: seed {}", if self.is_full { "full size" } else { "small" }, self.seed);
        ChaCha8Rng::seed_from_u64(of)
    }
}

/// Every line that was imported is in the event files once, and in its order. Posted events are counted by their rows.
pub(crate) fn assert_imported(pipeline: &Pipeline, input: &[u8]) {
    let found = imported(pipeline);
    assert_same_lines(&found, input);
    assert!(found == input, "the imported lines are in another order");
}

/// The same where files got names that go back in time.
fn assert_imported_in_any_order(pipeline: &Pipeline, input: &[u8]) {
    assert_same_lines(&imported(pipeline), input);
}

fn imported(pipeline: &Pipeline) -> Vec<u8> {
    let files = pipeline.event_files().into_iter().map(|(_, content)| content);
    files.filter(|content| !poster::is_posted(content)).flatten().collect()
}

fn assert_same_lines(found: &[u8], input: &[u8]) {
    let mut counts = BTreeMap::<&[u8], i64>::new();
    input.split_inclusive(|byte| *byte == b'\n').for_each(|line| *counts.entry(line).or_default() += 1);
    found.split_inclusive(|byte| *byte == b'\n').for_each(|line| *counts.entry(line).or_default() -= 1);
    let sum = |of: fn(i64) -> i64| counts.values().map(|count| of(*count).max(0)).sum::<i64>();
    let (lost, surplus) = (sum(|count| count), sum(|count| -count));
    let wrong = counts.iter().filter(|(_, count)| **count != 0).map(|(line, _)| String::from_utf8_lossy(line));
    let wrong: Vec<_> = wrong.take(3).collect();
    assert!(wrong.is_empty(), "of the imported lines {lost} are lost and {surplus} too many, as in {wrong:#?}");
}

#[expect(clippy::disallowed_methods, reason = "tests/chaos says by the environment how much is to be tried")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What became of one class of faults.
pub(crate) struct Class {
    name: String,
    size: Size,
    attempts: u64,
    in_flight: u64,
    recoveries: Vec<Duration>,
}

impl Class {
    /// Nothing was tried yet.
    pub(crate) fn new(size: Size, name: impl Into<String>) -> Self {
        Self { name: name.into(), size, attempts: 0, in_flight: 0, recoveries: Vec::new() }
    }

    /// The fault was applied; `in_flight` if its victim held a claimed task or an open request.
    pub(crate) fn struck(&mut self, in_flight: bool) {
        self.attempts += 1;
        self.in_flight += u64::from(in_flight);
    }

    /// The struck work was done so long after the fault.
    pub(crate) fn recovered(&mut self, after: Duration) {
        self.recoveries.push(after);
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Adds what another class hit.
    pub(crate) fn add(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.in_flight += other.in_flight;
        self.recoveries.extend(&other.recoveries);
    }

    /// How often it hit work in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// The wait that this share of all recoveries did not pass; nothing where none was measured.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(sorted[(sorted.len() * percent / 100).min(last)])
    }

    /// Says what it hit, after everything was found exact; a run that hit too little is void.
    pub(crate) fn finish(self) {
        let text = |percent| self.percentile(percent).map_or("-".to_owned(), |took| format!("{} ms", took.as_millis()));
        let enough = self.in_flight >= self.size.pick(HITS_MIN.0, HITS_MIN.1);
        let mut line = String::new();
        for part in [&self.name, &self.attempts.to_string(), &self.in_flight.to_string(), &text(50), &text(99)] {
            write!(line, "{part}\t").unwrap();
        }
        line.push_str(if enough { "exact" } else { "VOID" });
        println!("{line}");
        if let Some(path) = variable("SHOPCTL_CHAOS_REPORT") {
            let mut report = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            writeln!(report, "{line}").unwrap();
        }
        assert!(enough, "void: '{}' struck work in flight {} times in {}", self.name, self.in_flight, self.attempts);
    }
}
