//! `shopctl up`: everything in one process, with nothing else installed.

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::events::{MISHAPS, event, generated, purchase};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, SHARDS};
use crate::support::process::Process;

/// Lines of an input that no run is through with before its signal comes.
const CUT_LINES: usize = 8000;

/// How many tasks are delivered, by the tracking database; no role runs.
fn deliveries(pipeline: &Pipeline) -> usize {
    let query = "SELECT COUNT(*) FROM pipeline_tracking WHERE mysql_sender_status = 'done'";
    let count: u32 = pipeline.database("pipeline_db").query_row(query, [], |row| row.get(0)).unwrap();
    usize::try_from(count).unwrap()
}

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
    let path = pipeline.write("input.ndjson", &generated(6, MISHAPS, CUT_LINES));
    let from = ["--from", path.to_str().unwrap(), "--batch", "100"];
    let mut before = 0;
    for signal in [Signal::TERM, Signal::KILL, Signal::INT] {
        let running = up(&pipeline, &from, &[]);
        running.wait_log("delivered", |_| Some(()));
        running.signal(signal);
        let ended = running.wait_exit(PATIENCE);
        let (code, done) = (ended.status.code(), deliveries(&pipeline));
        println!("{signal:?}: {code:?}, {done} deliveries");
        assert!(done > before && done < CUT_LINES / 100 * usize::from(SHARDS), "it was cut in mid-work: {done}");
        // 75: the import has not read its input to the end. 1: it has, and not all of it is delivered.
        let is_read = pipeline.event_files().len() == CUT_LINES / 100;
        let is_said = match code {
            None => signal == Signal::KILL,
            Some(75) => true,
            Some(code) => code == 1 && is_read,
        };
        assert!(is_said, "{signal:?}: {code:?}\n{}\n{}", ended.out, ended.log);
        before = done;
    }
    let ended = up(&pipeline, &from, &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(ended.out.contains(&format!("{CUT_LINES} lines in = ")), "{}", ended.out);
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn returns_whose_time_is_up_are_given_up_with_a_flush_file_and_those_in_time_wait() {
    let pipeline = Pipeline::new(&["pipeline.shards_count=8"]);
    let orphan = |order: u32| event(3, &format!(r#""order_id":{order},"good_id":3,"qty":1"#)) + "\n";
    let lines = format!("{}{}\n", (1..=40).map(orphan).collect::<String>(), purchase(41, 1));
    let path = pipeline.write("input.ndjson", lines.as_bytes());
    let from = ["--from", path.to_str().unwrap(), "--batch", "10"];
    let first = up(&pipeline, &from, &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(first.out.contains("40 returns wait for a purchase that never came, until "), "{}", first.out);
    assert!(!first.log.contains("made a flush file"), "none of them is due: {}", first.log);
    let cache = Connection::open(pipeline.shared().join("db/cache_db.sqlite")).unwrap();
    let days = "SELECT MIN(julianday(expires_at) - julianday(put_at)) FROM pending_return";
    let days: f64 = cache.query_row(days, [], |row| row.get(0)).unwrap();
    assert!(days > 29.9, "nothing expires while a file is run through: {days}");
    cache.execute("UPDATE pending_return SET expires_at = put_at", []).unwrap();
    drop(cache);
    let again = up(&pipeline, &from, &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(again.log.contains("made a flush file"), "{}", again.log);
    assert!(again.out.contains("        40  orphan_return  "), "{}", again.out);
    assert!(again.out.contains("\n0 differences") && !again.out.contains("never came"), "{}", again.out);
}

#[test]
fn an_import_of_which_nothing_is_accepted_fails_and_says_why() {
    let pipeline = Pipeline::new(&[]);
    let path = pipeline.write("sales.txt", b"order_id sku\n1 A\n");
    let ended = up(&pipeline, &["--from", path.to_str().unwrap()], &[]).wait_exit(PATIENCE).expect_code(1);
    assert!(ended.log.contains("nothing of the input was accepted"), "{}", ended.log);
    let file = &pipeline.event_files()[0].0;
    for said in [
        "ingest: 2 lines in 1 file, 0 of them imported before",
        "2 lines of this import rejected, by reason",
        &format!("         1  bad_json                  {file}:1  expected value"),
        &format!("shopctl rejects list --lines --file {file}\n"),
        &format!("shopctl rejects redrive --file {file} --dry-run"),
    ] {
        assert!(ended.out.contains(said), "{said}: {}", ended.out);
    }
    pipeline.run(&["rejects", "list", "--lines", "--file", file], 0);
    pipeline.run(&["rejects", "redrive", "--file", file, "--dry-run"], 0);
    // One line of it that is accepted is enough.
    let path = pipeline.write("mixed", format!("nonsense\n{}\n", purchase(1, 1)).as_bytes());
    let ended = up(&pipeline, &["--from", path.to_str().unwrap()], &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(ended.out.contains("1 line of this import rejected"), "{}", ended.out);
}

#[test]
fn the_advice_on_a_rejected_line_is_good_while_another_up_runs() {
    let pipeline = Pipeline::new(&[]);
    let closed = event(4, r#""shop_id":1,"active":false"#);
    let path = pipeline.write("closed", format!("{closed}\n{}\n", purchase(1, 1)).as_bytes());
    let ended = up(&pipeline, &["--from", path.to_str().unwrap()], &[]).wait_exit(PATIENCE).expect_code(0);
    assert!(ended.out.contains("         1  shop_closed"), "{}", ended.out);
    let (_, advice) = ended.out.split_once("then, while 'shopctl up' runs:\n").unwrap();
    let command = advice.lines().next().unwrap().trim().strip_prefix("shopctl ").unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    // Whether a shop is open is asked of the pipeline.
    pipeline.run(&words, 75);
    let running = up(&pipeline, &[], &["events.generate=false"]);
    let addr = running.wait_log("listening", |line| (line["role"] == "pipeline-apid").then(|| line["addr"].clone()));
    let port = addr.as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
    pipeline.proxy.set_backend(port);
    let planned = pipeline.run(&words, 0).out;
    assert!(planned.contains("shop_closed"), "{planned}");
    running.terminate(PATIENCE).expect_code(0);
}

#[test]
fn an_input_that_cannot_be_opened_is_named_before_anything_starts() {
    let pipeline = Pipeline::new(&[]);
    let (nope, folder) = (pipeline.beside("nope"), pipeline.beside(""));
    for (path, why) in [(nope, "No such file"), (folder, "it is a directory")] {
        let path = path.to_str().unwrap();
        let why = format!("cannot open {path}: {why}");
        let ended = up(&pipeline, &["--from", path], &[]).wait_exit(PATIENCE).expect_code(1);
        assert!(ended.log.contains(&why) && !ended.log.contains("listening") && ended.out.is_empty(), "{}", ended.log);
        let ended = pipeline.run(&["ingest", "--from", path], 1);
        assert!(ended.log.contains(&why), "{}", ended.log);
        assert!(!pipeline.shared().exists(), "nothing was touched");
    }
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
