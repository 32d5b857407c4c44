//! `shopctl apid`: the stage-status API.
//!
//! Reads and writes the tracking database, which it creates where needed; serves contracts 4 on port 8082.
//! Run: `shopctl apid`.

use std::sync::Arc;

use crate::base::boot::{Context, Exit, Failure, millis};
use crate::base::config::Settings;
use crate::pipeline::apid as api;
use crate::pipeline::apid::Api;
use crate::pipeline::apid::store::{Tracking, TrackingPolicy};
use crate::pipeline::task::moves::Policy;
use crate::pipeline::timed;

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
    let tracking = timed::tracking(open(&ctx).await?, ctx.metrics.database_observer());
    let api = Api::new(Arc::clone(&tracking), ctx.stop.clone(), &ctx.metrics);
    let gauges = api::register_metrics(&ctx.metrics, ctx.settings.pipeline.shards_count);
    let keep = api::keep_gauges(api.clone(), gauges, ctx.readiness.clone());
    let work = async move {
        keep.await;
        Ok(())
    };
    let served = ctx.serve(api::router(api), api::BODY_BYTES_MAX, work).await;
    tracking.close().await;
    served
}

/// The tracking database, if it is there: looking at it makes none.
pub(super) async fn find_tracking(ctx: &Context) -> Result<Option<Arc<dyn Tracking>>, Failure> {
    if ctx.settings.database.tracking.embedded_exists() == Some(false) {
        return Ok(None);
    }
    Ok(Some(open(ctx).await?))
}

/// The tracking database, for roles that can do nothing without it.
pub(super) async fn get_tracking(ctx: &Context) -> Result<Arc<dyn Tracking>, Failure> {
    find_tracking(ctx).await?.ok_or_else(|| {
        let url = &ctx.settings.database.tracking;
        Failure::new(format!("there is no tracking database at {url}; is shared.dir or database.tracking right?"))
    })
}

async fn open(ctx: &Context) -> Result<Arc<dyn Tracking>, Failure> {
    let settings = &ctx.settings;
    Ok(crate::pipeline::apid::store::open_tracking(&settings.database.tracking, ctx.clock.clone(), policy(settings))
        .await?)
}

/// The tracking database for reading only, which must be there and up to date.
pub(super) async fn open_tracking_read_only(ctx: &Context) -> crate::base::db::Result<Arc<dyn Tracking>> {
    let settings = &ctx.settings;
    crate::pipeline::apid::store::open_tracking_read_only(
        &settings.database.tracking,
        ctx.clock.clone(),
        policy(settings),
    )
    .await
}

/// What the tracking store needs to know of the settings.
fn policy(settings: &Settings) -> TrackingPolicy {
    TrackingPolicy {
        moves: Policy {
            lease_ms: millis(settings.pipeline.lease),
            backoff_ms: millis(settings.pipeline.backoff),
            attempts_max: settings.pipeline.attempts_max,
        },
        backoff_max_ms: millis(settings.pipeline.backoff_max),
        strict_order: settings.pipeline.strict_order,
    }
}
