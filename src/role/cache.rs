//! `shopctl cache`: the cache-service.
//!
//! Reads and writes the database of the order directory and the early returns, which it creates where needed; serves
//! its API (docs/contracts.md, 5) on port 8084. Run: `shopctl cache`.

use crate::base::boot::{Exit, Failure};
use crate::pipeline::boot;
use crate::pipeline::cache::open::open_cache;
use crate::pipeline::cache::store::CachePolicy;
use crate::pipeline::cache::{self, Cache};
use crate::pipeline::settings::Context;

/// The port that the cache-service listens on by default.
pub const PORT: u16 = 8084;

/// The cache-service: which shard an order belongs to, and returns that came before their purchase.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl cache
  shopctl cache --set cache.pending_ttl=600
  curl -s http://127.0.0.1:8084/api/v1/pending/4711

Stop it with SIGTERM or Ctrl-C: it answers what has begun and exits with 0; a second signal ends it at once.")]
pub struct Args {}

/// Serves until the stop is requested.
///
/// # Errors
/// [`Failure`] when the port or the database cannot be opened.
pub async fn run(mut ctx: Context, _args: Args) -> Result<Exit, Failure> {
    ctx.bind(PORT, cache::POLICY).await?;
    let store = open_cache(&ctx.settings.database.cache, ctx.clock.clone(), CachePolicy::of(&ctx.settings)).await?;
    let api = Cache::new(store.clone(), &ctx.metrics);
    let keep = api.clone().keep_ready(ctx.readiness.clone(), ctx.stop.clone());
    let work = async move {
        keep.await;
        Ok(())
    };
    let served = boot::serve(ctx, cache::router(api), cache::BODY_BYTES_MAX, work).await;
    store.close().await;
    served
}
