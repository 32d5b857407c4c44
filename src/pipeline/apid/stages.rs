//! Calls that move tasks through their stages.

use axum::extract::State;

use super::lease_log::{self, Before};
use super::{Api, task_key};
use crate::base::db;
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::{Json, Path};
use crate::base::http::fault::to_the_end;
use crate::base::http::problem::ProblemBody;
use crate::pipeline::apid::store::StageReport;
use crate::pipeline::task::counts::COUNT_MAX;
use crate::pipeline::task::stage::UnknownName;
use crate::pipeline::task::wire::{IngestDoneRequest, IngestDoneResponse, TaskRequest, TaskResponse};
use crate::pipeline::task::{Call, Counts, Output, Stage, Status, TaskKey};

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 1000;

/// Marks an event file as complete for all its shards.
#[utoipa::path(
    post, path = "/stages/event-ingest/done", tag = "stages",
    request_body = IngestDoneRequest,
    security(("bearer" = ["event_ingest"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "All shards of the file are ready for the splitter.", body = IngestDoneResponse),
        ErrorResponses,
        (status = 404, description = "The file is not registered.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The file was announced before with other content.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn event_ingest_done(
    State(api): State<Api>,
    Json(request): Json<IngestDoneRequest>,
) -> Result<axum::Json<IngestDoneResponse>, Problem> {
    check_report(None, request.output.as_ref())?;
    let (tracking, file) = (api.tracking.clone(), request.filename.clone());
    let updated_rows = to_the_end(async move { tracking.ingest_done(&file, request.output).await }).await?;
    api.wakeups.changed(Stage::EventIngest);
    Ok(axum::Json(IngestDoneResponse { filename: request.filename, updated_rows }))
}

/// Moves one task: `start`, `done`, `fail`, `retry` or `release`.
///
/// A call that changes nothing because everything is so already is answered like the one that did it. `release` gives
/// a claimed task back without counting the attempt; with `"retry":true` it is ready again after a backoff only.
#[utoipa::path(
    post, path = "/stages/{stage}/{transition}", tag = "stages",
    params(
        ("stage" = String, Path, description = "`shard-splitter`, `shard-worker` or `mysql-sender`.", pattern = "^(shard-splitter|shard-worker|mysql-sender)$", example = "shard-worker"),
        ("transition" = String, Path, description = "`start`, `done`, `fail`, `retry` or `release`.", pattern = "^(start|done|fail|retry|release)$", example = "start"),
    ),
    request_body = TaskRequest,
    security(("bearer" = ["shard_splitter"]), ("bearer" = ["shard_worker"]), ("bearer" = ["mysql_sender"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "Where the task is now.", body = TaskResponse),
        ErrorResponses,
        (status = 404, description = "There is no such stage, transition or task.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The task's status does not allow it, or the lease is stale.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn transition(
    State(api): State<Api>,
    Path((stage, transition)): Path<(String, String)>,
    Json(request): Json<TaskRequest>,
) -> Result<axum::Json<TaskResponse>, Problem> {
    let stage = stage_of(&stage)?;
    let call = call_of(&transition, &request)?;
    check_report(request.counts.as_ref(), request.output.as_ref())?;
    if request.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        return Err(Problem::invalid(format!("reason has more than {REASON_CHARS_MAX} characters")));
    }
    let key = task_key(&request);
    let report = StageReport { counts: request.counts, output: request.output, reason: request.reason };
    let status = to_the_end(async move { api.apply(&key, stage, call, report).await }).await?;
    Ok(axum::Json(TaskResponse { filename: request.filename, shard: request.shard, stage, status }))
}

impl Api {
    /// Moves one task, and says in the log what is worth a line.
    async fn apply(&self, key: &TaskKey, stage: Stage, call: Call, report: StageReport) -> db::Result<Status> {
        let before = Before::look(self, key, stage, call).await;
        let reason = report.reason.clone();
        let result = self.tracking.apply(key, stage, call, report).await;
        // Also a refusal can change something: the last shard of a file whose shards do not add up is failed.
        self.wakeups.changed(stage);
        if let (Some(before), Ok(after)) = (before, &result) {
            before.tell(*after, reason.as_deref());
        }
        lease_log::tell_loss(self, key, stage, &result).await;
        result
    }
}

/// Refuses numbers over the bound.
fn check_report(counts: Option<&Counts>, output: Option<&Output>) -> Result<(), Problem> {
    let all = counts.map(|c| [c.read, c.written, c.duplicate, c.rejected, c.held, c.released]);
    let sizes = output.map(|output| [output.lines, output.bytes]);
    let numbers = all.iter().flatten().chain(sizes.iter().flatten());
    if numbers.copied().any(|number| number > COUNT_MAX) {
        return Err(Problem::invalid(format!("counts and sizes must be from 0 to {COUNT_MAX}")));
    }
    Ok(())
}

/// The stage that tasks are moved through; the first stage has one call of its own.
pub(super) fn stage_of(text: &str) -> Result<Stage, Problem> {
    match text.parse() {
        Ok(Stage::EventIngest) => Err(Problem::not_found("this call of the stage event-ingest")),
        Ok(stage) => Ok(stage),
        Err(e) => Err(unknown_stage(&e)),
    }
}

/// 404: the path names a stage that there is not.
pub(super) fn unknown_stage(error: &UnknownName) -> Problem {
    Problem::new(axum::http::StatusCode::NOT_FOUND, "not_found", format!("the stage {error}"))
}

fn call_of(transition: &str, request: &TaskRequest) -> Result<Call, Problem> {
    let token = request.token;
    let needs_token = || token.ok_or_else(|| Problem::invalid(format!("{transition} needs the token of the claim")));
    Ok(match transition {
        "start" => Call::Start,
        "done" => Call::Done(token),
        "fail" if request.retry => Call::FailAttempt(needs_token()?),
        "fail" => Call::Fail(token),
        "release" if request.retry => Call::ReleaseLater(needs_token()?),
        "release" => Call::Release(needs_token()?),
        "retry" if request.cascade => Call::RetryCascade,
        "retry" => Call::Retry,
        _ => return Err(Problem::not_found(format!("the transition '{}'", transition.escape_debug()))),
    })
}
