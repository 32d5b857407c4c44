//! Claims under a race, and claims among a million tasks.
//!
//! 1. 64 clients, each with connections of its own, race for 10,000 tasks: every task must go to exactly one of them.
//!    Then all leases are over, and they race once more: no token of a task may come again.
//! 2. The time of one claim per stage with 10,000 rows in the tracking table (the reference) and with 1,000,000, of which
//!    all but the last 10,000 are finished; printed as a ratio.
//!
//! Run: `cargo bench --bench claims -- --url mysql://USER@HOST:PORT/DATABASE`; the database is made and emptied, so name
//! one of its own. Without `--url`, an embedded one. `--rows N` instead of 1,000,000.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use shopctl::base::clock::Clock;
use shopctl::base::db::{StoreUrl, migrate};
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::apid::open::open_tracking;
use shopctl::pipeline::apid::store::{StageReport, Tracking, TrackingPolicy};
use shopctl::pipeline::schemas;
use shopctl::pipeline::task::moves::RetryPolicy;
use shopctl::pipeline::task::{Call, Claim, FileName, Stage, TaskKey};
use tokio::task::JoinSet;

/// Clients that race.
const CLIENTS: usize = 64;
/// Tasks that they race for, and unfinished tasks in the tables that are measured.
const TASKS: usize = 10_000;
/// Rows of the big table, unless `--rows` says otherwise.
const ROWS: usize = 1_000_000;
/// Claims measured per stage.
const CLAIMS: usize = 400;
/// Rows per INSERT.
const ROWS_PER_INSERT: usize = 1000;
/// 2000-01-01: the files' names are its seconds.
const FIRST_MS: i64 = 946_684_800_000;
/// As if everybody who holds a lease had died long ago.
const END_LEASES: &str =
    "UPDATE pipeline_tracking SET lease_until = '2000-01-01 00:00:00.000' WHERE lease_until IS NOT NULL";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let embedded = format!("sqlite://{}", folder.path().join("tracking.sqlite").display());
    let (mut url, mut rows) = (embedded, ROWS);
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--url" => url = value,
            "--rows" => rows = value.parse()?,
            other => return Err(format!("'{other}' is no argument; there are --url and --rows").into()),
        }
    }
    let url = StoreUrl::parse(&url)?;
    println!("{url}");
    migrate(&url, &schemas::TRACKING).await?;
    race(&url).await?;
    let reference = measure(&url, TASKS).await?;
    let big = measure(&url, rows).await?;
    for ((stage, small), (_, large)) in reference.into_iter().zip(big) {
        let ratio = large.as_secs_f64() / small.as_secs_f64();
        println!("claim {stage}: median {small:?} at {TASKS} rows, {large:?} at {rows} rows: {ratio:.2} times");
    }
    Ok(())
}

async fn open(url: &StoreUrl) -> Outcome<Arc<dyn Tracking>> {
    let moves = RetryPolicy { lease_ms: 600_000, backoff_ms: 1000, attempts_max: 5 };
    let policy = TrackingPolicy { moves, backoff_max_ms: 60_000, strict_order: false };
    Ok(open_tracking(url, Clock::System, policy).await?)
}

async fn race(url: &StoreUrl) -> Outcome<()> {
    fill(url, TASKS, |_| [true, false, false]).await?;
    let mut tokens = BTreeSet::new();
    for pass in ["first", "again"] {
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let tracking = open(url).await?;
            clients.spawn(async move { take_all(tracking, pass, client).await });
        }
        let mut won: Vec<(TaskKey, u64)> = Vec::new();
        while let Some(result) = clients.join_next().await {
            won.extend(result??);
        }
        let took = began.elapsed();
        let keys: BTreeSet<&TaskKey> = won.iter().map(|(key, _)| key).collect();
        let count = keys.len();
        println!(
            "race ({pass}): {CLIENTS} clients, {} wins of {count} tasks ({TASKS} there), no error, {took:.1?}",
            won.len()
        );
        if won.len() != TASKS || count != TASKS {
            return Err("a task went to no worker, or to two".into());
        }
        if let Some((key, token)) = won.into_iter().find(|won| !tokens.insert(won.clone())) {
            return Err(format!("token {token} of {key} was given out twice").into());
        }
        // All of them die with what they hold.
        execute(url, vec![END_LEASES.to_owned()]).await?;
    }
    Ok(())
}

