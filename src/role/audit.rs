//! `shopctl audit`: proves that nothing was lost and nothing came twice, or names what does not add up.
//!
//! Reads the tracking database, the shard databases and the rejects files; needs no running role.
//! Run: `shopctl audit`, `shopctl audit --settled`, `shopctl audit --json`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Serialize;

use super::apid;
use crate::boot::{Context, Exit, Failure, say};
use crate::event::ShardId;
use crate::event::shard::SHARD_MAX;
use crate::log_format::clean;
use crate::pipeline::artifact;
use crate::pipeline::folder::{Artifact, Folder, UNDELIVERED};
use crate::pipeline::ingest::spool;
use crate::store::{self, Census, SentFile, StoreUrl, Tracking};
use crate::task::{Digest, FileName, FileView, Ledger, Stage, Status, TaskKey};

/// Differences that are printed.
const SHOWN: usize = 10;

/// Adds up the books of the whole pipeline and compares them with the databases and the rejects.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl audit            the table and the differences, if there are any
  shopctl audit --settled  work that is not finished counts as a difference too
  shopctl audit --json     the same for programs

Lines in = rows + duplicates + rejected + pending + lines still in flight.
Exit codes: 0 everything adds up, 1 something does not, 64 bad usage or settings, 75 a database does not answer.")]
pub struct Args {
    /// Count unfinished work as a difference
    #[arg(long)]
    pub settled: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What the audit found.
#[derive(Debug, Serialize)]
pub struct Audit {
    /// The stages' reports, added up, and all differences.
    pub ledger: Ledger,
    /// Rows in the shard databases.
    pub rows: BTreeMap<ShardId, u64>,
    /// Lines in the rejects files.
    pub rejects: u64,
    /// Event files that are not announced yet: they are safe, and not counted above.
    pub unannounced_files: u64,
    /// Bytes of acknowledged posts that wait for the next tick: safe, and not counted above.
    pub spooled_bytes: u64,
    /// Lines that have not ended anywhere yet.
    pub lines_in_flight: u64,
}

impl Audit {
    /// Whether everything adds up.
    pub fn is_clean(&self) -> bool {
        self.ledger.difference_count == 0
    }
}

/// Audits and prints.
///
/// # Errors
/// [`Failure`] when a database cannot be opened.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let audit = audit(&ctx, args.settled).await?;
    if args.json {
        let json = serde_json::to_string_pretty(&audit).map_err(|e| Failure::new(e.to_string()))?;
        say(&format!("{json}\n"))?;
    } else {
        say(&table(&audit))?;
    }
    Ok(if audit.is_clean() { Exit::Ok } else { Exit::Failed })
}

/// Adds everything up. With `settled`, unfinished work is a difference.
///
/// # Errors
/// [`Failure`] when a database cannot be opened or read.
pub async fn audit(ctx: &Context, settled: bool) -> Result<Audit, Failure> {
    let settings = &ctx.settings;
    let policy = apid::policy(settings);
    let url = &settings.database.tracking;
    // An audit that creates an empty database and finds nothing wrong with it would prove nothing.
    if url.embedded_exists() == Some(false) {
        return Err(Failure::new(format!(
            "there is no tracking database at {url}; is shared.dir or database.tracking right?"
        )));
    }
    let tracking = store::open_tracking(url, ctx.clock.clone(), policy).await?;
    let folder = Folder::new(&settings.shared.dir);
    let mut books = Books::default();
    let mut readable = Ok(());
    store::for_each_file(tracking.as_ref(), |file| {
        if readable.is_ok() {
            readable = books.add(file, &folder);
        }
    })
    .await?;
    readable?;
    let mut rows = BTreeMap::new();
    // Every shard that was tracked, and every shard database that is there: rows that no task knows are a difference.
    // On a server only the shards of the settings are looked for beside the tracked ones.
    for shard in (0..=u64::from(SHARD_MAX)).filter_map(ShardId::new) {
        let url = settings.database.shard(shard).map_err(Failure::usage)?;
        let expected = books.shards.contains(&shard);
        let there = url.embedded_exists().unwrap_or(expected || shard.get() < settings.pipeline.shards_count.get());
        if !expected && !there {
            continue;
        }
        let census = if there { take_census(&url, shard, ctx).await? } else { Census::default() };
        books.compare_rows(shard, &census, tracking.as_ref()).await?;
        rows.insert(shard, census.rows);
    }
    let unannounced_files = books.check_event_files(&folder)?;
    let spooled_bytes = spool::waiting_bytes(&folder)?;
    let mut ledger = books.ledger;
    if settled && (ledger.open_tasks > 0 || unannounced_files > 0 || spooled_bytes > 0) {
        let open = ledger.open_tasks;
        let what = format!(
            "{open} tasks are not finished, {unannounced_files} files not announced, {spooled_bytes} posted bytes in no file yet"
        );
        ledger.differ(None, None, what);
    }
    let lines_in_flight = ledger.lines_in_flight();
    if ledger.open_tasks == 0 && lines_in_flight > 0 && ledger.difference_count == 0 {
        ledger.differ(None, None, format!("all tasks are finished, but {lines_in_flight} lines ended nowhere"));
    }
    Ok(Audit { ledger, rows, rejects: books.rejects, unannounced_files, spooled_bytes, lines_in_flight })
}

