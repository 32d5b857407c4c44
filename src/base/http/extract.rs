//! Extractors for JSON bodies, raw bodies, queries, paths and page sizes. They answer bad input with a problem.

use std::error::Error;

use axum::RequestExt;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tower_http::timeout::TimeoutError;

use super::problem::Problem;

/// Items per page, if the client does not say.
const PAGE: u32 = 100;
/// Items per page at the most.
const PAGE_MAX: u32 = 1000;

/// A JSON body, whatever its content type says: clients of the seeds post without one.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

/// A whole body as it came.
#[derive(Debug, Clone)]
pub struct Whole(pub Bytes);

/// The query string.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

/// The parameters of the path; one that does not parse names nothing, so it is a 404.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Whole(bytes) = Whole::from_request(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|fault| match fault.classify() {
            Category::Data => Problem::invalid(fault.to_string()),
            Category::Syntax | Category::Eof | Category::Io => Problem::bad_request(fault.to_string()),
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = request.into_limited_body();
        body.collect().await.map(|body| Self(body.to_bytes())).map_err(|fault| body_problem(&fault))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(fault) => Err(Problem::invalid(fault.body_text())),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(_) => Err(Problem::not_found("this path")),
        }
    }
}

/// What a fault while reading a body means: too large (413), too slow (408), or broken off (400).
pub fn body_problem(fault: &(dyn Error + 'static)) -> Problem {
    let mut cause = Some(fault);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Problem::too_large();
        }
        if error.is::<TimeoutError>() {
            return Problem::body_timeout();
        }
        cause = error.source();
    }
    Problem::new(StatusCode::BAD_REQUEST, "bad_body", "the body could not be read to its end")
}

/// The items of a page: what the client asked for, 100 if it did not say.
///
/// # Errors
/// `invalid`: none, or more than 1000.
pub fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(PAGE) {
        limit if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::invalid(format!("limit must be from 1 to {PAGE_MAX}"))),
    }
}
