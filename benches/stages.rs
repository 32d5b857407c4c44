//! Measures the stages on generated events against two plain references measured in the same run: a copy of the same
//! bytes in memory, and a copy of them into a file with one fsync. Prints criterion's figures, then every stage as a
//! ratio to its reference. Run: `cargo bench --bench stages`.

use std::cell::RefCell;
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use shopctl::base::clock::Clock;
use shopctl::base::config::{Sources, load};
use shopctl::base::shutdown::Stop;
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::claim::driver::FileTask;
use shopctl::pipeline::claim::fault::Fault;
use shopctl::pipeline::claim::lease::Lease;
use shopctl::pipeline::event::raw::{RawEvent, RawPayload};
use shopctl::pipeline::event::{Event, LineReader, Next, Reject, ShardCount, ShardId};
use shopctl::pipeline::files::folder::{Artifact, Folder};
use shopctl::pipeline::ingest::generator::{Generator, Rates};
use shopctl::pipeline::rules::TradePolicy;
use shopctl::pipeline::send::{Sender, Shards};
use shopctl::pipeline::settings::Settings;
use shopctl::pipeline::split::{SplitTask, Splitter};
use shopctl::pipeline::task::{FileName, Stage, TaskKey};
use shopctl::pipeline::trade::{
    EarlyReturn, NewOrder, Operation, Order, OrderState, Outcome as Paid, PutOutcome, Recorded, Taken,
};
use shopctl::pipeline::work::bank::{Bank, BankError};
use shopctl::pipeline::work::cache_service::CacheService;
use shopctl::pipeline::work::{WindowLimits, WorkTerms, Worker};

/// Lines of the event file.
const LINES: usize = 20_000;
/// The seed of the events, so that two runs measure the same bytes.
const SEED: u64 = 7;
/// When the events happen: 2025-01-01.
const AT: Timestamp = Timestamp::from_unix_ms(1_735_689_600_000);
/// Bytes of a line, at the most.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Days that the worker remembers keys.
const KEY_DAYS: u32 = 90;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // On the disk that the project is on: in a folder in memory an fsync would cost nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let bench = Bench::new(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // The sender asks the database by way of the runtime's handle.
    let _inside = runtime.enter();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    bench.in_memory(&mut criterion);
    bench.with_files(&mut criterion);
    criterion.final_summary();
    bench.print_ratios();
    Ok(())
}

/// The input, and the best time of each stage.
struct Bench {
    bytes: Vec<u8>,
    path: PathBuf,
    folder: Folder,
    file: FileName,
    count: ShardCount,
    best: RefCell<Vec<(&'static str, &'static str, Duration)>>,
}

impl Bench {
    fn new(path: &Path) -> Outcome<Self> {
        let mut bytes = Vec::new();
        Generator::new(SEED, Rates::default(), AT).write_events(AT, LINES, &mut bytes);
        let folder = Folder::new(path);
        let file = FileName::of(AT);
        fs::create_dir_all(folder.events())?;
        fs::write(folder.path_of(&Artifact::Events(file.clone())), &bytes)?;
        let count = ShardCount::new(1).ok_or("one shard")?;
        Ok(Self { bytes, path: path.to_owned(), folder, file, count, best: RefCell::default() })
    }

