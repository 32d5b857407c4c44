//! `shopctl apid`: the stage-status API.
//!
//! Reads and writes the tracking database, which it creates where needed; serves contracts 4 on port 8082.
//! Run: `shopctl apid`.

use std::sync::Arc;

use crate::api::{self, Api};
use crate::boot::{Context, Exit, Failure};
use crate::config::Settings;
use crate::store::{self, TrackingPolicy};
use crate::task::moves::Policy;

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
    let url = &ctx.settings.database.tracking;
    let tracking = store::open_tracking(url, ctx.clock.clone(), policy(&ctx.settings)).await?;
    let api = Api::new(Arc::clone(&tracking), ctx.stop.clone());
    let gauges = api::register_metrics(&ctx.metrics);
    let keep = api::keep_gauges(api.clone(), gauges, ctx.readiness.clone());
    let work = async move {
        keep.await;
        Ok(())
    };
    ctx.serve(api::router(api), api::BODY_BYTES_MAX, work).await
}

/// What the tracking store needs to know of the settings.
pub fn policy(settings: &Settings) -> TrackingPolicy {
    let ms = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    TrackingPolicy {
        moves: Policy {
            lease_ms: ms(settings.pipeline.lease),
            backoff_ms: ms(settings.pipeline.backoff),
            attempts_max: settings.pipeline.attempts_max,
        },
        backoff_max_ms: ms(settings.pipeline.backoff_max),
        strict_order: settings.pipeline.strict_order,
    }
}
