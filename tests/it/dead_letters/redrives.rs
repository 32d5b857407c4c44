//! Rejected lines, from the list to their second decision.

use serde_json::{Value, json};

use super::{PRICED, at, ndjson, redrive, rejects, sale, status};
use crate::support::events::{event, purchase};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};

/// The total of a number over all groups of a report.
fn sum(report: &Value, what: &str) -> u64 {
    report["groups"].as_array().unwrap().iter().map(|group| group[what].as_u64().unwrap()).sum()
}

#[test]
fn what_the_rules_refused_is_decided_anew_once_and_the_audit_adds_up() {
    let pipeline = Pipeline::running(&["shared.cleanup=none"]);
    let key = r#","idempotency_key":"kept \u00e9","price_at_order": 5.00"#;
    let lines = [status(3, false), sale(1, 3, PRICED), sale(2, 3, key), sale(3, 4, PRICED), "nonsense\n".to_owned()];
    pipeline.import(lines.concat().as_bytes(), 100);
    pipeline.wait_settled();
    let closed = rejects(&pipeline, &["--reason", "shop_closed"]);
    assert_eq!(closed.len(), 2, "{closed:?}");
    pipeline.import(status(3, true).replace(":00.001", ":00.002").as_bytes(), 100);
    pipeline.wait_settled();

    let dry = redrive(&pipeline, &["--all", "--dry-run"]);
    assert_eq!((sum(&dry, "lines"), sum(&dry, "goes"), sum(&dry, "unrecoverable")), (3, 2, 1), "{dry}");
    assert_eq!(pipeline.event_files().len(), 2, "nothing was done");
    let before: Vec<Vec<u8>> = rejects_files(&pipeline);
    let done = redrive(&pipeline, &["--all"]);
    assert_eq!((sum(&done, "goes"), done["files"][0]["lines"].as_u64()), (2, Some(2)), "{done}");
    pipeline.wait_settled();
    let (name, content) = pipeline.event_files().pop().unwrap();
    assert_eq!(done["files"][0]["file"], *name);
    assert_eq!(String::from_utf8(content).unwrap(), [sale(1, 3, PRICED), sale(2, 3, key)].concat(), "byte for byte");
    assert_eq!(rejects_files(&pipeline), before, "rejects files are never changed");
    let oracle = pipeline.assert_all_is_well(&Known::new());
    assert_eq!((oracle.world.row_count(), oracle.world.rejected.len()), (5, 3));

    let again = redrive(&pipeline, &["--all"]);
    assert_eq!((sum(&again, "goes"), sum(&again, "redriven")), (0, 2), "{again}");
    assert_eq!(again["files"], json!([]));
    let text = pipeline.run(&["rejects", "redrive", "--reason", "shop_closed"], 0).out;
    assert!(text.contains("0 of 2 lines go") && text.contains("2 stay: they were redriven before"), "{text}");
    let forced = redrive(&pipeline, &["--reason", "shop_closed", "--again"]);
    assert_eq!(sum(&forced, "goes"), 2);
    pipeline.wait_settled();
    let oracle = pipeline.assert_all_is_well(&Known::new());
    assert_eq!(oracle.duplicates, 2, "their keys are intact: nothing is sold twice");
}

