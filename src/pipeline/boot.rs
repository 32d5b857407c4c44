//! What the pipeline's roles add to [`base::boot`](crate::base::boot): the lock on the shared folder, the note of the
//! address, and what drivers and calls tell the metrics.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;

use super::addresses::{self, Identity, PublishedAddress};
use super::calls::{Call, CallObserver};
use super::claim::driver::{Finished, TaskOutcome, Watch, random_id};
use super::event::ShardId;
use super::files::hold::{self, FolderHold};
use super::stage_metrics::StageMetrics;
use super::task::Stage;
use crate::base::boot::{Exit, Failure};
use crate::base::clock::Clock;
use crate::base::http::Readiness;
use crate::pipeline::settings::Context;
use crate::pipeline::task::Repair;

/// Bytes of a request's body where a role has no other limit: probes need none.
const PROBE_BODY_BYTES_MAX: usize = 1024;
/// How long a role that has nothing to do counts as not ready because of its last failure: longer than the longest
/// default wait between two attempts.
const TROUBLE_HOLDS: Duration = Duration::from_secs(120);

/// Keeps `shopctl restore` off the shared folder until what is answered is dropped.
///
/// # Errors
/// [`Failure`] while a restore is at work.
pub fn hold_shared(ctx: &Context) -> Result<FolderHold, Failure> {
    let shared = &ctx.settings.shared.dir;
    hold::while_running(shared).ok_or_else(|| {
        let message = format!("'shopctl restore' is at work on {}; try again when it has ended", shared.display());
        Failure { exit: Exit::TryLater, message }
    })
}

/// Serves `routes` and the probes on the bound port while `work` runs. Meanwhile the shared folder is held, and the
/// role's address is noted in it.
///
/// # Errors
/// [`Failure`] of the work, or of the listener; while a restore is at work.
pub async fn serve(
    ctx: Context,
    routes: Router,
    body_bytes_max: usize,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<Exit, Failure> {
    serve_as(ctx, None, routes, body_bytes_max, work).await
}

/// The same with the probes alone, for a role that may work for one shard only.
///
/// # Errors
/// As [`serve`].
pub async fn serve_probes(
    ctx: Context,
    shard: Option<ShardId>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<Exit, Failure> {
    serve_as(ctx, shard, Router::new(), PROBE_BODY_BYTES_MAX, work).await
}

async fn serve_as(
    ctx: Context,
    shard: Option<ShardId>,
    routes: Router,
    body_bytes_max: usize,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<Exit, Failure> {
    let _held = hold_shared(&ctx)?;
    let identity = Identity::new(ctx.name, shard);
    let _noted = note_address(&ctx, identity.clone()).await;
    ctx.serve(serde_json::json!(identity), routes, body_bytes_max, work).await
}

/// Notes the role's address in the shared folder until the note is dropped. Without it the role works as well.
async fn note_address(ctx: &Context, identity: Identity) -> Option<PublishedAddress> {
    let (settings, clock, addr) = (Arc::clone(&ctx.settings), ctx.clock.clone(), ctx.addr()?);
    let publish = move || addresses::publish(&settings.shared.dir, identity, addr, &clock);
    match tokio::task::spawn_blocking(publish).await.map_err(std::io::Error::other).flatten() {
        Ok(published) => Some(published),
        Err(e) => {
            log::warn!(role = ctx.name; "commands on this folder cannot find this role by themselves: {e}");
            None
        }
    }
}

/// The observer that measures the calls of a role to others.
pub fn call_observer(ctx: &Context) -> CallObserver {
    let metrics = ctx.metrics.clone();
    Arc::new(move |call: Call| metrics.observe_call(call.service.name(), call.route, call.outcome, call.took))
}

/// The observer that counts what a driver does.
pub fn watch(ctx: &Context) -> RoleWatch {
    RoleWatch {
        metrics: StageMetrics::of(&ctx.metrics),
        readiness: ctx.readiness.clone(),
        clock: ctx.clock.clone(),
        troubled: Arc::default(),
    }
}

/// Turns what a driver tells into metrics and readiness.
#[derive(Clone)]
pub struct RoleWatch {
    metrics: StageMetrics,
    readiness: Readiness,
    clock: Clock,
    /// When work was last given back as unavailable.
    troubled: Arc<Mutex<Option<Instant>>>,
}

impl Watch for RoleWatch {
    fn task_over(&self, stage: Stage, outcome: TaskOutcome, took: Duration, finished: Option<&Finished>) {
        self.metrics.observe_task(stage.name(), outcome.name(), took.as_secs_f64());
        let Some(finished) = finished else {
            return;
        };
        let counts = finished.counts;
        for (outcome, lines) in
            [("written", counts.written), ("duplicate", counts.duplicate), ("rejected", counts.rejected)]
        {
            self.metrics.add_lines(stage.name(), outcome, lines);
        }
        for (reason, lines) in finished.reasons.iter() {
            self.metrics.add_rejected(stage.name(), reason, lines);
        }
        if let Some(output) = finished.output {
            self.metrics.add_bytes(stage.name(), output.bytes);
        }
        self.metrics.processed(stage.name(), self.clock.now().unix_ms() as f64 / 1000.0);
    }

    fn api_answers(&self, problem: Option<String>) {
        self.readiness.set("apid", problem);
    }

    fn unavailable(&self, problem: Option<String>) {
        *self.troubled.lock().unwrap_or_else(PoisonError::into_inner) = problem.as_ref().map(|_| Instant::now());
        self.readiness.set("work", problem.map(Repair::advise));
    }

    fn idle(&self) {
        // Another worker may have done what failed here; between two attempts there is nothing to do either.
        let troubled = *self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        if troubled.is_some_and(|since| since.elapsed() > TROUBLE_HOLDS) {
            self.unavailable(None);
        }
    }
}

/// A name for a worker that no other has: host, process and a random part.
pub fn worker_name() -> String {
    format!("{}-{}-{}", addresses::host_name(), std::process::id(), random_id())
}
