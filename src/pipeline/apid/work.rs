//! Calls of workers: claims and heartbeats, fenced by tokens.

use std::time::Duration;

use axum::extract::State;
use tokio::time::{Instant, sleep_until};

use super::stages::stage_of;
use super::wake::LOOK_AGAIN;
use super::{Api, lease_log};
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::{Json, Path};
use crate::base::http::fault::to_the_end;
use crate::base::http::problem::ProblemBody;
use crate::pipeline::apid::store::StageReport;
use crate::pipeline::task::wire::{ClaimRequest, ClaimResponse, ClaimedItem, HeartbeatRequest, HeartbeatResponse};
use crate::pipeline::task::{Call, Claim, Claimed, Stage, TaskKey};

/// Tasks per claim.
const LIMIT_MAX: u32 = 256;
/// How long a claim may wait, in milliseconds.
const WAIT_MS_MAX: u64 = 25_000;
/// Characters of a worker's name.
const WORKER_CHARS_MAX: usize = 255;
/// Characters of a claim's id.
const CLAIM_ID_CHARS_MAX: usize = 64;

/// Hands out ready tasks under a lease, waiting up to `wait_ms` when there are none.
#[utoipa::path(
    post, path = "/queues/{stage}/claim", tag = "work",
    params(("stage" = String, Path, description = "`shard-splitter`, `shard-worker` or `mysql-sender`.", pattern = "^(shard-splitter|shard-worker|mysql-sender)$", example = "shard-worker")),
    request_body = ClaimRequest,
    security(("bearer" = ["shard_splitter"]), ("bearer" = ["shard_worker"]), ("bearer" = ["mysql_sender"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The tasks that are the asker's now; none if nothing became ready in time.", body = ClaimResponse),
        ErrorResponses,
        (status = 404, description = "There is no such stage.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn claim(
    State(api): State<Api>,
    Path(stage): Path<String>,
    Json(request): Json<ClaimRequest>,
) -> Result<axum::Json<ClaimResponse>, Problem> {
    let stage = stage_of(&stage)?;
    let wait = Duration::from_millis(request.wait_ms.unwrap_or(0));
    let claim = checked(stage, request)?;
    let (claimed, waited) = wait_for_work(&api, &claim, wait).await?;
    api.counters.claimed(stage, &claimed);
    let items = claimed.into_iter().map(ClaimedItem::from).collect();
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    Ok(axum::Json(ClaimResponse { stage, items, waited_ms }))
}

/// Extends the lease of a claimed task.
#[utoipa::path(
    post, path = "/stages/{stage}/heartbeat", tag = "work",
    params(("stage" = String, Path, description = "`shard-splitter`, `shard-worker` or `mysql-sender`.", pattern = "^(shard-splitter|shard-worker|mysql-sender)$", example = "shard-worker")),
    request_body = HeartbeatRequest,
    security(("bearer" = ["shard_splitter"]), ("bearer" = ["shard_worker"]), ("bearer" = ["mysql_sender"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The lease runs from now on again.", body = HeartbeatResponse),
        ErrorResponses,
        (status = 404, description = "There is no such stage or task.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The lease is stale: another owner has the task.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn heartbeat(
    State(api): State<Api>,
    Path(stage): Path<String>,
    Json(request): Json<HeartbeatRequest>,
) -> Result<axum::Json<HeartbeatResponse>, Problem> {
    let stage = stage_of(&stage)?;
    let HeartbeatRequest { filename, shard, token } = request;
    let (tracking, key) = (api.tracking.clone(), TaskKey { file: filename.clone(), shard });
    to_the_end(async move { tracking.apply(&key, stage, Call::Heartbeat(token), StageReport::default()).await })
        .await?;
    let lease_ms = api.tracking.lease_ms();
    Ok(axum::Json(HeartbeatResponse { filename, shard, stage, lease_ms }))
}

fn checked(stage: Stage, request: ClaimRequest) -> Result<Claim, Problem> {
    let within = |name: &str, text: &str, most: usize| match text.chars().count() {
        1.. if text.chars().count() <= most => Ok(()),
        _ => Err(Problem::invalid(format!("{name} must have 1 to {most} characters"))),
    };
    within("worker", &request.worker, WORKER_CHARS_MAX)?;
    within("claim_id", &request.claim_id, CLAIM_ID_CHARS_MAX)?;
    if !(1..=LIMIT_MAX).contains(&request.limit) {
        return Err(Problem::invalid(format!("limit must be from 1 to {LIMIT_MAX}")));
    }
    if request.wait_ms.is_some_and(|wait| wait > WAIT_MS_MAX) {
        return Err(Problem::invalid(format!("wait_ms must be from 0 to {WAIT_MS_MAX}")));
    }
    let ClaimRequest { worker, limit, shard, claim_id, .. } = request;
    Ok(Claim { stage, worker, limit, shard, claim_id, takes_over: true })
}

/// Looks, and looks again whenever the stage's bell rings, until there is work, the time is over, or this instance
/// drains: then the asker gets an empty answer at once and goes elsewhere. Answers also how long it was before the look
/// that brought the work.
async fn wait_for_work(api: &Api, claim: &Claim, wait: Duration) -> Result<(Vec<Claimed>, Duration), Problem> {
    let began = Instant::now();
    let deadline = began + wait;
    loop {
        let waited = began.elapsed();
        let bell = api.wakeups.next(claim.stage);
        tokio::pin!(bell);
        // From here on a ring is noticed, also one between the look and the wait.
        bell.as_mut().enable();
        api.askers.note(api.tracking.as_ref(), claim).await;
        // A claim that does not wait is that of a one-shot run, which would leave behind what it does not get now.
        let takes_over = wait.is_zero() || api.takeover_delay.is_over();
        let (tracking, own) = (api.tracking.clone(), Claim { takes_over, ..claim.clone() });
        let claimed = to_the_end(async move { tracking.claim(&own).await }).await?;
        let ends = api.tracking.take_lease_ends();
        api.counters.expired(&ends);
        lease_log::lease_ends(&ends);
        if !claimed.is_empty() || Instant::now() >= deadline || api.stop.is_requested() {
            return Ok((claimed, waited));
        }
        let look_again = deadline.min(Instant::now() + LOOK_AGAIN);
        tokio::select! {
            () = bell => {}
            () = sleep_until(look_again) => {}
            () = api.stop.requested() => return Ok((Vec::new(), waited)),
        }
    }
}
