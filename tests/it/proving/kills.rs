//! kill -9 of every role at random moments, while files are imported and events are posted, and how long the struck
//! tasks take until they are done.
//!
//! The seed is fixed and printed; the machine's own timing makes every run different all the same.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::poster::{Poster, State, assert_posts_are_there_once};
use super::recovery::Recovery;
use super::{Class, Size, aim, assert_imported, variable};
use crate::support::database::Rows;
use crate::support::events::{MISHAPS, generated, read};
use crate::support::mariadb::Mariadb;
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, SHARDS, STAGES};
use crate::support::{PATIENCE, eventually, pause};

/// Parts that a small run has more, at the most, until every role was hit at work.
const PARTS_MORE: usize = 12;
/// Kills while each part is imported.
const IMPORT_KILLS: usize = 2;
/// A kill of the ingest comes so much later than a post is seen, at the most.
const POST_MICROS: u64 = 4000;
const VICTIMS: [Role; 8] =
    [Role::Apid, Role::Balance, Role::Cache, Role::Split, Role::Work0, Role::Work1, Role::Send, Role::Ingest];

/// Where the databases are, as the classes name it.
#[derive(Clone, Copy)]
enum Backend {
    Sqlite,
    Mariadb,
}

/// How much is imported and killed.
struct Plan {
    events: usize,
    lease: Duration,
    /// The input comes in so many imports.
    parts: usize,
    batch_lines: usize,
    /// Kills of roles while each part is worked on.
    role_kills: usize,
}

/// The pipeline under fire.
struct Fire {
    pipeline: Pipeline,
    poster: Arc<State>,
    rng: ChaCha8Rng,
    plan: Plan,
    recovery: Recovery,
    database: Box<dyn Rows + Send>,
    backend: Backend,
    classes: BTreeMap<String, Class>,
}

impl Backend {
    fn class_of(self, role: Role) -> String {
        self.class(&format!("{role:?}").to_lowercase())
    }

    /// The import is no role that waits for work: it goes on when a person starts it again.
    fn import(self) -> String {
        self.class("import")
    }

    fn class(self, who: &str) -> String {
        let on = match self {
            Self::Sqlite => "SQLite",
            Self::Mariadb => "MariaDB",
        };
        format!("kill -9 on {on}: {who}")
    }

    /// Whether the limit of the recovery is asserted at full size.
    fn has_limit(self) -> bool {
        matches!(self, Self::Mariadb)
    }

    /// At full size the server has the most of it: it is what the shops run on.
    fn plan(self, size: Size) -> Plan {
        let lease = |millis| Duration::from_millis(millis);
        let small = Plan { events: 9000, lease: lease(1500), parts: 3, batch_lines: 150, role_kills: 12 };
        let full = |events, parts, role_kills| Plan { events, lease: lease(3000), parts, batch_lines: 400, role_kills };
        match self {
            Self::Sqlite => size.pick(small, full(120_000, 12, 36)),
            Self::Mariadb => size.pick(small, full(500_000, 20, 48)),
        }
    }
}

impl Fire {
    fn note(&mut self, class: &str, in_flight: bool) {
        self.classes.get_mut(class).unwrap().struck(in_flight);
    }

    /// Imports a part; the import is killed on its way and started again until it says that all is announced.
    fn import(&mut self, part: usize, content: &[u8]) {
        let path = self.pipeline.write(&format!("part-{part}.ndjson"), content);
        let batch = self.plan.batch_lines.to_string();
        let start = |pipeline: &Pipeline| {
            pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", &batch], None)
        };
        let class = self.backend.import();
        let mut killed = Instant::now();
        for _ in 0..IMPORT_KILLS {
            let mut import = start(&self.pipeline);
            let enough = self.pipeline.list("events").len() + self.rng.random_range(1..8);
            eventually("some files are imported", PATIENCE, || {
                self.pipeline.list("events").len() >= enough || !import.is_running()
            });
            // An import that had ended by itself had announced everything.
            let in_flight = import.kill9().status.signal() == Some(9);
            killed = Instant::now();
            self.note(&class, in_flight);
        }
        let mut tries = 0;
        loop {
            let ended = start(&self.pipeline).wait_exit(PATIENCE);
            tries += 1;
            match ended.status.code() {
                Some(0) => break,
                Some(75) if tries < 20 => pause(Duration::from_millis(100)),
                _ => drop(ended.expect_code(0)),
            }
        }
        self.classes.get_mut(&class).unwrap().recovered(killed.elapsed());
    }

