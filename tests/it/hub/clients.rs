//! Clients of a real hub: subscribers that come back, tokens, bodies that are too much, and a stop.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use shopctl::hub::grpc::pb::event_hub::event_hub_client::EventHubClient;
use shopctl::hub::grpc::pb::event_hub::{AggregatedMetricsRequest, Event, LastEventsRequest, SubscribeRequest};
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::PATIENCE;
use crate::api::process::{Apid, call};
use crate::support::eventually;

fn purchase(user: &str, amount: u32) -> String {
    json!({"user_id": user, "event_type": "purchase", "amount": amount, "timestamp": "2024-01-15T10:30:00Z"})
        .to_string()
}

/// A stream of server-sent events.
struct Stream(BufReader<TcpStream>);

/// An event of a stream: its name, its id and its data.
#[derive(Debug, Default, PartialEq)]
struct Sent {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    fn open(addr: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
        while line.trim() != "" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        Self(reader)
    }

    /// The next event; nothing at the end. The lines of the chunks around it are passed over: they have no colon.
    fn next(&mut self) -> Option<Sent> {
        let mut sent = Sent::default();
        let mut line = String::new();
        while self.0.read_line(&mut line).unwrap() > 0 {
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => sent.id = id.to_owned(),
                Some(("event", name)) => sent.name = name.to_owned(),
                Some(("data", data)) => {
                    sent.data = serde_json::from_str(data).unwrap();
                    return Some(sent);
                }
                _ => {}
            }
            line.clear();
        }
        None
    }

    fn amounts(&mut self, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.next().unwrap().data["amount"].as_u64().unwrap()).collect()
    }
}

#[test]
fn a_subscriber_that_comes_back_misses_nothing() {
    let hub = Apid::start_role("hub");
    for amount in 1..=20 {
        assert_eq!(hub.post("/events", &purchase("a", amount)).status, 200);
    }
    let mut first = Stream::open(hub.addr(), "/events/stream?after=first", "");
    assert_eq!(first.amounts(7), (1..=7).collect::<Vec<_>>());
    let last = first.next().unwrap();
    assert_eq!((last.data["position"].as_str(), last.data["amount"].as_u64()), (Some(last.id.as_str()), Some(8)));
    drop(first);
    hub.post("/events", &purchase("b", 21));
    let header = format!("last-event-id: {}\r\n", last.id);
    let mut back = Stream::open(hub.addr(), "/events/stream?after=first", &header);
    assert_eq!(back.amounts(13), (9..=21).collect::<Vec<_>>(), "the header is stronger than the parameter");
    let mut of_b = Stream::open(hub.addr(), "/events/stream?after=first&user_id=b", "");
    assert_eq!(of_b.amounts(1), [21]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = client(hub.addr()).await;
        let after = last.id.clone();
        let request = SubscribeRequest { after, user_id: String::new(), event_types: vec!["purchase".into()] };
        let mut events = client.subscribe(request).await.unwrap().into_inner();
        for amount in 9..=21 {
            assert_eq!(events.message().await.unwrap().unwrap().amount, amount.to_string());
        }
        let last = client.last_events(LastEventsRequest { limit: 1, ..LastEventsRequest::default() }).await.unwrap();
        assert_eq!(last.into_inner().events.len(), 1);
    });
    for wrong in ["after=nowhere", "after=15_", "limit=1", "event_type=P"] {
        let answer = hub.get(&format!("/events/stream?{wrong}"));
        assert_eq!(answer.status, 422, "{wrong}: {answer:?}");
    }
}

async fn client(addr: SocketAddr) -> EventHubClient<Channel> {
    let channel = Channel::from_shared(format!("http://{addr}")).unwrap();
    EventHubClient::new(channel.connect().await.unwrap())
}

