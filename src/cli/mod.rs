//! The command line: one variant per role, its doc comment is its help. The list of roles exists once, here.

pub mod dispatch;

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::pipeline::calls::Service;
use crate::role::{
    apid, audit, backup, balance, cache, completions, config, doctor, healthcheck, hub, hub_metrics, ingest, man,
    migrate, rejects, restore, retry, send, split, status, trace, up, work,
};

/// The version with the commit it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SHOPCTL_COMMIT"), ")");

/// The event-driven back office of a chain of shops: every event ends once, as a row or with a reason.
#[derive(Debug, Parser)]
#[command(name = "shopctl", version = VERSION, max_term_width = 110, after_help = "Examples:
  shopctl up                       everything in one process, with nothing else installed
  shopctl up --from year.ndjson    run a file of events through and audit it
  shopctl audit                    prove that nothing was lost
  shopctl config default           every setting and what it means

Settings: flag over environment over file over default. The environment has SERVER_PORT, PIPELINE_URL,
PIPELINE_SHARDS_COUNT, SHARD_ID, and SHOPCTL__SECTION__KEY for every other setting.
Exit codes: 0 done or stopped on request, 1 failed, 64 bad usage or settings, 75 try again later.")]
pub struct Cli {
    /// Settings file; ./shopctl.toml if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one setting, as in --set server.port=9080; may be given again
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// What to run
    #[command(subcommand)]
    pub command: Command,
}

/// The roles and the helpers around them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything in one process, on embedded databases
    Up(up::Args),
    /// Daemon (8080): events in, event files out; or cut a file of events into event files
    Ingest(ingest::Args),
    /// Daemon (8082): the stage-status API
    Apid(apid::Args),
    /// Daemon (8083): accounts, and operations on money that take effect once
    Balance(balance::Args),
    /// Daemon (8084): whose order is whose, and returns that wait for theirs
    Cache(cache::Args),
    /// Daemon (8085): one file per shard out of each event file
    Split(split::Args),
    /// Daemon (8100 + shard): the rules for one shard's events
    Work(work::Args),
    /// Daemon (8086): rows into the shard databases, each once
    Send(send::Args),
    /// Daemon (8000): the event hub, events in and out over REST
    Hub(hub::Args),
    /// Daemon (8001): what the hub's events add up to, per minute
    HubMetrics(hub_metrics::Args),
    /// One screen: what waits, what works, what failed
    Status(status::Args),
    /// Prove that nothing was lost and nothing came twice
    Audit(audit::Args),
    /// Look at rejected lines, and have them decided anew
    Rejects(rejects::Args),
    /// Follow one order or one file on its way
    Trace(trace::Args),
    /// Give failed tasks another chance
    Retry(retry::Args),
    /// Create databases and bring their schemas up to date
    Migrate(migrate::Args),
    /// Copy the shared folder and the embedded databases while the roles run
    Backup(backup::Args),
    /// Put a backup in the place of the shared folder
    Restore(restore::Args),
    /// Look for what may be wrong around the roles, and say what to do
    Doctor(doctor::Args),
    /// Ask a role on this machine whether it is well
    Healthcheck(healthcheck::Args),
    /// Show and check the settings
    Config(config::Args),
    /// Print what a shell needs to complete commands and flags
    Completions(completions::Args),
    /// Print the manual page, or write all pages into a folder
    Man(man::Args),
}

impl Command {
    /// The role's name in logs and metrics (docs/contracts.md, 8).
    pub fn role_name(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Ingest(_) => "event-ingest",
            Self::Apid(_) => "pipeline-apid",
            Self::Balance(_) => "balance-daemon",
            Self::Cache(_) => "cache-service",
            Self::Split(_) => "shard-splitter",
            Self::Work(_) => "shard-worker",
            Self::Send(_) => "mysql-sender",
            Self::Hub(_) => "event-hub",
            Self::HubMetrics(_) => "hub-metrics",
            Self::Status(_) => "status",
            Self::Audit(_) => "audit",
            Self::Rejects(_) => "rejects",
            Self::Trace(_) => "trace",
            Self::Retry(_) => "retry",
            Self::Migrate(_) => "migrate",
            Self::Healthcheck(_) => "healthcheck",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Doctor(_) => "doctor",
            Self::Config(_) => "config",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

impl Command {
    /// Whether it runs until it is stopped.
    pub fn is_daemon(&self) -> bool {
        match self {
            Self::Up(_) | Self::Apid(_) | Self::Balance(_) | Self::Cache(_) => true,
            Self::Hub(_) | Self::HubMetrics(_) => true,
            Self::Ingest(args) => args.from.is_none(),
            Self::Split(args) => !args.once && args.files.is_empty(),
            Self::Send(args) => !args.once && args.files.is_empty(),
            Self::Work(args) => !args.once && !args.rebuild && args.files.is_empty(),
            _ => false,
        }
    }

    /// The services that it calls once or for a while, for a person. Their addresses are looked up in the shared folder
    /// where no setting names them. Daemons outlive an address: they go by their settings alone.
    pub fn services(&self) -> &'static [Service] {
        match self {
            Self::Ingest(args) if args.from.is_some() => &[Service::Status],
            Self::Split(args) if args.once => &[Service::Status],
            Self::Send(args) if args.once => &[Service::Status],
            Self::Work(args) if args.once || args.rebuild || !args.files.is_empty() => {
                &[Service::Status, Service::Balance, Service::Cache]
            }
            Self::Rejects(_) | Self::Retry(_) => &[Service::Status],
            Self::Trace(_) => &[Service::Balance, Service::Cache],
            Self::Ingest(_) | Self::Split(_) | Self::Work(_) | Self::Send(_) => &[],
            Self::Up(_) | Self::Apid(_) | Self::Balance(_) | Self::Cache(_) => &[],
            Self::Hub(_) | Self::HubMetrics(_) => &[],
            // These call no service, or look for the roles themselves.
            Self::Status(_) | Self::Doctor(_) | Self::Healthcheck(_) => &[],
            Self::Audit(_) | Self::Migrate(_) | Self::Config(_) => &[],
            Self::Backup(_) | Self::Restore(_) | Self::Completions(_) | Self::Man(_) => &[],
        }
    }
}

impl Cli {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// What is wrong with it, or the help that was asked for. A setting that was mistyped may hold a secret, so that its
    /// value is not repeated.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(|mut fault| {
            let of_set = fault.get(ContextKind::InvalidArg).is_some_and(|arg| arg.to_string().starts_with("--set"));
            if fault.kind() == ErrorKind::ValueValidation && of_set {
                fault.insert(ContextKind::InvalidValue, ContextValue::String("...".to_owned()));
            }
            fault
        })
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, as in server.port=9080".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