    /// Kills a role, if possible while it is at work, and starts it again at once.
    fn kill(&mut self, role: Role) {
        let class = self.backend.class_of(role);
        if role == Role::Ingest {
            return self.kill_ingest(&class);
        }
        let owners = self.struck_with(role);
        let killed = aim::kill(&mut self.pipeline, self.database.as_ref(), role, &mut self.rng);
        if killed.in_flight {
            self.recovery.expect_tasks(&class, &owners, killed.at);
        }
        self.note(&class, killed.in_flight);
        self.pipeline.start(role);
    }

    fn kill_ingest(&mut self, class: &str) {
        aim::wait_at_work(&mut self.rng, POST_MICROS, || self.poster.is_open());
        let (posts, lost) = (self.poster.acknowledged(), self.poster.lost_so_far());
        self.poster.set_port(0);
        self.pipeline.kill9(Role::Ingest);
        let killed = Instant::now();
        let in_flight = self.poster.lost() > lost;
        if in_flight {
            self.recovery.expect_post(class, posts, killed);
        }
        self.note(class, in_flight);
        self.pipeline.start(Role::Ingest);
        self.poster.set_port(self.pipeline.role(Role::Ingest).wait_port());
    }

    /// The processes whose tasks wait for this role: its own, or those of its callers. All of them live.
    fn struck_with(&self, role: Role) -> Vec<u32> {
        let callers: &[Role] = match role {
            Role::Apid => &[Role::Split, Role::Work0, Role::Work1, Role::Send],
            Role::Balance | Role::Cache => &[Role::Work0, Role::Work1],
            _ => &[role],
        };
        callers.iter().map(|role| self.pipeline.role(*role).id()).collect()
    }

    fn deliveries(&self) -> usize {
        let query = "SELECT COUNT(*) FROM pipeline_tracking WHERE mysql_sender_status = 'done'";
        self.database.texts(query)[0][0].as_ref().unwrap().parse().unwrap()
    }

    /// Kills all along the way from the first delivery of a part to its last.
    fn kill_while_delivering(&mut self) {
        let (before, tasks) = (self.deliveries(), self.pipeline.list("events").len() * usize::from(SHARDS));
        let kills = self.plan.role_kills;
        for kill in 0..kills {
            let mark = before + tasks.saturating_sub(before) * kill / (kills + 2);
            eventually("deliveries go on", PATIENCE, || self.deliveries() >= mark);
            let role = self.victim();
            self.kill(role);
        }
    }

    /// Any role, or the one that was hit at work least: some are at work for moments only.
    fn victim(&mut self) -> Role {
        if self.rng.random_bool(0.5) {
            return *VICTIMS.choose(&mut self.rng).unwrap();
        }
        let hits = |role: &Role| self.classes[&self.backend.class_of(*role)].in_flight();
        VICTIMS.into_iter().min_by_key(hits).unwrap()
    }
}

/// The lines of the file that the caller named, packed or not; generated ones where there is none.
fn input(size: Size, events: usize) -> (Vec<u8>, bool) {
    let Some(path) = variable("SHOPCTL_CHAOS_INPUT") else {
        return (generated(size.seed, MISHAPS, events), true);
    };
    (read(&path), false)
}

