//! What an operator is told: who holds what, why nothing moves, which roles cannot do their work, and what to do.

mod repairs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::Ended;
use crate::support::proxy::HoldAt;
use crate::support::{PATIENCE, eventually};

/// What `status` prints, whatever it ends with.
fn status(pipeline: &Pipeline, args: &[&str]) -> Ended {
    pipeline.spawn(&[&["status"], args].concat(), None).wait_exit(PATIENCE)
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {} {}", ended.out, ended.log))
}

/// The lane of this stage and shard.
fn lane<'a>(report: &'a Value, stage: &str, shard: u8) -> Option<&'a Value> {
    report["lanes"].as_array().unwrap().iter().find(|lane| lane["stage"] == stage && lane["shard"] == shard)
}

/// Waits until `status` ends with code 2; answers its document and its text.
fn wait_stuck(pipeline: &Pipeline) -> (Value, String) {
    let mut found = None;
    eventually("something is stuck", PATIENCE, || {
        let (document, text) = (status(pipeline, &["--json"]), status(pipeline, &[]));
        if document.status.code() == Some(2) && text.status.code() == Some(2) {
            found = Some((json(&document), text.out));
        }
        found.is_some()
    });
    found.unwrap()
}

/// Waits until `status` ends with code 0: an answer of the API may be a moment old.
fn wait_well(pipeline: &Pipeline) {
    eventually("all is well", PATIENCE, || {
        let ended = status(pipeline, &[]);
        ended.status.code() == Some(0) && ended.out.ends_with("well: nothing has failed, and nothing stands still")
    });
}

#[test]
fn a_worker_that_stands_still_is_named_with_its_file_and_what_to_do() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[Role::Split, Role::Send]);
    let held = pipeline.proxy.hold_next("/stages/shard-worker/done", HoldAt::Request);
    let paused = pipeline.spawn(&["work", "--shard", "0"], None);
    pipeline.import(&generated(31, MISHAPS, 600), 300);
    held.wait();
    paused.signal(Signal::STOP);
    // Not before: the call that is held must be that of the worker that is paused.
    pipeline.start(Role::Work1);
    let file = pipeline.event_files()[0].0.clone();

    let (report, text) = wait_stuck(&pipeline);
    let lane = lane(&report, "shard-worker", 0).unwrap();
    let oldest = &lane["oldest"];
    assert_eq!((oldest["filename"].as_str(), lane["stuck"].as_bool()), (Some(file.as_str()), Some(true)), "{report}");
    assert!(oldest["worker"].as_str().unwrap().contains(&format!("-{}-", paused.id())), "{report}");
    assert!(oldest["lease_left_ms"].as_i64().unwrap() < 0 && oldest["age_ms"].as_i64().unwrap() > 3000, "{report}");
    assert!(lane["reason"].as_str().unwrap().starts_with("its lease ran out "), "{report}");
    assert_eq!(report["health"], "stuck");
    assert!(report["by_shard"].as_array().unwrap().iter().any(|shard| shard["stuck"] == true), "{report}");
    let first = text.lines().find(|line| line.starts_with("stuck: ")).unwrap();
    assert!(first.starts_with(&format!("stuck: shard-worker shard 0, {file}: its lease ran out ")), "{text}");
    assert!(text.contains("  -> shopctl work --shard 0  (docs/runbook.md#stuck-worker)"), "{text}");

    pipeline.start(Role::Work0);
    pipeline.wait_settled();
    held.release();
    let taken = pipeline
        .role(Role::Apid)
        .wait_log("the lease ran out, the task was taken over", |line| (line["shard"] == 0).then(|| line.clone()));
    assert_eq!((taken["file"].as_str(), taken["attempt"].as_u64()), (Some(file.as_str()), Some(1)), "{taken}");
    assert!(taken["worker"].as_str().unwrap().contains(&format!("-{}-", paused.id())), "{taken}");
    // As long as it is there and silent, a role is not well.
    assert_eq!(json(&status(&pipeline, &["--json"]))["roles_well"], false);
    drop(paused);
    wait_well(&pipeline);
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn a_stage_without_a_worker_is_told_from_one_that_has_nothing_to_do() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[Role::Work0, Role::Work1, Role::Send]);
    wait_well(&pipeline);
    pipeline.import(&generated(32, MISHAPS, 300), 300);
    let (report, text) = wait_stuck(&pipeline);
    let reason = "no worker is asking for it, and none of shard-splitter ever has";
    assert_eq!(lane(&report, "shard-splitter", 0).unwrap()["reason"], reason);
    assert!(text.contains(reason) && text.contains("shopctl split  (docs/runbook.md#stuck-worker)"), "{text}");
    pipeline.start(Role::Split);
    pipeline.wait_settled();
    wait_well(&pipeline);
}

