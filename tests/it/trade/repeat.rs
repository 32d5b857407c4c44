//! The same input, settings and number of shards come to the same rows, rejects, balances and stock, every time: by `up
//! --from`, and by a loop of one-shot runs. Each is compared with the independent calculation.
//!
//! A small input with early returns, with returns that are handed to other shards, and with more of these than one task
//! takes; a whole year by `SHOPCTL_YEAR=FILE`, ten times on two shards.

use super::year::{LONG, Outcome, assert_exact, outcome};
use crate::proving::variable;
use crate::support::PATIENCE;
use crate::support::events::{event, plain, read};
use crate::support::oracle::{Known, Oracle};
use crate::support::pipeline::{Pipeline, Role, SHARDS};
use crate::support::process::Ended;
use shopctl::pipeline::ingest::generator::Rates;

/// What every account begins with.
const OPENING: i64 = 1_000_000;
/// The first order of the small input.
const ORDERS: i64 = 4_000_000_000;
/// Returns of the small input whose purchase never comes.
const ORPHANS: i64 = 7;

fn bought(order: i64, shop: i64) -> String {
    let order = ORDERS + order;
    let payload = format!(
        r#""order_id":{order},"user_id":{},"shop_id":{shop},"good_id":3,"qty":2,"price_at_order":2.50"#,
        shop + 90
    );
    event(1, &payload) + "\n"
}