#[test]
fn kills_lose_nothing_and_double_nothing() {
    let size = Size::asked();
    let (lease, attempts) = settings(Backend::Sqlite.plan(size).lease);
    endure(Backend::Sqlite, size, Pipeline::running(&[&lease, &attempts]));
}

mod on_mariadb {
    use super::*;

    #[test]
    fn kills_lose_nothing_and_double_nothing() {
        let size = Size::asked();
        let server = Mariadb::start();
        let (lease, attempts) = settings(Backend::Mariadb.plan(size).lease);
        let mut pipeline = Pipeline::served(server.databases(server.ports()), &[&lease, &attempts]);
        STAGES.into_iter().for_each(|role| pipeline.start(role));
        endure(Backend::Mariadb, size, pipeline);
    }
}

/// A lease, and more attempts than a task can lose by kills.
fn settings(lease: Duration) -> (String, String) {
    (format!("pipeline.lease_ms={}", lease.as_millis()), "pipeline.attempts_max=1000".to_owned())
}

fn endure(backend: Backend, size: Size, mut pipeline: Pipeline) {
    let rng = size.chances("kills");
    pipeline.start(Role::Ingest);
    let poster = Poster::start();
    poster.state().set_port(pipeline.role(Role::Ingest).wait_port());
    let open = || pipeline.keep_open("pipeline_db");
    let (recovery, database) = (Recovery::watch(open(), open(), poster.state()), open());
    let names = VICTIMS.into_iter().map(|role| backend.class_of(role)).chain([backend.import()]);
    let classes = names.map(|name| (name.clone(), Class::new(size, name))).collect();
    let plan = backend.plan(size);
    let (two_leases, (mut input, is_generated)) = (plan.lease * 2, input(size, plan.events));
    let mut fire = Fire { pipeline, poster: poster.state(), rng, plan, recovery, database, backend, classes };
    let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    println!("{} events", lines.len());
    for (part, lines) in lines.chunks(lines.len().div_ceil(fire.plan.parts)).enumerate() {
        fire.import(part, &lines.concat());
        fire.kill_while_delivering();
    }
    // By chance one of them was never hit at work: then more, in which every second kill is for it.
    for more in 0..size.pick(PARTS_MORE, 0) {
        if fire.classes.values().all(|class| class.in_flight() > 0) {
            break;
        }
        let part = generated(size.seed + 1000 + more as u64, MISHAPS, 3000);
        fire.import(fire.plan.parts + more, &part);
        fire.kill_while_delivering();
        input.extend(part);
    }
    let Fire { mut pipeline, mut classes, recovery, .. } = fire;
    let acknowledged = poster.finish();
    // The stop publishes what the last tick has not.
    pipeline.terminate(Role::Ingest);
    pipeline.start(Role::Ingest);
    pipeline.wait_settled();
    recovery.finish(&mut classes);
    let oracle = pipeline.assert_all_is_well(&Known::new());

    assert_imported(&pipeline, &input);
    assert!(acknowledged > 0);
    assert_posts_are_there_once(&pipeline, acknowledged);
    assert!(!is_generated || oracle.duplicates > 100 && oracle.world.rejected.len() > 100);
    // An import has no lease: it goes on when a person starts it again. The limit is that of all kills together, where
    // there are a thousand: of a role's fifty, or of two hundred hits, the 99th percentile is the worst or the next to
    // it, a task that was handed to a worker in the moment of its death.
    let mut all = Class::new(size, backend.class("any role"));
    classes.values().filter(|class| class.name() != backend.import()).for_each(|class| all.add(class));
    let slowest = all.percentile(99).filter(|_| size.pick(false, backend.has_limit()));
    assert!(classes.values().map(Class::in_flight).sum::<u64>() >= 10, "too few kills hit anything");
    classes.into_values().for_each(Class::finish);
    all.finish();
    assert!(
        slowest.is_none_or(|took| took <= two_leases),
        "the 99th percentile of the recovery is over two leases: {slowest:?}"
    );
}
