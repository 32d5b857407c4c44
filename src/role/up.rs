//! `shopctl up`: all roles in one process on embedded databases, with nothing else installed.
//!
//! Starts the very same `run` functions as the roles do alone; they talk through HTTP, files and databases here too.
//! Run: `shopctl up`, or `shopctl up --from FILE` to run a real file through and exit with the audit's verdict.

mod closing;
mod follow;
mod hub;
mod roles;
mod through;
mod watch;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use self::closing::close;
use self::follow::Follower;
use self::hub::Hub;
use self::roles::{Services, Stages, greeting};
use self::through::Through;
use self::watch::{join_all, until_stop};
use super::ingest;
use crate::base::boot::{Exit, Failure, say};
use crate::base::config::{Key, Logging};
use crate::base::progress::Progress;
use crate::base::shutdown::Stop;
use crate::pipeline::ingest::import::Imported;
use crate::pipeline::ingest::whole;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::{Balance, Cache, Events, Settings};

/// All roles in one process: event-ingest, pipeline-apid, balance-daemon, cache-service, shard-splitter, shard-workers,
/// mysql-sender, event-hub, hub-metrics.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl up                                   generated events, until Ctrl-C
  shopctl up --from year.ndjson.gz             run a file through, print the audit, exit with its verdict
  shopctl up --from sales.csv --map map.toml   the same with a table (CSV), see docs/csv.md
  shopctl up --set events.events_per_batch=1000 --set events.duplicate_rate=0
  shopctl up --any-port                        any free ports instead of 8080, 8082, 8083, 8086, 8100, ...

Everything is under ./shared. Ctrl-C drains and prints the audit; a second Ctrl-C ends at once.
With --from it ends when nothing is left that could be decided; returns whose purchase never came stay
and wait for cache.pending_ttl, which is 30 days then unless it is set.

Exit codes: 0 everything adds up, 1 something does not or failed, or nothing of FILE was accepted,
64 bad usage or settings,
75 --from was stopped before the end of its input: the same command goes on from there.")]
pub struct Args {
    /// Run this file (- for the standard input) through instead of generating events
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// The file is a table (CSV); this map says what its rows become
    #[arg(long, value_name = "FILE", requires = "from")]
    pub map: Option<PathBuf>,
    /// Lines per event file
    #[arg(long, value_name = "N", default_value_t = ingest::BATCH_LINES, requires = "from", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub batch: u64,
    /// Take any free ports
    #[arg(long)]
    pub any_port: bool,
}

/// How long a return waits for its purchase where a file is run through: longer than any run takes, so that how fast it
/// is makes no difference to what is decided.
const PENDING_TTL_SECS: u64 = 30 * 86_400;

impl Args {
    /// The defaults of the demonstration: more events, more often, and some that misbehave.
    pub fn defaults(&self) -> Vec<(Key, String)> {
        // On a terminal a line per file is enough; everything else shows only when something is wrong.
        let level = if std::io::stdout().is_terminal() { "WARN" } else { "INFO" };
        let mut defaults = [
            (Logging::KEYS.level, level),
            // Enough for a long demonstration: purchases of a user who runs out of money are rejected.
            (Balance::KEYS.opening, "1000000"),
            (Events::KEYS.generation_interval, "2"),
            (Events::KEYS.events_per_batch, "500"),
            (Events::KEYS.duplicate_rate, "0.02"),
            (Events::KEYS.malformed_rate, "0.01"),
            (Events::KEYS.out_of_order_rate, "0.02"),
        ]
        .map(|(key, value)| (key, value.to_owned()))
        .to_vec();
        if self.from.is_some() {
            defaults.push((Cache::KEYS.pending_ttl, PENDING_TTL_SECS.to_string()));
        }
        defaults
    }
}

/// Runs all roles until the stop is requested or the file is through; then audits.
///
/// # Errors
/// [`Failure`] of the first role that failed, or when the file cannot be opened.
pub async fn run(ctx: Context, hub: crate::hub::settings::Context, args: Args) -> Result<Exit, Failure> {
    // Before anything is bound or started.
    let input = match args.from.clone() {
        Some(from) => Some(whole::open(&ctx.stop, from, args.map.clone()).await?),
        None => None,
    };
    let is_import = input.is_some();
    let mut settings = own_settings(&ctx.settings, &args)?;
    // The services stop last: the others call them while they drain.
    let api_stop = Stop::new();
    let services = Services::bind(&mut settings, &api_stop).await?;
    let hub = Hub::bind(&hub.settings, &settings, &api_stop).await?;
    let settings = Arc::new(settings);
    // The ingest can stop before the others: then no more files are made.
    let (stop, ingest_stop) = (&ctx.stop, ctx.stop.child());
    let stages = Stages::bind(&settings, stop, &ingest_stop).await?;
    say(&greeting(&services, &hub, &stages))?;
    let (mut apis, mut roles) = (services.start(), stages.start(is_import));
    let progress = Progress::of(&settings.logging);
    hub.start(&mut apis);
    let follower = Follower::start(&settings, stop.clone(), progress.clone());
    let outcome = match input {
        Some(input) => {
            let (ingest_stop, roles, apis) = (&ingest_stop, &mut roles, &mut apis);
            let through = Through { settings: &settings, stop, ingest_stop, progress: &progress, roles, apis };
            through.run(input, args.batch).await
        }
        None => until_stop(stop, &mut roles, &mut apis).await.map(|()| Imported::default()),
    };
    stop.request();
    say("\nstopping: finishing what has begun\n")?;
    let drained = join_all(&mut roles, stop).await;
    follower.finish().await;
    api_stop.request();
    let stopped = join_all(&mut apis, stop).await;
    close(&Context::new("audit", settings, Stop::new()), outcome, drained.and(stopped), is_import).await
}

/// The settings of the roles.
fn own_settings(settings: &Settings, args: &Args) -> Result<Settings, Failure> {
    let mut settings = settings.clone();
    settings.server.port = match settings.server.port {
        None => args.any_port.then_some(0),
        Some(0) => Some(0),
        Some(port) => {
            let why = "every role here has a port of its own; use --any-port if the usual ones are taken";
            return Err(Failure::usage(format!("server.port is {port}, but {why}")));
        }
    };
    settings.events.generate &= args.from.is_none();
    Ok(settings)
}
