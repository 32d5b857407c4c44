//! GraphQL over WebSockets: many operations on one connection, in the protocol `graphql-transport-ws` or its predecessor
//! `graphql-ws`.

mod protocol;
mod session;

use axum::extract::WebSocketUpgrade;
use axum::response::Response;

use self::protocol::Protocol;
use self::session::Session;
use super::engine::Engine;
use crate::base::http::{Caller, Problem};

/// Bytes of a message of a client.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Changes the protocol of a connection. `caller` is who sent the request: a token may follow.
///
/// # Errors
/// `no_upgrade`: the client offers none of the protocols.
pub(super) fn open(engine: Engine, caller: Caller, upgrade: WebSocketUpgrade) -> Result<Response, Problem> {
    let upgrade =
        upgrade.protocols(Protocol::NAMES).max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    let Some(protocol) = upgrade.selected_protocol().and_then(Protocol::of) else {
        return Err(refused(format!("Sec-WebSocket-Protocol must name one of {}", Protocol::NAMES.join(", "))));
    };
    Ok(upgrade.on_upgrade(move |socket| Session::new(socket, engine, protocol, caller).run()))
}

/// 400: the request is none for a WebSocket of this route.
pub(super) fn refused(detail: impl Into<String>) -> Problem {
    Problem::new(axum::http::StatusCode::BAD_REQUEST, "no_upgrade", detail)
}
