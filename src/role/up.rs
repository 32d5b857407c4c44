//! `shopctl up`: all roles in one process on embedded databases, with nothing else installed.
//!
//! Starts the very same `run` functions as the roles do alone; they talk through HTTP, files and databases here too.
//! Run: `shopctl up`, or `shopctl up --from FILE` to run a real file through and exit with the audit's verdict.

mod follow;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{apid, audit, balance, cache, ingest, send, split, work};
use crate::boot::{Context, Exit, Failure, say};
use crate::config::Settings;
use crate::pipeline::ingest::csv::EventLines;
use crate::shutdown::Stop;

/// All roles in one process: event-ingest, pipeline-apid, balance-daemon, cache-service, shard-splitter, shard-workers,
/// mysql-sender.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl up                                   generated events, until Ctrl-C
  shopctl up --from year.ndjson.gz             run a file through, print the audit, exit with its verdict
  shopctl up --from sales.csv --map map.toml   the same with a table (CSV), see docs/csv.md
  shopctl up --set events.events_per_batch=1000 --set events.duplicate_rate=0
  shopctl up --any-port                        any free ports instead of 8080, 8082, 8083, 8086, 8100, ...

Everything is under ./shared. Ctrl-C drains and prints the audit; a second Ctrl-C ends at once.
Exit codes: 0 everything adds up, 1 something does not or failed, 64 bad usage or settings,
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

