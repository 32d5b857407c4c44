//! A database server that is killed, stopped, read-only or full of connections, and one whose answers to COMMIT are
//! lost. Every role waits without burning attempts or processor time, says so, and goes on by itself.
//!
//! Needs Debian's mariadb-server; the server is the test's own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, TxOpts};
use shopctl::base::clock::Clock;

use super::recovery::{Task, leased_by_anyone};
use super::{Class, Size, assert_imported};
use crate::support::commits::Commits;
use crate::support::database::Rows;
use crate::support::events::{MISHAPS, generated};
use crate::support::mariadb::{Mariadb, Ports};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, SHARDS, STAGES};
use crate::support::{PATIENCE, eventually, pause};

/// No lease runs out here: an attempt that is counted was burnt by the outage. Nor is any return's time up in a long
/// run: the generator's last lines are returns whose purchase would have come later, and the oracle has no clock.
const SETTINGS: [&str; 2] = ["pipeline.lease_ms=120000", "cache.pending_ttl=86400"];
/// Of one core, while there is no database: of the release build over half a minute, and of the debug build in the
/// first seconds, when the pauses are still short.
const IDLE_PERCENT: (u64, u64) = (15, 5);
/// The fewest connections that a server can be told to have.
const PLACES: usize = 10;
/// Outages of a kind, at the most.
const ROUNDS_MAX: u64 = 44;
/// How often a round looks for a claimed task before the outage.
const LOOKS_MAX: usize = 200;
/// Answers to COMMIT that are lost, of a thousand, by kind of database.
const CUTS: [(&str, u64); 4] = [("shards", 400), ("balance", 300), ("cache", 300), ("tracking", 100)];
/// Deliveries whose COMMIT must have lost its answer, in a hundred.
const DELIVERIES_CUT_MIN: u64 = 20;
/// Processor time is counted in hundredths of a second.
const TICKS_PER_SEC: u64 = 100;

/// What happens to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outage {
    Killed,
    Stopped,
    ReadOnly,
    NoConnections,
}

const OUTAGES: [Outage; 4] = [Outage::Killed, Outage::Stopped, Outage::ReadOnly, Outage::NoConnections];

impl Outage {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "database killed",
            Self::Stopped => "database stopped",
            Self::ReadOnly => "database read-only",
            Self::NoConnections => "database without connections",
        }
    }

    /// Connections that are held while there shall be none for the pipeline.
    fn begin(self, server: &mut Mariadb) -> Vec<Conn> {
        match self {
            Self::Killed => server.kill9(),
            Self::Stopped => server.stop(),
            Self::ReadOnly => server.root().run(&["SET GLOBAL read_only = ON"]),
            Self::NoConnections => return take_connections(server),
        }
        Vec::new()
    }

    fn end(self, server: &mut Mariadb, held: Vec<Conn>) {
        match self {
            Self::Killed | Self::Stopped => server.restart(),
            Self::ReadOnly => server.root().run(&["SET GLOBAL read_only = OFF"]),
            Self::NoConnections => {
                drop(held);
                eventually("a connection is free", PATIENCE, || answers(server));
                server.root().run(&["SET GLOBAL max_connections = 100"]);
            }
        }
    }
}

