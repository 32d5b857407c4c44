//! `shopctl audit`: proves that nothing was lost and nothing came twice, or names what does not add up.
//!
//! Reads the tracking database, the shard databases and the rejects files; needs no running role.
//! Run: `shopctl audit`, `shopctl audit --settled`, `shopctl audit --json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use serde::Serialize;

use super::apid;
use crate::boot::{Context, Exit, Failure};
use crate::event::ShardId;
use crate::pipeline::artifact;
use crate::pipeline::folder::{Artifact, Folder};
use crate::store::{self, FileQuery, SentFile};
use crate::task::{FileName, FileView, Ledger, Stage, Status, TaskKey};

/// Files per page of the tracking database.
const PAGE: u32 = 500;
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
        println!("{}", serde_json::to_string_pretty(&audit).map_err(|e| Failure::new(e.to_string()))?);
    } else {
        print!("{}", table(&audit));
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
    if !url.exists() {
        return Err(Failure::new(format!(
            "there is no tracking database at {url}; is shared.dir or database.tracking right?"
        )));
    }
    let tracking = store::open_tracking(url, ctx.clock.clone(), policy).await?;
    let folder = Folder::new(&settings.shared.dir);
    let mut books = Books::default();
    let mut query = FileQuery { limit: PAGE, with_results: true, ..FileQuery::default() };
    loop {
        let page = tracking.list_files(&query).await?;
        for file in &page.files {
            books.add(file, &folder)?;
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    let mut rows = BTreeMap::new();
    for shard in books.shards.clone() {
        let url = settings.database.shard(shard).map_err(Failure::usage)?;
        let (sent, count) = if url.exists() {
            let database = store::open_shard(&url, ctx.clock.clone()).await?;
            (database.sent_files(shard).await?, database.count_events().await?)
        } else {
            (Vec::new(), 0)
        };
        books.compare_rows(shard, &sent, count);
        rows.insert(shard, count);
    }
    let unannounced_files = books.unannounced(&folder)?;
    let mut ledger = books.ledger;
    if settled && (ledger.open_tasks() > 0 || unannounced_files > 0) {
        let open = ledger.open_tasks();
        ledger.differ(None, None, format!("{open} tasks are not finished, {unannounced_files} files not announced"));
    }
    let lines_in_flight = ledger.lines_in_flight();
    if ledger.open_tasks() == 0 && lines_in_flight > 0 && ledger.difference_count == 0 {
        ledger.differ(None, None, format!("all tasks are finished, but {lines_in_flight} lines ended nowhere"));
    }
    Ok(Audit { ledger, rows, rejects: books.rejects, unannounced_files, lines_in_flight })
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
    announced: BTreeSet<FileName>,
    rejects: u64,
}

impl Books {
    fn add(&mut self, file: &FileView, folder: &Folder) -> io::Result<()> {
        self.ledger.add(file);
        if file.all_done(Stage::EventIngest) {
            self.announced.insert(file.file.clone());
        }
        let mut split_rejects = None;
        for shard in &file.shards {
            self.shards.insert(shard.shard);
            let key = TaskKey { file: file.file.clone(), shard: shard.shard };
            let counts = |stage: Stage| shard.result(stage).and_then(|result| result.counts);
            match (shard.status(Stage::MysqlSender), counts(Stage::MysqlSender)) {
                (Status::Done, Some(counts)) => drop(self.delivered.insert(key.clone(), counts.written)),
                _ => drop(self.delivering.insert(key.clone())),
            }
            if let Some(counts) = counts(Stage::ShardSplitter) {
                split_rejects = Some(split_rejects.unwrap_or(0) + counts.rejected);
            }
            if let Some(counts) = counts(Stage::ShardWorker) {
                let rejects = folder.path_of(&Artifact::WorkRejects(file.file.clone(), shard.shard));
                self.compare_rejects(&key, &rejects, counts.rejected)?;
            }
        }
        let first = file.shards.first().map(|shard| shard.shard);
        if let (Some(expected), Some(shard)) = (split_rejects, first) {
            let key = TaskKey { file: file.file.clone(), shard };
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

    fn compare_rows(&mut self, shard: ShardId, sent: &[SentFile], count: u64) {
        let mut marked = 0;
        let mut seen = BTreeSet::new();
        for file in sent {
            marked += file.rows;
            seen.insert(file.file.clone());
            let key = TaskKey { file: file.file.clone(), shard };
            match self.delivered.get(&key) {
                Some(reported) if *reported != file.rows => {
                    let what = format!("mysql-sender reported {reported} rows, the marker says {}", file.rows);
                    self.ledger.differ(Some(&file.file), Some(shard), what);
                }
                None if !self.delivering.contains(&key) => {
                    let what = "its rows are in the database, but its task is unknown".to_owned();
                    self.ledger.differ(Some(&file.file), Some(shard), what);
                }
                _ => {}
            }
            if file.present != file.rows {
                let what = format!("{} rows were delivered, {} are in the database", file.rows, file.present);
                self.ledger.differ(Some(&file.file), Some(shard), what);
            }
        }
        for (key, reported) in self.delivered.iter().filter(|(key, _)| key.shard == shard && !seen.contains(&key.file))
        {
            let what = format!("mysql-sender reported {reported} rows, the database knows nothing of them");
            self.ledger.differ(Some(&key.file), Some(shard), what);
        }
        if count != marked {
            self.ledger.differ(None, Some(shard), format!("{marked} rows were delivered, {count} are in the database"));
        }
    }

    fn unannounced(&self, folder: &Folder) -> io::Result<u64> {
        let mut count = 0;
        for name in artifact::list(&folder.events())? {
            if let Some(Artifact::Events(file)) = Artifact::from_file_name(&name) {
                count += u64::from(!self.announced.contains(&file));
            }
        }
        Ok(count)
    }
}

fn count_lines(path: &Path) -> io::Result<u64> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut counted = artifact::Hashed::new(file);
    io::copy(&mut BufReader::new(&mut counted), &mut io::sink())?;
    Ok(counted.output().lines)
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
    if ledger.files_without_lines > 0 {
        text.push_str(&format!("{} files were announced without their number of lines\n", ledger.files_without_lines));
    }
    text.push_str(&format!("{} differences\n", ledger.difference_count));
    for difference in ledger.differences.iter().take(SHOWN) {
        let file = difference.file.as_ref().map_or("all files", FileName::as_str);
        let shard = difference.shard.map_or_else(String::new, |shard| format!(" shard {shard}"));
        text.push_str(&format!("  {file}{shard}: {}\n", difference.what));
    }
    text
}
