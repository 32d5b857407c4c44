//! The page at `/graphql`, with which a person tries operations in a browser. Its files are static, and part of the
//! program: it works without any other network than the one to the hub.

use axum::http::HeaderValue;
use axum::http::header::{REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};

use crate::base::http::page::static_file;

/// Nothing but our own files, and nothing inline.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The page.
pub(super) fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("page/index.html"))
}

/// Its script.
pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("page/page.js"))
}

/// Its looks.
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("page/page.css"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (VARY, HeaderValue::from_static("accept")),
    ];
    (headers, static_file(kind, POLICY, text)).into_response()
}
