//! Calls that register files, and calls that look at files, queues and sums.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use tokio::sync::Mutex;

use super::Api;
use super::stages::unknown_stage;
use crate::base::db;
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::{Json, Path, Query, page_size};
use crate::base::http::fault::to_the_end;
use crate::base::http::problem::ProblemBody;
use crate::pipeline::apid::store::{FileQuery, Tracking, for_each_file};
use crate::pipeline::task::wire::{
    FileResponse, FilesParams, FilesResponse, OldestParams, OldestResponse, QueueItem, QueueParams, QueueResponse,
    RegisterRequest, RegisterResponse, SummaryResponse,
};
use crate::pipeline::task::{FileName, Ledger, Stage};

/// Items to pass over at the most: more than any queue ever has.
const OFFSET_MAX: u32 = 1_000_000_000;

/// Creates the tasks of a file, one per shard. Doing it again changes nothing.
#[utoipa::path(
    post, path = "/files/register", tag = "stages",
    request_body = RegisterRequest,
    security(("bearer" = ["event_ingest"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The tasks exist.", body = RegisterResponse),
        ErrorResponses,
        (status = 409, description = "The file is registered with other shards.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn register(
    State(api): State<Api>,
    Json(request): Json<RegisterRequest>,
) -> Result<axum::Json<RegisterResponse>, Problem> {
    let RegisterRequest { filename, shards } = request;
    if shards.is_empty() || shards.iter().collect::<BTreeSet<_>>().len() != shards.len() {
        return Err(Problem::invalid("shards must name every shard of the file once, at least one"));
    }
    let (tracking, file, own) = (api.tracking.clone(), filename.clone(), shards.clone());
    let registered = to_the_end(async move { tracking.register(&file, &own).await }).await?;
    api.wakeups.changed(Stage::EventIngest);
    Ok(axum::Json(RegisterResponse { filename, shards, created: registered.created }))
}

/// Ready tasks of a stage, oldest first. This only looks: a worker that wants tasks has to claim them.
#[utoipa::path(
    get, path = "/queues/{stage}", tag = "files",
    params(
        ("stage" = Stage, Path, description = "A stage.", example = "shard-worker"),
        QueueParams,
    ),
    responses(
        (status = 200, description = "The ready tasks.", body = QueueResponse),
        (status = 404, description = "There is no such stage.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not right.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn queue(
    State(api): State<Api>,
    Path(stage): Path<String>,
    Query(params): Query<QueueParams>,
) -> Result<axum::Json<QueueResponse>, Problem> {
    let stage: Stage = stage.parse().map_err(|e| unknown_stage(&e))?;
    let limit = page_size(params.limit)?;
    let offset = params.offset.unwrap_or(0);
    if offset > OFFSET_MAX {
        return Err(Problem::invalid(format!("offset must be from 0 to {OFFSET_MAX}")));
    }
    let queued = api.tracking.queue(stage, limit, offset).await?;
    Ok(axum::Json(QueueResponse { stage, items: queued.into_iter().map(QueueItem::from).collect() }))
}

/// The oldest event file that a stage has neither done nor given up in some shard, beside the one that the asker is at.
#[utoipa::path(
    get, path = "/queues/{stage}/oldest", tag = "files",
    params(("stage" = Stage, Path, description = "A stage.", example = "shard-worker"), OldestParams),
    responses(
        (status = 200, description = "The file, if there is one.", body = OldestResponse),
        (status = 404, description = "There is no such stage.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A parameter is not right.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn oldest(
    State(api): State<Api>,
    Path(stage): Path<String>,
    Query(params): Query<OldestParams>,
) -> Result<axum::Json<OldestResponse>, Problem> {
    let stage: Stage = stage.parse().map_err(|e| unknown_stage(&e))?;
    let filename = api.tracking.oldest_unfinished(stage, &params.besides).await?;
    Ok(axum::Json(OldestResponse { stage, filename }))
}

/// One file over all its shards.
#[utoipa::path(
    get, path = "/files/{filename}", tag = "files",
    params(("filename" = String, Path, description = "14 digits, a UTC moment.", pattern = "^[0-9]{14}$", example = "20250101000000")),
    responses(
        (status = 200, description = "The file.", body = FileResponse),
        (status = 404, description = "The file is not registered.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "This is no file name.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_file(
    State(api): State<Api>,
    Path(filename): Path<String>,
) -> Result<axum::Json<FileResponse>, Problem> {
    let file: FileName = filename.parse().map_err(|e| Problem::invalid(format!("{e}")))?;
    match api.tracking.find_file(&file).await? {
        Some(view) => Ok(axum::Json(view.into())),
        None => Err(Problem::new(axum::http::StatusCode::NOT_FOUND, "not_found", format!("file {file} is unknown"))),
    }
}

/// Files by name, page by page.
#[utoipa::path(
    get, path = "/files", tag = "files", params(FilesParams),
    responses(
        (status = 200, description = "A page of files.", body = FilesResponse),
        (status = 422, description = "A parameter is not right.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_files(
    State(api): State<Api>,
    Query(params): Query<FilesParams>,
) -> Result<axum::Json<FilesResponse>, Problem> {
    let query = FileQuery {
        status: params.status,
        stage: params.stage,
        after: params.cursor,
        limit: page_size(params.limit)?,
        with_results: true,
    };
    let page = api.tracking.list_files(&query).await?;
    let items = page.files.into_iter().map(FileResponse::from).collect();
    Ok(axum::Json(FilesResponse { items, next_cursor: page.next }))
}

/// The state of everything in numbers.
#[utoipa::path(
    get, path = "/metrics/summary", tag = "files",
    responses((status = 200, description = "Tasks by stage and by shard.", body = SummaryResponse))
)]
pub(crate) async fn summary(State(api): State<Api>) -> Result<axum::Json<SummaryResponse>, Problem> {
    Ok(axum::Json(api.tracking.summary().await?.into()))
}

/// The books: what the stages reported, added up, and what does not add up.
#[utoipa::path(
    get, path = "/audit", tag = "files",
    responses((status = 200, description = "The sums and the differences.", body = Ledger))
)]
pub(crate) async fn audit(State(api): State<Api>) -> Result<axum::Json<Ledger>, Problem> {
    Ok(axum::Json(to_the_end(async move { api.books.ledger(api.tracking.as_ref()).await }).await?))
}

/// The books as they were added up last. Adding up reads every file, so that many clients share one sum, and a sum
/// is good for nine times as long as it took to make: a client that looks all the time costs a tenth of the database's
/// time.
#[derive(Clone, Default)]
pub(crate) struct BooksCache(Arc<Mutex<Option<(Ledger, Instant)>>>);

impl BooksCache {
    async fn ledger(&self, tracking: &dyn Tracking) -> db::Result<Ledger> {
        let mut last = self.0.lock().await;
        if let Some((ledger, good_until)) = last.as_ref()
            && Instant::now() < *good_until
        {
            return Ok(ledger.clone());
        }
        let began = Instant::now();
        let mut ledger = Ledger::default();
        for_each_file(tracking, |file| ledger.add(file)).await?;
        *last = Some((ledger.clone(), Instant::now() + began.elapsed() * 9));
        Ok(ledger)
    }
}
