//! REST, the first door (docs/event-hub.md): events in, one by one and in batches; events and minutes out; and a
//! stream of events as they come.
//!
//! [`routes()`] is the only list of endpoints; the OpenAPI document is made from the same declarations.

mod batch;
mod body;
mod list;
mod minutes;
mod post;
mod stream;
mod view;

use axum::Router;
use tower::ServiceBuilder;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::api::Api;
use super::model::Rejection;
use crate::base::http::openapi::{Bearer, with_document};
use crate::base::http::problem::ProblemBody;
use crate::base::http::{Problem, Routes};

/// Bytes of a body, unpacked.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "shopctl event hub API",
        description = "Takes events, shows them, and adds them up per minute. What was answered with an id is durable. The same rules hold for gRPC and GraphQL.",
        license(name = "MIT", identifier = "MIT")
    ),
    modifiers(&Bearer),
    components(schemas(ProblemBody)),
    tags(
        (name = "events", description = "Events, in and out."),
        (name = "minutes", description = "What the events of a minute add up to.")
    )
)]
struct Document;

/// All routes of REST, with their document.
pub fn routes(api: Api) -> Routes {
    // A packed body is unpacked on the way, and may not become larger than a plain one.
    let unpacked =
        ServiceBuilder::new().layer(RequestDecompressionLayer::new()).layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX));
    let posts =
        OpenApiRouter::new().routes(routes!(post::post_event)).routes(routes!(batch::post_events)).layer(unpacked);
    let calls = OpenApiRouter::with_openapi(Document::openapi())
        .merge(posts)
        .routes(routes!(list::list_events))
        .routes(routes!(list::get_event))
        .routes(routes!(minutes::list_minutes));
    let (streams, document) = OpenApiRouter::new().routes(routes!(stream::stream_events)).split_for_parts();
    let mut calls = calls;
    calls.get_openapi_mut().merge(document);
    let streams: Router = streams.with_state(api.clone());
    Routes { calls: with_document(calls, api), streams }
}

/// 422 with the reason code.
fn refused(rejection: &Rejection) -> Problem {
    Problem { reason: Some(rejection.reason.code()), ..Problem::invalid(rejection.detail.clone()) }
}
