//! One connection, from its begin to its end.

use std::ops::ControlFlow;
use std::time::Duration;

use async_graphql::Response;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_stream::StreamMap;

use super::protocol::{ClientMessage, Close, Protocol};
use crate::base::http::Caller;
use crate::hub::api::READS_OR_WRITES;
use crate::hub::graphql::engine::{Ask, Engine, is_refusal};
use crate::hub::graphql::error::of_request;

/// Operations of a connection at the same time.
const OPERATIONS_MAX: usize = 100;
/// How long a client may take for its first message.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two pings. A client of which nothing was heard since the last one is gone.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a client may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection.
pub(super) struct Session {
    socket: WebSocket,
    engine: Engine,
    protocol: Protocol,
    caller: Caller,
    is_ready: bool,
    /// Whether anything came since the last ping.
    is_heard: bool,
    operations: StreamMap<String, BoxStream<'static, Item>>,
}

/// What comes of an operation.
enum Item {
    Answer(Box<Response>),
    End,
}

/// What happens next on a connection.
enum Next {
    Stop,
    Late,
    Came(Option<Result<Message, axum::Error>>),
    Answer(String, Item),
    Ping,
}

/// Whether a connection goes on; a break with nothing means that the client is gone.
type Flow = ControlFlow<Option<Close>>;

impl Session {
    pub(super) fn new(socket: WebSocket, engine: Engine, protocol: Protocol, caller: Caller) -> Self {
        let operations = StreamMap::new();
        Self { socket, engine, protocol, caller, is_ready: false, is_heard: true, operations }
    }

    /// Serves the connection until one side ends it.
    pub(super) async fn run(mut self) {
        let Some(close) = self.talk().await else { return };
        // What was begun ends now, not when the client has answered.
        self.operations.clear();
        let (code, reason) = close.frame();
        let frame = CloseFrame { code, reason: reason.into() };
        let goodbye = async {
            if self.socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
        };
        if timeout(CLOSE_TIMEOUT, goodbye).await.is_err() {
            log::debug!("a WebSocket was closed without an answer");
        }
    }

