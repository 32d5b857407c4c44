//! SIGHUP reads the settings again: tokens and log level take effect, the rest is named, faults change nothing.

use std::path::Path;

use rustix::process::Signal;
use shopctl::pipeline::apid::BASE;

use crate::support::process::Process;
use crate::support::{PATIENCE, eventually};

const OLD: &str = "old-token-0123456789";
const NEW: &str = "new-token-0123456789";
const SPLIT_OLD: &str = "split-old-0123456789";
const SPLIT_NEW: &str = "split-new-0123456789";

/// The settings of all roles here; a test writes them anew.
fn write(folder: &Path, more: &str, operator: &str, splitter: &str) {
    std::fs::write(folder.join("operator"), operator).unwrap();
    std::fs::write(folder.join("splitter"), splitter).unwrap();
    let toml = format!(
        "{more}\n[auth]\noperator_file = \"operator\"\nshard_splitter_file = \"splitter\"\n[pipeline]\nclaim_wait_ms = 100\n"
    );
    std::fs::write(folder.join("shopctl.toml"), toml).unwrap();
}

fn start(folder: &Path, args: &[&str]) -> Process {
    let own = ["--set", "logging.format=json"];
    let args: Vec<String> = args.iter().chain(&own).map(|arg| (*arg).to_owned()).collect();
    Process::start(folder, &args, None)
}

/// What a call that changes state is answered with this token.
fn answer(port: u16, token: &str) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://127.0.0.1:{port}{BASE}/stages/shard-worker/retry");
    let body = serde_json::json!({"filename": "20250101000000", "shard": 0});
    agent.post(url).header("authorization", format!("Bearer {token}")).send_json(body).unwrap().status().as_u16()
}

/// Sends the signal and waits until this is said once more.
fn hang_up(process: &Process, says: &str) {
    let before = process.log().matches(says).count();
    process.signal(Signal::HUP);
    eventually(says, PATIENCE, || process.log().matches(says).count() > before);
}

#[test]
fn tokens_of_those_who_check_and_of_those_who_call_are_changed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "", OLD, SPLIT_OLD);
    let apid = start(folder.path(), &["apid", "--set", "server.port=0"]);
    let port = apid.wait_port();
    let url = format!("pipeline.url=http://127.0.0.1:{port}");
    let split = start(folder.path(), &["split", "--set", "server.port=0", "--set", &url]);
    let split_ready = format!("http://127.0.0.1:{}/ready", split.wait_ready());
    // 404: it may, but there is no such task.
    assert_eq!((answer(port, OLD), answer(port, NEW)), (404, 401));

    // Both tokens are taken while those who call have the old one.
    write(folder.path(), "", &format!("{NEW},{OLD}"), &format!("{SPLIT_NEW},{SPLIT_OLD}"));
    hang_up(&apid, "the tokens of shard_splitter, operator are changed");
    assert_eq!((answer(port, OLD), answer(port, NEW)), (404, 404));
    write(folder.path(), "", NEW, SPLIT_NEW);
    hang_up(&apid, "the tokens of shard_splitter, operator are changed");
    assert_eq!((answer(port, OLD), answer(port, NEW)), (401, 404));

    // The splitter still sends its old one, until it is told as well.
    let is_ready = || ureq::get(&split_ready).call().is_ok();
    eventually("the splitter is refused", PATIENCE, || !is_ready());
    hang_up(&split, "the tokens of shard_splitter, operator are changed");
    eventually("the splitter is let in again", PATIENCE, is_ready);
    let log = apid.terminate(PATIENCE).expect_code(0).log + &split.terminate(PATIENCE).expect_code(0).log;
    assert!([OLD, NEW, SPLIT_OLD, SPLIT_NEW].iter().all(|token| !log.contains(token)), "{log}");
}

#[test]
fn faulty_settings_change_nothing_and_every_fault_is_said() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "", OLD, SPLIT_OLD);
    let apid = start(folder.path(), &["apid", "--set", "server.port=0"]);
    let port = apid.wait_port();
    let faulty = "[server]\nprot = 1\n[logging]\nlevel = \"TRACE\"\n[worker]\nkey_retention_days = 0";
    write(folder.path(), faulty, NEW, SPLIT_NEW);
    apid.signal(Signal::HUP);
    apid.wait_log("did you mean server.port?", |line| (line["level"] == "error").then_some(()));
    apid.wait_log("all stays as it was: worker.key_retention_days", |_| Some(()));
    assert_eq!((answer(port, OLD), answer(port, NEW)), (404, 401));

    // Without any token it would be open to all who reach it.
    std::fs::write(folder.path().join("shopctl.toml"), "").unwrap();
    hang_up(&apid, "no token is left in the settings");
    assert_eq!((answer(port, OLD), answer(port, NEW)), (404, 401));
    let ended = apid.terminate(PATIENCE).expect_code(0);
    assert!(!ended.log.contains(r#""level":"trace""#), "{}", ended.log);
}

#[test]
fn the_log_level_takes_effect_and_what_needs_a_restart_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shopctl.toml"), "[logging]\nlevel = \"INFO\"\n").unwrap();
    let split = start(folder.path(), &["split", "--set", "server.port=0", "--set", "pipeline.url=http://127.0.0.1:9"]);
    split.wait_port();
    let more = "[logging]\nlevel = \"DEBUG\"\n[pipeline]\nclaim_wait_ms = 100\n[server]\nread_timeout = 7\n";
    std::fs::write(folder.path().join("shopctl.toml"), more).unwrap();
    hang_up(&split, "logging.level is changed to DEBUG and takes effect");
    for key in ["server.read_timeout", "pipeline.claim_wait_ms"] {
        split
            .wait_log(&format!("{key} is changed and needs a restart"), |line| (line["level"] == "warn").then_some(()));
    }
    split.wait_log("", |line| (line["level"] == "debug").then_some(()));
    split.terminate(PATIENCE).expect_code(0);
}

#[test]
fn every_role_stays_after_a_hangup() {
    let folder = tempfile::tempdir().unwrap();
    let ports = ["--set", "server.port=0", "--set", "events.generate=false"];
    for role in [&["apid"][..], &["balance"], &["cache"], &["ingest"], &["split"], &["work", "--shard", "0"], &["send"]]
    {
        let args: Vec<&str> = role.iter().chain(&ports).copied().collect();
        let process = start(folder.path(), &args);
        process.wait_port();
        hang_up(&process, "nothing is changed");
        process.terminate(PATIENCE).expect_code(0);
    }
    let up = start(folder.path(), &["up", "--any-port", "--set", "events.generate=false"]);
    up.wait_port();
    std::fs::write(folder.path().join("shopctl.toml"), "[logging]\nlevel = \"DEBUG\"\n").unwrap();
    hang_up(&up, "logging.level is changed to DEBUG and takes effect");
    let ended = up.terminate(PATIENCE).expect_code(0);
    assert!(ended.out.contains("0 differences"), "{}", ended.out);
}
