//! `shopctl ingest`: turns generated and posted events into event files and announces them.
//!
//! Writes `events/`. Run: `shopctl ingest` for the daemon on port 8080, or `shopctl ingest --from FILE` to cut a file of
//! events into event files.

use std::path::PathBuf;

use crate::base::boot::{Exit, Failure, say};
use crate::base::http::Policy;
use crate::base::progress::Progress;
use crate::pipeline::boot;
use crate::pipeline::claim::cleanup::Cleaner;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ingest::once::Once;
use crate::pipeline::ingest::{api, csv, tick, whole};
use crate::pipeline::settings::Context;

/// The port that the ingest listens on by default.
pub const PORT: u16 = 8080;
/// Which principal may post events.
pub const POLICY: Policy = api::POLICY;
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
            let input = whole::open(&ctx.stop, from, args.map).await?;
            if args.dry_run {
                return whole::try_out(ctx, input).await;
            }
            let progress = Progress::of(&ctx.settings.logging);
            whole::import(ctx, input, args.batch, progress).await.map(|_| Exit::Ok)
        }
        None if args.once => tokio::task::spawn_blocking(move || once(&ctx)).await?,
        None => daemon(ctx, !args.is_flushed).await,
    }
}

/// Does what is to be done now, and says in one line what that was.
fn once(ctx: &Context) -> Result<Exit, Failure> {
    let _held = boot::hold_shared(ctx)?;
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