    async fn talk(&mut self) -> Option<Close> {
        let stop = self.engine.api().stop().clone();
        let begun = Instant::now();
        let mut pings = interval_at(begun + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                biased;
                () = stop.requested() => Next::Stop,
                () = sleep_until(begun + INIT_TIMEOUT), if !self.is_ready => Next::Late,
                message = self.socket.recv() => Next::Came(message),
                Some((id, item)) = self.operations.next(), if !self.operations.is_empty() => Next::Answer(id, item),
                _ = pings.tick() => Next::Ping,
            };
            let flow = match next {
                Next::Stop => Flow::Break(Some(Close::Stopping)),
                Next::Late => Flow::Break(Some(Close::InitTimeout)),
                // The end of an operation at the stop is not its completion.
                Next::Answer(_, Item::End) if stop.is_requested() => Flow::Break(Some(Close::Stopping)),
                Next::Came(message) => self.came(message).await,
                Next::Answer(id, item) => self.answer(&id, item).await,
                Next::Ping => self.ping().await,
            };
            if let Flow::Break(close) = flow {
                return close;
            }
        }
    }

    async fn came(&mut self, message: Option<Result<Message, axum::Error>>) -> Flow {
        self.is_heard = true;
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            // The library answers pings.
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Flow::Continue(()),
            Some(Ok(Message::Binary(_))) => return Flow::Break(Some(Close::BadMessage)),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Flow::Break(None),
        };
        match serde_json::from_str(text.as_str()) {
            Ok(ClientMessage::ConnectionInit { payload }) => self.init(&payload).await,
            Ok(ClientMessage::Subscribe { .. } | ClientMessage::Complete { .. }) if !self.is_ready => {
                Flow::Break(Some(Close::NotInitialised))
            }
            Ok(ClientMessage::Subscribe { id, payload }) => self.begin(id, payload).await,
            Ok(ClientMessage::Complete { id }) => self.end(&id).await,
            Ok(ClientMessage::Ping { payload }) => self.say(Protocol::pong(payload)).await,
            Ok(ClientMessage::Pong) => Flow::Continue(()),
            Ok(ClientMessage::ConnectionTerminate) => Flow::Break(None),
            Err(_) => Flow::Break(Some(Close::BadMessage)),
        }
    }

    /// The first message. A token in it is stronger than one of the request: browsers cannot set headers.
    async fn init(&mut self, payload: &Value) -> Flow {
        if self.is_ready {
            return Flow::Break(Some(Close::InitTwice));
        }
        if let Some(credentials) = credentials(payload) {
            self.caller = self.engine.api().callers().of_credentials(credentials.as_bytes());
        }
        if let Err(refusal) = self.engine.require(self.caller, READS_OR_WRITES) {
            if let Some(text) = self.protocol.refusal(&refusal.error) {
                self.say(text).await?;
            }
            return Flow::Break(Some(Close::Forbidden));
        }
        self.is_ready = true;
        self.say(Protocol::ack()).await?;
        self.keep_alive().await
    }

    async fn begin(&mut self, id: String, ask: Ask) -> Flow {
        if self.operations.contains_key(&id) {
            return Flow::Break(Some(Close::IdInUse));
        }
        if self.operations.len() >= OPERATIONS_MAX {
            let detail = format!("{OPERATIONS_MAX} operations of this connection are open; end one of them");
            let error = of_request("TOO_MANY_OPERATIONS", detail);
            return self.say(self.protocol.errors(&id, &[error])).await;
        }
        match self.engine.prepare(ask, self.caller) {
            Ok(operation) => {
                let answers = self.engine.stream(operation).map(|answer| Item::Answer(Box::new(answer)));
                let items = answers.chain(stream::once(std::future::ready(Item::End)));
                drop(self.operations.insert(id, items.boxed()));
                Flow::Continue(())
            }
            Err(refusal) => self.say(self.protocol.errors(&id, &[*refusal.error])).await,
        }
    }

    /// The client ends an operation. In the old protocol that is answered.
    async fn end(&mut self, id: &str) -> Flow {
        if self.operations.remove(id).is_some() && self.protocol == Protocol::Legacy {
            return self.say(Protocol::complete(id)).await;
        }
        Flow::Continue(())
    }

    async fn answer(&mut self, id: &str, item: Item) -> Flow {
        match item {
            Item::Answer(response) if is_refusal(&response) => {
                drop(self.operations.remove(id));
                self.say(self.protocol.errors(id, &response.errors)).await
            }
            Item::Answer(response) => self.say(self.protocol.next(id, &response)).await,
            Item::End => {
                drop(self.operations.remove(id));
                self.say(Protocol::complete(id)).await
            }
        }
    }

    async fn ping(&mut self) -> Flow {
        if !std::mem::take(&mut self.is_heard) {
            return Flow::Break(Some(Close::Silent));
        }
        self.send(Message::Ping(Vec::new().into())).await?;
        self.keep_alive().await
    }

    async fn keep_alive(&mut self) -> Flow {
        match self.protocol.keep_alive() {
            Some(text) if self.is_ready => self.say(text).await,
            _ => Flow::Continue(()),
        }
    }

    async fn say(&mut self, text: String) -> Flow {
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Flow {
        match self.socket.send(message).await {
            Ok(()) => Flow::Continue(()),
            Err(_) => Flow::Break(None),
        }
    }
}

/// The credentials of a first message: `{"authorization": "Bearer TOKEN"}`, the name in any case.
fn credentials(payload: &Value) -> Option<&str> {
    let (_, value) = payload.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    value.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn credentials_are_found_by_their_name_and_nothing_else_is_taken_for_them() {
        assert_eq!(credentials(&json!({"Authorization": "bearer  abc "})), Some("bearer  abc "));
        assert_eq!(credentials(&json!({"authorization": "Basic abc"})), Some("Basic abc"));
        let none = [json!({}), json!(null), json!({"authorization": 1})];
        assert!(none.iter().all(|payload| credentials(payload).is_none()));
    }
}
