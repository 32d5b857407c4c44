//! The page at `/`, which shows the state of the pipeline to an operator. Its files are static; the numbers come from
//! the API.

use axum::http::HeaderValue;
use axum::response::Response;

use crate::base::http::page::static_file;

/// Nothing but our own files, and nothing inline.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'",
);

/// The page.
pub(super) async fn page() -> Response {
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
    static_file(kind, POLICY, text)
}
