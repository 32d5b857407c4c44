//! The roles of `up`: their ports are bound before any of them starts, so that a taken port is said at once.

use std::sync::Arc;

use super::super::{apid, balance, cache, ingest, send, split, work};
use super::hub::Hub;
use super::watch::{INGEST, Roles};
use crate::base::boot::{self, Failure};
use crate::base::config::Sections;
use crate::base::http::Policy;
use crate::base::shutdown::Stop;
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Context;
use crate::pipeline::settings::Settings;

/// The roles that others call.
pub(super) struct Services {
    api: Context,
    balance: Context,
    cache: Context,
}

impl Services {
    /// Binds their ports and tells the settings where they are.
    pub(super) async fn bind(settings: &mut Settings, stop: &Stop) -> Result<Self, Failure> {
        let own = Arc::new(settings.clone());
        let context = |name| Context::new(name, Arc::clone(&own), stop.clone());
        let (mut api, mut balance, mut cache) =
            (context("pipeline-apid"), context("balance-daemon"), context("cache-service"));
        api.bind(apid::PORT, crate::pipeline::apid::POLICY).await.map_err(port_taken)?;
        balance.bind(balance::PORT, crate::pipeline::balance::POLICY).await.map_err(port_taken)?;
        cache.bind(cache::PORT, crate::pipeline::cache::POLICY).await.map_err(port_taken)?;
        let url = |context: &Context, base: &str| format!("http://{}{base}", address(context));
        settings.pipeline.url = url(&api, crate::pipeline::apid::BASE);
        settings.balance.url = url(&balance, "");
        settings.cache.url = url(&cache, "");
        Ok(Self { api, balance, cache })
    }

    pub(super) fn start(self) -> Roles {
        let Self { api, balance, cache } = self;
        let mut roles: Roles = Roles::new();
        roles.spawn(async { (api.name, apid::run(api, apid::Args::default()).await) });
        roles.spawn(async { (balance.name, balance::run(balance, balance::Args::default()).await) });
        roles.spawn(async { (cache.name, cache::run(cache, cache::Args::default()).await) });
        roles
    }
}

/// The roles that files go through.
pub(super) struct Stages(Vec<(Context, Role)>);

/// A role with what it needs beside its context.
#[derive(Debug, Clone, Copy)]
enum Role {
    Ingest,
    Split,
    Work(ShardId),
    Send,
}

impl Stages {
    /// Binds their ports. The ingest has a stop of its own.
    pub(super) async fn bind(settings: &Arc<Settings>, stop: &Stop, ingest_stop: &Stop) -> Result<Self, Failure> {
        let mut roles: Vec<(&str, u16, Policy, Role)> = vec![
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
        Ok(Self(contexts))
    }

    /// Starts them. Where they are `flushed`, the ingest makes no flush files.
    pub(super) fn start(self, is_flushed: bool) -> Roles {
        let mut roles = Roles::new();
        for (context, role) in self.0 {
            let name = context.name;
            roles.spawn(async move {
                let result = match role {
                    Role::Ingest => ingest::run(context, ingest::Args { is_flushed, ..ingest::Args::default() }).await,
                    Role::Split => split::run(context, split::Args::default()).await,
                    Role::Work(shard) => work::run(context, work::Args::of(shard)).await,
                    Role::Send => send::run(context, send::Args::default()).await,
                };
                (name, result)
            });
        }
        roles
    }
}

pub(super) fn port_taken(failure: Failure) -> Failure {
    Failure { message: format!("{failure} ('shopctl up --any-port' takes free ports for all roles)"), ..failure }
}

/// Says where everything listens, and what to look at.
pub(super) fn greeting(services: &Services, hub: &Hub, stages: &Stages) -> String {
    let api = &services.api;
    let mut text = format!("shopctl {}: all roles in this process; Ctrl-C to stop\n\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&format!("  {:<18}http://{}/\n", api.name, address(api)));
    for context in [&services.balance, &services.cache].into_iter().chain(stages.0.iter().map(|(context, _)| context)) {
        text.push_str(&format!("  {:<18}http://{}/health\n", context.name, address(context)));
    }
    text.push_str(&hub.greeting());
    text.push_str(&format!("  {:<18}{}\n\n", "everything under", api.settings.shared.dir.display()));
    text
}

/// Where a role listens.
pub(super) fn address<S: Sections + Clone>(context: &boot::Context<S>) -> String {
    context.addr().map(|addr| addr.to_string()).unwrap_or_default()
}
