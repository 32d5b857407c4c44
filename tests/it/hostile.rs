//! Hostile lines between good ones: each bad line ends once in a rejects file with its reason and all its bytes, each
//! good one as a row, and nothing panics.

use std::path::Path;

use crate::support::events::{event, purchase};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, name_of};

/// A name for the message, the line, and the reason that it must get.
type Hostile = (&'static str, Vec<u8>, &'static str);

fn text(name: &'static str, line: impl Into<String>, reason: &'static str) -> Hostile {
    (name, line.into().into_bytes(), reason)
}

/// A purchase with another value in one field.
fn with(name: &'static str, from: &str, to: &str, reason: &'static str) -> Hostile {
    let line = purchase(900, 1);
    assert!(line.contains(from), "{from}");
    text(name, line.replacen(from, to, 1), reason)
}

/// Lines that are no JSON object at all. What is refused inside an unknown payload field although the JSON around it is
/// sound counts as malformed.
fn no_json() -> Vec<Hostile> {
    let good = purchase(901, 1);
    let nested = |depth: usize| {
        let payload = format!(r#""shop_id":1,"active":true,"x":{}{}"#, "[".repeat(depth), "]".repeat(depth));
        event(4, &payload)
    };
    let long = event(4, &format!(r#""shop_id":1,"active":true,"x":"{}""#, "y".repeat(2 << 20)));
    let mut bytes = good.clone().into_bytes();
    bytes.insert(20, 0xff);
    let mut nul = good.clone().into_bytes();
    nul.insert(20, 0);
    vec![
        text("200 levels", nested(200), "malformed"),
        text("100000 levels", nested(100_000), "malformed"),
        text("2 MiB", long, "too_long"),
        ("2 MiB of no text", vec![0xfe; 2 << 20], "too_long"),
        ("invalid UTF-8", bytes, "bad_utf8"),
        ("an overlong slash", b"{\"\xc0\xaf\":1}".to_vec(), "bad_utf8"),
        ("a raw NUL", nul, "bad_json"),
        ("a byte order mark", [b"\xef\xbb\xbf", good.as_bytes()].concat(), "bad_json"),
        text("CR LF", format!("{good}\r"), "bad_line_end"),
        text("an empty line", "", "bad_json"),
        text("blanks", "  \t ", "bad_json"),
        text("half a line", &good[..good.len() / 2], "bad_json"),
        text("trailing garbage", format!("{good} x"), "bad_json"),
        text("two objects", format!("{good}{good}"), "bad_json"),
        text("a lone surrogate in a value", event(4, r#""shop_id":1,"active":true,"x":"\ud800""#), "malformed"),
        text("a lone surrogate in a key", event(4, r#""shop_id":1,"active":true,"\udfff":1"#), "bad_json"),
        text("1e999", event(4, r#""shop_id":1,"active":true,"x":1e999"#), "malformed"),
        text("NaN", event(4, r#""shop_id":1,"active":true,"x":NaN"#), "bad_json"),
        text("a log line", "2025-01-01T00:00:00Z {\"level\":\"error\",\"msg\":\"fake\"}", "malformed"),
    ]
}

/// JSON that no shard can have.
fn no_shard() -> Vec<Hostile> {
    let (shop, kind) = (r#""shop_id":1"#, r#""event_type":1"#);
    let mut hostile = vec![
        with("no shop_id", r#""shop_id":1,"#, "", "no_shard_key"),
        with("another event_type", kind, r#""event_type":5"#, "no_event_type"),
        with("a negative event_type", kind, r#""event_type":-1"#, "no_event_type"),
        with("event_type as text", kind, r#""event_type":"1""#, "no_event_type"),
        with("event_type as 1.0", kind, r#""event_type":1.0"#, "no_event_type"),
        with("no event_type", r#""event_type":1,"#, "", "no_event_type"),
        with("no payload", r#""payload""#, r#""load""#, "no_shard_key"),
        text("a return without any key", event(3, r#""good_id":3,"qty":1"#), "no_shard_key"),
        text(
            "a return by an order over 63 bits",
            event(3, r#""order_id":9223372036854775808,"good_id":3,"qty":1"#),
            "no_shard_key",
        ),
    ];
    for (name, value) in [
        ("shop_id null", "null"),
        ("shop_id as text", "\"7\""),
        ("shop_id 7.0", "7.0"),
        ("shop_id true", "true"),
        ("shop_id []", "[]"),
        ("shop_id {}", "{}"),
        ("shop_id 2^63", "9223372036854775808"),
        ("shop_id -2^63-1", "-9223372036854775809"),
        ("shop_id 1e3", "1e3"),
    ] {
        hostile.push(with(name, shop, &format!(r#""shop_id":{value}"#), "no_shard_key"));
    }
    hostile
}

/// JSON whose shape is wrong.
fn malformed() -> Vec<Hostile> {
    let (order, qty, at) = (r#""order_id":900"#, r#""qty":2"#, r#""timestamp":"2025-03-01 08:00:00.001""#);
    let key = |bytes: usize| format!(r#""qty":2,"idempotency_key":"{}""#, "k".repeat(bytes));
    let mut all = vec![
        text("a list", "[1,2,3]", "malformed"),
        text("a number", "7", "malformed"),
        text("null", "null", "malformed"),
        with("event_type twice", r#""event_type":1"#, r#""event_type":1,"event_type":1"#, "malformed"),
        with("payload twice", r#""saved_at""#, r#""payload":{},"saved_at""#, "malformed"),
        with("shop_id twice", r#""shop_id":1"#, r#""shop_id":1,"shop_id":2"#, "malformed"),
        with("shop_id twice, once escaped", r#""shop_id":1"#, r#""shop_id":1,"\u0073hop_id":2"#, "malformed"),
        with("an unknown key twice", qty, r#""qty":2,"x":1,"x":1"#, "malformed"),
        with("a key twice deep down", qty, r#""qty":2,"x":[{"a":1,"a":1}]"#, "malformed"),
        with("an escaped NUL", qty, r#""qty":2,"x":"\u0000""#, "malformed"),
        with("an escaped NUL in a key", qty, r#""qty":2,"\u0000":1"#, "malformed"),
        with("order_id 2^63", order, r#""order_id":9223372036854775808"#, "malformed"),
        with("order_id 0", order, r#""order_id":0"#, "malformed"),
        with("order_id as text", order, r#""order_id":"900""#, "malformed"),
        with("user_id as text", r#""user_id":7"#, r#""user_id":"7""#, "malformed"),
        with("qty 0", qty, r#""qty":0"#, "malformed"),
        with("qty -1", qty, r#""qty":-1"#, "malformed"),
        with("qty 1.5", qty, r#""qty":1.5"#, "malformed"),
        with("qty 2^63", qty, r#""qty":9223372036854775808"#, "malformed"),
        with("no qty", r#""qty":2,"#, "", "malformed"),
        with("money as text", "9.99", r#""9.99""#, "malformed"),
        with("money over all bounds", "9.99", "99999999999999999999.99", "malformed"),
        with("an empty key", qty, &key(0), "malformed"),
        with("a key of 256 bytes", qty, &key(256), "malformed"),
        with("a key that is a number", qty, r#""qty":2,"idempotency_key":1"#, "malformed"),
        with("no timestamp", at, r#""at":1"#, "malformed"),
        with("a timestamp as number", at, r#""timestamp":1740816000001"#, "malformed"),
        text("a shop that is half open", event(4, r#""shop_id":1,"active":"yes""#), "malformed"),
        text(
            "a restock of 2^63",
            event(
                0,
                r#""shop_id":1,"good_id":1,"delta_count":9223372036854775808,"reason":"r","sub_event_type":"restock""#,
            ),
            "malformed",
        ),
        text(
            "an unknown sub_event_type",
            event(0, r#""shop_id":1,"good_id":1,"delta_count":1,"reason":"r","sub_event_type":"gift""#),
            "malformed",
        ),
    ];
    for moment in [
        "2025-02-30 08:00:00.001",
        "2025-03-01 24:00:00.000",
        "2025-03-01T08:00:00.001",
        "2025-03-01 08:00:00",
        "2025-03-01 08:00:60.000",
    ] {
        all.push(with("an impossible moment", at, &format!(r#""timestamp":"{moment}""#), "malformed"));
    }
    all
}

/// Lines that look strange and are none the less good.
fn strange_but_good() -> Vec<String> {
    let minus = |shop: i64, order: i64| purchase(order, shop);
    vec![
        minus(-3, 701),
        minus(-2, 702),
        minus(i64::MIN, 703),
        minus(i64::MAX, 704),
        minus(0, 705),
        event(3, r#""order_id":5,"good_id":3,"qty":1"#),
        event(3, r#""order_id":6,"shop_id":null,"user_id":null,"good_id":3,"qty":1"#),
        event(4, r#""shop_id":1,"active":true,"note":"\u00e9 \ud83d\ude00 \"\\\n""#),
        event(4, &format!(r#""shop_id":1,"active":true,"idempotency_key":"{}""#, "k".repeat(255))),
        event(4, &format!(r#""shop_id":1,"active":true,"x":{}{}"#, "[".repeat(100), "]".repeat(100))),
        format!(" {} ", purchase(706, 2)),
        r#"{"timestamp":"2025-03-01 08:00:00.001","x":{"y":[1,{"z":null}]},"payload":{"active":true,"shop_id":8},"event_type":4}"#.to_owned(),
    ]
}

/// The content of an event file, and the reasons by line.
fn mix(hostile: &[Hostile]) -> (Vec<u8>, Vec<(u64, &'static str)>) {
    let mut content = Vec::new();
    let (mut reasons, mut line) = (Vec::new(), 0);
    let mut push = |bytes: &[u8], reason: Option<&'static str>| {
        content.extend_from_slice(bytes);
        content.push(b'\n');
        line += 1;
        reasons.extend(reason.map(|reason| (line, reason)));
    };
    for (order, (_, bytes, reason)) in (1..).zip(hostile) {
        push(purchase(order, order).as_bytes(), None);
        push(bytes, Some(reason));
    }
    for good in strange_but_good() {
        push(good.as_bytes(), None);
    }
    (content, reasons)
}

fn known(file: &str, reasons: Vec<(u64, &'static str)>) -> Known {
    reasons.into_iter().map(|(line, reason)| ((file.to_owned(), line), reason)).collect()
}

#[test]
fn every_hostile_line_is_kept_with_its_reason_and_every_good_one_arrives() {
    let pipeline = Pipeline::running(&["events.max_payload_size=1048576"]);
    let hostile = [no_json(), no_shard(), malformed()].concat();
    assert!(hostile.len() > 60);
    let (content, reasons) = mix(&hostile);
    pipeline.import(&content, 100_000);
    pipeline.wait_settled();
    let files = pipeline.event_files();
    assert!(files.len() == 1 && files[0].1 == content, "the import changes no byte");
    let world = pipeline.world();
    let mut wrong = Vec::new();
    for ((name, ..), (line, reason)) in hostile.iter().zip(&reasons) {
        let found = world.rejected.iter().find(|rejected| rejected.1 == *line).map(|rejected| rejected.2.as_str());
        if found != Some(*reason) {
            wrong.push((name, found, reason));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let oracle = pipeline.assert_all_is_well(&known(&files[0].0, reasons));
    assert_eq!(oracle.world.row_count(), hostile.len() + strange_but_good().len());
}

#[test]
fn a_file_that_was_cut_short_says_so_of_its_last_line() {
    let mut pipeline = Pipeline::new(&[]);
    [Role::Balance, Role::Cache].into_iter().for_each(|role| pipeline.start(role));
    let content = format!("{}\n{}", purchase(1, 1), purchase(2, 2));
    let events = pipeline.shared().join("events");
    std::fs::create_dir_all(&events).unwrap();
    let path = events.join("20250301080000.event-ingest.txt");
    std::fs::write(&path, &content).unwrap();
    run_by_hand(&pipeline, &path);
    let world = pipeline.world();
    assert_eq!(world.row_count(), 1);
    let rejected: Vec<_> = world.rejected.into_iter().collect();
    let whole = ("20250301080000".to_owned(), 2, "no_final_newline".to_owned(), purchase(2, 2).into_bytes());
    assert_eq!(rejected, [whole]);
}

#[test]
fn a_missing_last_line_feed_is_added_by_the_import() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Apid);
    pipeline.import(purchase(1, 1).as_bytes(), 10);
    assert_eq!(pipeline.event_files()[0].1, (purchase(1, 1) + "\n").into_bytes());
}

/// All stages over one event file, without an API.
fn run_by_hand(pipeline: &Pipeline, events: &Path) {
    pipeline.run(&["split", events.to_str().unwrap()], 0);
    let stem = name_of(events)[..14].to_owned();
    for shard in ["0", "1"] {
        let split = pipeline.shared().join(format!("shard-splitter/{stem}.shard-splitter.{shard}.txt"));
        pipeline.run(&["work", "--shard", shard, split.to_str().unwrap()], 0);
        let prepared = pipeline.shared().join(format!("shard-worker-{shard}/{stem}.shard-worker.{shard}.prepared.txt"));
        pipeline.run(&["send", prepared.to_str().unwrap()], 0);
    }
}
