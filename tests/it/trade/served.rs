//! Separate processes with tracking, shards, accounts and order directory on SQLite, MariaDB and MySQL: what comes out is
//! compared with the independent calculation, line by line. Then the same file is imported again and every role runs again: nothing is added.
//!
//! Generated events; a whole year by `SHOPCTL_YEAR=FILE`, plain or gzip.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::year::{LONG, assert_exact, input, oracle, outcome};
use crate::proving::variable;
use crate::store::served::Served;
use crate::support::database::Databases;
use crate::support::events::event;
use crate::support::pipeline::{Pipeline, Role, SERVICES, SHARDS, STAGES, name_of};
use crate::support::{PATIENCE, eventually};

/// Lines of an event file: of a year, and of generated events.
const BATCH: (&str, &str) = ("10000", "300");
/// What every account begins with.
const OPENING: i64 = 1_000_000;
/// So many seconds a return waits for its purchase: in a long run the first are given up while files are under way.
const TTL: u64 = 2;
/// Returns of orders that are never sold.
const ORPHANS: i64 = 20;

mod sqlite {
    #[test]
    fn processes_come_to_what_the_rules_say() {
        super::run("SQLite", super::Databases::Sqlite);
    }
}

mod on_mariadb {
    #[test]
    fn processes_come_to_what_the_rules_say() {
        let server = super::Served::mariadb();
        super::run("MariaDB", server.databases());
    }
}

mod on_mysql {
    #[test]
    fn processes_come_to_what_the_rules_say() {
        let server = super::Served::mysql();
        super::run("MySQL", server.databases());
    }
}

fn run(on: &str, databases: Databases) {
    let is_year = variable("SHOPCTL_YEAR").is_some();
    let (batch, patience) = if is_year { (BATCH.0, LONG) } else { (BATCH.1, PATIENCE * 2) };
    let settings = [format!("balance.opening_balance={OPENING}"), format!("cache.pending_ttl={TTL}")];
    // Nothing is killed here: however slow the disk is meanwhile, no attempt is taken for lost.
    let settings = ["pipeline.lease_ms=60000", &settings[0], &settings[1]];
    let mut pipeline = Pipeline::served(databases, &settings);
    let lines = if is_year { input() } else { [orphans(), input()].concat() };
    let path = pipeline.write("input.ndjson", &lines);
    let import = ["ingest", "--from", path.to_str().unwrap(), "--batch", batch];

    let began = Instant::now();
    STAGES.into_iter().chain([Role::Ingest]).for_each(|role| pipeline.start(role));
    pipeline.spawn(&import, None).wait_exit(patience).expect_code(0);
    eventually("everything is delivered", patience, || is_delivered(&pipeline));
    let delivered = began.elapsed();
    wait_decided(&pipeline, patience);
    let decided = began.elapsed();
    // From here on no file is made.
    pipeline.terminate(Role::Ingest);
    wait_decided(&pipeline, patience);

    let found = outcome(&pipeline, SHARDS);
    println!("{on}: delivered after {delivered:.1?}, no return waits after {decided:.1?}\n{found}");
    println!("{}", way(&pipeline));
    let oracle = oracle(&pipeline, SHARDS, OPENING);
    assert_exact(&oracle, &pipeline, &found);
    assert!(found.reasons()["orphan_return"] > 1 && found.by_kind()[&3] > 20, "{found}");
    pipeline.audit();

    let made = pipeline.list("events");
    STAGES.into_iter().for_each(|role| drop(pipeline.terminate(role)));
    run_again(&mut pipeline, &import, patience);
    assert!(pipeline.list("events") == made, "an event file more");
    let again = outcome(&pipeline, SHARDS);
    assert_exact(&oracle, &pipeline, &again);
    assert!(again == found, "before: {found}\nnow: {again}");
    pipeline.assert_no_panic();
    println!("{on}: imported and run again: nothing is added");
}

/// The same import once more, and every role has a look at everything.
fn run_again(pipeline: &mut Pipeline, import: &[&str], patience: Duration) {
    pipeline.start_with_services(&[Role::Ingest]);
    let numbers = |out: &str| out.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u64>>();
    let ended = pipeline.spawn(import, None).wait_exit(patience).expect_code(0);
    let [_, files, before] = numbers(&ended.out)[..] else { panic!("{}", ended.out) };
    assert!(files > 1 && before == files, "{}", ended.out);
    pipeline.role(Role::Ingest).wait_ready();
    pipeline.terminate(Role::Ingest);
    for role in [Role::Split, Role::Work0, Role::Work1, Role::Send] {
        pipeline.spawn(&[role.args(), &["--once"]].concat(), None).wait_exit(patience).expect_code(0);
    }
    assert!(is_delivered(pipeline));
    SERVICES.into_iter().for_each(|role| drop(pipeline.terminate(role)));
}

/// Returns whose purchase never comes, of both shards.
fn orphans() -> Vec<u8> {
    let orders = 9_000_000_000_001..=9_000_000_000_000 + ORPHANS;
    let line = |order| event(3, &format!(r#""order_id":{order},"good_id":3,"qty":1"#)) + "\n";
    orders.flat_map(|order| line(order).into_bytes()).collect()
}

/// How many event files there are.
fn files(pipeline: &Pipeline) -> u64 {
    let is_event_file = |path: &&PathBuf| name_of(path).ends_with(".event-ingest.txt");
    pipeline.list("events").iter().filter(is_event_file).count() as u64
}

/// Whether all of them are delivered.
fn is_delivered(pipeline: &Pipeline) -> bool {
    let tasks = files(pipeline) * u64::from(SHARDS);
    pipeline.delivered() == (tasks, tasks)
}

/// Waits until no return waits any more: what came in is delivered, what is made now are flush files.
fn wait_decided(pipeline: &Pipeline, patience: Duration) {
    let cache = pipeline.keep_open("cache_db");
    let pending = || cache.texts("SELECT COUNT(*) FROM pending_return WHERE done_at IS NULL")[0][0].clone().unwrap();
    eventually("no return waits any more", patience, || pending() == "0" && is_delivered(pipeline));
}

/// Which returns waited and in how many files they were taken up, and how often a task was tried at the most.
fn way(pipeline: &Pipeline) -> String {
    let rows = |database: &str, query: &str| pipeline.open(database).texts(query);
    let query = "SELECT taken_as, COUNT(*), COUNT(DISTINCT taken_file) FROM pending_return GROUP BY taken_as";
    let mut waited = String::new();
    for row in rows("cache_db", query) {
        let [by, count, tasks] = <[_; 3]>::try_from(row).unwrap().map(Option::unwrap);
        write!(waited, "{by}: {count} in {tasks} files, ").unwrap();
    }
    let attempts = rows("pipeline_db", "SELECT MAX(attempt) FROM pipeline_stage_result")[0][0].clone().unwrap();
    format!(
        "returns that waited, taken up as {waited}of {} files; attempts at a task at most: {attempts}",
        files(pipeline)
    )
}
