//! Orders and files followed on their way.

use std::path::Path;

use serde_json::{Value, json};

use super::{PRICED, sale};
use crate::support::events::event;
use crate::support::pipeline::{Pipeline, Role};

fn trace(pipeline: &Pipeline, what: &str) -> Value {
    serde_json::from_str(&pipeline.run(&["trace", what, "--json"], 0).out).unwrap()
}

fn give_back(order: i64, qty: i64, ms: u32) -> String {
    let line = event(3, &format!(r#""order_id":{order},"user_id":7,"good_id":3,"qty":{qty}"#)) + "\n";
    line.replace(":00.001", &format!(":00.{ms:03}"))
}

/// Bytes of all files of these folders that a trace looks into.
fn bytes_of(pipeline: &Pipeline) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    [
        "events",
        "shard-splitter/rejects",
        "shard-worker-0",
        "shard-worker-0/rejects",
        "shard-worker-1",
        "shard-worker-1/rejects",
    ]
    .iter()
    .flat_map(|folder| pipeline.list(folder))
    .map(|path| size(&path))
    .sum()
}

#[test]
fn every_line_of_an_order_is_followed_to_its_end() {
    let mut pipeline = Pipeline::running(&["shared.cleanup=none"]);
    let paid = format!(r#","user_id":7{PRICED}"#);
    let broken = "{\"event_type\":1,\"payload\":{\"order_id\":47,\n";
    let lines = [sale(47, 3, &paid), sale(470, 3, &paid), sale(47, 3, &paid), broken.to_owned(), give_back(48, 1, 2)];
    pipeline.import(lines.concat().as_bytes(), 100);
    pipeline.wait_settled();
    pipeline.import([give_back(47, 1, 3), give_back(47, 9, 4)].concat().as_bytes(), 100);
    pipeline.wait_settled();
    let files: Vec<String> = pipeline.event_files().into_iter().map(|(name, _)| name).collect();

    let found = trace(&pipeline, "47");
    let told: Vec<Value> = found["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let reason = line["rejection"]["reason"].clone();
            json!([line["file"], line["line"], line["says"]["kind"], line["shard"], line["decision"], reason])
        })
        .collect();
    let expected = json!([
        [files[0], 1, "purchase", 1, "accepted", null],
        [files[0], 3, "purchase", 1, "duplicate", null],
        [files[0], 4, null, null, "rejected", "bad_json"],
        [files[1], 1, "return", 1, "accepted", null],
        [files[1], 2, "return", 1, "rejected", "return_exceeds_purchase"],
    ]);
    assert_eq!(Value::from(told), expected, "{found:#}");
    let row = |line: usize| found["lines"][line]["row"]["id"].as_u64();
    assert!(row(0).is_some() && row(3).is_some() && row(1).is_none() && row(4).is_none(), "{found:#}");
    assert_eq!(found["lines"][0]["says"]["amount"], "5", "{found:#}");
    let keys: Vec<&str> =
        found["money"]["answer"]["moved"].as_array().unwrap().iter().map(|m| m["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), 2, "a debit and a refund, none of order 470: {keys:?}");
    assert!(keys[0].starts_with("return:47:") && keys[1].starts_with("purchase:47:"), "{keys:?}");
    assert_eq!(found["bytes_read"].as_u64(), Some(bytes_of(&pipeline)), "{found:#}");

    let held = trace(&pipeline, "48");
    assert_eq!((held["lines"][0]["decision"].as_str(), held["lines"].as_array().unwrap().len()), (Some("held"), 1));
    assert_eq!(held["kept_returns"]["answer"][0]["state"], "waiting", "{held:#}");

    let text = pipeline.run(&["trace", "47"], 0).out;
    for part in [
        format!("{}:1  purchase  shard 1  accepted", files[0]),
        format!("{}:3  purchase  shard 1  duplicate of an earlier line", files[0]),
        format!("{}:4  unreadable  no shard  rejected by shard-splitter: bad_json", files[0]),
        format!("{}:2  return  shard 1  rejected by shard-worker: return_exceeds_purchase", files[1]),
        "of events in shard 1, written".to_owned(),
        "debit 10.00 of user 7, purchase:47:3".to_owned(),
        "credit 5.00 of user 7, return:47:".to_owned(),
        "mysql-sender done 20".to_owned(),
    ] {
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&part.split_whitespace().collect::<Vec<_>>().join(" ")), "{part}\n{text}");
    }

    for role in [Role::Balance, Role::Cache, Role::Apid] {
        pipeline.kill9(role);
    }
    let alone = trace(&pipeline, "47");
    assert_eq!(alone["lines"], found["lines"], "files and databases are enough");
    let why = alone["money"]["not_answered"].as_str().unwrap();
    assert!(why.contains("balance-daemon") && why.contains("does not answer"), "{why}");
    assert_eq!(trace(&pipeline, "48")["lines"][0]["decision"], "held", "the reports tell");
    assert!(pipeline.run(&["trace", "47"], 0).out.contains("money            not asked for: the balance-daemon"));
}

#[test]
fn a_line_that_is_on_its_way_says_where_it_waits_and_what_is_not_there_is_said_honestly() {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none"]);
    let nothing = pipeline.run(&["trace", "47"], 1);
    assert!(
        nothing.log.contains("was not found in 0 files (0 bytes read), nor in the books of 0 shard"),
        "{}",
        nothing.log
    );
    assert!(!pipeline.shared().join("db").exists(), "looking makes no database");
    pipeline.start_with_services(&[]);
    pipeline.import(sale(47, 3, PRICED).as_bytes(), 100);
    let decision = || trace(&pipeline, "47")["lines"][0].clone();
    let waits = |stage: &str| json!({"decision": "waits", "at": stage});
    let part = |line: &Value| json!({"decision": line["decision"], "at": line["at"]});
    assert_eq!(part(&decision()), waits("shard-splitter"));
    pipeline.run(&["split", "--once"], 0);
    assert_eq!(part(&decision()), waits("shard-worker"));
    pipeline.run(&["work", "--shard", "1", "--once"], 0);
    let prepared = decision();
    assert_eq!((prepared["decision"].as_str(), &prepared["row"]), (Some("accepted"), &Value::Null));
    pipeline.run(&["send", "--once"], 0);
    assert!(decision()["row"]["id"].is_u64());

    let (file, content) = pipeline.event_files().remove(0);
    let missing = pipeline.run(&["trace", "4"], 1);
    let expected = format!("order 4 was not found in 2 files ({} bytes read)", bytes_of(&pipeline));
    assert!(missing.log.contains(&expected) && missing.out.is_empty(), "{}\n{expected}", missing.log);
    let of_file = trace(&pipeline, &file);
    let worker =
        |shard: usize| of_file["registered"]["shards"][shard]["shard_worker_status"].as_str().unwrap().to_owned();
    assert_eq!((worker(0).as_str(), worker(1).as_str()), ("new", "done"));
    assert_eq!(
        of_file["delivered"],
        json!([{"shard": 1, "rows": 1, "present": 1, "at": of_file["delivered"][0]["at"]}])
    );
    assert_eq!(of_file["on_disk"][0]["bytes"].as_u64(), Some(content.len() as u64));
    let text = pipeline.run(&["trace", &file], 0).out;
    assert!(
        text.contains("1 read, 1 written, 0 duplicates, 0 rejected") && text.contains("1 delivered into shard 1"),
        "{text}"
    );
    let unknown = pipeline.run(&["trace", "20200101000000"], 1);
    assert!(unknown.log.contains("was not found: it is not registered, not in the shared folder"), "{}", unknown.log);
    let as_order = pipeline.run(&["trace", "--order", "20200101000000"], 1);
    assert!(as_order.log.contains("order 20200101000000 was not found"), "{}", as_order.log);
    assert!(pipeline.run(&["trace", "x"], 64).log.contains("an order is a whole number above 0"));
}

#[test]
fn a_redriven_line_is_followed_over_its_redrive() {
    let pipeline = Pipeline::running(&["shared.cleanup=none"]);
    pipeline.import([super::status(3, false), sale(47, 3, PRICED)].concat().as_bytes(), 100);
    pipeline.wait_settled();
    pipeline.import(super::status(3, true).as_bytes(), 100);
    pipeline.wait_settled();
    super::redrive(&pipeline, &["--reason", "shop_closed"]);
    pipeline.wait_settled();
    let files: Vec<String> = pipeline.event_files().into_iter().map(|(name, _)| name).collect();
    let found = trace(&pipeline, "47");
    let (old, new) = (&found["lines"][0], &found["lines"][1]);
    assert_eq!((old["decision"].as_str(), new["decision"].as_str()), (Some("rejected"), Some("accepted")), "{found:#}");
    assert_eq!(old["redriven_to"], json!([{"file": files[2], "line": 1}]));
    assert_eq!(new["redriven_from"], json!({"file": files[0], "line": 2}));
    assert!(pipeline.run(&["trace", &files[2]], 0).out.contains("its lines are rejected ones of other files"));
    assert_eq!(trace(&pipeline, &files[0])["redriven_lines"], 1);
}
