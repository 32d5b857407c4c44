//! The same events, cut into files of other sizes, for other numbers of shards, doubled, moved and mixed with broken
//! lines: the same are accepted, and accounts and stock come to the same. One of the runs is compared with an
//! independent calculation, line by line.
//!
//! Generated events; a whole year by `SHOPCTL_YEAR=FILE`, plain or gzip, in every size for every number of shards or as
//! `SHOPCTL_YEAR_CUTS` says: `137x3 137x16`.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serde_json::Value;
use shopctl::pipeline::ingest::generator::Rates;

use crate::proving::variable;
use crate::support::database::Rows;
use crate::support::events::{plain, read};
use crate::support::oracle::{Known, OPENING, Oracle};
use crate::support::pipeline::Pipeline;
use crate::support::{PATIENCE, eventually};

/// How long a file of a year may take.
pub(super) const LONG: std::time::Duration = std::time::Duration::from_secs(3600);
/// Longer than a return waits for its purchase.
const AFTER_ALL_MS: i64 = 300_001;

/// Type, shop, user and moment of a row, wherever its line stood.
type Event = (u8, Option<i64>, Option<i64>, String);

/// What came of it all.
#[derive(PartialEq, Eq)]
pub(super) struct Outcome {
    accepted: Vec<Event>,
    pub(super) balances: BTreeMap<i64, i128>,
    pub(super) stock: BTreeMap<(i64, i64), i128>,
    /// How many lines were rejected, by reason and bytes.
    rejected: BTreeMap<(String, Vec<u8>), u64>,
}

impl Outcome {
    pub(super) fn reasons(&self) -> BTreeMap<&str, u64> {
        let mut reasons = BTreeMap::new();
        for ((reason, _), count) in &self.rejected {
            *reasons.entry(reason.as_str()).or_default() += count;
        }
        reasons
    }

    /// How many events were accepted, by type.
    pub(super) fn by_kind(&self) -> BTreeMap<u8, u64> {
        let mut sum = BTreeMap::new();
        self.accepted.iter().for_each(|event| *sum.entry(event.0).or_default() += 1);
        sum
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let money: i128 = self.balances.values().sum();
        writeln!(f, "accepted {:?}, rejected {:?}", self.by_kind(), self.reasons())?;
        write!(f, "{} accounts with {money} hundredths, {} goods counted", self.balances.len(), self.stock.len())
    }
}

/// Events without mishaps: neither money nor goods run out, and every key is used once.
pub(super) fn input() -> Vec<u8> {
    let calm = Rates { duplicates: 0.0, malformed: 0.0, out_of_order: 0.0 };
    variable("SHOPCTL_YEAR").map_or_else(|| plain(77, calm, 4000), |path| read(&path))
}

/// Runs the lines through, until no return waits any more.
fn run(lines: &[u8], batch: usize, shards: u8) -> (Outcome, Pipeline) {
    let settings = [format!("pipeline.shards_count={shards}"), format!("balance.opening_balance={OPENING}")];
    // Nothing is killed here: however slow the disk is meanwhile, no attempt is taken for lost.
    let pipeline = Pipeline::new(&["pipeline.lease_ms=60000", &settings[0], &settings[1]]);
    let (path, batch) = (pipeline.write("input.ndjson", lines), batch.to_string());
    let from = ["up", "--any-port", "--from", path.to_str().unwrap(), "--batch", &batch];
    pipeline.spawn(&from, None).wait_exit(LONG).expect_code(0);
    // The time of those whose purchase never came is up.
    let cache = rusqlite::Connection::open(pipeline.shared().join("db/cache_db.sqlite")).unwrap();
    cache.execute("UPDATE pending_return SET expires_at = put_at", []).unwrap();
    drop(cache);
    let night = pipeline.spawn(&["up", "--any-port"], None);
    let none = |database: &dyn Rows, count: &str| database.texts(count)[0][0].as_deref() == Some("0");
    let cache = pipeline.keep_open("cache_db");
    let waiting = "SELECT COUNT(*) FROM pending_return WHERE done_at IS NULL";
    eventually("no return waits any more", PATIENCE * 4, || none(cache.as_ref(), waiting));
    let tracking = pipeline.keep_open("pipeline_db");
    let open = "SELECT COUNT(*) FROM pipeline_tracking WHERE mysql_sender_status <> 'done'";
    eventually("everything is delivered", PATIENCE, || none(tracking.as_ref(), open));
    night.signal(Signal::INT);
    let ended = night.wait_exit(PATIENCE).expect_code(0);
    assert!(ended.out.contains("0 differences"), "{}", ended.out);
    (outcome(&pipeline, shards), pipeline)
}