#[test]
fn a_stop_ends_all_streams_at_once_and_well() {
    let mut hub = Apid::start_role("hub");
    let mut sse = Stream::open(hub.addr(), "/events/stream", "");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut events, mut acks) = runtime.block_on(async {
        let mut client = client(hub.addr()).await;
        let events = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
        let endless = futures_util::stream::pending::<Event>();
        (events, client.publish(endless).await.unwrap().into_inner())
    });
    hub.terminate();
    assert_eq!(sse.next(), None);
    let ends = runtime.block_on(async { (events.message().await, acks.message().await) });
    assert_eq!(ends.0.unwrap_err().code(), Code::Unavailable);
    assert_eq!(ends.1.unwrap_err().code(), Code::Unavailable);
    assert_eq!(hub.wait().code(), Some(0));
}

const WRITER: &str = "writer-0123456789abcdef";
const READER: &str = "reader-0123456789abcdef";

#[test]
fn with_tokens_writers_write_and_readers_read_at_every_door() {
    let hub = Apid::start_with(
        "hub",
        &["auth.hub_writer=writer-0123456789abcdef", "auth.hub_reader=reader-0123456789abcdef"],
    );
    let bearer = |token: &str| format!("Bearer {token}");
    let ask = |method: &str, path: &str, token: Option<&str>| {
        let value = token.map(bearer);
        let headers: Vec<(&str, &str)> = value.iter().map(|value| ("authorization", value.as_str())).collect();
        let body = if method == "POST" { purchase("a", 1) } else { String::new() };
        call(hub.addr(), method, path, &headers, &body).status
    };
    for (method, path, writer, reader) in [
        ("POST", "/events", 200, 403),
        ("POST", "/events/batch", 400, 403),
        ("GET", "/events", 403, 200),
        ("GET", "/metrics/minutes", 403, 200),
        ("GET", "/events/01a22430-be3c-7794-a9e2-1709fe7527ad", 403, 404),
        ("GET", "/events/stream?after=no", 403, 422),
        // The method of HTTP does not make a call of gRPC one that only reads.
        ("GET", "/event_hub.v1.EventHub/SendEvent", 405, 403),
        ("POST", "/event_hub.v1.EventHub/Unknown", 403, 403),
    ] {
        assert_eq!(ask(method, path, None), 401, "{method} {path}");
        assert_eq!(ask(method, path, Some("other-0123456789abcdef")), 401, "{method} {path}");
        assert_eq!(
            (ask(method, path, Some(WRITER)), ask(method, path, Some(READER))),
            (writer, reader),
            "{method} {path}"
        );
    }
    for open in ["/health", "/ready", "/version", "/metrics", "/openapi.json"] {
        assert_eq!(ask("GET", open, None), 200, "{open}");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = client(hub.addr()).await;
        for (token, writes, reads) in [
            (None, Some(Code::Unauthenticated), Some(Code::Unauthenticated)),
            (Some(WRITER), None, Some(Code::PermissionDenied)),
            (Some(READER), Some(Code::PermissionDenied), None),
        ] {
            let event: Event = Event {
                user_id: "a".into(),
                event_type: "purchase".into(),
                amount: "1".into(),
                timestamp: "2024-01-15T10:30:00Z".into(),
                ..Event::default()
            };
            let sent = client.send_event(with(token, event.clone())).await;
            assert_eq!(sent.err().map(|status| status.code()), writes, "{token:?}");
            let published = client.publish(with(token, futures_util::stream::iter([event]))).await;
            assert_eq!(published.err().map(|status| status.code()), writes, "{token:?}");
            let totals = client.aggregated_metrics(with(token, AggregatedMetricsRequest::default())).await;
            assert_eq!(totals.err().map(|status| status.code()), reads, "{token:?}");
            let events = client.subscribe(with(token, SubscribeRequest::default())).await;
            assert_eq!(events.err().map(|status| status.code()), reads, "{token:?}");
        }
    });
}

