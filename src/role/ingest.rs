//! `shopctl ingest`: turns generated and posted events into event files and announces them.
//!
//! Writes `events/`. Run: `shopctl ingest` for the daemon on port 8080, or `shopctl ingest --from FILE` to cut a file of
//! events into event files.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use crate::base::boot::{Context, Exit, Failure, say};
use crate::base::http::Policy;
use crate::base::log_format::clean;
use crate::base::progress::Progress;
use crate::base::shutdown::Stop;
use crate::base::text::count;
use crate::pipeline::apid::client::Client;
use crate::pipeline::boot;
use crate::pipeline::files::cleanup::Cleaner;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ingest::announce::Announcer;
use crate::pipeline::ingest::csv::{self, Opened};
use crate::pipeline::ingest::import::{Imported, Importer};
use crate::pipeline::ingest::once::{Once, OnceError};
use crate::pipeline::ingest::{api, tick};

/// The port that the ingest listens on by default.
pub const PORT: u16 = 8080;
/// Which principal may post events.
pub const POLICY: Policy = api::POLICY;
/// How long an import that is stopped may go on with its batch.
const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(2);
/// What a stopped import says.
const STOPPED_EARLY: &str = "stopped before the end of the input; the same command goes on where this one ended";
/// What is said where nothing was written yet, or never is.
const STOPPED_UNWRITTEN: &str =
    "stopped before the end of the input; nothing was written, the same command begins anew";
/// Lines per event file when a file is cut.
pub const BATCH_LINES: u64 = 10_000;

/// Turns generated and posted events into event files, or cuts a file of events into them.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl ingest                                      generate and take posts until stopped
  shopctl ingest --set events.generate=false          take posts only
  shopctl ingest --from year.ndjson.gz --batch 10000  cut a file (plain or gzip) into event files and exit
  zcat year.ndjson.gz | shopctl ingest --from -       the same from the standard input
  shopctl ingest --map-example > map.toml             a map for a CSV of your own, to begin with
  shopctl ingest --from sales.csv --map map.toml --dry-run   what its rows would become
  shopctl ingest --from sales.csv --map map.toml      import it
  shopctl ingest --once                               announce and cut what waits, flush what is due
  curl -H 'content-type: application/json' http://127.0.0.1:8080/api/v1/events -d \\
    '{\"event_type\":4,\"payload\":{\"shop_id\":1,\"active\":true},\"timestamp\":\"2025-01-01T10:00:03Z\"}'

Cutting the same bytes again imports nothing twice, also after a run that was killed.
Exit codes: 0 all well, 1 something failed, 64 bad usage or settings, 75 the files are there but not announced yet.")]
pub struct Args {
    /// Cut this file (- for the standard input) into event files and exit
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Lines per event file
    #[arg(long, value_name = "N", default_value_t = BATCH_LINES, requires = "from", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub batch: u64,
    /// The file is a table (CSV); this map says what its rows become
    #[arg(long, value_name = "FILE", requires = "from")]
    pub map: Option<PathBuf>,
    /// Show the first events and what would be rejected and why; write nothing
    #[arg(long, requires = "from")]
    pub dry_run: bool,
    /// Print a map with comments, to begin with
    #[arg(long, conflicts_with = "from")]
    pub map_example: bool,
    /// Do what is to be done now, and exit; says 'nothing to do' when no stage has anything left either
    #[arg(long, conflicts_with = "from")]
    pub once: bool,
    /// Whether the caller makes the flush files.
    #[arg(skip)]
    pub is_flushed: bool,
}

/// Runs the daemon until the stop is requested, or cuts a file.
///
/// # Errors
/// [`Failure`] when the port cannot be bound, or a file cannot be read or written.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    match args.from {
        _ if args.map_example => say(csv::EXAMPLE).map(|()| Exit::Ok),
        Some(from) => {
            let input = open(&ctx.stop, from, args.map).await?;
            if args.dry_run {
                return until_stop(&ctx.stop.clone(), STOPPED_UNWRITTEN, move || try_out(&ctx, input)).await;
            }
            let progress = Progress::of(&ctx.settings.logging);
            import(ctx, input, args.batch, progress).await.map(|_| Exit::Ok)
        }
        None if args.once => tokio::task::spawn_blocking(move || once(&ctx)).await?,
        None => daemon(ctx, !args.is_flushed).await,
    }
}

/// Says what an import would do.
fn try_out(ctx: &Context, input: Opened) -> Result<Exit, Failure> {
    let trial = csv::try_out(input.lines, ctx.settings.events.max_payload_size)?;
    for line in trial.to_string().lines() {
        say(&format!("{}\n", clean(line)))?;
    }
    Ok(if trial.accepted > 0 { Exit::Ok } else { Exit::Failed })
}

