//! Requests that ask for another protocol on their connection: `Upgrade` on HTTP/1.1, and CONNECT.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::UPGRADE;
use axum::http::{Method, StatusCode};
use hyper::upgrade::OnUpgrade;

use super::problem::Problem;

/// Whether a request asks for another protocol. An offer to speak HTTP/2 is none: some clients make it with every first
/// request, and may be answered as if they had not.
pub(super) fn asks(request: &Request) -> bool {
    let is_other = |name: &str| !name.trim().eq_ignore_ascii_case("h2c");
    let named = request.headers().get_all(UPGRADE).iter();
    let mut named = named.flat_map(|names| names.to_str().unwrap_or("?").split(','));
    request.method() == Method::CONNECT || (can(request) && named.any(is_other))
}

/// Whether a handler could change the protocol.
fn can(request: &Request) -> bool {
    request.extensions().get::<OnUpgrade>().is_some()
}

/// Takes from the handler what it needs for changing the protocol.
pub(super) fn take_away(request: &mut Request) {
    drop(request.extensions_mut().remove::<OnUpgrade>());
}

/// What follows the head of such a request belongs to the other protocol; a body would be taken for a part of it.
///
/// # Errors
/// `no_upgrade`: there is a body.
pub(super) fn check_body(body: &Body) -> Result<(), Problem> {
    if body.is_end_stream() { Ok(()) } else { Err(refused("a request for another protocol must have no body")) }
}

/// 400 `no_upgrade`.
pub(super) fn refused(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "no_upgrade", detail)
}
