//! kill -9 of every role at random moments, eighty times, while files are imported and events are posted.
//!
//! The seed is fixed and printed; the machine's own timing makes every run different all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::events::{MISHAPS, event, generated};
use crate::support::oracle::{Known, Row};
use crate::support::pipeline::{Pipeline, Role, SHARDS};
use crate::support::{PATIENCE, eventually, pause};

const SEED: u64 = 20_250_301;
/// The input comes in so many imports.
const PARTS: usize = 5;
const PART_LINES: usize = 4000;
const BATCH_LINES: usize = 200;
/// Kills while each part is imported, and while it is worked on.
const IMPORT_KILLS: usize = 2;
const ROLE_KILLS: usize = 14;
/// How long a kill waits for its victim to be at work.
const AIM: Duration = Duration::from_millis(400);
/// Users of posted events start here, so that each row tells which post it was.
const POSTED_USERS: i64 = 1_000_000;
const POST_LINES: i64 = 4;
const VICTIMS: [Role; 6] = [Role::Apid, Role::Split, Role::Work0, Role::Work1, Role::Send, Role::Ingest];

/// Posts events until it is told to stop; repeats what was not acknowledged with the same keys.
struct Poster {
    port: Arc<AtomicU16>,
    busy: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    /// How many events were acknowledged, and how many posts had to be repeated.
    thread: JoinHandle<(i64, u64)>,
}

impl Poster {
    fn start() -> Self {
        let (port, busy, stop) = <(Arc<AtomicU16>, Arc<AtomicBool>, Arc<AtomicBool>)>::default();
        let (to, at_work, end) = (Arc::clone(&port), Arc::clone(&busy), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let (mut acknowledged, mut repeated) = (0, 0);
            while !end.load(Ordering::SeqCst) {
                let body: String = (acknowledged..acknowledged + POST_LINES).map(posted_line).collect();
                at_work.store(true, Ordering::SeqCst);
                while !post(&to, &body) {
                    repeated += 1;
                    pause(Duration::from_millis(5));
                }
                at_work.store(false, Ordering::SeqCst);
                acknowledged += POST_LINES;
                pause(Duration::from_millis(10));
            }
            (acknowledged, repeated)
        });
        Self { port, busy, stop, thread }
    }

    fn finish(self) -> (i64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap()
    }
}

fn posted_line(number: i64) -> String {
    let (order, user, shop) = (9_000_000 + number, POSTED_USERS + number, number % 5 - 2);
    let payload = format!(
        r#""order_id":{order},"user_id":{user},"shop_id":{shop},"good_id":1,"qty":1,"idempotency_key":"post-{number}""#
    );
    event(1, &payload) + "\n"
}

/// Whether the lines were acknowledged.
fn post(port: &AtomicU16, body: &str) -> bool {
    let port = port.load(Ordering::SeqCst);
    if port == 0 {
        return false;
    }
    let url = format!("http://127.0.0.1:{port}/api/v1/events");
    let request = ureq::post(url).config().timeout_global(Some(Duration::from_secs(10))).build();
    let Ok(mut answer) = request.header("content-type", "application/x-ndjson").send(body) else { return false };
    let Ok(taken) = answer.body_mut().read_json::<serde_json::Value>() else { return false };
    assert_eq!((answer.status().as_u16(), &taken["accepted"]), (202, &POST_LINES.into()), "{taken}");
    true
}

/// The pipeline under fire.
struct Fire {
    pipeline: Pipeline,
    poster: Poster,
    rng: ChaCha8Rng,
    /// By victim: kills, and those that hit work in flight.
    kills: BTreeMap<String, (usize, usize)>,
}

impl Fire {
    fn note(&mut self, victim: &str, in_flight: bool) {
        let (all, hits) = self.kills.entry(victim.to_owned()).or_default();
        *all += 1;
        *hits += usize::from(in_flight);
    }