async fn take_census(url: &StoreUrl, shard: ShardId, ctx: &Context) -> store::Result<Census> {
    let store = store::open_shard(url, ctx.clock.clone()).await?;
    let census = store.census(shard).await;
    store.close().await;
    census
}

/// What the reports say should be found elsewhere.
#[derive(Default)]
struct Books {
    ledger: Ledger,
    shards: BTreeSet<ShardId>,
    /// Rows that the sender reported, by task.
    delivered: BTreeMap<TaskKey, u64>,
    /// Tasks whose sender is at work: its rows may be there before its report.
    delivering: BTreeSet<TaskKey>,
    /// Early returns that were taken up, by the task that did.
    released: BTreeMap<TaskKey, u64>,
    /// Early returns by the file that brought them; nothing while one of its shards has not been reported.
    held: BTreeMap<FileName, Option<u64>>,
    /// Complete event files, with the digest that was announced.
    announced: BTreeMap<FileName, Option<Digest>>,
    rejects: u64,
}

impl Books {
    fn add(&mut self, file: &FileView, folder: &Folder) -> io::Result<()> {
        self.ledger.add(file);
        if file.all_done(Stage::EventIngest) {
            let output = file.announced();
            self.announced.insert(file.file.clone(), output.map(|output| output.sha256));
        }
        // The rejects belong to the lowest shard: without its report there is nothing to compare them with.
        let first = file.shards.first();
        let split_rejects = first.and_then(|shard| shard.result(Stage::ShardSplitter)?.counts).map(|c| c.rejected);
        for shard in &file.shards {
            self.shards.insert(shard.shard);
            let key = TaskKey { file: file.file.clone(), shard: shard.shard };
            let counts = |stage: Stage| shard.result(stage).and_then(|result| result.counts);
            match (shard.status(Stage::MysqlSender), counts(Stage::MysqlSender)) {
                (Status::Done, Some(counts)) => drop(self.delivered.insert(key.clone(), counts.written)),
                _ => drop(self.delivering.insert(key.clone())),
            }
            let held = self.held.entry(file.file.clone()).or_insert(Some(0));
            *held = held.zip(counts(Stage::ShardWorker)).map(|(held, counts)| held.saturating_add(counts.held));
            if let Some(counts) = counts(Stage::ShardWorker) {
                self.released.insert(key.clone(), counts.released);
                let rejects = folder.path_of(&Artifact::WorkRejects(file.file.clone(), shard.shard));
                self.compare_rejects(&key, &rejects, counts.rejected)?;
            }
        }
        if let (Some(expected), Some(first)) = (split_rejects, first) {
            let key = TaskKey { file: file.file.clone(), shard: first.shard };
            self.compare_rejects(&key, &folder.path_of(&Artifact::SplitRejects(file.file.clone())), expected)?;
        }
        Ok(())
    }

    fn compare_rejects(&mut self, key: &TaskKey, path: &Path, expected: u64) -> io::Result<()> {
        let found = count_lines(path)?;
        self.rejects += found;
        if found != expected {
            let what = format!("{expected} lines were rejected, {} has {found}", path.display());
            self.ledger.differ(Some(&key.file), Some(key.shard), what);
        }
        Ok(())
    }

    async fn compare_rows(&mut self, shard: ShardId, census: &Census, tracking: &dyn Tracking) -> store::Result<()> {
        let (mut marked, mut present, mut is_named) = (0, 0, false);
        let mut seen = BTreeSet::new();
        for file in &census.sent {
            marked += file.rows;
            present += file.present;
            seen.insert(file.file.clone());
            let key = TaskKey { file: file.file.clone(), shard };
            match self.delivered.get(&key) {
                Some(reported) if *reported != file.rows => {
                    let what = format!("mysql-sender reported {reported} rows, the marker says {}", file.rows);
                    self.ledger.differ(Some(&file.file), Some(shard), what);
                }
                // It may have been registered after its turn in the tracking database.
                None if !self.delivering.contains(&key) && tracking.find_file(&file.file).await?.is_none() => {
                    let what = "its rows are in the database, but its task is unknown".to_owned();
                    self.ledger.differ(Some(&file.file), Some(shard), what);
                }
                _ => {}
            }
            if !self.may_be_present(&key, file) {
                is_named = true;
                let what = format!("{} rows were delivered, {} are in the database", file.rows, file.present);
                self.ledger.differ(Some(&file.file), Some(shard), what);
            }
        }
        for (key, reported) in self.delivered.iter().filter(|(key, _)| key.shard == shard && !seen.contains(&key.file))
        {
            let what = format!("mysql-sender reported {reported} rows, the database knows nothing of them");
            self.ledger.differ(Some(&key.file), Some(shard), what);
        }
        // Rows that are missing from a file were named with it; here are those that no file brought.
        if census.rows != present || (census.rows != marked && !is_named) {
            let what = format!("{marked} rows were delivered, {} are in the database", census.rows);
            self.ledger.differ(None, Some(shard), what);
        }
        Ok(())
    }

