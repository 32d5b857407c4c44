//! WebSockets in both protocols.

use std::net::TcpStream;

use rustix::process::Signal;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

use super::*;
use crate::support::PATIENCE;

/// A client.
pub(super) struct Socket(WebSocket<TcpStream>);

impl Socket {
    pub(super) fn open(hub: &Hub, protocol: &str) -> Self {
        Self::open_with(hub, protocol, None)
    }

    pub(super) fn open_with(hub: &Hub, protocol: &str, authorization: Option<&str>) -> Self {
        let mut request = upgrade(hub, "/graphql", protocol);
        if let Some(authorization) = authorization {
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
        }
        let (socket, response) = client(request, connect(hub)).unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
        Self(socket)
    }

    pub(super) fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message of the protocol.
    pub(super) fn hear(&mut self) -> Value {
        loop {
            match self.0.read().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    pub(super) fn init(&mut self) {
        self.say(&json!({"type": "connection_init"}));
        assert_eq!(self.hear(), json!({"type": "connection_ack"}));
    }

    /// Begins an operation.
    fn begin(&mut self, id: &str, query: &str, variables: Value) {
        self.say(&json!({"type": "subscribe", "id": id, "payload": {"query": query, "variables": variables}}));
    }

    /// Begins an operation; its first answer.
    pub(super) fn run(&mut self, id: &str, query: &str) -> Value {
        self.begin(id, query, Value::Null);
        self.hear()
    }

    /// The event of the next message.
    fn event(&mut self) -> Value {
        let mut message = self.hear();
        assert_eq!(message["payload"]["errors"], Value::Null, "{message}");
        message["payload"]["data"]["eventStream"].take()
    }

    /// The code with which the server closes; messages before it are passed over.
    pub(super) fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.0.read().unwrap() {
                return frame.unwrap().code.into();
            }
        }
    }
}

