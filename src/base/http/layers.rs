//! What surrounds every request, from outside in: id, log and problem bodies; panics; origin; token; time; body limits.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::RequestBodyDeadlineLayer;

use super::auth::{Guard, guard};
use super::bodies::{Call, Caught};
use super::limits::Limits;
use super::panics;
use super::problem::{NOT_READY, Problem};
use super::routes::Routes;
use super::{grpc, upgrade};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of a request id that is taken over from the client. The limit keeps a client from filling the log.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The id of a request, in its extensions, its response and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Puts the guard around all routes, and the limits of bodies around those of calls.
pub(super) fn protect(routes: Routes, limits: &Limits, own: Guard) -> Router {
    let limited = ServiceBuilder::new()
        .layer(from_fn_with_state(limits.total_timeout, in_time))
        .layer(RequestBodyDeadlineLayer::new(limits.read_timeout))
        .layer(RequestBodyLimitLayer::new(limits.body_bytes_max));
    let layers = ServiceBuilder::new()
        .layer(from_fn(envelope))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(same_origin))
        .layer(from_fn_with_state(own, guard))
        // The extractors' own limit of 2 MB would undercut ours; a route may still set a lower one.
        .layer(DefaultBodyLimit::disable());
    routes.calls.layer(limited).merge(routes.streams).layer(layers)
}

/// Gives the request an id, its error a body with that id, and the log a line.
async fn envelope(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let is_grpc = grpc::is_call(request.headers());
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| path.clone(), |route| route.as_str().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    let problem = problem_of(&mut response);
    match &problem {
        Some(problem) if is_grpc => grpc::write_over(problem, &mut response),
        Some(problem) => problem.write_over(&mut response, Some(&id)),
        None => {}
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    // A gRPC client reads its status elsewhere.
    let status = problem.as_ref().map_or(response.status(), |problem| problem.status).as_u16();
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (level, why) = weight(problem.as_ref());
    log::log!(level, method = method.as_str(), path = path.as_str(), status, ms, request_id = id.as_str(); "{why}");
    let call = Call { method, route, request_id: id };
    response.map(|body| Body::new(Caught::new(body, call)))
}

/// The level and the text of a request's log line. Server errors are logged with their cause, because a client may
/// report the request id of one.
fn weight(problem: Option<&Problem>) -> (log::Level, &str) {
    match problem {
        Some(Problem { status, cause, code, .. }) if status.is_server_error() && *code != NOT_READY => {
            let level = if *status == StatusCode::SERVICE_UNAVAILABLE { log::Level::Warn } else { log::Level::Error };
            (level, cause.as_deref().unwrap_or(code))
        }
        _ => (log::Level::Debug, "answered"),
    }
}

fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| {
        !id.is_empty() && id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane);
    given.map_or_else(|| format!("{:032x}", rand::random::<u128>()), str::to_owned)
}

/// The problem to write: the one a handler gave, or for a library's bare error what its status tells.
fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let media = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    (!media.contains("json")).then(|| Problem::of_status(status))
}

fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = panics::text(&*cause);
    Problem::internal().because(format!("a request handler panicked; this is a bug: {text}")).into_response()
}

/// Refuses what a page of another site makes the operator's browser send; without tokens nothing else would stop it.
async fn same_origin(request: Request, next: Next) -> Response {
    // A page may open a WebSocket to anywhere, and what it sends there is no request that would be looked at again.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD) && !upgrade::asks(&request);
    if reads || !is_foreign(request.uri(), request.headers()) {
        return next.run(request).await;
    }
    let detail = "a browser sent this for a page of another origin";
    Problem::new(StatusCode::FORBIDDEN, "cross_origin", detail).into_response()
}

fn is_foreign(uri: &Uri, headers: &HeaderMap) -> bool {
    let in_header = || headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or_else(in_header).unwrap_or_default();
    headers.get_all(ORIGIN).iter().any(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        !authority.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
    })
}

/// Bounds the time to a response's head; a slow reader of the body is the connection's business.
async fn in_time(State(total): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(total, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the answer took too long; what was begun may or may not have happened";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn sane_ids_are_taken_over_and_others_replaced() {
        assert_eq!(request_id(&headers(&[("x-request-id", "a-1")])), "a-1");
        assert_eq!(request_id(&headers(&[("x-request-id", "a b")])).len(), 32);
        assert_eq!(request_id(&headers(&[])).len(), 32);
    }

    #[test]
    fn origin_is_compared_with_the_host() {
        let foreign = |pairs: &[(&'static str, &'static str)]| is_foreign(&Uri::from_static("/"), &headers(pairs));
        assert!(!foreign(&[("host", "shop:1")]));
        assert!(!foreign(&[("host", "shop:1"), ("origin", "http://SHOP:1")]));
        assert!(foreign(&[("host", "shop:1"), ("origin", "http://shop:2")]));
        assert!(foreign(&[("host", "shop:1"), ("origin", "null")]));
        // HTTP/2 has no such header.
        let uri = Uri::from_static("http://shop:1/");
        assert!(!is_foreign(&uri, &headers(&[("origin", "http://shop:1")])));
        assert!(is_foreign(&uri, &headers(&[("origin", "http://shop:2")])));
    }
}