    /// A row bears the name of the event file that its line came in. An early return is delivered with a later file, of
    /// whatever shard its purchase is: so many rows may be with other files than they were delivered with.
    fn may_be_present(&self, key: &TaskKey, file: &SentFile) -> bool {
        let of_others = self.released.get(key).copied().unwrap_or(u64::MAX);
        let with_others = self.held.get(&key.file).copied().flatten().unwrap_or(u64::MAX);
        (file.rows.saturating_sub(of_others)..=file.rows.saturating_add(with_others)).contains(&file.present)
    }

    /// Counts the event files that the API was not told of, those that were put aside at a stop included. One that is
    /// not what was announced under its name is a difference: it is damaged, or its lines are in no task.
    fn check_event_files(&mut self, folder: &Folder) -> io::Result<u64> {
        let mut unannounced = 0;
        for own in [folder.events(), folder.events().join(UNDELIVERED)] {
            for name in artifact::list(&own)? {
                let Some(Artifact::Events(file)) = Artifact::from_file_name(&name) else {
                    continue;
                };
                match self.announced.get(&file) {
                    None => unannounced += 1,
                    Some(None) => {}
                    Some(Some(announced)) => {
                        let found = artifact::open(&own.join(&name)).and_then(|mut f| artifact::digest(&mut f));
                        let what = match found {
                            Ok(found) if found.sha256 == *announced => continue,
                            Ok(found) => {
                                format!("its event file has SHA-256 {}, announced was {announced}", found.sha256)
                            }
                            // It was cleared since the folder was listed.
                            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                            Err(e) => e.to_string(),
                        };
                        self.ledger.differ(Some(&file), None, what);
                    }
                }
            }
        }
        Ok(unannounced)
    }
}

fn count_lines(path: &Path) -> io::Result<u64> {
    match artifact::open(path) {
        Ok(mut file) => Ok(artifact::digest(&mut file)?.lines),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

/// The audit as a table with its verdict.
pub fn table(audit: &Audit) -> String {
    let ledger = &audit.ledger;
    let mut text = format!(
        "{:<16}{:>8}{:>8}{:>8}{:>12}{:>12}{:>11}{:>10}\n",
        "stage", "done", "open", "failed", "read", "written", "duplicate", "rejected"
    );
    let stages = [
        ("shard-splitter", ledger.shard_splitter),
        ("shard-worker", ledger.shard_worker),
        ("mysql-sender", ledger.mysql_sender),
    ];
    for (name, stage) in stages {
        let (tasks, counts) = (stage.tasks, stage.counts);
        text.push_str(&format!(
            "{name:<16}{:>8}{:>8}{:>8}{:>12}{:>12}{:>11}{:>10}\n",
            tasks.done,
            tasks.new + tasks.started,
            tasks.failed,
            counts.read,
            counts.written,
            counts.duplicate,
            counts.rejected
        ));
    }
    text.push('\n');
    for (shard, rows) in &audit.rows {
        text.push_str(&format!("{:<28}{rows:>12} rows\n", format!("shard {shard} database")));
    }
    text.push_str(&format!("{:<28}{:>12} lines\n", "rejects files", audit.rejects));
    let (work, split) = (ledger.shard_worker.counts, ledger.shard_splitter.counts);
    text.push_str(&format!(
        "\n{} files: {} lines in = {} rows + {} duplicates + {} rejected + {} pending + {} in flight\n",
        ledger.files,
        ledger.event_lines,
        audit.rows.values().sum::<u64>(),
        work.duplicate,
        work.rejected + split.rejected,
        work.held.saturating_sub(work.released),
        audit.lines_in_flight
    ));
    if audit.unannounced_files > 0 {
        text.push_str(&format!("{} event files are not announced yet\n", audit.unannounced_files));
    }
    if audit.spooled_bytes > 0 {
        text.push_str(&format!("{} bytes of posted events wait for the next tick\n", audit.spooled_bytes));
    }
    if ledger.files_without_lines > 0 {
        text.push_str(&format!("{} files were announced without their number of lines\n", ledger.files_without_lines));
    }
    text.push_str(&format!("{} differences\n", ledger.difference_count));
    for difference in ledger.differences.iter().take(SHOWN) {
        let file = difference.file.as_ref().map_or("all files", FileName::as_str);
        let shard = difference.shard.map_or_else(String::new, |shard| format!(" shard {shard}"));
        text.push_str(&format!("  {file}{shard}: {}\n", clean(&difference.what)));
    }
    text
}
