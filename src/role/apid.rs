//! `shopctl apid`: the stage-status API.
//!
//! Reads and writes the tracking database, which it creates where needed; serves its API (docs/contracts.md, 4) on port
//! 8082.
//! Run: `shopctl apid`.

use std::sync::Arc;

use crate::base::boot::{Exit, Failure};
use crate::pipeline::apid::Api;
use crate::pipeline::ops::tracking;
use crate::pipeline::settings::Context;
use crate::pipeline::{apid as api, boot, timed};

/// The port that the API listens on by default.
pub const PORT: u16 = 8082;

/// The stage-status API: tracks every (event file, shard) through its stages.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl apid
  shopctl apid --set server.port=9082
  curl -s http://127.0.0.1:8082/api/v1/pipeline/metrics/summary

Stop it with SIGTERM or Ctrl-C: it answers what has begun and exits with 0; a second signal ends it at once.")]
pub struct Args {}

/// Serves until the stop is requested.
///
/// # Errors
/// [`Failure`] when the port or the database cannot be opened.
pub async fn run(mut ctx: Context, _args: Args) -> Result<Exit, Failure> {
    ctx.bind(PORT, api::POLICY).await?;
    let tracking = api::timed::tracking(tracking::open(&ctx).await?, timed::observer(&ctx.metrics));
    let api = Api::new(Arc::clone(&tracking), ctx.stop.clone(), &ctx.metrics);
    let gauges = api::register_metrics(&ctx.metrics, ctx.settings.pipeline.shards_count);
    let keep = api::keep_gauges(api.clone(), gauges, ctx.readiness.clone());
    let work = async move {
        keep.await;
        Ok(())
    };
    let served = boot::serve(ctx, api::router(api), api::BODY_BYTES_MAX, work).await;
    tracking.close().await;
    served
}