fn answers(server: &Mariadb) -> bool {
    let url = server.root().0;
    runtime().block_on(async { Conn::new(Opts::from_url(&url).unwrap()).await.is_ok() })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Ends the pipeline's connections and takes all that there are.
fn take_connections(server: &Mariadb) -> Vec<Conn> {
    let url = server.root().0;
    let connect = async || Conn::new(Opts::from_url(&url).unwrap()).await;
    KEEP.block_on(async {
        let mut held = vec![connect().await.unwrap()];
        held[0].query_drop(format!("SET GLOBAL max_connections = {PLACES}")).await.unwrap();
        loop {
            // The pipeline is as quick to connect again as this is to take what it lost.
            held[0].query_drop("KILL USER shop").await.unwrap();
            while let Ok(one) = connect().await {
                held.push(one);
            }
            // A connection that is ending has its place until it has ended: all of the places must be ours.
            let others = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'shop'";
            if held[0].query_first::<u64, _>(others).await.unwrap() == Some(0) && held.len() >= PLACES {
                return held;
            }
        }
    })
}

/// The runtime of the connections that are held over several calls.
static KEEP: std::sync::LazyLock<tokio::runtime::Runtime> = std::sync::LazyLock::new(runtime);

/// Hundredths of a second that a process has used.
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Every role says that it is not ready, and does next to nothing.
fn sit_out(pipeline: &Pipeline, outage: Outage, long: Duration, idle_percent: u64) {
    let roles = STAGES.into_iter().chain([Role::Ingest]);
    let ports: BTreeMap<Role, u16> = roles.map(|role| (role, pipeline.role(role).wait_port())).collect();
    let is_ready = |port: u16| ureq::get(format!("http://127.0.0.1:{port}/ready")).call().is_ok();
    for (role, port) in &ports {
        // No role announces anything now, so that the ingest need not have noticed.
        // Reading goes on where nothing can be written, so that who has no work need not notice either.
        let is_reading = matches!(role, Role::Split | Role::Work0 | Role::Work1) && outage == Outage::ReadOnly;
        if *role != Role::Ingest && !is_reading {
            eventually(&format!("{role:?} is not ready ({outage:?})"), PATIENCE, || !is_ready(*port));
        }
    }
    let used = || ports.keys().map(|role| (*role, ticks(pipeline.role(*role).id()))).collect::<BTreeMap<_, _>>();
    let (before, began) = (used(), Instant::now());
    // Nothing is waited for: this is the length over which the processor time is counted.
    pause(long);
    let allowed = began.elapsed().as_millis() as u64 * TICKS_PER_SEC / 1000 * idle_percent / 100 + 1;
    for (role, now) in used() {
        let spent = now - before[&role];
        assert!(spent <= allowed, "{role:?} used {spent} hundredths of a second in {:?} ({outage:?})", began.elapsed());
    }
}

#[test]
fn a_database_that_is_away_delays_everything_and_burns_nothing() {
    let size = Size::asked();
    size.chances("outages");
    let mut server = Mariadb::start();
    let mut pipeline = Pipeline::served(server.databases(server.ports()), &SETTINGS);
    STAGES.into_iter().chain([Role::Ingest]).for_each(|role| pipeline.start(role));
    let mut input = Vec::new();
    for outage in OUTAGES {
        let mut class = Class::new(size, outage.name());
        let mut rounds = 0..size.pick(3, ROUNDS_MAX);
        // Sometimes no worker has a task at that moment: then one more.
        while (class.in_flight() < size.pick(1, 22))
            && let Some(round) = rounds.next()
        {
            let mut part = generated(size.seed + 100 * round + outage as u64, MISHAPS, 4000);
            let path = pipeline.write("input.ndjson", &part);
            input.append(&mut part);
            let (long, idle) = if round == 0 {
                (size.pick(4, 30), size.pick(IDLE_PERCENT.0, IDLE_PERCENT.1))
            } else {
                (2, IDLE_PERCENT.0)
            };
            let args = ["ingest", "--from", path.to_str().unwrap(), "--batch", "100"];
            let before = pipeline.delivered().0;
            let import = pipeline.spawn(&args, None);
            eventually("some files are delivered", PATIENCE, || pipeline.delivered().0 > before);
            let claimed = claimed(&pipeline);
            let held = outage.begin(&mut server);
            let stands = Clock::System.now().to_string();
            sit_out(&pipeline, outage, Duration::from_secs(long), idle);
            outage.end(&mut server, held);
            let began = Instant::now();
            import.wait_exit(PATIENCE);
            pipeline.run(&args, 0);
            pipeline.wait_settled();
            class.recovered(began.elapsed());
            class.struck(is_in_flight(pipeline.open("pipeline_db").as_ref(), &claimed, &stands));
        }
        for role in STAGES.into_iter().chain([Role::Ingest]) {
            pipeline.role(role).wait_ready();
        }
        pipeline.assert_all_is_well(&Known::new());
        assert_imported(&pipeline, &input);
        assert!(class.in_flight() > 0, "{}: no task was claimed", outage.name());
        class.finish();
    }
    let attempts = "SELECT MAX(attempt) FROM pipeline_stage_result";
    assert_eq!(pipeline.open("pipeline_db").texts(attempts), [[Some("1".to_owned())]], "an outage burnt attempts");
}

/// The tasks that a worker has claimed; there are some while files are under way, but not at every moment.
fn claimed(pipeline: &Pipeline) -> Vec<Task> {
    let tracking = pipeline.keep_open("pipeline_db");
    let look = || leased_by_anyone(tracking.as_ref()).into_iter().map(|(task, _)| task).collect::<Vec<_>>();
    (0..LOOKS_MAX).map(|_| look()).find(|tasks| !tasks.is_empty()).unwrap_or_default()
}

/// Whether one of them was done only after this moment, when the server was away: by its own books, once all is done.
fn is_in_flight(tracking: &dyn Rows, claimed: &[Task], stands: &str) -> bool {
    let is_later = |(file, shard, column): &Task| {
        let stage = column.trim_end_matches("_status").replace('_', "-");
        let query = format!(
            "SELECT COUNT(*) FROM pipeline_stage_result
             WHERE filename = '{file}' AND shard = {shard} AND stage = '{stage}' AND finished_at > '{stands}'"
        );
        tracking.texts(&query)[0][0].as_deref() != Some("0")
    };
    claimed.iter().any(is_later)
}

/// Delivers batches as a sender without a marker does: what was not answered is sent again. Answers the rows there are.
fn naive(server: &Mariadb, port: u16, batches: u64) -> u64 {
    server.root().run(&["CREATE DATABASE control", "CREATE TABLE control.events (batch INT, line INT)"]);
    let url = format!("mysql://shop:shop@127.0.0.1:{port}/control");
    runtime().block_on(async {
        let mut connection = connect(&url).await;
        for batch in 0..batches {
            while deliver_naively(&mut connection, batch).await.is_err() {
                connection = connect(&url).await;
            }
        }
        connection.disconnect().await.unwrap();
    });
    server.number("SELECT COUNT(*) FROM control.events")
}

/// A connection, once the server has one: those that were cut take a moment to end.
async fn connect(url: &str) -> Conn {
    loop {
        match Conn::new(Opts::from_url(url).unwrap()).await {
            Ok(connection) => return connection,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn deliver_naively(connection: &mut Conn, batch: u64) -> mysql_async::Result<()> {
    let mut transaction = connection.start_transaction(TxOpts::default()).await?;
    for line in 0..5_u64 {
        transaction.exec_drop("INSERT INTO events VALUES (?, ?)", (batch, line)).await?;
    }
    transaction.commit().await
}

#[test]
fn a_commit_whose_answer_is_lost_is_delivered_once() {
    let size = Size::asked();
    size.chances("commits");
    let server = Mariadb::start();
    let batches = size.pick(40, 200);
    let proxy = Commits::before(server.port(), 300, size.seed);
    let control = naive(&server, proxy.port(), batches);
    let (_, control_cuts) = proxy.counts();
    println!("without a marker: {control} rows for {}, {control_cuts} answers cut", batches * 5);
    assert!(control > batches * 5, "the control finds nothing");

    // A proxy for each kind of database: else the cuts of the many small transactions stand for those of deliveries.
    let proxies = CUTS.map(|(_, per_mille)| Commits::before(server.port(), per_mille, size.seed));
    let [shards, balance, cache, tracking] = proxies.each_ref().map(Commits::port);
    let mut pipeline = Pipeline::served(server.databases(Ports { tracking, shards, balance, cache }), &SETTINGS);
    STAGES.into_iter().for_each(|role| pipeline.start(role));
    let began = Instant::now();
    let files = usize::try_from(batches / u64::from(SHARDS)).unwrap();
    let input = generated(size.seed, MISHAPS, files * 50);
    let path = pipeline.write("input.ndjson", &input);
    eventually("the import is through", PATIENCE, || {
        let import = pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", "50"], None);
        import.wait_exit(PATIENCE).status.code() == Some(0)
    });
    pipeline.wait_settled();
    let took = began.elapsed();
    proxies.iter().for_each(Commits::behave);
    pipeline.assert_all_is_well(&Known::new());
    assert_imported(&pipeline, &input);
    let attempts = "SELECT MAX(attempt) FROM pipeline_stage_result";
    assert_eq!(pipeline.open("pipeline_db").texts(attempts), [[Some("1".to_owned())]], "a lost answer burnt attempts");
    let (_, cuts) = proxies[0].counts();
    assert!(cuts * 100 >= batches * DELIVERIES_CUT_MIN, "of {batches} deliveries the answers to {cuts} were cut");
    for ((kind, _), proxy) in CUTS.iter().zip(&proxies) {
        let mut class = Class::new(size, format!("reply of COMMIT lost: {kind}"));
        let (seen, cuts) = proxy.counts();
        println!("{kind}: {cuts} of {seen} answers cut");
        assert!(cuts > 0, "{kind}: no answer was cut");
        (0..cuts).for_each(|_| class.struck(true));
        class.recovered(took);
        class.finish();
    }
}
