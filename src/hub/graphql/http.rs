//! GraphQL over HTTP: POST and GET.

use async_graphql::Response as Answer;
use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::extract::{FromRequestParts, Query, Request, State, WebSocketUpgrade};
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE, UPGRADE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::engine::{Ask, Engine, Operation, Refusal, is_refusal};
use super::error::of_request;
use super::{page, socket, sse};
use crate::base::http::extract::Whole;
use crate::base::http::{Caller, Problem};

const JSON: &str = "application/json";
/// The media type of answers with a meaningful status: 200 for data, 400 for a refused document.
const ANSWER: &str = "application/graphql-response+json";
const EVENTS: &str = "text/event-stream";
const PAGE: &str = "text/html";

/// The parameters of a GET.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetQuery {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
}

/// Any operation. The body is JSON and says so: no form of a page can send that.
pub(super) async fn post(
    State(engine): State<Engine>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let media = headers.get(CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case(JSON) {
        let detail = "an operation is sent as application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail));
    }
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Problem::bad_request("several operations at once are not taken; send one a request"));
    }
    let ask: Ask = serde_json::from_slice(&body)
        .map_err(|e| Problem::bad_request(format!("the body is no operation of GraphQL: {e}")))?;
    Ok(match engine.prepare(ask, caller) {
        Ok(operation) => run(&engine, operation, &headers).await,
        Err(refusal) => refuse(refusal, &headers),
    })
}

/// A WebSocket, the page, a query, or a subscription over server-sent events; never a mutation.
pub(super) async fn get(
    State(engine): State<Engine>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    if names(&parts.headers, &UPGRADE, "websocket") {
        let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
        return socket::open(engine, caller, upgrade.map_err(|e| socket::refused(e.body_text()))?);
    }
    let headers = parts.headers;
    let query = Query::<GetQuery>::try_from_uri(&parts.uri).map_err(|e| Problem::invalid(e.body_text()))?.0;
    if query.query.is_none() && names(&headers, &ACCEPT, PAGE) {
        return Ok(page::page());
    }
    let variables = query.variables.as_deref().filter(|text| !text.is_empty()).unwrap_or("null");
    let variables = serde_json::from_str(variables)
        .map_err(|e| Problem::bad_request(format!("the parameter 'variables' is no JSON object: {e}")))?;
    let ask = Ask { query: query.query, operation_name: query.operation_name, variables };
    Ok(match engine.prepare(ask, caller) {
        Ok(operation) if operation.kind == OperationType::Mutation => {
            let mut response = Problem::method_not_allowed().into_response();
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            response
        }
        Ok(operation) => run(&engine, operation, &headers).await,
        Err(refusal) => refuse(refusal, &headers),
    })
}

async fn run(engine: &Engine, operation: Operation, headers: &HeaderMap) -> Response {
    if names(headers, &ACCEPT, EVENTS) {
        return sse::answer(engine.api().stop().clone(), engine.stream(operation)).into_response();
    }
    if operation.kind == OperationType::Subscription {
        let detail = "a subscription needs a WebSocket, or 'accept: text/event-stream'";
        return refuse(of_request("BAD_REQUEST", detail).into(), headers);
    }
    answer(&engine.execute(operation).await, StatusCode::OK, headers)
}

fn refuse(Refusal { status, error }: Refusal, headers: &HeaderMap) -> Response {
    let mut response = answer(&Answer::from_errors(vec![*error]), status, headers);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Writes an answer. As `application/json` it is 200 also where nothing was done (GraphQL over HTTP, 6.4.1): clients look
/// into the body.
fn answer(answer: &Answer, status: StatusCode, headers: &HeaderMap) -> Response {
    let is_new = names(headers, &ACCEPT, ANSWER);
    let status = match status {
        StatusCode::OK if is_new && is_refusal(answer) => StatusCode::BAD_REQUEST,
        status => status,
    };
    let media = if is_new { ANSWER } else { JSON };
    match serde_json::to_vec(answer) {
        Ok(body) => (status, [(CONTENT_TYPE, media)], body).into_response(),
        Err(e) => Problem::internal().because(format!("an answer is no JSON: {e}")).into_response(),
    }
}

/// Whether a header names this, among others.
fn names(headers: &HeaderMap, header: &HeaderName, name: &str) -> bool {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    let mut named = values.flat_map(|value| value.split(',')).filter_map(|one| one.split(';').next());
    named.any(|one| one.trim().eq_ignore_ascii_case(name))
}
