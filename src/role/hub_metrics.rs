//! `shopctl hub-metrics`: the per-minute metrics of the event hub.
//!
//! Reads the hub's bus as the group `hub-metrics`, and counts events in the hub's database; serves probes on port 8001.
//! Run: `shopctl hub-metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;

use crate::base::boot::{Exit, Failure};
use crate::base::bus::Group;
use crate::base::http::Policy;
use crate::base::shutdown::Stop;
use crate::hub::boot::Parts;
use crate::hub::measures::MinuteMeasures;
use crate::hub::minutes::{GROUP, Minutes};
use crate::hub::settings::{Context, HUB_READER};

/// The port that it listens on by default.
pub const PORT: u16 = 8001;
/// It has probes only.
pub const POLICY: Policy = Policy::probes(&[HUB_READER]);
/// Bytes of a request's body: probes need none.
const BODY_BYTES_MAX: usize = 1024;
/// Between two looks at how far it is behind.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Counts the hub's events in the minutes in which they happened.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_help = "Examples:
  shopctl hub-metrics
  curl -s http://127.0.0.1:8000/metrics/minutes?minutes=5

Several of them share the bus's partitions. Each event is counted once, whatever crashes.
Stop it with SIGTERM or Ctrl-C: it finishes what it has begun and exits with 0; a second signal ends it at once.")]
pub struct Args {}

/// Counts until the stop is requested.
///
/// # Errors
/// [`Failure`] when the port, the database or the bus cannot be opened.
pub async fn run(mut ctx: Context, _args: Args) -> Result<Exit, Failure> {
    ctx.bind(PORT, POLICY).await?;
    let parts = Parts::open(&ctx).await?;
    let group = Group::new(GROUP).ok_or_else(|| Failure::new("the group of the minutes has no proper name"))?;
    let measures = MinuteMeasures::register(&ctx.metrics);
    let counted = measures.clone();
    let (store, bus, topic) = (Arc::clone(&parts.store), Arc::clone(&parts.bus), parts.topic.clone());
    let minutes = Minutes::new(store, bus, topic, group.clone(), move |report| counted.counted(report));
    let stop = ctx.stop.clone();
    let work = async move {
        let looks = look(&parts, &group, &measures, &stop);
        tokio::join!(minutes.run(stop.clone()), looks);
        Ok(())
    };
    let identity = serde_json::json!({"role": ctx.name});
    ctx.serve(identity, Router::new(), BODY_BYTES_MAX, work).await
}

/// Shows how far the counting is behind.
async fn look(parts: &Parts, group: &Group, measures: &MinuteMeasures, stop: &Stop) {
    while !stop.is_requested() {
        match parts.bus.lag(&parts.topic, group).await {
            Ok(lag) => measures.show_lag(lag),
            Err(e) => log::warn!("how far the minutes are behind is unknown: {e}"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.requested() => {}
        }
    }
}
