//! Server-sent events.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use super::*;
use crate::support::PATIENCE;

const ACCEPT: (&str, &str) = ("accept", "text/event-stream");

/// A stream of events.
struct Stream(BufReader<TcpStream>);

impl Stream {
    /// Asks, and reads the head of the answer.
    fn open(hub: &Hub, request: &str) -> Self {
        let mut stream = TcpStream::connect(hub.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(stream));
        assert!(stream.line().starts_with("HTTP/1.1 200"));
        let mut is_events = false;
        loop {
            let line = stream.line().to_lowercase();
            is_events |= line.starts_with("content-type: text/event-stream");
            if line.is_empty() {
                break;
            }
        }
        assert!(is_events);
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The name and the data of the next event; nothing at the end. Sizes of chunks are passed over.
    fn next(&mut self) -> Option<(String, String)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(value) = line.strip_prefix("event:") {
                name = value.trim().to_owned();
            } else if let Some(value) = line.strip_prefix("data:") {
                return Some((name, value.trim().to_owned()));
            }
        }
    }
}

fn get(hub: &Hub, query: &str) -> String {
    let query = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
    format!("GET /graphql?query={query} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n", hub.addr)
}

#[test]
fn a_subscription_comes_as_events_until_the_stop() {
    let hub = Hub::start();
    let ids: Vec<String> = (0..3).map(|number| hub.send(&event("a", number))).collect();
    let query = "subscription { eventStream(startAfter: \"first\") { id } }";
    let body = json!({"query": query}).to_string();
    let post = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        hub.addr,
        body.len()
    );
    let mut streams = [Stream::open(&hub, &get(&hub, query)), Stream::open(&hub, &post)];
    for stream in &mut streams {
        for id in &ids {
            let (name, data) = stream.next().unwrap();
            let data: Value = serde_json::from_str(&data).unwrap();
            assert_eq!((name.as_str(), &data), ("next", &json!({"data": {"eventStream": {"id": id}}})));
        }
    }
    hub.process.signal(Signal::TERM);
    for stream in &mut streams {
        assert_eq!(stream.next(), None, "it is not complete: the client comes back");
    }
    assert_eq!(hub.process.wait_exit(PATIENCE).status.code(), Some(0));
}

#[test]
fn what_has_one_answer_is_complete_after_it() {
    let hub = Hub::start();
    let answer = hub.post("/graphql", &json!({"query": "{ __typename }"}), &[ACCEPT]);
    let expected = "event: next\ndata: {\"data\":{\"__typename\":\"Query\"}}\n\nevent: complete\ndata: null\n\n";
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    let ended =
        hub.post("/graphql", &json!({"query": "subscription { eventStream(startAfter: \"x\") { id } }"}), &[ACCEPT]);
    assert!(
        ended.body.contains("BAD_USER_INPUT") && ended.body.ends_with("event: complete\ndata: null\n\n"),
        "{ended:?}"
    );
}