#[test]
fn a_database_and_a_service_that_are_away_are_named_as_the_reason() {
    let cases = [
        (
            "database.shard=mysql://nobody@127.0.0.1:1/shop_shard_{shard}",
            "mysql-sender",
            "database_away",
            "database-away",
        ),
        ("balance.url=http://127.0.0.1:1", "shard-worker", "service_away", "service-away"),
    ];
    for (setting, stage, class, anchor) in cases {
        let mut pipeline = Pipeline::new(&[setting]);
        pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Work1, Role::Send]);
        pipeline.import(&generated(33, MISHAPS, 300), 300);
        let (report, text) = wait_stuck(&pipeline);
        let lane = lane(&report, stage, 0).unwrap();
        assert!(lane["reason"].as_str().unwrap().contains(class), "{lane}");
        assert!(lane["oldest"]["last_error"].as_str().unwrap().contains(class), "{lane}");
        assert_eq!(lane["repair"]["class"], class);
        assert!(text.contains(&format!("(docs/runbook.md#{anchor})")), "{text}");
    }
}

#[test]
fn an_api_whose_database_is_away_answers_503_and_says_why() {
    let mut pipeline = Pipeline::new(&["database.tracking=mysql://nobody@127.0.0.1:1/pipeline_db"]);
    pipeline.start(Role::Apid);
    let mut told = None;
    eventually("the API says what is wrong", PATIENCE, || {
        let ended = status(&pipeline, &[]).expect_code(75);
        told = Some(ended);
        told.as_ref().unwrap().out.contains("is not ready")
    });
    let ended = told.unwrap();
    let first = ended.out.lines().find(|line| line.starts_with("pipeline-apid at ")).unwrap();
    assert!(first.contains("is not ready: database: database_away: ") && first.contains("127.0.0.1:1"), "{first}");
    assert!(ended.out.contains("(docs/runbook.md#database-away)"), "{}", ended.out);
    assert!(ended.log.contains("answers 503: ") && !ended.log.contains("does not answer ("), "{}", ended.log);
    drop(pipeline.take(Role::Apid));
    let ended = status(&pipeline, &[]).expect_code(75);
    assert!(ended.log.contains("does not answer (") && !ended.log.contains("503"), "{}", ended.log);
}

#[test]
fn an_answer_that_is_no_report_ends_with_75() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Apid);
    let port = pipeline.role(Role::Apid).wait_port();
    let elsewhere = format!("pipeline.url=http://127.0.0.1:{port}/elsewhere");
    let ended = pipeline.spawn_with(&["status", "--json"], &[&elsewhere], None).wait_exit(PATIENCE).expect_code(75);
    assert!(json(&ended)["error"].as_str().unwrap().contains("404"), "{}", ended.out);
    assert!(json(&ended)["roles"].is_array(), "{}", ended.out);
}

#[test]
fn status_is_shown_again_until_it_is_stopped() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Apid);
    let watching = pipeline.spawn(&["status", "--watch", "1"], None);
    eventually("it is shown twice", PATIENCE, || {
        watching.out_so_far().matches("no task has failed or stands still").count() >= 2
    });
    // balance-daemon and cache-service are named and do not run.
    watching.terminate(PATIENCE).expect_code(1);
}