fn with<T>(token: Option<&str>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

/// One call with a body of bytes.
fn post_bytes(addr: SocketAddr, path: &str, headers: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses a large body may stop reading it; its answer is what counts.
    stream.write_all(body).ok();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn packed_bodies_are_unpacked_and_bombs_are_not() {
    let hub = Apid::start_role("hub");
    let packed = |bytes: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        bytes.for_each(|piece| encoder.write_all(&piece).unwrap());
        encoder.finish().unwrap()
    };
    let lines = packed(&mut (0..100).map(|amount| format!("{}\n", purchase("a", amount)).into_bytes()));
    let headers = "content-type: application/x-ndjson\r\ncontent-encoding: gzip\r\n";
    assert_eq!(post_bytes(hub.addr(), "/events/batch", headers, &lines), 200);
    let bomb = packed(&mut (0..64).map(|_| vec![b' '; 1024 * 1024]));
    assert!(bomb.len() < 100_000);
    for path in ["/events", "/events/batch"] {
        assert_eq!(post_bytes(hub.addr(), path, headers, &bomb), 413, "{path}");
    }
    assert_eq!(post_bytes(hub.addr(), "/events/batch", headers, b"no gzip"), 400);
    assert_eq!(post_bytes(hub.addr(), "/events/batch", "content-encoding: br\r\n", b"x"), 415);
    assert_eq!(hub.get("/events?limit=200").json()["items"].as_array().unwrap().len(), 100);
}

#[test]
fn a_batch_of_too_many_is_refused_before_any_of_it_is_read() {
    let hub = Apid::start_role("hub");
    let many = format!("[{}1]", "1,".repeat(4_000_000));
    let lines = "1\n".repeat(20_000);
    for (media, body) in [("application/json", &many), ("application/x-ndjson", &lines)] {
        let answer = call(hub.addr(), "POST", "/events/batch", &[("content-type", media)], body);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("too_large")), "{media}");
    }
    let name = "x".repeat(8_000_000);
    let answer = hub.post("/events", &format!("{{\"{name}\":1}}"));
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (422, Some("field_unknown")));
    assert!(answer.body.len() < 2_000, "what a caller sent is not sent back whole");
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let hub = Apid::start_role("hub");
    let lines: String =
        (0..25).map(|amount| format!("{}\n", purchase(["a", "b"][amount as usize % 2], amount))).collect();
    assert_eq!(
        call(hub.addr(), "POST", "/events/batch", &[("content-type", "application/x-ndjson")], &lines).status,
        200
    );
    for order in ["newest", "oldest"] {
        let (mut amounts, mut after) = (Vec::new(), String::new());
        loop {
            let page = hub.get(&format!("/events?limit=10&order={order}{after}")).json();
            amounts.extend(page["items"].as_array().unwrap().iter().map(|event| event["amount"].as_u64().unwrap()));
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        let expected: Vec<u64> = if order == "oldest" { (0..25).collect() } else { (0..25).rev().collect() };
        assert_eq!(amounts, expected, "{order}");
    }
    let of_b = hub.get("/events?user_id=b&event_type=purchase").json();
    assert_eq!(of_b["items"].as_array().unwrap().len(), 12);
    for wrong in ["limit=0", "limit=201", "after=x", "from=yesterday", "order=up", "user=b"] {
        assert_eq!(hub.get(&format!("/events?{wrong}")).status, 422, "{wrong}");
    }
}

#[test]
fn minutes_are_counted_by_the_role_beside_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let shared = format!("shared.dir={}", folder.path().display());
    let (hub, _minutes) = (Apid::start_with("hub", &[&shared]), Apid::start_with("hub-metrics", &[&shared]));
    for amount in 1..=10 {
        hub.post("/events", &purchase("a", amount));
    }
    let path = "/metrics/minutes?from=2024-01-15T10:30:00Z&to=2024-01-15T10:31:00Z";
    eventually("all are counted", PATIENCE, || hub.get(path).json()["items"][0]["count"] == 10);
    let minute = hub.get(path).json()["items"][0].clone();
    assert_eq!((&minute["sum"], &minute["min"], &minute["max"]), (&json!(55), &json!(1), &json!(10)));
    assert_eq!(minute["minute"], "2024-01-15T10:30:00Z");
}
