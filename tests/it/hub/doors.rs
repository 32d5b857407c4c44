//! The doors of a real hub: the same event gets the same verdict at each of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shopctl::hub::grpc::pb::event_hub::Event;
use shopctl::hub::grpc::pb::event_hub::event_hub_client::EventHubClient;
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::api::process::{Apid, call};

/// A hub with the clients of its doors.
struct Doors {
    hub: Apid,
    runtime: Runtime,
    grpc: EventHubClient<Channel>,
}

/// The reason code of a refusal; nothing for an event that is taken.
type Verdict = Option<String>;

impl Doors {
    fn open() -> Self {
        let hub = Apid::start_role("hub");
        let runtime = Runtime::new().unwrap();
        let channel = Channel::from_shared(format!("http://{}", hub.addr())).unwrap();
        let grpc = EventHubClient::new(runtime.block_on(channel.connect()).unwrap());
        Self { hub, runtime, grpc }
    }

    fn rest(&self, media: &str, headers: &[(&str, &str)], body: &str) -> Verdict {
        let headers: Vec<_> = [("content-type", media)].into_iter().chain(headers.iter().copied()).collect();
        let answer = call(self.hub.addr(), "POST", "/events", &headers, body);
        match answer.status {
            200 => None,
            422 => Some(answer.json()["reason"].as_str().unwrap_or("no reason").to_owned()),
            _ => panic!("{body}: {answer:?}"),
        }
    }

    /// The verdicts of a batch, in its order.
    fn batch(&self, media: &str, body: &str, events: usize) -> Vec<Verdict> {
        let answer = call(self.hub.addr(), "POST", "/events/batch", &[("content-type", media)], body);
        let answer = answer.json();
        let mut verdicts = vec![None; events];
        for rejected in answer["rejected"].as_array().unwrap() {
            let index = usize::try_from(rejected["index"].as_u64().unwrap()).unwrap();
            verdicts[index] = Some(rejected["reason"].as_str().unwrap().to_owned());
        }
        assert_eq!(
            answer["ids"].as_array().unwrap().len(),
            verdicts.iter().filter(|verdict| verdict.is_none()).count()
        );
        verdicts
    }

    fn send(&mut self, event: Event) -> Verdict {
        let sent = self.runtime.block_on(self.grpc.send_event(event));
        sent.map(drop).map_err(|status| reason(&status)).err()
    }