fn rejects_files(pipeline: &Pipeline) -> Vec<Vec<u8>> {
    let folders = ["shard-splitter/rejects", "shard-worker-0/rejects", "shard-worker-1/rejects"];
    folders.iter().flat_map(|folder| pipeline.list(folder)).map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn what_the_bank_refused_is_refused_again_and_the_table_says_so_before() {
    let pipeline = Pipeline::running(&["shared.cleanup=none"]);
    let dear = sale(1, 3, r#","user_id":7,"price_at_order":999999999999999"#);
    pipeline.import((dear.clone() + &sale(2, 3, PRICED)).as_bytes(), 100);
    pipeline.wait_settled();
    let why = "insufficient_funds: 1 will be refused again: the bank's first answer";
    let held = pipeline.run(&["rejects", "redrive", "--reason", "insufficient_funds"], 0).out;
    assert!(
        held.contains(why) && held.contains("0 of 1 lines go") && held.contains("--include-unrecoverable"),
        "{held}"
    );
    assert_eq!(pipeline.event_files().len(), 1);
    let args = ["rejects", "redrive", "--reason", "insufficient_funds", "--include-unrecoverable"];
    let sent = pipeline.run(&args, 0).out;
    assert!(sent.contains(why) && sent.contains("1 of 1 lines go"), "{sent}");
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    let all = rejects(&pipeline, &["--reason", "insufficient_funds"]);
    assert_eq!(all.len(), 2, "refused again: {all:?}");
    let (first, second) = (at(&all[0]), at(&all[1]));
    let shown = pipeline.run(&["rejects", "show", &first], 0).out;
    assert!(shown.contains(&format!("redriven to   {second}")) && shown.contains("rejected again: insufficient_funds"));
    let shown = pipeline.run(&["rejects", "show", &second], 0).out;
    assert!(shown.contains(&format!("redriven from {first}")) && shown.contains("never"), "{shown}");
    assert_eq!(pipeline.run(&["rejects", "show", &second, "--raw"], 0).out, dear.trim_end());
}

/// Bytes that would move a cursor, forge a log line or break a table.
const HOSTILE: &[&[u8]] = &[
    b"\x1b[2J\x1b]0;owned\x07{\"order_id\":1}",
    b"\xff\xfe\x00{\"level\":\"error\"}",
    "\u{202e}drow\u{2028}{}".as_bytes(),
    b"{\"event_type\":1}\r",
    b"",
];

#[test]
fn hostile_bytes_are_listed_safely_and_come_out_as_they_came_in() {
    let pipeline = Pipeline::running(&["events.max_payload_size=2000"]);
    let long = vec![0x1b; 600_000];
    let input = [HOSTILE.join(&b'\n'), b"\n".to_vec(), long.clone(), b"\nno line feed".to_vec()].concat();
    // Posted or imported, a file is given its last line feed; this one comes by another way.
    pipeline.import(&input, 100);
    pipeline.wait_settled();
    let lines = rejects(&pipeline, &[]);
    assert_eq!(lines.len(), HOSTILE.len() + 2, "{lines:?}");
    for (args, code) in [(vec!["--lines"], 0), (vec![], 0)] {
        let all: Vec<&str> = ["rejects", "list"].into_iter().chain(args).collect();
        let text = pipeline.run(&all, code).out;
        assert!(!text.chars().any(|c| c != '\n' && c.is_control() || ('\u{2028}'..'\u{2070}').contains(&c)), "{text}");
    }
    let counts = pipeline.run(&["rejects", "list"], 0).out;
    assert!(counts.contains("too_long") && counts.contains("7 rejected lines; 1 rejects file,"), "{counts}");
    for (line, raw) in lines.iter().zip(HOSTILE) {
        let shown = pipeline.run(&["rejects", "show", &at(line)], 0).out;
        assert!(!shown.chars().any(|c| c != '\n' && c.is_control()), "{shown}");
        let bytes = line["raw"].as_str().map(str::as_bytes).map(<[u8]>::to_vec);
        let bytes = bytes.unwrap_or_else(|| {
            use base64::Engine;
            base64::prelude::BASE64_STANDARD.decode(line["raw_base64"].as_str().unwrap()).unwrap()
        });
        assert_eq!(bytes, *raw);
    }
    let giant = &lines[HOSTILE.len()];
    assert!(giant["raw_base64"].is_null() && giant["bytes"].as_u64().unwrap() > 590_000, "{giant}");
    assert!(pipeline.run(&["rejects", "show", &at(giant), "--raw"], 1).log.contains("too long to be printed"));

    let report = redrive(&pipeline, &["--all"]);
    assert_eq!((sum(&report, "goes"), sum(&report, "unrecoverable")), (0, 7), "{report}");
    let report = redrive(&pipeline, &["--all", "--include-unrecoverable"]);
    assert_eq!((sum(&report, "goes"), sum(&report, "unrecoverable")), (6, 1), "one is too long to be sent: {report}");
    pipeline.wait_settled();
    let expected = [HOSTILE.join(&b'\n'), b"\nno line feed\n".to_vec()].concat();
    let (_, content) = pipeline.event_files().pop().unwrap();
    assert_eq!(content, expected, "byte for byte");
    pipeline.audit();
}

#[test]
fn a_rejects_file_changed_by_hand_sends_nothing_that_is_no_line() {
    let pipeline = Pipeline::running(&["shared.cleanup=none"]);
    pipeline.import([status(3, false), sale(1, 3, PRICED)].concat().as_bytes(), 100);
    pipeline.wait_settled();
    let path = pipeline.list("shard-worker-1/rejects").remove(0);
    let line = std::fs::read_to_string(&path).unwrap();
    let mut two: Value = serde_json::from_str(&line).unwrap();
    two["raw"] = format!("{}\n{}", two["raw"].as_str().unwrap(), two["raw"].as_str().unwrap()).into();
    two["line"] = 9.into();
    let changed = format!("{line}{line}{two}\n{}\nnot one\n", line.trim_end().replace("shop_closed", "bad_mood"));
    std::fs::write(&path, changed).unwrap();
    let listed = pipeline.run(&["rejects", "list"], 1);
    assert!(
        listed.log.contains("2 lines of rejects files cannot be read") && listed.log.contains(":4: "),
        "{}",
        listed.log
    );
    let done = pipeline.run(&["rejects", "redrive", "--all", "--include-unrecoverable", "--json"], 1);
    let report = ndjson(&done.out).remove(0);
    assert_eq!((sum(&report, "goes"), sum(&report, "redriven"), sum(&report, "unrecoverable")), (1, 1, 1), "{report}");
    let (_, content) = pipeline.event_files().pop().unwrap();
    assert_eq!(content, sale(1, 3, PRICED).into_bytes(), "it stood there twice, and goes once");
}

#[test]
fn filters_choose_and_an_empty_choice_is_no_failure() {
    let pipeline = Pipeline::running(&[]);
    let nothing = pipeline.run(&["rejects", "list"], 0).out;
    assert_eq!(nothing.trim(), "0 rejected lines; 0 rejects files, 0 bytes read");
    let malformed = event(1, r#""order_id":5,"shop_id":4,"good_id":1"#) + "\n";
    let good = purchase(8, 3) + "\n";
    pipeline.import(["bad\n".to_owned(), status(3, false), sale(1, 3, PRICED), malformed, good].concat().as_bytes(), 3);
    pipeline.wait_settled();
    let files: Vec<String> = pipeline.event_files().into_iter().map(|(name, _)| name).collect();
    let of = |filter: &[&str]| rejects(&pipeline, filter).len();
    let range = format!("{}..{}", files[0], files[1]);
    for (filter, count) in [
        (vec![], 4),
        (vec!["--stage", "shard-splitter"], 1),
        (vec!["--shard", "1"], 2),
        (vec!["--shard", "0"], 1),
        (vec!["--reason", "bad_json", "--reason", "malformed"], 2),
        (vec!["--file", &files[0]], 2),
        (vec!["--file", &range], 4),
        (vec!["--file", &files[0][..8]], 4),
        (vec!["--since", "2200-01-01"], 0),
        (vec!["--until", "2200-01-01", "--stage", "shard-worker", "--reason", "malformed"], 1),
    ] {
        assert_eq!(of(&filter), count, "{filter:?}");
    }
    let none = pipeline.run(&["rejects", "redrive", "--since", "2200-01-01"], 0).out;
    assert!(none.contains("no rejected line is meant by that"), "{none}");
    let missing = pipeline.run(&["rejects", "show", &format!("{}:99", files[0])], 1);
    assert!(missing.log.contains("is not among the lines of 4 rejects files"), "{}", missing.log);
    for (args, said) in [
        (vec!["list", "--reason", "shop_close"], "did you mean shop_closed?"),
        (vec!["list", "--reason", "whatever"], "the reasons are bad_json, bad_utf8"),
        (vec!["list", "--stage", "mysql-sender"], "only shard-splitter and shard-worker reject lines"),
        (vec!["list", "--file", "yesterday"], "a file is named by its 14 digits"),
        (vec!["list", "--since", "15.10.2025"], "use 2025-10-15"),
        (vec!["show", "17"], "names no line"),
        (vec!["redrive"], "or --all for all of them"),
    ] {
        let all: Vec<&str> = ["rejects"].into_iter().chain(args).collect();
        let ended = pipeline.run(&all, 64);
        assert!(ended.log.contains(said) && ended.out.is_empty(), "{all:?}: {}", ended.log);
    }
    assert_eq!(pipeline.event_files().len(), 2);
}

#[test]
fn the_token_of_the_operator_is_enough() {
    let mut pipeline = Pipeline::new(&["auth.operator=a-token-of-the-operator"]);
    pipeline.start(Role::Apid);
    // A file of which the API knows nothing: no worker will decide its lines again.
    let folder = pipeline.shared().join("shard-worker-0/rejects");
    std::fs::create_dir_all(&folder).unwrap();
    let line = json!({"file": "20250101000000", "line": 3, "stage": "shard-worker", "reason": "shop_closed", "detail": "",
        "raw": sale(1, 4, PRICED).trim_end()});
    std::fs::write(folder.join("20250101000000.shard-worker.0.rejects.txt"), format!("{line}\n")).unwrap();
    let report = redrive(&pipeline, &["--all"]);
    let file = report["files"][0]["file"].as_str().unwrap();
    let known = pipeline.find(&format!("/files/{file}")).unwrap();
    assert_eq!(known["shards"][0]["event_ingest_status"], "done", "{known}");
}
