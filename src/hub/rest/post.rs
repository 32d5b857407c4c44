//! One event.

use axum::Extension;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use super::{body, refused};
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::Whole;
use crate::base::http::problem::ProblemBody;
use crate::base::http::{Caller, Problem};
use crate::hub::api::Api;
use crate::hub::measures::Door;
use crate::hub::service::Verdict;

/// An event as it is posted. More fields are refused.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes a body, which is read in a stricter way")]
pub(super) struct EventRequest {
    /// 1 to 128 characters, no control characters.
    #[schema(example = "user123", min_length = 1, max_length = 128)]
    user_id: String,
    /// purchase, return, refund, or another one that the hub was told of.
    #[schema(example = "purchase")]
    event_type: String,
    /// 0 to 10^12 with at most four decimals; a number, or a string of digits. It is never read as a float.
    #[schema(example = 150.75, minimum = 0, maximum = 1_000_000_000_000_i64)]
    amount: f64,
    /// RFC 3339; without an offset it is UTC. At most five minutes ahead of the hub's clock.
    #[schema(example = "2024-01-15T10:30:00Z")]
    timestamp: String,
    /// 1 to 255 visible ASCII characters. The same key with the same event is answered as the first time.
    idempotency_key: Option<String>,
    /// A JSON object of at most 8 KiB and 8 levels.
    #[schema(value_type = Option<Object>)]
    attributes: Option<String>,
}

/// The event is kept.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct PostResponse {
    /// success
    status: &'static str,
    /// The hub's id.
    id: Uuid,
    /// Whether it was kept before: the key is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// Takes one event.
///
/// It is durable when it is answered, and on its way to subscribers and minutes. Its key is the field `idempotency_key`,
/// else the header `Idempotency-Key`; without one every post is an event. CloudEvents 1.0 are taken in the structured
/// (`application/cloudevents+json`) and in the binary mode; there `source` and `id` are the key.
#[utoipa::path(
    post, path = "/events", tag = "events",
    request_body = EventRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "The caller's name for the event.")),
    security(("bearer" = ["hub_writer"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The event is kept; `Location` is its address.", body = PostResponse),
        ErrorResponses,
        (status = 415, description = "The content type is none that is taken here.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "A rule is broken: `reason` has the code.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn post_event(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let read = body::one(&headers, &body)?;
    let (id, duplicate) = match api.accept(Door::Rest, caller, read).await? {
        Verdict::Accepted(id) => (id, false),
        Verdict::Duplicate(id) => (id, true),
        Verdict::Rejected(rejection) => return Err(refused(&rejection)),
    };
    let mut response = axum::Json(PostResponse { status: "success", id, duplicate }).into_response();
    if let Ok(address) = HeaderValue::from_str(&format!("/events/{id}")) {
        response.headers_mut().insert(LOCATION, address);
    }
    Ok(response)
}
