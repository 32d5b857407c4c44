//! A redrive that is killed before every call that changes something, and then run again: every line goes once.
//!
//! Needs `strace` and the right to trace one's own children.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use super::{at, redrive, rejects};
use crate::support::PATIENCE;
use crate::support::events::event;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::Under;

/// Calls that change files, and those that go to the API.
const CALLS: &str =
    "?mkdir,mkdirat,?rename,renameat,renameat2,?unlink,unlinkat,ftruncate,fsync,fdatasync,flock,sendto,write";
/// With this limit the lines are too long, and are rejected; with that they may pass.
const LIMITS: [&str; 2] = ["events.max_payload_size=150", "events.max_payload_size=10000"];
/// Lines per file, all rejected.
const LINES: usize = 3;

fn tracer(pipeline: &Pipeline, more: &[&str]) -> Under {
    let trace = pipeline.beside("trace");
    let command = ["strace", "-D", "-f", "-qq", "-o", trace.to_str().unwrap()].into_iter().chain(more.iter().copied());
    let env = vec![("TOKIO_WORKER_THREADS".to_owned(), "1".to_owned())];
    Under { command: command.map(str::to_owned).collect(), env }
}

/// The calls in the order in which each thread made them, with their numbers.
fn sites(trace: &str) -> Vec<(String, usize)> {
    let (mut made, mut sites) = (BTreeMap::new(), Vec::new());
    for line in trace.lines().filter(|line| !line.contains("resumed>")) {
        let Some((id, rest)) = line.split_once(char::is_whitespace) else { continue };
        let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
        let nth: &mut usize = made.entry((id.to_owned(), call.to_owned())).or_default();
        *nth += 1;
        sites.push((call.to_owned(), *nth));
    }
    sites.sort();
    sites.dedup();
    sites
}

#[test]
fn a_redrive_that_is_killed_anywhere_and_run_again_sends_every_line_once() {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none", LIMITS[1]]);
    pipeline.start(Role::Apid);
    let long = "x".repeat(100);
    let lines: Vec<String> = (0..400 * LINES)
        .map(|n| event(4, &format!(r#""shop_id":{n},"active":true,"idempotency_key":"{long}""#)) + "\n")
        .collect();
    pipeline.import(lines.concat().as_bytes(), LINES);
    pipeline.spawn_with(&["split", "--once"], &[LIMITS[0]], None).wait_exit(PATIENCE).expect_code(0);
    let files: Vec<String> = pipeline.event_files().into_iter().map(|(name, _)| name).collect();
    let args = |file| vec!["rejects", "redrive", "--file", file];

    let traced = tracer(&pipeline, &["-e", &format!("trace={CALLS}")]);
    pipeline.spawn_under(&traced, &args(&files[0])).wait_exit(PATIENCE).expect_code(0);
    let sites = sites(&std::fs::read_to_string(pipeline.beside("trace")).unwrap());
    let of = |call: &str| sites.iter().filter(|site| site.0 == call).count();
    assert!(of("renameat2") >= 3 && of("fsync") >= 4, "{sites:?}");
    let mut killed = 0;
    for ((call, nth), file) in sites.iter().zip(&files[1..]) {
        let inject = format!("inject={call}:signal=KILL:when={nth}");
        let under = tracer(&pipeline, &["-e", &format!("trace={call}"), "-e", &inject]);
        let ended = pipeline.spawn_under(&under, &args(file)).wait_exit(PATIENCE);
        killed += usize::from(ended.status.signal() == Some(9));
        // Whatever it was: the same command once more, and once more for nothing.
        pipeline.run(&args(file), 0);
        let third = redrive(&pipeline, &args(file)[2..]);
        assert_eq!(third["groups"][0]["goes"], 0, "{call} {nth}: {third}");
        assert_eq!(third["groups"][0]["redriven"], LINES, "{call} {nth}: {third}");
    }
    assert!(sites.len() < files.len() && killed * 10 > sites.len() * 8, "{killed} of {} were killed", sites.len());

    let mut sent = BTreeMap::new();
    for (_, content) in pipeline.event_files().iter().filter(|(name, _)| !files.contains(name)) {
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            *sent.entry(String::from_utf8(line.to_vec()).unwrap()).or_insert(0) += 1;
        }
    }
    let expected: BTreeMap<String, i32> =
        lines[..(sites.len() + 1) * LINES].iter().map(|line| (line.clone(), 1)).collect();
    assert!(sent == expected, "every line once, byte for byte");
    let staged =
        pipeline.list("events/redrives").into_iter().filter(|path| path.extension().is_some_and(|e| e == "lines"));
    assert_eq!(staged.count(), 0);
    let known = pipeline.find("/metrics/summary").unwrap()["by_stage"]["event_ingest"]["done"].as_u64().unwrap();
    assert_eq!(known, pipeline.event_files().len() as u64 * 2, "all of them are announced");
    // The notes say where each line came from.
    let first = &rejects(&pipeline, &["--file", &files[1]])[0];
    let shown = pipeline.run(&["rejects", "show", &at(first)], 0).out;
    assert!(shown.contains("redriven to"), "{shown}");
}

#[test]
fn two_redrives_at_the_same_time_send_every_line_once_and_an_api_that_is_away_sends_none() {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none", LIMITS[1]]);
    pipeline.start(Role::Apid);
    let line =
        |n: usize| event(4, &format!(r#""shop_id":{n},"active":true,"idempotency_key":"{}""#, "x".repeat(100))) + "\n";
    pipeline.import((0..600).map(line).collect::<String>().as_bytes(), 20);
    let args = ["rejects", "redrive", "--all", "--json"];
    let nothing = redrive(&pipeline, &["--all"]);
    assert_eq!(nothing["groups"].as_array().unwrap().len(), 0, "nothing is rejected yet: {nothing}");
    pipeline.spawn_with(&["split", "--once"], &[LIMITS[0]], None).wait_exit(PATIENCE).expect_code(0);
    pipeline.kill9(Role::Apid);
    let away = pipeline.run(&args, 75);
    assert!(away.log.contains("does not answer"), "{}", away.log);
    assert_eq!(pipeline.event_files().len(), 30);
    pipeline.start(Role::Apid);
    let both = [pipeline.spawn(&args, None), pipeline.spawn(&args, None)];
    let sent: u64 = both
        .into_iter()
        .map(|process| {
            let report = super::ndjson(&process.wait_exit(PATIENCE).expect_code(0).out).remove(0);
            report["files"].as_array().unwrap().iter().map(|file| file["lines"].as_u64().unwrap()).sum::<u64>()
        })
        .sum();
    assert_eq!((sent, pipeline.event_files().len()), (600, 31));
}