/// What the databases and the rejects say.
pub(super) fn outcome(pipeline: &Pipeline, shards: u8) -> Outcome {
    let (mut accepted, mut stock, mut rejected) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for shard in 0..shards {
        accepted.extend(pipeline.rows(shard).into_iter().map(|row| (row.2, row.3, row.4, row.5)));
        let counted = "SELECT id, good_id, count FROM shop WHERE count IS NOT NULL";
        for row in pipeline.open(&format!("shop_shard_{shard}")).texts(counted) {
            let [shop, good, count] = <[_; 3]>::try_from(row).unwrap().map(Option::unwrap);
            stock.insert((shop.parse().unwrap(), good.parse().unwrap()), count.parse().unwrap());
        }
    }
    let workers = (0..shards).map(|shard| format!("shard-worker-{shard}/rejects"));
    for path in workers.chain(["shard-splitter/rejects".to_owned()]).flat_map(|folder| pipeline.list(&folder)) {
        for line in std::fs::read(path).unwrap().split_inclusive(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(line).unwrap();
            let raw = line["raw"].as_str().or(line["raw_base64"].as_str()).unwrap();
            let reason = line["reason"].as_str().unwrap();
            *rejected.entry((reason.to_owned(), raw.as_bytes().to_vec())).or_default() += 1;
        }
    }
    accepted.sort_unstable();
    Outcome { accepted, balances: pipeline.balances(), stock, rejected }
}

/// What must have become of the event files once no return waits any more.
pub(super) fn oracle(pipeline: &Pipeline, shards: u8, opening: i64) -> Oracle {
    let mut oracle = Oracle::with_opening(shards, opening);
    for (name, content) in pipeline.event_files() {
        oracle.file(&name, &content, &Known::new());
    }
    // The oracle takes the shards in turn. Running at the same time, one may have taken in the last file what the other
    // handed over in it: here that is for a file more. And the time of those whose purchase never came is up.
    oracle.time_passes(AFTER_ALL_MS);
    oracle.file("99991231235959", b"", &Known::new());
    oracle
}

/// Rows and rejects are what the oracle says, line by line; so are accounts and stock.
pub(super) fn assert_exact(oracle: &Oracle, pipeline: &Pipeline, found: &Outcome) {
    let shards = u8::try_from(oracle.world.rows.len()).unwrap();
    pipeline.world_of(shards).assert_is(&oracle.world);
    assert_eq!(found.accepted.len(), oracle.world.row_count(), "every line has one row");
    oracle.assert_balances(&found.balances);
    oracle.assert_stock(&found.stock);
}

fn assert_same_money(of: &str, found: &Outcome, expected: &Outcome) {
    // An account that nothing was ever done to may be there or not.
    let opening = i128::from(OPENING) * 100;
    let used = |outcome: &Outcome| -> BTreeMap<i64, i128> {
        outcome.balances.iter().map(|(user, balance)| (*user, *balance)).filter(|(_, b)| *b != opening).collect()
    };
    assert!(used(found) == used(expected), "{of}: other balances");
}

#[test]
fn sizes_of_files_and_numbers_of_shards_change_nothing() {
    let input = input();
    let is_year = variable("SHOPCTL_YEAR").is_some();
    let (small, usual, large) = if is_year { (137, 10_000, 100_000) } else { (137, 500, 4000) };
    let (base, pipeline) = run(&input, usual, 2);
    let oracle = oracle(&pipeline, 2, OPENING);
    assert_exact(&oracle, &pipeline, &base);
    println!("{base}");
    let by_kind = base.by_kind();
    assert!(by_kind[&1] > 1000 && by_kind[&3] > 20, "{by_kind:?}");
    drop(pipeline);
    let mut cuts = vec![(small, 2), (large, 1), (usual, 3), (large, 16)];
    if is_year {
        let all = [large, usual, small].into_iter().flat_map(|batch| [1, 2, 3, 16].map(|shards| (batch, shards)));
        cuts = all.filter(|cut| *cut != (usual, 2)).collect();
    }
    if let Some(asked) = variable("SHOPCTL_YEAR_CUTS") {
        let cut =
            |cut: &str| cut.split_once('x').map(|(batch, shards)| (batch.parse().unwrap(), shards.parse().unwrap()));
        cuts = asked.split(' ').map(|asked| cut(asked).unwrap()).collect();
    }
    for (batch, shards) in cuts {
        let (other, _) = run(&input, batch, shards);
        let of = format!("{batch} lines a file, {shards} shards");
        assert_eq!(other.reasons(), base.reasons(), "{of}");
        assert!(other.accepted == base.accepted && other.rejected == base.rejected, "{of}: other events");
        assert!(other.stock == base.stock, "{of}: other stock");
        assert_same_money(&of, &other, &base);
        println!("{of}: the same");
    }
}

