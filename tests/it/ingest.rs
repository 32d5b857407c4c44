//! The event-ingest as a process: what it does beside taking posts, and what that may cost.

use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually};

/// How often the log has a line with this text.
fn count(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

/// Waits for another tick.
fn wait_tick(port: u16) {
    let tick = || {
        let mut answer = ureq::get(format!("http://127.0.0.1:{port}/api/v1/events/stats")).call().unwrap();
        answer.body_mut().read_json::<serde_json::Value>().unwrap()["last_tick"].clone()
    };
    let before = tick();
    eventually("a tick", PATIENCE, || tick() != before);
}

#[test]
fn a_missing_cache_service_is_said_once_until_it_is_there() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Apid);
    pipeline.start(Role::Ingest);
    let port = pipeline.role(Role::Ingest).wait_port();
    let missing = "no files are made for returns that wait";
    let level = pipeline.role(Role::Ingest).wait_log(missing, |line| line["level"].as_str().map(str::to_owned));
    assert_eq!(level, "warn");
    (0..3).for_each(|_| wait_tick(port));
    pipeline.start(Role::Cache);
    pipeline.role(Role::Ingest).wait_log("says again whether returns wait", |_| Some(()));
    let log = pipeline.terminate(Role::Ingest);
    assert_eq!(count(&log, missing), 1, "{log}");
}