    fn publish(&mut self, events: Vec<Event>) -> Vec<Verdict> {
        let marked = events.into_iter().enumerate().map(|(at, event)| Event { r#ref: at.to_string(), ..event });
        let stream = futures_util::stream::iter(marked.collect::<Vec<_>>());
        self.runtime.block_on(async {
            let mut acks = self.grpc.publish(stream).await.unwrap().into_inner();
            let mut verdicts = Vec::new();
            while let Some(ack) = acks.message().await.unwrap() {
                assert_eq!(ack.r#ref, verdicts.len().to_string(), "acknowledged in order");
                assert_eq!(ack.id.is_empty(), !ack.reason.is_empty());
                verdicts.push(Some(ack.reason).filter(|reason| !reason.is_empty()));
            }
            verdicts
        })
    }

    fn summary(&mut self, events: Vec<Event>) -> BTreeMap<u64, String> {
        let stream = futures_util::stream::iter(events);
        let summary = self.runtime.block_on(self.grpc.send_events(stream)).unwrap().into_inner();
        summary.rejections.into_iter().map(|rejection| (rejection.index, rejection.reason)).collect()
    }
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let violation = &details.bad_request().unwrap_or_else(|| panic!("{status:?}")).field_violations[0];
    let is_reused = violation.reason == "idempotency_key_reused";
    let expected = if is_reused { Code::AlreadyExists } else { Code::InvalidArgument };
    assert_eq!(status.code(), expected, "{status:?}");
    violation.reason.clone()
}

/// The fields of an event, all of them text, as every door can carry them.
type Fields = BTreeMap<&'static str, String>;

fn fields(changes: &[(&'static str, &str)]) -> Fields {
    let plain = [
        ("user_id", "user123"),
        ("event_type", "purchase"),
        ("amount", "150.75"),
        ("timestamp", "2024-01-15T10:30:00Z"),
    ];
    let all = plain.into_iter().chain(changes.iter().copied());
    all.map(|(name, value)| (name, value.to_owned())).collect()
}

fn as_json(fields: &Fields) -> Value {
    let mut object = json!({});
    for (name, value) in fields {
        // What is an object stays one; an amount is a string of digits.
        let value = if *name == "attributes" { serde_json::from_str(value).unwrap() } else { json!(value) };
        object[*name] = value;
    }
    object
}

fn as_message(fields: &Fields) -> Event {
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    Event {
        user_id: field("user_id"),
        event_type: field("event_type"),
        amount: field("amount"),
        timestamp: field("timestamp"),
        idempotency_key: field("idempotency_key"),
        attributes: field("attributes"),
        ..Event::default()
    }
}

/// Two hundred events, most of them with something that may be wrong.
fn table() -> Vec<Fields> {
    let deep = format!("{}{}", "{\"a\":".repeat(8), "1}".to_owned() + &"}".repeat(7));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(9000));
    let (long, longest) = ("u".repeat(129), "ü".repeat(128));
    let (key, keys) = ("k".repeat(256), "k".repeat(255));
    let users = ["u", "ü 1", "a\tb", "a\u{7f}", &long, &longest, "\u{202e}x"];
    let types = ["return", "refund", "Purchase", "sale", " purchase", "purchase\n"];
    let amounts = [
        "0",
        "0.0001",
        "0.00001",
        "-1",
        "-0.0",
        "1e3",
        "1E-4",
        "1000000000000",
        "1000000000000.1",
        "1e13",
        "abc",
        "1,5",
        " 1",
        "1 ",
        "+1",
        "0x10",
        "NaN",
        "Infinity",
        "01",
        "1.",
        ".5",
        "99999999999999999999999999",
        "1_000",
        "１",
    ];
    let times = [
        "2024-01-15T10:30:00",
        "2024-01-15T13:30:00+03:00",
        "2024-01-15 10:30:00Z",
        "2024-01-15",
        "2024-02-30T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2024-01-15T24:00:00Z",
        "yesterday",
        "2024-01-15T10:30:00.123456789Z",
        "2024-01-15T23:59:60Z",
        "1705314600",
        "2024-01-15T10:30Z",
    ];
    let keyed = ["a", "a b", "ä", &key, &keys, "\u{1}"];
    let attributes = ["{}", r#"{"a":[1,2,{"b":null}]}"#, &deep, &large];
    let mut table = vec![fields(&[])];
    let columns: [(&'static str, &[&str]); 6] = [
        ("user_id", &users),
        ("event_type", &types),
        ("amount", &amounts),
        ("timestamp", &times),
        ("idempotency_key", &keyed),
        ("attributes", &attributes),
    ];
    for (at, (name, values)) in columns.iter().enumerate() {
        table.extend(values.iter().map(|value| fields(&[(*name, value)])));
        // Two at once: which of them is named must be the same everywhere.
        for (other, others) in &columns[at + 1..] {
            let pairs = values.iter().zip(others.iter().rev().cycle()).take(16);
            table.extend(pairs.map(|(value, second)| fields(&[(*name, value), (*other, second)])));
        }
    }
    // A key stands for one event, so that each event needs its own at each door; the first to come would win otherwise.
    table.truncate(200);
    table
}

/// The same with keys that no other door has used.
fn own_keys(table: &[Fields], door: &str) -> Vec<Fields> {
    let mut table = table.to_vec();
    for (at, fields) in table.iter_mut().enumerate() {
        if let Some(key) = fields.get_mut("idempotency_key")
            && key.len() < 100
        {
            key.push_str(&format!("{door}{at}"));
        } else if let Some(key) = fields.get_mut("idempotency_key")
            && key.len() == 255
        {
            let own = format!("{door}{at}");
            key.replace_range(..own.len(), &own);
        }
    }
    table
}

#[test]
fn the_same_event_gets_the_same_verdict_at_every_door() {
    let mut doors = Doors::open();
    let table = table();
    assert_eq!(table.len(), 200);
    let single: Vec<Verdict> = own_keys(&table, "single")
        .iter()
        .map(|fields| doors.rest("application/json", &[], &as_json(fields).to_string()))
        .collect();
    let reasons: std::collections::BTreeSet<_> = single.iter().flatten().map(String::as_str).collect();
    let expected = [
        "amount_invalid",
        "amount_negative",
        "amount_precision",
        "attributes_invalid",
        "event_type_unknown",
        "idempotency_key_invalid",
        "timestamp_future",
        "timestamp_invalid",
        "user_id_invalid",
    ];
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), expected, "the table breaks every rule");
    assert!(single.iter().filter(|verdict| verdict.is_none()).count() > 40, "and keeps many");
    let same = |door: &str, verdicts: Vec<Verdict>| {
        assert_eq!(verdicts.len(), single.len(), "{door}");
        for (at, (verdict, first)) in verdicts.iter().zip(&single).enumerate() {
            assert_eq!(verdict, first, "{door}: {:?}", table[at]);
        }
    };
    let list: Vec<Value> = own_keys(&table, "list").iter().map(as_json).collect();
    same("batch", doors.batch("application/json", &json!(list).to_string(), list.len()));
    let lines: String = own_keys(&table, "lines").iter().map(|fields| format!("{}\n", as_json(fields))).collect();
    same("NDJSON", doors.batch("application/x-ndjson", &lines, table.len()));
    let cloud = |at: usize, data: Value| json!({"specversion": "1.0", "id": at.to_string(), "source": "/s", "type": "t", "data": data});
    let clouds: Vec<Value> =
        own_keys(&table, "cloud").iter().map(as_json).enumerate().map(|(at, data)| cloud(at, data)).collect();
    same(
        "CloudEvents batch",
        doors.batch("application/cloudevents-batch+json", &json!(clouds).to_string(), clouds.len()),
    );
    let structured = own_keys(&table, "structured");
    let structured = structured.iter().map(as_json).enumerate().map(|(at, data)| cloud(1000 + at, data).to_string());
    let verdicts = structured.map(|body| doors.rest("application/cloudevents+json", &[], &body)).collect();
    same("CloudEvents structured", verdicts);
    let binary = own_keys(&table, "binary");
    let verdicts = binary.iter().enumerate().map(|(at, fields)| {
        let id = format!("b{at}");
        let headers = [("ce-specversion", "1.0"), ("ce-id", id.as_str()), ("ce-source", "/s"), ("ce-type", "t")];
        doors.rest("application/json", &headers, &as_json(fields).to_string())
    });
    same("CloudEvents binary", verdicts.collect());
    let messages: Vec<Event> = own_keys(&table, "unary").iter().map(as_message).collect();
    let verdicts = messages.into_iter().map(|event| doors.send(event)).collect();
    same("gRPC", verdicts);
    let messages = own_keys(&table, "publish").iter().map(as_message).collect();
    let verdicts = doors.publish(messages);
    same("gRPC Publish", verdicts);
    let messages: Vec<Event> = own_keys(&table, "stream").iter().map(as_message).collect();
    let summary = doors.summary(messages);
    let rejected = single.iter().enumerate().filter_map(|(at, verdict)| Some((at as u64, verdict.clone()?)));
    assert_eq!(summary, rejected.take(100).collect(), "gRPC SendEvents names the first hundred");
}

#[test]
fn a_key_stands_for_one_event_at_all_doors_together() {
    let mut doors = Doors::open();
    let event = fields(&[("idempotency_key", "order:7")]);
    let first = doors.hub.post("/events", &as_json(&event).to_string());
    let again = call(
        doors.hub.addr(),
        "POST",
        "/events",
        &[("idempotency-key", "order:7")],
        &as_json(&fields(&[])).to_string(),
    );
    assert_eq!(first.header("location"), format!("/events/{}", first.json()["id"].as_str().unwrap()));
    assert_eq!(again.json(), json!({"status": "success", "id": first.json()["id"], "duplicate": true}));
    let ack = doors.runtime.block_on(doors.grpc.send_event(as_message(&event))).unwrap().into_inner();
    assert_eq!((json!(ack.id), ack.duplicate), (first.json()["id"].clone(), true));
    let other = fields(&[("idempotency_key", "order:7"), ("amount", "1")]);
    assert_eq!(doors.send(as_message(&other)).as_deref(), Some("idempotency_key_reused"));
    assert_eq!(
        doors.rest("application/json", &[], &as_json(&other).to_string()).as_deref(),
        Some("idempotency_key_reused")
    );
    let shown = doors.hub.get(&format!("/events/{}", ack.id)).json();
    assert_eq!((&shown["amount"], &shown["user_id"]), (&json!(150.75), &json!("user123")));
    assert!(shown.get("idempotency_key").is_none(), "keys are the callers' own: {shown}");
}