/// A return that names no shop: it goes by the number of its order, wherever that was bought.
fn returned(order: i64, note: &str) -> String {
    event(3, &format!(r#""order_id":{},"good_id":3,"qty":1,"note":"{note}""#, ORDERS + order)) + "\n"
}

/// What every second run came to differently: in its last file all lines are for one shard of two, and the other shards
/// are through with it before its returns are handed to them.
fn small() -> Vec<u8> {
    let calm = Rates { duplicates: 0.0, malformed: 0.0, out_of_order: 0.0 };
    let mut lines = String::from_utf8(plain(77, calm, 600)).unwrap();
    // Early ones, for orders that are bought 200 lines later, and some that are never bought.
    lines.extend((200..240).map(|order| returned(order, "early")));
    lines.extend((900..900 + ORPHANS).map(|order| returned(order, "orphan")));
    lines.extend((0..150).map(|order| bought(order, order % 17 + 1)));
    lines.push_str("nonsense\n");
    lines.extend((200..240).map(|order| bought(order, order % 17 + 1)));
    // An order that is refused, and its return.
    lines.push_str(&bought(300, 5).replace("2.50", "-1"));
    lines.push_str(&returned(300, "refused"));
    while !lines.lines().count().is_multiple_of(100) {
        lines.push_str(&(event(4, r#""shop_id":2,"active":true"#) + "\n"));
    }
    lines.extend((0..150).step_by(2).map(|order| returned(order, "handed over")));
    lines.extend((400..425).map(|order| bought(order * 2, 2)));
    lines.into_bytes()
}

/// What must have become of the event files when nothing is left that could be decided.
fn oracle(pipeline: &Pipeline, shards: u8) -> Oracle {
    let mut oracle = Oracle::with_opening(shards, OPENING);
    for (name, content) in pipeline.event_files() {
        oracle.file(&name, &content, &Known::new());
    }
    // The oracle takes the shards in turn: the first of them takes now what the last one handed over in the last file.
    oracle.file("99991231235959", b"", &Known::new());
    oracle
}

/// Settings under which no tick makes a file by itself.
fn settings(shards: u8) -> Vec<String> {
    vec![
        format!("pipeline.shards_count={shards}"),
        format!("balance.opening_balance={OPENING}"),
        "pipeline.lease_ms=60000".to_owned(),
        "events.generation_interval=86400".to_owned(),
    ]
}

fn new_pipeline(shards: u8) -> Pipeline {
    let settings = settings(shards);
    Pipeline::new(&settings.iter().map(String::as_str).collect::<Vec<_>>())
}

fn run(lines: &[u8], batch: usize, shards: u8) -> (Pipeline, Ended) {
    let pipeline = new_pipeline(shards);
    let (path, batch) = (pipeline.write("input.ndjson", lines), batch.to_string());
    let from = ["up", "--any-port", "--from", path.to_str().unwrap(), "--batch", &batch];
    let ended = pipeline.spawn(&from, None).wait_exit(LONG).expect_code(0);
    assert!(ended.out.contains("\n0 differences"), "{}", ended.out);
    (pipeline, ended)
}

#[test]
fn the_same_input_comes_to_the_same_every_time() {
    let year = variable("SHOPCTL_YEAR").map(|path| read(&path));
    let (input, batch, times) = year.map_or_else(|| (small(), 100, 3), |year| (year, 10_000, 10));
    for (shards, times) in [(2, times), (1, 1), (3, 1), (16, 1)] {
        let mut first: Option<Outcome> = None;
        for time in 1..=times {
            let (pipeline, ended) = run(&input, batch, shards);
            let found = outcome(&pipeline, shards);
            let pending = pipeline.world_of(shards).pending.len();
            println!("{shards} shards, run {time}: {found}, {pending} returns wait");
            assert!(
                ended.out.contains(&format!("\n{pending} returns wait for a purchase that never came, until ")),
                "{}",
                ended.out
            );
            match &first {
                Some(first) => assert!(found == *first, "run {time} on {shards} shards: {found}\nthe first: {first}"),
                None => {
                    assert_exact(&oracle(&pipeline, shards), &pipeline, &found);
                    assert!(found.by_kind()[&3] > 20 && found.reasons().values().sum::<u64>() > 1, "{found}");
                    first = Some(found);
                }
            }
        }
    }
}

#[test]
fn more_than_one_task_takes_is_taken_flush_file_by_flush_file() {
    // Of shard 0 by their orders' numbers, of shard 1 by where they were bought; together more bytes than are handed out
    // at once.
    let note = "x".repeat(950_000);
    let orders = || (0..24).map(|order| order * 2);
    let lines: String =
        orders().map(|order| bought(order, 1)).chain(orders().map(|order| returned(order, &note))).collect();
    let (pipeline, _) = run(lines.as_bytes(), 24, 2);
    assert_exact(&oracle(&pipeline, 2), &pipeline, &outcome(&pipeline, 2));
    let world = pipeline.world();
    assert_eq!((world.row_count(), world.pending.len()), (48, 0));
    let files = pipeline.event_files();
    let flushes = files.iter().filter(|(_, content)| content.is_empty()).count();
    // Tasks of the second file may have taken some of them while it was under way.
    assert!(flushes <= 2 && files.len() == 2 + flushes, "{flushes} flush files");
}

#[test]
fn a_loop_of_one_shot_runs_comes_to_the_same_end() {
    let mut pipeline = new_pipeline(SHARDS);
    pipeline.start_with_services(&[Role::Ingest]);
    // Posted, and in no file yet when its ingest died.
    let url = format!("http://127.0.0.1:{}/api/v1/events", pipeline.role(Role::Ingest).wait_port());
    ureq::post(&url).content_type("application/x-ndjson").send(bought(700, 4)).unwrap();
    pipeline.kill9(Role::Ingest);
    // Written while it could not be announced: no process listens on port 1.
    let path = pipeline.write("input.ndjson", &small());
    let import = ["ingest", "--from", path.to_str().unwrap(), "--batch", "2000"];
    let away = ["pipeline.url=http://127.0.0.1:1/api/v1/pipeline"];
    pipeline.spawn_with(&import, &away, None).wait_exit(PATIENCE).expect_code(75);

    let once = |pipeline: &Pipeline| pipeline.run(&["ingest", "--once"], 0).out;
    let said = once(&pipeline);
    assert_eq!(said, "ingest: 1 file announced, 1 file cut from posts, no flush file, 4 tasks open");
    let (mut rounds, mut flushes) = (0, 0);
    while rounds < 10 {
        rounds += 1;
        // The shard that others hand over to is through first.
        for args in [&["split"][..], &["work", "--shard", "1"], &["work", "--shard", "0"], &["send"]] {
            pipeline.run(&[args, &["--once"]].concat(), 0);
        }
        let said = once(&pipeline);
        flushes += usize::from(said.contains("a flush file made for "));
        if said.starts_with("ingest: nothing to do") {
            break;
        }
    }
    assert!(flushes == 1 && rounds == 2, "{flushes} flush files in {rounds} rounds");
    assert_exact(&oracle(&pipeline, SHARDS), &pipeline, &outcome(&pipeline, SHARDS));
    assert_eq!(i64::try_from(pipeline.world().pending.len()).unwrap(), ORPHANS);
    pipeline.audit();
    let files = pipeline.event_files().len();
    assert!(once(&pipeline).starts_with("ingest: nothing to do") && pipeline.event_files().len() == files);
    pipeline.terminate(Role::Cache);
    let ended = pipeline.run(&["ingest", "--once"], 75);
    assert!(ended.log.contains("does not answer"), "whether returns are due is not known: {}", ended.log);
}
