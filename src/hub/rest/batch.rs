//! Several events at once.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::body;
use super::post::EventRequest;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::Whole;
use crate::base::http::problem::ProblemBody;
use crate::base::http::{Caller, Problem};
use crate::hub::api::Api;
use crate::hub::measures::Door;
use crate::hub::service::BatchOutcome;

/// What became of the events of a batch.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct BatchResponse {
    /// Events that were taken now.
    accepted: usize,
    /// Events that were there already.
    duplicates: usize,
    /// The ids of both, in the order of the batch.
    ids: Vec<Uuid>,
    /// The others.
    rejected: Vec<RejectedItem>,
}

/// An event of a batch that was not taken.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RejectedItem {
    /// Which one, from 0.
    index: usize,
    /// The reason code.
    reason: &'static str,
    /// One sentence.
    detail: String,
}

/// Takes up to 10,000 events in one transaction: all that pass the rules, or none.
///
/// A JSON list, one event a line (`application/x-ndjson`), or CloudEvents (`application/cloudevents-batch+json`); plain,
/// or packed with gzip or zstd; at most 8 MiB unpacked. What is wrong with one event leaves the others as they are.
#[utoipa::path(
    post, path = "/events/batch", tag = "events",
    request_body = [EventRequest],
    security(("bearer" = ["hub_writer"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "At least one event is kept.", body = BatchResponse),
        ErrorResponses,
        (status = 415, description = "The content type is none that is taken here.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "No event is kept: the body says why for each.", body = BatchResponse),
    )
)]
pub(super) async fn post_events(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let drafts = body::several(&headers, &body)?;
    let verdicts = api.accept_all(Door::Rest, caller, drafts).await?;
    let response = BatchResponse::from(BatchOutcome::from(verdicts));
    let status = if response.ids.is_empty() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok((status, axum::Json(response)).into_response())
}

impl From<BatchOutcome> for BatchResponse {
    fn from(outcome: BatchOutcome) -> Self {
        let rejected = outcome.rejected.into_iter().map(|(index, rejection)| RejectedItem {
            index,
            reason: rejection.reason.code(),
            detail: rejection.detail,
        });
        let BatchOutcome { accepted, duplicates, ids, .. } = outcome;
        Self { accepted, duplicates, ids, rejected: rejected.collect() }
    }
}