/// Does what is to be done now, and says in one line what that was.
fn once(ctx: &Context) -> Result<Exit, Failure> {
    let _held = boot::hold_shared(&ctx)?;
    Cleaner::new(Folder::new(&ctx.settings.shared.dir).events(), &ctx.settings, ctx.clock.clone()).at_start()?;
    let made = Once::new(&ctx.settings, ctx.clock.clone(), ctx.stop.clone()).run()?;
    say(&format!("ingest: {made}\n"))?;
    Ok(Exit::Ok)
}

async fn daemon(mut ctx: Context, is_flushing: bool) -> Result<Exit, Failure> {
    ctx.bind(PORT, POLICY).await?;
    let folder = Folder::new(&ctx.settings.shared.dir);
    let cleaner = Cleaner::new(folder.events(), &ctx.settings, ctx.clock.clone());
    cleaner.at_start()?;
    let ingest = tick::Ingest::start(&ctx, folder, is_flushing)?;
    let routes = api::routes(&ctx, &ingest);
    let body_bytes = ctx.settings.events.max_body_size;
    let work = ingest.run(cleaner);
    boot::serve(ctx, routes, body_bytes, work).await
}

/// Opens what is imported, before anything is written or started.
///
/// # Errors
/// [`Failure`] when it cannot be opened, is a table without a map, or its map is not right.
pub async fn open(stop: &Stop, from: PathBuf, map: Option<PathBuf>) -> Result<Opened, Failure> {
    until_stop(stop, STOPPED_UNWRITTEN, move || Ok(csv::open(&from, map.as_deref())?)).await
}

/// Cuts an input into event files and announces them. A stop is answered between two batches, or after a moment if the
/// input does not move.
///
/// # Errors
/// [`Failure`] when the input cannot be read, a file cannot be written, or the import was stopped before its end.
pub async fn import(ctx: Context, input: Opened, batch_lines: u64, progress: Progress) -> Result<Imported, Failure> {
    let stop = ctx.stop.clone();
    until_stop(&stop, STOPPED_EARLY, move || import_file(&ctx, input, batch_lines, &progress)).await
}

/// Does what may wait for an input that does not move; `message` is what a stop before its end means.
async fn until_stop<T: Send + 'static>(
    stop: &Stop,
    message: &str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stopped = async {
        stop.requested().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        result = tokio::task::spawn_blocking(work) => result?,
        () = stopped => Err(Failure { exit: Exit::TryLater, message: message.to_owned() }),
    }
}

fn import_file(ctx: &Context, input: Opened, batch_lines: u64, progress: &Progress) -> Result<Imported, Failure> {
    let _held = boot::hold_shared(&ctx)?;
    let folder = Folder::new(&ctx.settings.shared.dir);
    let client = Client::new(&ctx.settings.pipeline.url);
    let importer = Importer::new(folder, client, ctx.clock.clone(), ctx.stop.clone(), batch_lines);
    let mut announcer = Announcer::new(&ctx.settings);
    let Opened { mut lines, bytes, read } = input;
    let (mut sum, mut trouble) = (Imported::default(), None);
    let mut bar = progress.bytes("importing", bytes);
    let imported = importer.import(&mut lines, |batch| {
        sum.add(batch);
        bar.inner().set_position(read.load(Ordering::Relaxed));
        bar.say(count(sum.lines, "line"));
        if batch.before {
            announcer.add_known(batch.file.clone());
        } else {
            announcer.add_fresh(batch.file.clone());
        }
        // Once the API did not answer, the rest is told in the end.
        if trouble.is_none() {
            trouble = announcer.announce_all().err();
        }
    });
    let result = announcer.announce_all();
    drop(bar);
    if let Some(tally) = lines.tally() {
        progress.suspend(|| say(&format!("table: {}\n", clean(&tally.to_string()))))?;
    }
    let (lines, files) = (count(sum.lines, "line"), count(sum.files.len() as u64, "file"));
    progress.suspend(|| say(&format!("ingest: {lines} in {files}, {} of them imported before\n", sum.before)))?;
    match imported {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::Interrupted | std::io::ErrorKind::NotConnected) => {
            return Err(Failure { exit: Exit::TryLater, message: e.to_string() });
        }
        imported => imported?,
    }
    let waiting = announcer.pending();
    let advice = "run the same command again, or start 'shopctl ingest'";
    match result {
        Ok(()) if waiting == 0 => Ok(sum),
        Ok(()) => Err(OnceError::Unannounced(waiting).into()),
        Err(e) => Err(Failure {
            exit: Exit::TryLater,
            message: format!("{} written but not announced: {e}; {advice}", count(waiting as u64, "file")),
        }),
    }
}
