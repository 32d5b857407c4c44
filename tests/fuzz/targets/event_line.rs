//! An event file of any bytes: what splitter, worker and sender make of its lines.

use std::io::BufReader;

use serde_json::value::RawValue;
use shopctl::pipeline::event::reject::{Origin, write_rejected};
use shopctl::pipeline::event::{Event, LineReader, Next, Reason, Reject, ShardCount};
use shopctl::pipeline::files::prepared;
use shopctl::pipeline::rules::{Effect, LinePlace};
use shopctl::pipeline::split;
use shopctl::pipeline::task::FileName;

/// Small, so that lines over the limit are found too.
const LINE_BYTES_MAX: usize = 4096;
/// Small, so that lines cross the borders of the buffer.
const BUFFER_BYTES: usize = 64;
/// What the splitter may refuse a line for.
const ROUTE_REASONS: [Reason; 7] = [
    Reason::BadJson,
    Reason::BadUtf8,
    Reason::BadLineEnd,
    Reason::NoFinalNewline,
    Reason::NoEventType,
    Reason::NoShardKey,
    Reason::Malformed,
];
/// What the worker may refuse a line for.
const SHAPE_REASONS: [Reason; 4] = [Reason::BadJson, Reason::BadUtf8, Reason::BadLineEnd, Reason::Malformed];

/// Runs one input.
pub(super) fn run(data: &[u8]) {
    let mut lines = LineReader::new(BufReader::with_capacity(BUFFER_BYTES, data), LINE_BYTES_MAX);
    let mut again = Vec::new();
    loop {
        let terminated = match lines.next_line().expect("reading from memory cannot fail") {
            None => break,
            Some(Next::Line { bytes, terminated, .. }) => {
                one_line(bytes, terminated);
                again.extend_from_slice(bytes);
                terminated
            }
            Some(Next::TooLong { .. }) => lines.rest_of_line(&mut again).expect("writing to memory cannot fail"),
        };
        if terminated {
            again.push(b'\n');
        }
    }
    assert!(again == data, "the lines put together are not the input");
}

fn one_line(line: &[u8], terminated: bool) {
    let count = ShardCount::new(3).expect("3 is a count of shards");
    let routed = split::route(line, terminated, count);
    match &routed {
        Ok(shard) => assert!(shard.get() < count.get(), "shard {shard} of {}", count.get()),
        Err(reject) => refused(reject, &ROUTE_REASONS, line),
    }
    match Event::parse(line) {
        Ok(event) => {
            assert!(!terminated || routed.is_ok(), "a sound event has no shard: {routed:?}");
            accepted(&event);
        }
        Err(reject) => refused(&reject, &SHAPE_REASONS, line),
    }
}

/// What the worker writes down of an event is the same event, for the sender and for each later reader of the line.
fn accepted(event: &Event<'_>) {
    let shard = ShardCount::new(1).expect("1 is a count of shards").shard_of(0);
    let file: FileName = "20250101000000".parse().expect("this is a file name");
    let mut out = Vec::new();
    prepared::write(&mut out, event, &Effect::default(), shard, LinePlace { file: &file, line: 17 })
        .expect("an accepted event can be written");
    assert_eq!(out.pop(), Some(b'\n'));
    assert!(!out.contains(&b'\n'), "a prepared line is one line");
    let row = prepared::read(&out, &file, shard, 3).expect("a prepared line can be read");
    let said = (row.event_type, row.shop_id, row.user_id, row.timestamp, row.source_line);
    let payload = &event.payload;
    assert_eq!(said, (payload.kind().number(), payload.shop_id(), payload.user_id(), event.at, 17));

    let again = Event::parse(&out).expect("a prepared line is an event");
    assert_eq!(again.payload, event.payload);
    assert_eq!((again.at, again.fingerprint), (event.at, event.fingerprint));
    assert_eq!(again.raw_payload, event.raw_payload);
    assert_eq!(again.idempotency_key, event.idempotency_key);
    assert_eq!(shopctl::pipeline::rules::duplicate::key_of(&again), shopctl::pipeline::rules::duplicate::key_of(event));
}

/// A refused line is kept whole in one line, with a sentence.
fn refused(reject: &Reject, allowed: &[Reason], line: &[u8]) {
    assert!(allowed.contains(&reject.reason), "the reason {} is not one of this stage", reject.reason);
    assert!(!reject.detail.is_empty(), "a refusal without a word");
    assert!(!reject.detail.chars().any(char::is_control), "a refusal must not break a log: {:?}", reject.detail);
    let mut out = Vec::new();
    let origin = Origin { file: "20250101000000", line: 1, stage: "shard-splitter" };
    write_rejected(&mut out, origin, reject, line).expect("a refusal can be written");
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "a refusal is one line");
    let kept: Kept<'_> = serde_json::from_slice(&out).expect("a refusal is JSON");
    match kept.raw {
        Some(raw) => {
            let raw: String = serde_json::from_str(raw.get()).expect("the raw line is a text");
            assert_eq!(raw.as_bytes(), line, "the raw line was changed");
        }
        None => assert!(std::str::from_utf8(line).is_err() && kept.raw_base64.is_some(), "the raw line is not kept"),
    }
}

#[derive(serde::Deserialize)]
struct Kept<'a> {
    #[serde(borrow)]
    raw: Option<&'a RawValue>,
    #[serde(borrow)]
    raw_base64: Option<&'a RawValue>,
}