/// Purchases that name their price, and returns: in another order the generated shops are closed, or out of goods.
fn unbound(input: &[u8]) -> Vec<u8> {
    let is_free = |line: &&[u8]| {
        let event: Value = serde_json::from_slice(line).unwrap();
        event["event_type"] == 3 || event["event_type"] == 1 && event["payload"]["price_at_order"].is_number()
    };
    input.split_inclusive(|byte| *byte == b'\n').filter(is_free).flatten().copied().collect()
}

/// One line in fifty comes twice, one in twenty up to three files later, and one in two hundred is a broken one more.
/// Answers the lines that came on top of it, too: copies and broken ones.
fn disturb(input: &[u8], batch: usize) -> (Vec<u8>, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut rng = ChaCha8Rng::seed_from_u64(4711);
    let (mut copies, mut broken, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (at, line) in input.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let later = |rng: &mut ChaCha8Rng| at + rng.random_range(0..3 * batch);
        let place = if rng.random_range(0..100) < 5 { later(&mut rng) } else { at };
        lines.push((place, at, line.to_vec()));
        // Only what has a key is known again: twice delivered goods are twice as many.
        let has_key = line.starts_with(b"{\"event_type\":1,") || line.starts_with(b"{\"event_type\":3,");
        if has_key && rng.random_range(0..100) < 2 {
            lines.push((later(&mut rng).max(place), at, line.to_vec()));
            copies.push(line.trim_ascii_end().to_vec());
        }
        if rng.random_range(0..1000) < 5 {
            let half = &line[..line.len() / 2];
            lines.push((at, at, [half, b"\n"].concat()));
            broken.push(half.to_vec());
        }
    }
    lines.sort_by_key(|(place, at, _)| (*place, *at));
    (lines.into_iter().flat_map(|(_, _, line)| line).collect(), copies, broken)
}

#[test]
fn doubled_moved_and_broken_lines_change_no_account() {
    let is_year = variable("SHOPCTL_YEAR").is_some();
    let (batch, mut input) = (if is_year { 10_000 } else { 500 }, input());
    if !is_year {
        input = unbound(&input);
    }
    let (base, _) = run(&input, batch, 2);
    let (disturbed, copies, broken) = disturb(&input, batch);
    let (other, _) = run(&disturbed, batch, 2);
    assert_same_money("doubled, moved and broken lines", &other, &base);
    // A rejected line gives its key back: its copy is rejected for itself. Every broken line is rejected once.
    let mut expected = base.rejected.clone();
    for copy in copies {
        let reason = base.rejected.keys().find_map(|(reason, raw)| (*raw == copy).then(|| reason.clone()));
        reason.into_iter().for_each(|reason| *expected.entry((reason, copy.clone())).or_default() += 1);
    }
    let count = broken.len();
    broken.into_iter().for_each(|half| *expected.entry(("bad_json".to_owned(), half)).or_default() += 1);
    // Stock that is taken before its first delivery comes would go below zero (rule 5).
    let (early, others): (Vec<_>, Vec<_>) =
        other.rejected.iter().partition(|((reason, _), _)| reason == "negative_stock");
    assert!(others.into_iter().eq(&expected), "{:?}, before {:?}", other.reasons(), base.reasons());
    let early: u64 = early.into_iter().map(|(_, count)| count).sum();
    let missing = difference(&base.accepted, &other.accepted);
    assert_eq!(difference(&other.accepted, &base.accepted), [] as [&Event; 0], "accepted only so");
    let kinds: Vec<u8> = missing.iter().map(|event| event.0).collect();
    assert_eq!(kinds, vec![0; usize::try_from(early).unwrap()], "not accepted any more: {missing:?}");
    // A first delivery that comes late is counted from then on: what was sold before is not taken off it.
    let differs = base.stock.iter().filter(|(good, count)| other.stock.get(*good) != Some(*count));
    let by: Vec<i128> = differs.map(|(good, count)| other.stock.get(good).unwrap_or(&0) - count).collect();
    println!(
        "{count} broken lines, {early} stock corrections before their first delivery; the count of {} of {} goods differs, \
         by {} in all",
        by.len(),
        base.stock.len(),
        by.iter().sum::<i128>()
    );
}

/// What of one sorted list is not in the other, as often as it is not.
fn difference<'a>(all: &'a [Event], known: &[Event]) -> Vec<&'a Event> {
    let mut known = known.iter().peekable();
    let is_new = |event: &&Event| {
        while known.next_if(|other| *other < event).is_some() {}
        known.next_if(|other| other == event).is_none()
    };
    all.iter().filter(is_new).collect()
}
