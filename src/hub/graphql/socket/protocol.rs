//! The messages of both protocols.

use async_graphql::{Response, ServerError};
use axum::http::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::engine::Ask;

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `graphql-transport-ws`.
    Transport,
    /// `graphql-ws`, of the subscriptions-transport-ws library.
    Legacy,
}

/// A message of a client. The names of both protocols are understood in both.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientMessage {
    /// The begin of a connection; a token may be in it.
    ConnectionInit {
        #[serde(default)]
        payload: Value,
    },
    /// An operation.
    #[serde(alias = "start")]
    Subscribe { id: String, payload: Ask },
    /// The end of an operation.
    #[serde(alias = "stop")]
    Complete { id: String },
    /// Asks for a pong.
    Ping {
        #[serde(default)]
        payload: Value,
    },
    /// Answers a ping.
    Pong,
    /// The end of a connection, in the old protocol.
    ConnectionTerminate,
}

/// Why the server closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// The hub stops; clients come back.
    Stopping,
    /// The client was silent for too long.
    Silent,
    /// It is no message of the protocol.
    BadMessage,
    /// An operation came before the connection was acknowledged.
    NotInitialised,
    /// The token is none that may do anything here.
    Forbidden,
    /// There was no `connection_init` in time.
    InitTimeout,
    /// There is an operation with this id already.
    IdInUse,
    /// There was a `connection_init` already.
    InitTwice,
}

impl Protocol {
    /// The names of both, the better one first.
    pub(super) const NAMES: [&str; 2] = ["graphql-transport-ws", "graphql-ws"];

    /// The protocol of this name.
    pub(super) fn of(name: &HeaderValue) -> Option<Self> {
        match Self::NAMES.iter().position(|known| name == known)? {
            0 => Some(Self::Transport),
            _ => Some(Self::Legacy),
        }
    }

    /// The connection is acknowledged.
    pub(super) fn ack() -> String {
        json!({"type": "connection_ack"}).to_string()
    }

    /// The connection is not acknowledged; the new protocol only closes it.
    pub(super) fn refusal(self, error: &ServerError) -> Option<String> {
        (self == Self::Legacy).then(|| json!({"type": "connection_error", "payload": error}).to_string())
    }

    /// Says that the connection lives, where the protocol has a word for it.
    pub(super) fn keep_alive(self) -> Option<String> {
        (self == Self::Legacy).then(|| json!({"type": "ka"}).to_string())
    }

    /// The answer to a ping.
    pub(super) fn pong(payload: Value) -> String {
        let mut pong = json!({"type": "pong"});
        if !payload.is_null() {
            pong["payload"] = payload;
        }
        pong.to_string()
    }

    /// An answer of an operation.
    pub(super) fn next(self, id: &str, response: &Response) -> String {
        let name = if self == Self::Transport { "next" } else { "data" };
        json!({"type": name, "id": id, "payload": response}).to_string()
    }

    /// An operation that did nothing, and is over.
    pub(super) fn errors(self, id: &str, errors: &[ServerError]) -> String {
        let payload = if self == Self::Transport { json!(errors) } else { json!(errors.first()) };
        json!({"type": "error", "id": id, "payload": payload}).to_string()
    }

    /// An operation that is over.
    pub(super) fn complete(id: &str) -> String {
        json!({"type": "complete", "id": id}).to_string()
    }
}

impl Close {
    /// The code and the text of the frame. Those from 4400 on are of `graphql-transport-ws`.
    pub(super) const fn frame(self) -> (u16, &'static str) {
        match self {
            Self::Stopping => (1001, "The hub is stopping"),
            Self::Silent => (3008, "Timeout"),
            Self::BadMessage => (4400, "Invalid message"),
            Self::NotInitialised => (4401, "Unauthorized"),
            Self::Forbidden => (4403, "Forbidden"),
            Self::InitTimeout => (4408, "Connection initialisation timeout"),
            Self::IdInUse => (4409, "Subscriber already exists"),
            Self::InitTwice => (4429, "Too many initialisation requests"),
        }
    }
}