async fn take_all(tracking: Arc<dyn Tracking>, pass: &str, client: usize) -> Outcome<Vec<(TaskKey, u64)>> {
    let mut won = Vec::new();
    loop {
        let claim_id = format!("{pass}-{client}-{}", won.len());
        let claimed = tracking.claim(&claim(Stage::ShardSplitter, 4, claim_id)).await?;
        if claimed.is_empty() {
            tracking.close().await;
            return Ok(won);
        }
        won.extend(claimed.into_iter().map(|task| (task.key, task.token)));
    }
}

fn claim(stage: Stage, limit: u32, claim_id: String) -> Claim {
    Claim { stage, worker: "bench".to_owned(), limit, shard: None, claim_id, takes_over: true }
}

/// The median time of a claim per stage; what is claimed is finished, so that the next claim finds the next task.
async fn measure(url: &StoreUrl, rows: usize) -> Outcome<Vec<(Stage, Duration)>> {
    // All finished but the last ones: a third waits for each stage.
    fill(url, rows, |from_end| {
        let third = TASKS / 3;
        [from_end <= third, from_end <= 2 * third, from_end <= TASKS]
    })
    .await?;
    let tracking = open(url).await?;
    let mut medians = Vec::new();
    for stage in [Stage::ShardSplitter, Stage::ShardWorker, Stage::MysqlSender] {
        let mut times = Vec::new();
        for number in 0..CLAIMS {
            let began = Instant::now();
            let claimed = tracking.claim(&claim(stage, 1, format!("{stage}-{number}"))).await?;
            times.push(began.elapsed());
            for task in claimed {
                tracking.apply(&task.key, stage, Call::Done(Some(task.token)), StageReport::default()).await?;
            }
        }
        times.sort_unstable();
        medians.push((stage, times[times.len() / 2]));
    }
    tracking.close().await;
    Ok(medians)
}

/// Empties the table and writes `rows` tasks of two shards each file; `open` says, by the distance from the last row,
/// which of splitter, worker and sender are still to do.
async fn fill(url: &StoreUrl, rows: usize, open: impl Fn(usize) -> [bool; 3]) -> Outcome<()> {
    execute(url, vec!["DELETE FROM pipeline_tracking".to_owned(), "DELETE FROM pipeline_stage_result".to_owned()])
        .await?;
    let mut statements = Vec::new();
    for begin in (0..rows).step_by(ROWS_PER_INSERT) {
        let values = (begin..rows.min(begin + ROWS_PER_INSERT)).map(|row| {
            let file = FileName::of(Timestamp::from_unix_ms(FIRST_MS + (row as i64 / 2) * 1000));
            let [split, work, send] = open(rows - row).map(|open| if open { "new" } else { "done" });
            format!("('{}', 'done', '{split}', '{work}', '{send}', {}, '2025-01-01 00:00:00.000', '2025-01-01 00:00:00.000', 2)",
                file.as_str(), row % 2)
        });
        statements.push(format!(
            "INSERT INTO pipeline_tracking (filename, event_ingest_status, shard_splitter_status, shard_worker_status,
             mysql_sender_status, shard, created_at, updated_at, shards_count) VALUES {}",
            values.collect::<Vec<_>>().join(", ")
        ));
    }
    execute(url, statements).await?;
    let analyze = if matches!(url, StoreUrl::Mysql(_)) { "ANALYZE TABLE pipeline_tracking" } else { "ANALYZE" };
    execute(url, vec![analyze.to_owned()]).await
}

async fn execute(url: &StoreUrl, statements: Vec<String>) -> Outcome<()> {
    match url {
        StoreUrl::Sqlite(path) => {
            let mut connection = rusqlite::Connection::open(path)?;
            let transaction = connection.transaction()?;
            for statement in statements {
                transaction.execute_batch(&statement)?;
            }
            transaction.commit()?;
        }
        StoreUrl::Mysql(server) => {
            let options = OptsBuilder::default()
                .ip_or_hostname(server.host.clone())
                .tcp_port(server.port)
                .user(Some(server.user.clone()))
                .pass(server.password.clone())
                .db_name(Some(server.database.clone()))
                .prefer_socket(false);
            let mut connection = Conn::new(options).await?;
            for statement in statements {
                connection.query_drop(statement).await?;
            }
            connection.disconnect().await?;
        }
    }
    Ok(())
}