fn connect(hub: &Hub) -> TcpStream {
    let stream = TcpStream::connect(hub.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn upgrade(hub: &Hub, path: &str, protocol: &str) -> Request<()> {
    let mut request = format!("ws://{}{path}", hub.addr).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    request
}

const STREAM: &str = "subscription($after: String, $filter: EventFilter) {
    eventStream(startAfter: $after, filter: $filter) { id userId amount position } }";

#[test]
fn a_subscriber_comes_back_with_its_position_and_misses_nothing() {
    let hub = Hub::start();
    let ids: Vec<String> = (0..30).map(|number| hub.send(&event("a", number))).collect();
    let mut socket = Socket::open(&hub, "graphql-transport-ws");
    socket.init();
    socket.begin("1", STREAM, json!({"after": "first"}));
    let first: Vec<Value> = (0..10).map(|_| socket.event()).collect();
    let position = first[9]["position"].clone();
    drop(socket);
    let mut socket = Socket::open(&hub, "graphql-transport-ws");
    socket.init();
    socket.begin("again", STREAM, json!({"after": position}));
    let rest: Vec<Value> = (0..20).map(|_| socket.event()).collect();
    let seen: Vec<&str> = first.iter().chain(&rest).map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(seen, ids);
    // What comes now, and only what is wanted.
    socket.begin("b", STREAM, json!({"filter": {"userId": "b", "eventType": "purchase"}}));
    socket.say(&json!({"type": "complete", "id": "again"}));
    // An answer shows that both were heard; the subscription begins with what comes after it.
    assert_eq!(socket.run("q", "{ __typename }")["id"], "q");
    assert_eq!(socket.hear(), json!({"type": "complete", "id": "q"}));
    socket.say(&json!({"type": "ping", "payload": {"a": 1}}));
    assert_eq!(socket.hear(), json!({"type": "pong", "payload": {"a": 1}}));
    let mut number = 0;
    let wanted = loop {
        // Until one is shown: when the subscription has begun is not told.
        hub.send(&event("c", number));
        hub.send(&event("b", number));
        number += 1;
        socket.say(&json!({"type": "ping"}));
        let message = socket.hear();
        if message["type"] == "next" {
            break message;
        }
    };
    assert_eq!((&wanted["id"], &wanted["payload"]["data"]["eventStream"]["userId"]), (&json!("b"), &json!("b")));
}

#[test]
fn the_old_protocol_is_spoken_too() {
    let hub = Hub::start();
    hub.send(&event("a", 1));
    let mut socket = Socket::open(&hub, "graphql-ws");
    socket.init();
    assert_eq!(socket.hear(), json!({"type": "ka"}));
    socket.say(&json!({"type": "start", "id": "1", "payload": {"query": STREAM, "variables": {"after": "first"}}}));
    let message = socket.hear();
    assert_eq!((&message["type"], &message["payload"]["data"]["eventStream"]["userId"]), (&json!("data"), &json!("a")));
    socket.say(&json!({"type": "stop", "id": "1"}));
    assert_eq!(socket.hear(), json!({"type": "complete", "id": "1"}));
    socket.say(&json!({"type": "start", "id": "2", "payload": {"query": "{ nothing }"}}));
    let refused = socket.hear();
    assert_eq!(
        (&refused["type"], &refused["payload"]["extensions"]["code"]),
        (&json!("error"), &json!("GRAPHQL_VALIDATION_FAILED"))
    );
    let mut other = Socket::open(&hub, "graphql-ws");
    other.say(&json!({"type": "connection_init"}));
    other.say(&json!({"type": "connection_terminate"}));
    assert_eq!(other.hear(), json!({"type": "connection_ack"}));
}

#[test]
fn what_is_no_message_of_the_protocol_closes_the_connection() {
    let hub = Hub::start();
    let subscribe =
        |id: &str| json!({"type": "subscribe", "id": id, "payload": {"query": "subscription { eventStream { id } }"}});
    for (messages, code) in [
        (vec![subscribe("1")], 4401),
        (vec![json!({"type": "hello"})], 4400),
        (vec![json!([])], 4400),
        (vec![json!({"type": "connection_init"}), json!({"type": "connection_init"})], 4429),
        (vec![json!({"type": "connection_init"}), subscribe("1"), subscribe("1")], 4409),
        // Silence: 10 s.
        (vec![], 4408),
    ] {
        let mut socket = Socket::open(&hub, "graphql-transport-ws");
        messages.iter().for_each(|message| socket.say(message));
        assert_eq!(socket.closed(), code, "{messages:?}");
    }
    let mut binary = Socket::open(&hub, "graphql-transport-ws");
    binary.0.send(Message::binary(vec![1])).unwrap();
    assert_eq!(binary.closed(), 4400);
}

#[test]
fn a_connection_has_a_hundred_operations_at_the_most() {
    let hub = Hub::start();
    let mut socket = Socket::open(&hub, "graphql-transport-ws");
    socket.init();
    for number in 0..100 {
        socket.begin(&number.to_string(), "subscription { eventStream { id } }", Value::Null);
    }
    let refused = socket.run("more", "subscription { eventStream { id } }");
    assert_eq!((&refused["type"], &refused["id"]), (&json!("error"), &json!("more")));
    assert_eq!(refused["payload"][0]["extensions"]["code"], "TOO_MANY_OPERATIONS");
    socket.say(&json!({"type": "complete", "id": "7"}));
    assert_eq!(socket.run("more", "{ __typename }")["type"], "next");
}

#[test]
fn errors_of_a_subscription_have_codes() {
    let hub = Hub::start();
    let mut socket = Socket::open(&hub, "graphql-transport-ws");
    socket.init();
    for (query, code) in [
        ("subscription { eventStream(startAfter: \"x\") { id } }", "BAD_USER_INPUT"),
        ("subscription { minuteUpdates(minutes: 0) { eventCount } }", "BAD_USER_INPUT"),
        ("subscription { eventStream { id } minuteUpdates { eventCount } }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let answer = socket.run(code, query);
        let errors = if answer["type"] == "error" { &answer["payload"] } else { &answer["payload"]["errors"] };
        assert_eq!(errors[0]["extensions"]["code"], code, "{answer}");
        if answer["type"] == "next" {
            assert_eq!(socket.hear()["type"], "complete");
        }
    }
    assert_eq!(
        socket.run("m", "subscription { minuteUpdates { eventCount timeWindow } }")["payload"]["data"]["minuteUpdates"],
        json!({"eventCount": 0, "timeWindow": "last_1_minutes"})
    );
}

#[test]
fn a_stop_says_goodbye_to_subscribers() {
    let hub = Hub::start();
    let mut socket = Socket::open(&hub, "graphql-transport-ws");
    socket.init();
    socket.begin("1", "subscription { eventStream { id } }", Value::Null);
    assert_eq!(socket.run("2", "{ __typename }")["id"], "2");
    hub.process.signal(Signal::TERM);
    assert_eq!(socket.closed(), 1001);
    let ended = hub.process.wait_exit(PATIENCE);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}

#[test]
fn only_what_offers_a_protocol_of_ours_is_upgraded() {
    let hub = Hub::start();
    let key = generate_key();
    let head = |path: &str, protocol: &str, origin: &str| {
        let headers = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", key.as_str()),
            ("sec-websocket-protocol", protocol),
            ("origin", origin),
        ];
        call(hub.addr, "GET", path, &headers, "").status
    };
    let own = format!("http://{}", hub.addr);
    assert_eq!(head("/graphql", "mqtt", &own), 400);
    assert_eq!(head("/graphql", "graphql-transport-ws", "http://evil"), 403);
    assert_eq!(head("/events", "graphql-transport-ws", &own), 200, "an offer elsewhere is passed over");
    let (socket, _) = client(upgrade(&hub, "/graphql/ws", "graphql-transport-ws"), connect(&hub)).unwrap();
    let mut socket = Socket(socket);
    socket.init();
    assert_eq!(socket.run("1", "{ __typename }")["payload"]["data"]["__typename"], "Query");
}
