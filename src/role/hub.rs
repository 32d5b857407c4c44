//! `shopctl hub`: the event hub.
//!
//! Reads and writes the hub's database and its bus, which it creates where needed; serves REST and GraphQL on port 8000 and gRPC on
//! port 50051 (each port answers all). Run:
//! `shopctl hub`.

use crate::base::boot::{Exit, Failure};
use crate::hub::boot::Parts;
use crate::hub::policy::POLICY;
use crate::hub::settings::Context;
use crate::hub::{graphql, grpc, rest};

/// The port that the hub listens on by default.
pub const PORT: u16 = 8000;

/// The event hub: takes events, shows them, and adds them up per minute.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl hub
  curl -s -d '{\"user_id\":\"user123\",\"event_type\":\"purchase\",\"amount\":150.75,\"timestamp\":\"2024-01-15T10:30:00Z\"}' \\
       http://127.0.0.1:8000/events
  curl -sN http://127.0.0.1:8000/events/stream?after=first

Any number of them may serve one database and one bus. Stop it with SIGTERM or Ctrl-C: it answers what has begun, ends
subscriptions, and exits with 0; a second signal ends it at once.")]
pub struct Args {}

/// Serves until the stop is requested.
///
/// # Errors
/// [`Failure`] when a port, the database or the bus cannot be opened.
pub async fn run(mut ctx: Context, _args: Args) -> Result<Exit, Failure> {
    ctx.bind(PORT, POLICY).await?;
    if ctx.more.is_empty() {
        let addr = ctx.bind_more(ctx.settings.hub.grpc_port, POLICY).await?;
        log::info!(role = ctx.name, addr:%; "listening for gRPC");
    }
    let parts = Parts::open(&ctx).await?;
    let api = parts.api(&ctx);
    let relay = tokio::spawn(parts.relay(&ctx).run(ctx.stop.clone()));
    let keep = api.clone().keep_ready(ctx.readiness.clone());
    let work = async move {
        keep.await;
        Ok(relay.await?)
    };
    let patience = ctx.settings.server.read_timeout;
    let routes = rest::routes(api.clone()).merge(grpc::routes(&api, patience)?).merge(graphql::routes(api.clone()));
    let identity = serde_json::json!({"role": ctx.name});
    ctx.serve(identity, routes, rest::BODY_BYTES_MAX, work).await
}
