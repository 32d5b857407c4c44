//! shopctl: parse, dispatch, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use shopctl::base::boot::{Exit, Failure};
use shopctl::base::config::{Sections, Sources, load};
use shopctl::base::{log_format, reload::Reload, shutdown::Stop};
use shopctl::cli::{Cli, Command};
use shopctl::pipeline::settings::Context;
use shopctl::pipeline::{addresses, settings::Loaded};
use shopctl::role::{self, settings::Settings as All};

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
    let mut loaded = all.clone().map(|all| all.pipeline);
    addresses::fill(&mut loaded, cli.command.services())
        .map_err(|message| Failure { exit: Exit::TryLater, message })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stop = Stop::new();
    let reload = cli.command.is_daemon().then(|| Reload::new(sources, all, levels));
    let result = runtime.block_on(run(cli.command, &loaded, &stop, reload));
    runtime.shutdown_timeout(LAST_MOMENT);
    result
}

async fn run(command: Command, loaded: &Loaded, stop: &Stop, reload: Option<Reload<All>>) -> Result<Exit, Failure> {
    reload.map_or(Ok(()), Reload::on_hangup)?;
    stop.on_signals(loaded.settings.server.drain_timeout)?;
    let context = Context::of_process(command.role_name(), loaded, stop.clone());
    // Spawned, so that the second signal ends the wait whatever the role is doing.
    let role = tokio::spawn(dispatch(command, context, loaded.clone()));
    tokio::select! {
        result = role => result?,
        () = stop.ended() => Err(Failure::new("ended before everything was drained; nothing is lost, see 'shopctl audit'")),
    }
}

async fn dispatch(command: Command, context: Context, loaded: Loaded) -> Result<Exit, Failure> {
    match command {
        Command::Up(args) => role::up::run(context, args).await,
        Command::Ingest(args) => role::ingest::run(context, args).await,
        Command::Apid(args) => role::apid::run(context, args).await,
        Command::Balance(args) => role::balance::run(context, args).await,
        Command::Cache(args) => role::cache::run(context, args).await,
        Command::Split(args) => role::split::run(context, args).await,
        Command::Work(args) => role::work::run(context, args).await,
        Command::Send(args) => role::send::run(context, args).await,
        Command::Status(args) => role::status::run(context, args, loaded).await,
        Command::Audit(args) => role::audit::run(context, args).await,
        Command::Rejects(args) => role::rejects::run(context, args).await,
        Command::Trace(args) => role::trace::run(context, args).await,
        Command::Retry(args) => role::retry::run(context, args).await,
        Command::Migrate(args) => role::migrate::run(context, args).await,
        Command::Healthcheck(args) => role::healthcheck::run(context, args).await,
        Command::Backup(args) => role::backup::run(context, args).await,
        Command::Restore(args) => role::restore::run(context, args).await,
        Command::Doctor(args) => role::doctor::run(context, args).await,
        // Handled before the settings were loaded: they have to work when those are wrong.
        Command::Config(_) | Command::Completions(_) | Command::Man(_) => Ok(Exit::Ok),
    }
}
