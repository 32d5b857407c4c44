//! Errors as `application/problem+json` (RFC 9457): a stable code for programs, a sentence for people.
//!
//! A problem also travels in the response's extensions, so that the outermost layer can add the request id.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The code of a role that cannot do its work now: expected for a while, so the log says nothing of it.
pub(super) const NOT_READY: &str = "not_ready";

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable short name of what went wrong, in snake case.
    pub code: &'static str,
    /// One sentence about this occurrence, fit for strangers.
    pub detail: String,
    /// The key that it is about, where it is about one of those that were sent.
    pub key: Option<String>,
    /// The code of the rule that was broken, where there are several.
    pub reason: Option<&'static str>,
    /// What only the log is told, with the id of the request.
    pub cause: Option<String>,
}

/// A problem as it is written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody<'a> {
    /// `urn:shopctl:problem:` and the code.
    pub r#type: String,
    /// The status in words.
    pub title: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// The stable short name of what went wrong.
    pub code: &'a str,
    /// One sentence about this occurrence.
    pub detail: &'a str,
    /// The key that it is about, where it is about one of those that were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The code of the rule that was broken, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The id to look for in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of any status; the constructors below cover the usual ones.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), key: None, reason: None, cause: None }
    }

    /// 400 `bad_json`: the body is not JSON.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_json", detail)
    }

    /// 401 `unauthorized`: no token, or an unknown one. The detail names the principals that may make the call.
    pub fn unauthorized(needed: impl std::fmt::Display) -> Self {
        let detail = format!("this call needs a token, that of {needed}: send it as 'Authorization: Bearer TOKEN'");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// 403 `forbidden`: a known token that does not open this call.
    pub fn forbidden(principal: &str, needed: impl std::fmt::Display) -> Self {
        let detail = format!("the token is that of {principal}; this call needs that of {needed}");
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 422 `invalid`: understood, and wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// 404 `not_found`; `what` begins the sentence, such as "task 20250101000000/3".
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} does not exist"))
    }

    /// 409 with a code of its own.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 413 `too_large`.
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than allowed here")
    }

    /// 408 `body_timeout`: the body took too long to arrive.
    pub fn body_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body took too long to arrive")
    }

    /// 405 `method_not_allowed`.
    pub fn method_not_allowed() -> Self {
        let detail = "this path does not know the method; the Allow header lists those it knows";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// 503 `unavailable`, with the advice to come again in a second.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// 500 `internal`; the client never sees the cause.
    pub fn internal() -> Self {
        let detail = "something went wrong here; the log has the cause under the request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// The same with what the log is to say of it.
    #[must_use]
    pub fn because(self, cause: impl std::fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// What is known when a layer or a library answered with nothing but a status.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found("this path"),
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(),
            StatusCode::REQUEST_TIMEOUT => Self::body_timeout(),
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable("not available at present"),
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid("the request is understood but not acceptable"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(status, "unsupported_media_type", "this content type is not accepted here")
            }
            _ if status.is_server_error() => Self { status, ..Self::internal() },
            _ => Self::new(status, "refused", "the request is not acceptable"),
        }
    }

    /// Writes this problem over a response, keeping headers such as Allow.
    pub(super) fn write_over(&self, response: &mut Response, request_id: Option<&str>) {
        let body = ProblemBody {
            r#type: format!("urn:shopctl:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            key: self.key.as_deref(),
            reason: self.reason,
            request_id,
        };
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.remove(CONTENT_LENGTH);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Strings and a number always serialize.
        *response.body_mut() = Body::from(serde_json::to_vec(&body).unwrap_or_default());
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        self.write_over(&mut response, None);
        response.extensions_mut().insert(self);
        response
    }
}
