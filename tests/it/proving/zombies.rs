//! Zombies: a role is paused in mid-work until its lease is over and another one has done the work, then it goes on.
//! Nothing it does then may change anything.

use std::time::Instant;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

use super::{Class, Size, assert_imported};
use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually, pause, pause_briefly};

const ROLES: [Role; 4] = [Role::Split, Role::Work0, Role::Work1, Role::Send];
const LEASE_MS: u64 = 700;

/// What a paused process holds: file, shard, token.
type Held = Vec<(String, u8, i64)>;

fn held_by(pipeline: &Pipeline, id: u32) -> Held {
    let query = "SELECT filename, shard, token FROM pipeline_tracking WHERE owner LIKE ?1 AND lease_until IS NOT NULL
         AND 'started' IN (shard_splitter_status, shard_worker_status, mysql_sender_status)";
    let database = pipeline.database("pipeline_db");
    let mut statement = database.prepare(query).unwrap();
    let rows = statement.query_map([format!("%-{id}-%")], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(|row| row.unwrap()).collect()
}

/// Whether other workers have got everything that was held.
fn is_taken_over(pipeline: &Pipeline, held: &Held) -> bool {
    let query = "SELECT token FROM pipeline_tracking WHERE filename = ?1 AND shard = ?2";
    let database = pipeline.database("pipeline_db");
    let token = |file: &str, shard: u8| database.query_row(query, (file, shard), |row| row.get::<_, i64>(0)).unwrap();
    held.iter().all(|(file, shard, before)| token(file, *shard) > *before)
}

/// Pauses a role while it holds a task. What it is seen to hold may be done before the signal comes: then it goes on,
/// and is paused again. The files under way are many more than are done meanwhile.
fn stop_at_work(pipeline: &Pipeline, role: Role, rng: &mut ChaCha8Rng) -> Held {
    let (process, began) = (pipeline.role(role), Instant::now());
    loop {
        while held_by(pipeline, process.id()).is_empty() {
            assert!(began.elapsed() < PATIENCE, "{role:?} was never caught at work");
            pause_briefly();
        }
        // Not to wait for anything: the moment of the task is left to chance.
        pause(std::time::Duration::from_micros(rng.random_range(0..3000)));
        process.signal(Signal::STOP);
        let held = held_by(pipeline, process.id());
        if !held.is_empty() {
            return held;
        }
        process.signal(Signal::CONT);
    }
}

#[test]
fn zombies_change_nothing() {
    let size = Size::asked();
    let mut rng = size.chances("zombies");
    let lease = format!("pipeline.lease_ms={LEASE_MS}");
    let mut pipeline = Pipeline::running(&[&lease, "pipeline.attempts_max=1000"]);
    let mut class = Class::new(size, "SIGSTOP past the lease");
    let (mut zombies, mut input) = (Vec::new(), Vec::new());
    for round in 0..size.pick(6, 60) {
        let mut part = generated(size.seed + round, MISHAPS, 4000);
        let path = pipeline.write("input.ndjson", &part);
        input.append(&mut part);
        let import = pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", "200"], None);
        let role = *ROLES.choose(&mut rng).unwrap();
        let held = stop_at_work(&pipeline, role, &mut rng);
        let (paused, zombie) = (Instant::now(), pipeline.take(role));
        pipeline.start(role);
        // One that sleeps inside a transaction of SQLite keeps its lock: the others wait for it, which is no fault.
        let is_over = || is_taken_over(&pipeline, &held) || paused.elapsed().as_millis() > u128::from(LEASE_MS) * 3;
        eventually("the lease is over", PATIENCE, is_over);
        class.struck(paused.elapsed().as_millis() > u128::from(LEASE_MS));
        zombie.signal(Signal::CONT);
        eventually("another worker has taken over", PATIENCE, || {
            is_taken_over(&pipeline, &held) || !is_open(&pipeline)
        });
        class.recovered(paused.elapsed());
        import.wait_exit(PATIENCE).expect_code(0);
        zombies.push(zombie);
        // They live on beside the new ones for a while.
        if zombies.len() > 2 {
            zombies.remove(0).terminate(PATIENCE).expect_code(0);
        }
    }
    pipeline.wait_settled();
    for zombie in zombies {
        let log = zombie.terminate(PATIENCE).expect_code(0).log;
        assert!(!log.contains("panicked"), "{log}");
    }
    pipeline.assert_all_is_well(&Known::new());
    assert_imported(&pipeline, &input);
    class.finish();
}

fn is_open(pipeline: &Pipeline) -> bool {
    let (done, all) = pipeline.delivered();
    done < all
}
