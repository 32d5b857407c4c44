//! `shopctl up`: everything in one process, with nothing else installed.

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::events::{MISHAPS, event, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::Pipeline;
use crate::support::process::Process;

/// Starts `up` on any ports; its stages wait for each other inside, so the proxy is not used.
fn up(pipeline: &Pipeline, args: &[&str], more: &[&str]) -> Process {
    let args: Vec<&str> = ["up", "--any-port"].iter().chain(args).copied().collect();
    pipeline.spawn_with(&args, more, None)
}

#[test]
fn rows_come_within_seconds_and_an_interrupt_ends_with_the_audit() {
    let pipeline = Pipeline::new(&[]);
    let more = [
        "events.generate=true",
        "events.events_per_batch=400",
        "events.duplicate_rate=0.02",
        "events.malformed_rate=0.02",
    ];
    let running = up(&pipeline, &[], &more);
    running.wait_log("delivered", |line| line["rows"].as_u64().filter(|rows| *rows > 0));
    running.signal(Signal::INT);
    let ended = running.wait_exit(PATIENCE).expect_code(0);
    assert!(ended.out.contains("\n0 differences"), "{}", ended.out);
    assert!(!ended.log.contains("panicked") && !ended.log.contains(r#""level":"error""#), "{}", ended.log);
}

#[test]
fn what_was_left_undone_is_done_after_the_next_start() {
    let pipeline = Pipeline::new(&[]);
    let path = pipeline.write("input.ndjson", &generated(6, MISHAPS, 4000));
    let from = ["--from", path.to_str().unwrap(), "--batch", "100"];
    for signal in [Signal::TERM, Signal::KILL, Signal::INT] {
        let running = up(&pipeline, &from, &[]);
        running.wait_log("delivered", |_| Some(()));
        running.signal(signal);
        let ended = running.wait_exit(PATIENCE);
        // Stopped before its file was through, it cannot say that all is well; it may have been through by then. 75: the
        // import has not read its input to the end.
        let code = ended.status.code();
        println!("{signal:?}: {code:?}");
        assert!(matches!(code, None | Some(0 | 1 | 75)), "{code:?}\n{}", ended.log);
    }
    let ended = up(&pipeline, &from, &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(ended.out.contains("4000 lines in = "), "{}", ended.out);
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn a_file_is_through_although_files_are_made_for_returns_that_wait() {
    let pipeline = Pipeline::new(&["pipeline.shards_count=8", "cache.pending_ttl=1"]);
    let orphan = |order: u32| event(3, &format!(r#""order_id":{order},"good_id":3,"qty":1"#)) + "\n";
    let path = pipeline.write("input.ndjson", (1..=400).map(orphan).collect::<String>().as_bytes());
    let ended = up(&pipeline, &["--from", path.to_str().unwrap(), "--batch", "10"], &[]).wait_exit(PATIENCE);
    assert!(ended.log.contains("made a file without lines"), "{}", ended.log);
    let ended = ended.expect_code(0);
    assert!(ended.out.contains("\n0 differences"), "{}", ended.out);
}

#[test]
fn a_file_is_run_through_and_a_lost_row_is_found() {
    let pipeline = Pipeline::new(&[]);
    let path = pipeline.write("input.ndjson", &generated(7, MISHAPS, 2000));
    let from = ["--from", path.to_str().unwrap(), "--batch", "500"];
    let first = up(&pipeline, &from, &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(first.out.contains("\n0 differences") && first.out.contains("4 files: 2000 lines in"), "{}", first.out);
    pipeline.assert_all_is_well(&Known::new());
    let again = up(&pipeline, &from, &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(again.out.contains("4 of them imported before") && again.out.contains("\n0 differences"), "{}", again.out);

    let shard = Connection::open(pipeline.shared().join("db/shop_shard_1.sqlite")).unwrap();
    shard.execute("DELETE FROM events WHERE id = (SELECT MAX(id) FROM events)", []).unwrap();
    drop(shard);
    let lost = up(&pipeline, &from, &[]).wait_exit(PATIENCE).expect_code(1);
    assert!(lost.out.contains("rows were delivered"), "{}", lost.out);
}
