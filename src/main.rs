//! shopctl: parse, dispatch, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use shopctl::base::boot::{Context, Exit, Failure};
use shopctl::base::config::{self, Sections, Sources, load};
use shopctl::base::{log_format, reload::Reload, shutdown::Stop};
use shopctl::cli::{Cli, Command};
use shopctl::hub::settings as hub;
use shopctl::pipeline::addresses;
use shopctl::pipeline::settings::{self as pipeline, Loaded};
use shopctl::role::{self, settings::Settings as All};

/// The settings of the hub, and where each value came from.
type HubLoaded = config::Loaded<hub::Settings>;

/// What the second signal or the deadline leaves to threads that do not listen.
const LAST_MOMENT: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are asked for and no error.
            let exit = if e.use_stderr() { Exit::Usage } else { Exit::Ok };
            return if e.print().is_ok() { code(exit) } else { code(Exit::Failed) };
        }
    };
    match start(cli) {
        Ok(exit) => code(exit),
        Err(failure) => {
            eprintln!("shopctl: {failure}");
            code(failure.exit)
        }
    }
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}

fn start(cli: Cli) -> Result<Exit, Failure> {
    let mut sources = Sources::of_process(cli.config, cli.set);
    match &cli.command {
        Command::Config(args) => return role::config::run(&sources, args),
        Command::Completions(args) => return role::completions::run(Cli::command(), args),
        Command::Man(args) => return role::man::run(Cli::command(), args),
        _ => {}
    }
    if let Command::Up(args) = &cli.command {
        sources.role_defaults = args.defaults();
    }
    let all = load::load::<All>(&sources).map_err(|faults| Failure::usage(faults.to_string()))?;
    let levels = log_format::init(all.settings.logging()).map_err(Failure::usage)?;
    let hub = all.clone().map(|all| all.hub);
    let mut pipeline = all.clone().map(|all| all.pipeline);
    addresses::fill(&mut pipeline, cli.command.services())
        .map_err(|message| Failure { exit: Exit::TryLater, message })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stop = Stop::new();
    let reload = cli.command.is_daemon().then(|| Reload::new(sources, all, levels));
    let start = Start { name: cli.command.role_name(), pipeline, hub, stop };
    let result = runtime.block_on(run(cli.command, start, reload));
    runtime.shutdown_timeout(LAST_MOMENT);
    result
}

/// What roles are started with: each gets the settings of its system.
struct Start {
    name: &'static str,
    pipeline: Loaded,
    hub: HubLoaded,
    stop: Stop,
}

impl Start {
    fn pipeline(&self) -> pipeline::Context {
        Context::of_process(self.name, &self.pipeline, self.stop.clone())
    }

    fn hub(&self) -> hub::Context {
        Context::of_process(self.name, &self.hub, self.stop.clone())
    }
}

async fn run(command: Command, start: Start, reload: Option<Reload<All>>) -> Result<Exit, Failure> {
    reload.map_or(Ok(()), Reload::on_hangup)?;
    let stop = start.stop.clone();
    stop.on_signals(start.pipeline.settings.server.drain_timeout)?;
    // Spawned, so that the second signal ends the wait whatever the role is doing.
    let role = tokio::spawn(dispatch(command, start));
    tokio::select! {
        result = role => result?,
        () = stop.ended() => Err(Failure::new("ended before everything was drained; nothing is lost, see 'shopctl audit'")),
    }
}

async fn dispatch(command: Command, start: Start) -> Result<Exit, Failure> {
    match command {
        Command::Up(args) => role::up::run(start.pipeline(), start.hub(), args).await,
        Command::Ingest(args) => role::ingest::run(start.pipeline(), args).await,
        Command::Apid(args) => role::apid::run(start.pipeline(), args).await,
        Command::Balance(args) => role::balance::run(start.pipeline(), args).await,
        Command::Cache(args) => role::cache::run(start.pipeline(), args).await,
        Command::Split(args) => role::split::run(start.pipeline(), args).await,
        Command::Work(args) => role::work::run(start.pipeline(), args).await,
        Command::Send(args) => role::send::run(start.pipeline(), args).await,
        Command::Hub(args) => role::hub::run(start.hub(), args).await,
        Command::HubMetrics(args) => role::hub_metrics::run(start.hub(), args).await,
        Command::Status(args) => role::status::run(start.pipeline(), args, start.pipeline).await,
        Command::Audit(args) => role::audit::run(start.pipeline(), args).await,
        Command::Rejects(args) => role::rejects::run(start.pipeline(), args).await,
        Command::Trace(args) => role::trace::run(start.pipeline(), args).await,
        Command::Retry(args) => role::retry::run(start.pipeline(), args).await,
        Command::Migrate(args) => role::migrate::run(start.pipeline(), args).await,
        Command::Healthcheck(args) => role::healthcheck::run(start.pipeline(), args).await,
        Command::Backup(args) => role::backup::run(start.pipeline(), args).await,
        Command::Restore(args) => role::restore::run(start.pipeline(), args).await,
        Command::Doctor(args) => role::doctor::run(start.pipeline(), args).await,
        // Handled before the settings were loaded: they have to work when those are wrong.
        Command::Config(_) | Command::Completions(_) | Command::Man(_) => Ok(Exit::Ok),
    }
}