    /// What works on bytes only: the reference is a copy of them in memory.
    fn in_memory(&self, criterion: &mut Criterion) {
        let mut copy = Vec::with_capacity(self.bytes.len());
        self.measure(criterion, "copy in memory", "copy in memory", || {
            copy.clear();
            let began = Instant::now();
            copy.extend_from_slice(black_box(&self.bytes));
            black_box(&copy);
            Ok(began.elapsed())
        });
        self.measure(criterion, "read lines as JSON", "copy in memory", || {
            self.each_line(|line| RawEvent::<RawPayload<'_>>::parse(line).map(|event| drop(black_box(event))))
        });
        self.measure(criterion, "read lines as events", "copy in memory", || {
            self.each_line(|line| Event::parse(line).map(|event| drop(black_box(event))))
        });
    }

    /// What ends on the disk: the reference is a copy of the bytes into a file, with one fsync.
    fn with_files(&self, criterion: &mut Criterion) {
        const REFERENCE: &str = "copy to a file, fsync";
        self.measure(criterion, REFERENCE, REFERENCE, || self.copy_to_file());
        self.measure(criterion, "split", REFERENCE, || self.split());
        self.measure(criterion, "work", REFERENCE, || self.work());
        self.measure(criterion, "deliver to SQLite", REFERENCE, || self.deliver());
    }

    fn measure(
        &self,
        criterion: &mut Criterion,
        name: &'static str,
        reference: &'static str,
        mut once: impl FnMut() -> Outcome<Duration>,
    ) {
        let best = RefCell::new(None::<Duration>);
        for (unit, throughput) in
            [("bytes", Throughput::Bytes(self.bytes.len() as u64)), ("events", Throughput::Elements(LINES as u64))]
        {
            let mut group = criterion.benchmark_group(unit);
            group.throughput(throughput);
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|rounds| {
                    let mut total = Duration::ZERO;
                    for _ in 0..rounds {
                        // A stage that fails has no speed.
                        let took = once().unwrap_or_else(|e| panic!("{name}: {e}"));
                        best.replace_with(|best| Some(best.map_or(took, |best| best.min(took))));
                        total += took;
                    }
                    total
                });
            });
            group.finish();
        }
        self.best.borrow_mut().extend(best.into_inner().map(|best| (name, reference, best)));
    }

    fn each_line(&self, mut read: impl FnMut(&[u8]) -> Result<(), Reject>) -> Outcome<Duration> {
        let began = Instant::now();
        let mut lines = LineReader::new(&self.bytes[..], LINE_BYTES_MAX);
        while let Some(next) = lines.next_line()? {
            let Next::Line { bytes, .. } = next else {
                return Err("a generated line is too long".into());
            };
            read(bytes).map_err(|reject| reject.detail)?;
        }
        Ok(began.elapsed())
    }

    fn copy_to_file(&self) -> Outcome<Duration> {
        let began = Instant::now();
        let mut input = BufReader::new(File::open(self.folder.path_of(&Artifact::Events(self.file.clone())))?);
        let mut output = File::create(self.path.join("copy"))?;
        io::copy(&mut input, &mut output)?;
        output.flush()?;
        output.sync_all()?;
        Ok(began.elapsed())
    }

    fn split(&self) -> Outcome<Duration> {
        let source = self.folder.path_of(&Artifact::Events(self.file.clone()));
        let shards = self.count.shards().map(|shard| (shard, 0)).collect();
        let task = SplitTask { file: self.file.clone(), source, input: None, count: self.count, shards };
        let splitter = Splitter::new(self.folder.clone(), LINE_BYTES_MAX);
        let began = Instant::now();
        let finished = splitter.split(&task, &Lease::unlimited(Stage::ShardSplitter, Stop::new()))?;
        let took = began.elapsed();
        all_written(finished.iter().map(|finished| finished.counts.written).sum())?;
        Ok(took)
    }

    /// With an empty memory each time: keys that it knows already would cost less.
    fn work(&self) -> Outcome<Duration> {
        self.split_if_missing()?;
        let shard = ShardId::new(0).ok_or("shard 0")?;
        remove_folder(self.folder.worker_state(shard).parent())?;
        let terms = WorkTerms {
            line_bytes_max: LINE_BYTES_MAX,
            key_retention_days: KEY_DAYS,
            policy: TradePolicy::default(),
            window: WindowLimits::default(),
        };
        let (bank, cache) = (Box::new(RichBank), Box::new(EmptyCache));
        let mut worker = Worker::open(self.folder.clone(), shard, terms, Clock::System, bank, cache)?;
        let key = TaskKey { file: self.file.clone(), shard };
        let source = self.folder.path_of(&Artifact::Split(self.file.clone(), shard));
        let task = FileTask { key, source, input: None, token: 0 };
        let began = Instant::now();
        let finished = worker.work_on(&task, &Lease::unlimited(Stage::ShardWorker, Stop::new()))?;
        let took = began.elapsed();
        all_written(finished.counts.written)?;
        Ok(took)
    }

    /// Into an empty database each time: a file that is there already would not be written.
    fn deliver(&self) -> Outcome<Duration> {
        let shard = ShardId::new(0).ok_or("shard 0")?;
        let source = self.folder.path_of(&Artifact::Prepared(self.file.clone(), shard));
        if !source.exists() {
            self.work()?;
        }
        remove_folder(Some(&self.path.join("db")))?;
        let flags = vec![("shared.dir".to_owned(), self.path.display().to_string())];
        let settings = load::load::<Settings>(&Sources { flags, ..Sources::default() })?.settings;
        let shards = Arc::new(Shards::new(settings.database, Clock::System));
        let sender = Sender::new(self.folder.clone(), shards, LINE_BYTES_MAX);
        let key = TaskKey { file: self.file.clone(), shard };
        let task = FileTask { key, source, input: None, token: 0 };
        let began = Instant::now();
        let (finished, _) = sender.send(&task, &Lease::unlimited(Stage::MysqlSender, Stop::new()))?;
        let took = began.elapsed();
        all_written(finished.counts.written)?;
        Ok(took)
    }

    /// When only some of the stages are measured.
    fn split_if_missing(&self) -> Outcome<()> {
        let shard = ShardId::new(0).ok_or("shard 0")?;
        if !self.folder.path_of(&Artifact::Split(self.file.clone(), shard)).exists() {
            self.split()?;
        }
        Ok(())
    }

    fn print_ratios(&self) {
        let best = self.best.borrow();
        if best.is_empty() {
            return;
        }
        println!("{LINES} events, {} bytes; the best time of each\n", self.bytes.len());
        println!("{:<24}{:>10}{:>14}{:>10}   times the reference", "", "ms", "events/s", "MB/s");
        for (name, reference, took) in best.iter() {
            let secs = took.as_secs_f64();
            let of = best.iter().find(|(name, ..)| name == reference).map(|(.., of)| secs / of.as_secs_f64());
            let ratio = of.map_or_else(String::new, |of| format!("{of:>8.2} x {reference}"));
            let (events, megabytes) = (LINES as f64 / secs, self.bytes.len() as f64 / secs / 1e6);
            println!("{name:<24}{:>10.3}{events:>14.0}{megabytes:>10.1}   {ratio}", secs * 1e3);
        }
    }
}