    fn total(&self) -> (usize, usize) {
        self.kills.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Imports a part; the import is killed on its way and started again until it says that all is announced.
    fn import(&mut self, part: usize, content: &[u8]) {
        let path = self.pipeline.write(&format!("part-{part}.ndjson"), content);
        let batch = BATCH_LINES.to_string();
        let start = |pipeline: &Pipeline| {
            pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", &batch], None)
        };
        for _ in 0..IMPORT_KILLS {
            let mut import = start(&self.pipeline);
            let enough = self.pipeline.event_files().len() + self.rng.random_range(1..8);
            eventually("some files are imported", PATIENCE, || {
                self.pipeline.list("events").len() >= enough || !import.is_running()
            });
            let in_flight = import.is_running();
            import.kill9();
            self.note("import", in_flight);
        }
        let mut tries = 0;
        loop {
            let ended = start(&self.pipeline).wait_exit(PATIENCE);
            tries += 1;
            match ended.status.code() {
                Some(0) => return,
                Some(75) if tries < 20 => pause(Duration::from_millis(100)),
                _ => drop(ended.expect_code(0)),
            }
        }
    }

    /// Kills a role, if possible while it is at work, and starts it again at once.
    fn kill(&mut self, role: Role) {
        let id = self.pipeline.role(role).id();
        let began = Instant::now();
        while !self.is_at_work(role, id) && began.elapsed() < AIM {
            pause(Duration::from_millis(2));
        }
        pause(Duration::from_micros(self.rng.random_range(0..4000)));
        let busy = self.is_at_work(role, id);
        if role == Role::Ingest {
            self.poster.port.store(0, Ordering::SeqCst);
        }
        self.pipeline.kill9(role);
        // A stage's claim outlives it in the database: what it was at when it died is known exactly.
        let in_flight = if matches!(role, Role::Apid | Role::Ingest) { busy } else { self.is_at_work(role, id) };
        self.note(&format!("{role:?}"), in_flight);
        self.pipeline.start(role);
        if role == Role::Ingest {
            self.poster.port.store(self.pipeline.role(role).wait_port(), Ordering::SeqCst);
        }
    }

    fn is_at_work(&self, role: Role, id: u32) -> bool {
        let whose = match role {
            Role::Ingest => return self.poster.busy.load(Ordering::SeqCst),
            Role::Apid => "%".to_owned(),
            _ => format!("%-{id}-%"),
        };
        let query = "SELECT COUNT(*) FROM pipeline_tracking WHERE owner LIKE ?1 AND lease_until IS NOT NULL
             AND 'started' IN (shard_splitter_status, shard_worker_status, mysql_sender_status)";
        let database = self.pipeline.database("pipeline_db");
        database.query_row(query, [whose], |row| row.get::<_, i64>(0)).unwrap() > 0
    }

    fn deliveries(&self) -> usize {
        let query = "SELECT COUNT(*) FROM pipeline_tracking WHERE mysql_sender_status = 'done'";
        let done: u32 = self.pipeline.database("pipeline_db").query_row(query, [], |row| row.get(0)).unwrap();
        usize::try_from(done).unwrap()
    }

    /// Kills all along the way from the first delivery of a part to its last.
    fn kill_while_delivering(&mut self) {
        let (before, tasks) = (self.deliveries(), self.pipeline.event_files().len() * usize::from(SHARDS));
        for kill in 0..ROLE_KILLS {
            let mark = before + tasks.saturating_sub(before) * kill / (ROLE_KILLS + 2);
            eventually("deliveries go on", PATIENCE, || self.deliveries() >= mark);
            let role = *VICTIMS.choose(&mut self.rng).unwrap();
            self.kill(role);
        }
    }
}

#[test]
fn eighty_kills_lose_nothing_and_double_nothing() {
    println!("seed {SEED}");
    let mut pipeline = Pipeline::running(&["pipeline.lease_ms=800", "pipeline.attempts_max=1000"]);
    pipeline.start(Role::Ingest);
    let poster = Poster::start();
    poster.port.store(pipeline.role(Role::Ingest).wait_port(), Ordering::SeqCst);
    let mut fire = Fire { pipeline, poster, rng: ChaCha8Rng::seed_from_u64(SEED), kills: BTreeMap::new() };
    let input = generated(SEED, MISHAPS, PARTS * PART_LINES);
    let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    for (part, lines) in lines.chunks(PART_LINES).enumerate() {
        fire.import(part, &lines.concat());
        fire.kill_while_delivering();
    }
    let (kills, in_flight) = fire.total();
    println!("{kills} kills, {in_flight} of them in mid-work: {:?}", fire.kills);
    let Fire { mut pipeline, poster, .. } = fire;
    let (acknowledged, repeated) = poster.finish();
    println!("{acknowledged} posted events acknowledged, {repeated} posts repeated");
    // The stop publishes what the last tick has not.
    pipeline.terminate(Role::Ingest);
    pipeline.start(Role::Ingest);
    pipeline.wait_settled();
    let oracle = pipeline.assert_all_is_well(&Known::new());

    let (posted, imported): (Vec<_>, Vec<_>) =
        pipeline.event_files().into_iter().partition(|(_, content)| is_posted(content));
    let imported: Vec<u8> = imported.into_iter().flat_map(|(_, content)| content).collect();
    assert!(imported == input, "every imported line is in an event file once");
    assert!(!posted.is_empty());
    assert_posts_are_there_once(&pipeline, acknowledged);
    assert!(oracle.duplicates > 100 && oracle.world.rejected.len() > 100);
    assert!(
        kills == PARTS * (IMPORT_KILLS + ROLE_KILLS) && in_flight >= kills / 4,
        "{kills} kills, {in_flight} in mid-work"
    );
}

fn is_posted(content: &[u8]) -> bool {
    memchr::memmem::find(content, b"\"idempotency_key\":\"post-").is_some()
}

/// One row for every acknowledged event. Every post was repeated until it was acknowledged, so there are no others.
fn assert_posts_are_there_once(pipeline: &Pipeline, acknowledged: i64) {
    let user = |row: &Row| row.4.filter(|user| *user >= POSTED_USERS);
    let mut users: Vec<i64> = (0..SHARDS).flat_map(|shard| pipeline.rows(shard)).filter_map(|row| user(&row)).collect();
    users.sort_unstable();
    let expected: Vec<i64> = (POSTED_USERS..POSTED_USERS + acknowledged).collect();
    assert!(users == expected, "{} rows of {acknowledged} acknowledged events", users.len());
}
