//! shopctl: parse, dispatch, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use shopctl::base::boot::{Exit, Failure};
use shopctl::base::config::{Sections, Sources, load};
use shopctl::base::{log_format, reload::Reload, shutdown::Stop};
use shopctl::cli::dispatch::{Start, dispatch};
use shopctl::cli::{Cli, Command};
use shopctl::pipeline::addresses;
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