/// Everybody has enough, and asking costs nothing: the worker alone is measured.
struct RichBank;

impl Bank for RichBank {
    fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Paid>, BankError> {
        Ok(vec![Paid::Applied; operations.len()])
    }
}

/// Knows no other shard's orders.
struct EmptyCache;

impl CacheService for EmptyCache {
    fn record_and_take(&mut self, _: &TaskKey, _: &[NewOrder]) -> Result<(Vec<Recorded>, Vec<Taken>), Fault> {
        Ok((Vec::new(), Vec::new()))
    }

    fn put(&mut self, by: &TaskKey, returns: &[EarlyReturn]) -> Result<Vec<PutOutcome>, Fault> {
        let known = |entry: &EarlyReturn| {
            let (order, shard, file) = (entry.order, by.shard, by.file.clone());
            PutOutcome::Known(Order { order, shop_id: 0, shard, state: OrderState::Accepted, file })
        };
        Ok(returns.iter().map(known).collect())
    }

    fn take(&mut self, _: &TaskKey) -> Result<Vec<Taken>, Fault> {
        Ok(Vec::new())
    }

    fn expired(&mut self, _: &TaskKey) -> Result<Vec<Taken>, Fault> {
        Ok(Vec::new())
    }

    fn confirm(&mut self, _: &TaskKey) -> Result<(), Fault> {
        Ok(())
    }
}

/// A stage that loses lines would look fast.
fn all_written(written: u64) -> Outcome<()> {
    if written == LINES as u64 { Ok(()) } else { Err(format!("{written} of {LINES} lines were written").into()) }
}

fn remove_folder(folder: Option<&Path>) -> io::Result<()> {
    match folder.map(fs::remove_dir_all) {
        Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
