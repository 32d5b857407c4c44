//! Every fsync of a file and of a folder, one by one: the system calls of each role are watched, and nothing may be told
//! or left before it is durable. What the calls are good for, `power` shows.
//!
//! Needs `strace` and the right to trace one's own children.

use std::path::Path;

use crate::support::PATIENCE;
use crate::support::events::{MISHAPS, event, generated};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::syscalls::{Watched, tracer, watch};

const LINES: usize = 60;
const BATCH: &str = "20";

/// What a trace holds; there must be no fault in it.
fn durable(what: &str, trace: &Path, pipeline: &Pipeline) -> Watched {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    let watched = watch(&text, &pipeline.shared().canonicalize().unwrap());
    assert!(text.contains("write("), "strace traced nothing: is it there, and may it trace its own children?");
    assert!(watched.faults.is_empty(), "{what}: {:#?}", watched.faults);
    watched
}

/// Runs a command to its end and watches it.
fn watched(pipeline: &Pipeline, args: &[&str]) -> Watched {
    let trace = pipeline.beside("trace");
    pipeline.spawn_under(&tracer(&trace), args).wait_exit(PATIENCE).expect_code(0);
    durable(&args.join(" "), &trace, pipeline)
}

/// Names that end like this.
fn count(names: &[String], end: &str) -> usize {
    names.iter().filter(|name| name.ends_with(end)).count()
}

#[test]
fn every_stage_syncs_what_it_publishes_before_it_says_so() {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none"]);
    pipeline.start_with_services(&[]);
    let input = pipeline.write("input.ndjson", &generated(5, MISHAPS, LINES));
    let imported = watched(&pipeline, &["ingest", "--from", input.to_str().unwrap(), "--batch", BATCH]);
    assert_eq!(count(&imported.named, ".event-ingest.txt"), 3, "{imported:?}");
    assert_eq!(count(&imported.made, "/events"), 1, "{imported:?}");
    let split = watched(&pipeline, &["split", "--once"]);
    assert_eq!(count(&split.named, ".lines"), 6, "{split:?}");
    for shard in ["0", "1"] {
        let worked = watched(&pipeline, &["work", "--once", "--shard", shard]);
        // Each once where it belongs, and once beside the worker's state.
        assert_eq!(count(&worked.named, ".prepared.txt"), 6, "{worked:?}");
        assert_eq!(count(&worked.made, "/kept"), 1, "{worked:?}");
    }
    let sent = watched(&pipeline, &["send", "--once"]);
    assert_eq!(count(&sent.named, ".receipt.json"), 6, "{sent:?}");
}

#[test]
fn the_folder_of_new_databases_is_synced() {
    let mut pipeline = Pipeline::new(&[]);
    let trace = pipeline.beside("trace");
    std::fs::create_dir_all(pipeline.shared()).unwrap();
    pipeline.start_under(Role::Apid, &tracer(&trace));
    pipeline.terminate(Role::Apid);
    let made = durable("apid", &trace, &pipeline);
    assert_eq!(count(&made.made, "/db"), 1, "{made:?}");
}

#[test]
fn posts_are_synced_before_they_are_acknowledged() {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none", "events.generation_interval=3600"]);
    pipeline.start_with_services(&[]);
    let (first, second) = (pipeline.beside("first"), pipeline.beside("second"));
    pipeline.start_under(Role::Ingest, &tracer(&first));
    post(&pipeline);
    post(&pipeline);
    pipeline.kill9(Role::Ingest);
    let posted = durable("ingest", &first, &pipeline);
    assert_eq!((posted.acknowledged, count(&posted.named, ".spool")), (2, 1), "{posted:?}");

    // A line of which a crash left a part: it is cut off, and what was acknowledged is published.
    let spool = pipeline.list("events/spool").pop().unwrap();
    let torn = [std::fs::read(&spool).unwrap(), b"{\"event_".to_vec()].concat();
    std::fs::write(&spool, torn).unwrap();
    pipeline.start_under(Role::Ingest, &tracer(&second));
    post(&pipeline);
    pipeline.terminate(Role::Ingest);
    let taken_over = durable("ingest after a crash", &second, &pipeline);
    assert_eq!(count(&taken_over.cut, ".spool"), 1, "{taken_over:?}");
    assert_eq!(count(&taken_over.named, ".event-ingest.txt"), 2, "{taken_over:?}");
    let lines: usize =
        pipeline.event_files().iter().map(|(_, content)| memchr::memchr_iter(b'\n', content).count()).sum();
    assert_eq!(lines, 3);
}

fn post(pipeline: &Pipeline) {
    let url = format!("http://127.0.0.1:{}/api/v1/events", pipeline.role(Role::Ingest).wait_ready());
    let request = ureq::post(url).header("content-type", "application/x-ndjson");
    let answer = request.send(event(4, r#""shop_id":2,"active":true"#) + "\n").unwrap();
    assert_eq!(answer.status(), 202);
}

#[test]
fn a_folder_that_was_cleared_is_synced() {
    for (cleanup, removed, moved) in [("delivered", 3, 0), ("all", 3, 3)] {
        let mut pipeline = Pipeline::new(&[&format!("shared.cleanup={cleanup}")]);
        pipeline.start_with_services(&[]);
        let leave = ["--set", "shared.cleanup=none"];
        let run = |args: &[&str]| drop(pipeline.run(&[args, &leave].concat(), 0));
        for seed in [5, 6] {
            let input = pipeline.write("input.ndjson", &generated(seed, MISHAPS, LINES));
            run(&["ingest", "--from", input.to_str().unwrap(), "--batch", BATCH]);
            run(&["split", "--once"]);
            run(&["work", "--once", "--shard", "0"]);
            if seed == 5 {
                run(&["send", "--once"]);
            }
        }
        let trace = pipeline.beside("trace");
        pipeline.start_under(Role::Work0, &tracer(&trace));
        pipeline.role(Role::Work0).wait_ready();
        pipeline.terminate(Role::Work0);
        let cleared = durable("work", &trace, &pipeline);
        let aside: Vec<String> = cleared.named.into_iter().filter(|name| name.contains("/undelivered/")).collect();
        assert_eq!((count(&cleared.removed, ".prepared.txt"), aside.len()), (removed, moved), "{aside:?}");
    }
}

#[test]
fn a_state_that_was_made_again_is_synced_before_it_has_its_name() {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none"]);
    pipeline.start_with_services(&[]);
    pipeline.import(&generated(5, MISHAPS, LINES), 20);
    for args in [&["split", "--once"][..], &["work", "--once", "--shard", "0"], &["send", "--once"]] {
        pipeline.run(args, 0);
    }
    let rebuilt = watched(&pipeline, &["work", "--shard", "0", "--rebuild", "--force"]);
    assert_eq!(count(&rebuilt.named, "/worker.sqlite"), 1, "{rebuilt:?}");
}
