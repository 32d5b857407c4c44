//! From a subcommand to its role.

use super::Command;
use crate::base::boot::{Context, Exit, Failure};
use crate::base::config::Loaded;
use crate::base::shutdown::Stop;
use crate::hub::settings as hub;
use crate::pipeline::settings as pipeline;
use crate::role;

/// What roles are started with: each gets the settings of its system.
pub struct Start {
    /// The role's name.
    pub name: &'static str,
    /// The settings of the pipeline.
    pub pipeline: Loaded<pipeline::Settings>,
    /// The settings of the hub.
    pub hub: Loaded<hub::Settings>,
    /// When to stop.
    pub stop: Stop,
}

impl Start {
    fn pipeline(&self) -> pipeline::Context {
        Context::of_process(self.name, &self.pipeline, self.stop.clone())
    }

    fn hub(&self) -> hub::Context {
        Context::of_process(self.name, &self.hub, self.stop.clone())
    }
}

/// Runs a subcommand with what its system has.
///
/// # Errors
/// [`Failure`] of the subcommand.
pub async fn dispatch(command: Command, start: Start) -> Result<Exit, Failure> {
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