/// The defaults of the demonstration: more events, more often, and some that misbehave.
pub fn defaults() -> Vec<(&'static str, String)> {
    // On a terminal a line per file is enough; everything else shows only when something is wrong.
    let level = if std::io::stdout().is_terminal() { "WARN" } else { "INFO" };
    [
        ("logging.level", level),
        // Enough for a long demonstration: whoever runs out of money is rejected.
        ("balance.opening_balance", "1000000"),
        ("events.generation_interval", "2"),
        ("events.events_per_batch", "500"),
        ("events.duplicate_rate", "0.02"),
        ("events.malformed_rate", "0.01"),
        ("events.out_of_order_rate", "0.02"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .to_vec()
}

/// The role that makes files.
const INGEST: &str = "event-ingest";

type Roles = JoinSet<(&'static str, Result<Exit, Failure>)>;

/// Runs all roles until the stop is requested or the file is through; then audits.
///
/// # Errors
/// [`Failure`] of the first role that failed.
pub async fn run(ctx: Context, args: Args) -> Result<Exit, Failure> {
    let mut settings = (*ctx.settings).clone();
    settings.server.port = match settings.server.port {
        None => args.any_port.then_some(0),
        Some(0) => Some(0),
        Some(port) => {
            let why = "every role here has a port of its own; use --any-port if the usual ones are taken";
            return Err(Failure::usage(format!("server.port is {port}, but {why}")));
        }
    };
    let input = match args.from.clone() {
        Some(from) => Some(ingest::open(&ctx.stop, from, args.map.clone()).await?),
        None => None,
    };
    settings.events.generate &= input.is_none();
    // The services stop last: the others call them while they drain.
    let api_stop = Stop::new();
    let services = Services::bind(&mut settings, &api_stop).await?;
    let settings = Arc::new(settings);
    // The ingest can stop before the others: then no more files are made.
    let ingest_stop = ctx.stop.child();
    let mut contexts = bind_all(&settings, &ctx.stop, &ingest_stop).await?;
    let ingest = Context::new(INGEST, Arc::clone(&settings), ctx.stop.clone());
    say(&greeting(&services, &contexts))?;
    let mut apis = services.start();
    let mut roles: Roles = JoinSet::new();
    start(&mut roles, &mut contexts);
    let follower = follow::Follower::start(&settings, ctx.stop.clone());
    let outcome = match input {
        Some(input) => {
            let through = run_file(&ctx.stop, ingest, input, args.batch, &settings, &mut roles, &mut apis).await;
            match through {
                Ok(()) => run_rest(&ctx.stop, &ingest_stop, &settings, &mut roles, &mut apis).await,
                failed => failed,
            }
        }
        None => until_stop(&ctx.stop, &mut roles, &mut apis).await,
    };
    ctx.stop.request();
    say("\nstopping: finishing what has begun\n")?;
    let drained = join_all(&mut roles, &ctx.stop).await;
    follower.finish().await;
    api_stop.request();
    let stopped = join_all(&mut apis, &ctx.stop).await;
    let ended = outcome.and(drained).and(stopped);
    let audit = audit::audit(&Context::new("audit", settings, Stop::new()), args.from.is_some()).await;
    if let Ok(audit) = &audit {
        say(&format!("\n{}", audit::table(audit)))?;
    }
    ended?;
    let audit = audit?;
    Ok(if audit.is_clean() { Exit::Ok } else { Exit::Failed })
}

/// The roles that others call.
struct Services {
    api: Context,
    balance: Context,
    cache: Context,
}

impl Services {
    /// Binds their ports and tells the settings where they are.
    async fn bind(settings: &mut Settings, stop: &Stop) -> Result<Self, Failure> {
        let own = Arc::new(settings.clone());
        let context = |name| Context::new(name, Arc::clone(&own), stop.clone());
        let (mut api, mut balance, mut cache) =
            (context("pipeline-apid"), context("balance-daemon"), context("cache-service"));
        api.bind(apid::PORT, crate::api::POLICY).await.map_err(port_taken)?;
        balance.bind(balance::PORT, crate::api::balance::POLICY).await.map_err(port_taken)?;
        cache.bind(cache::PORT, crate::api::cache::POLICY).await.map_err(port_taken)?;
        let url = |context: &Context, base: &str| format!("http://{}{base}", address(context));
        settings.pipeline.url = url(&api, crate::api::BASE);
        settings.balance.url = url(&balance, "");
        settings.cache.url = url(&cache, "");
        Ok(Self { api, balance, cache })
    }

    fn start(self) -> Roles {
        let Self { api, balance, cache } = self;
        let mut roles: Roles = JoinSet::new();
        roles.spawn(async { (api.name, apid::run(api, apid::Args::default()).await) });
        roles.spawn(async { (balance.name, balance::run(balance, balance::Args::default()).await) });
        roles.spawn(async { (cache.name, cache::run(cache, cache::Args::default()).await) });
        roles
    }
}

/// Binds every role's port before any role starts, so that a taken port is said at once.
async fn bind_all(settings: &Arc<Settings>, stop: &Stop, ingest_stop: &Stop) -> Result<Vec<(Context, Role)>, Failure> {
    let mut roles = vec![
        (INGEST, ingest::PORT, ingest::POLICY, Role::Ingest),
        ("shard-splitter", split::PORT, split::POLICY, Role::Split),
        ("mysql-sender", send::PORT, send::POLICY, Role::Send),
    ];
    for shard in settings.pipeline.shards_count.shards() {
        roles.push(("shard-worker", work::PORT + u16::from(shard.get()), work::POLICY, Role::Work(shard)));
    }
    let mut contexts = Vec::new();
    for (name, port, policy, role) in roles {
        let stop = if name == INGEST { ingest_stop } else { stop };
        let mut context = Context::new(name, Arc::clone(settings), stop.clone());
        context.bind(port, policy).await.map_err(port_taken)?;
        contexts.push((context, role));
    }
    Ok(contexts)
}

fn port_taken(failure: Failure) -> Failure {
    Failure { message: format!("{failure} ('shopctl up --any-port' takes free ports for all roles)"), ..failure }
}

/// A role with what it needs beside its context.
#[derive(Debug, Clone, Copy)]
enum Role {
    Ingest,
    Split,
    Work(crate::event::ShardId),
    Send,
}

fn start(roles: &mut Roles, contexts: &mut Vec<(Context, Role)>) {
    for (context, role) in contexts.drain(..) {
        let name = context.name;
        roles.spawn(async move {
            let result = match role {
                Role::Ingest => ingest::run(context, ingest::Args::default()).await,
                Role::Split => split::run(context, split::Args::default()).await,
                Role::Work(shard) => work::run(context, work::Args::of(shard)).await,
                Role::Send => send::run(context, send::Args::default()).await,
            };
            (name, result)
        });
    }
}

/// Says where everything listens, and what to look at.
fn greeting(services: &Services, contexts: &[(Context, Role)]) -> String {
    let api = &services.api;
    let mut text = format!("shopctl {}: all roles in this process; Ctrl-C to stop\n\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&format!("  {:<18}http://{}/\n", api.name, address(api)));
    for context in [&services.balance, &services.cache].into_iter().chain(contexts.iter().map(|(context, _)| context)) {
        text.push_str(&format!("  {:<18}http://{}/health\n", context.name, address(context)));
    }
    text.push_str(&format!("  {:<18}{}\n\n", "everything under", api.settings.shared.dir.display()));
    text
}

/// Where a role listens.
fn address(context: &Context) -> String {
    context.bound.as_ref().map(|bound| bound.addr().to_string()).unwrap_or_default()
}

/// Runs until the stop is requested or a role ends; a role that ends unasked stops all.
async fn until_stop(stop: &Stop, roles: &mut Roles, apis: &mut Roles) -> Result<(), Failure> {
    tokio::select! {
        () = stop.requested() => Ok(()),
        result = until_ended_early(stop, roles, apis) => result,
    }
}

/// Runs until a role fails, or ends although nobody asked it to.
async fn until_ended_early(stop: &Stop, roles: &mut Roles, apis: &mut Roles) -> Result<(), Failure> {
    loop {
        let ended = tokio::select! {
            Some(ended) = roles.join_next() => ended,
            Some(ended) = apis.join_next() => ended,
            else => return Ok(()),
        };
        if !stop.is_requested() || !matches!(ended, Ok((_, Ok(_)))) {
            return Err(ended_early(ended));
        }
    }
}

fn ended_early(ended: Result<(&'static str, Result<Exit, Failure>), tokio::task::JoinError>) -> Failure {
    match ended {
        Ok((name, Ok(exit))) => Failure::new(format!("{name} ended by itself ({exit:?}), so everything stops")),
        Ok((name, Err(failure))) => {
            Failure { message: format!("{name} failed, so everything stops: {failure}"), ..failure }
        }
        Err(e) => Failure::new(format!("a role ended abnormally, so everything stops: {e}")),
    }
}

/// Cuts a file and waits until all of it is delivered or failed.
async fn run_file(
    stop: &Stop,
    ctx: Context,
    input: EventLines,
    batch: u64,
    settings: &Arc<Settings>,
    roles: &mut Roles,
    apis: &mut Roles,
) -> Result<(), Failure> {
    let settled = follow::until_settled(Arc::clone(settings), stop.clone());
    let whole = async {
        ingest::import(ctx, input, batch).await?;
        settled.await
    };
    tokio::select! {
        // First: an import that was stopped says so.
        biased;
        result = whole => result,
        result = until_ended_early(stop, roles, apis) => result,
    }
}

/// Ends the ingest, and waits until what it made by itself, rides for returns that wait, is through as well.
async fn run_rest(
    stop: &Stop,
    ingest_stop: &Stop,
    settings: &Arc<Settings>,
    roles: &mut Roles,
    apis: &mut Roles,
) -> Result<(), Failure> {
    ingest_stop.request();
    loop {
        let ended = tokio::select! {
            Some(ended) = roles.join_next() => ended,
            Some(ended) = apis.join_next() => ended,
            else => return Ok(()),
        };
        match ended {
            Ok((INGEST, Ok(_))) => break,
            Ok((_, Ok(_))) if stop.is_requested() => {}
            other => return Err(ended_early(other)),
        }
    }
    tokio::select! {
        result = follow::until_settled(Arc::clone(settings), stop.clone()) => result,
        result = until_ended_early(stop, roles, apis) => result,
    }
}

/// Waits for all roles; the second signal or the deadline ends the wait.
async fn join_all(roles: &mut Roles, stop: &Stop) -> Result<(), Failure> {
    let mut result = Ok(());
    loop {
        let ended = tokio::select! {
            ended = roles.join_next() => ended,
            () = stop.ended() => return result.and(Err(Failure::new("ended before everything was drained"))),
        };
        match ended {
            None => return result,
            Some(Ok((_, Ok(_)))) => {}
            Some(other) => result = result.and(Err(ended_early(other))),
        }
    }
}
