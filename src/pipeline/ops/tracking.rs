//! The tracking database as the settings name it, for the commands that read it beside the API.

use std::sync::Arc;

use crate::base::boot::{Failure, millis};
use crate::pipeline::apid::open::open_tracking;
use crate::pipeline::apid::store::{Tracking, TrackingPolicy};
use crate::pipeline::settings::Context;
use crate::pipeline::settings::Settings;
use crate::pipeline::task::moves::RetryPolicy;

/// The tracking database; `None` if it is an embedded one that is missing. It is not made.
///
/// # Errors
/// [`Failure`] when it cannot be opened.
pub async fn find_tracking(ctx: &Context) -> Result<Option<Arc<dyn Tracking>>, Failure> {
    if ctx.settings.database.tracking.embedded_exists() == Some(false) {
        return Ok(None);
    }
    Ok(Some(open(ctx).await?))
}

/// The tracking database, which must be there.
///
/// # Errors
/// [`Failure`] when it is missing or cannot be opened.
pub async fn get_tracking(ctx: &Context) -> Result<Arc<dyn Tracking>, Failure> {
    find_tracking(ctx).await?.ok_or_else(|| {
        let url = &ctx.settings.database.tracking;
        Failure::new(format!("there is no tracking database at {url}; is shared.dir or database.tracking right?"))
    })
}

/// The tracking database; an embedded one is made where it is missing.
///
/// # Errors
/// [`Failure`] when it cannot be opened.
pub async fn open(ctx: &Context) -> Result<Arc<dyn Tracking>, Failure> {
    let settings = &ctx.settings;
    Ok(open_tracking(&settings.database.tracking, ctx.clock.clone(), policy(settings)).await?)
}

/// The tracking database for reading only, which must be there and up to date.
pub async fn open_tracking_read_only(ctx: &Context) -> crate::base::db::Result<Arc<dyn Tracking>> {
    let settings = &ctx.settings;
    crate::pipeline::apid::open::open_tracking_read_only(
        &settings.database.tracking,
        ctx.clock.clone(),
        policy(settings),
    )
    .await
}

/// What the tracking store needs to know of the settings.
fn policy(settings: &Settings) -> TrackingPolicy {
    TrackingPolicy {
        moves: RetryPolicy {
            lease_ms: millis(settings.pipeline.lease),
            backoff_ms: millis(settings.pipeline.backoff),
            attempts_max: settings.pipeline.attempts_max,
        },
        backoff_max_ms: millis(settings.pipeline.backoff_max),
        strict_order: settings.pipeline.strict_order,
    }
}
