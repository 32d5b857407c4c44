//! The API as a client meets it: a real `shopctl apid`, real connections.

mod document;
pub(crate) mod process;
mod waiting;
mod waking;

use process::{Answer, Apid, call};

const BASE: &str = "/api/v1/pipeline";

fn post(apid: &Apid, path: &str, body: &str) -> Answer {
    apid.post(&format!("{BASE}{path}"), body)
}

/// Registers a file with one shard and, if asked, marks its event file complete.
fn register(apid: &Apid, file: &str, is_done: bool) {
    let body = format!(r#"{{"filename":"{file}","shards":[0]}}"#);
    assert_eq!(post(apid, "/files/register", &body).status, 200);
    if is_done {
        assert_eq!(announce(apid, file).status, 200);
    }
}

fn announce(apid: &Apid, file: &str) -> Answer {
    post(apid, "/stages/event-ingest/done", &format!(r#"{{"filename":"{file}"}}"#))
}

#[test]
fn errors_are_problems_with_a_status_and_a_code() {
    let apid = Apid::start();
    register(&apid, "20250101000000", true);
    let task = r#"{"filename":"20250101000000","shard":0}"#;
    let no_task = r#"{"filename":"20250101000000","shard":7}"#;
    let cases = [
        ("POST", "/files/register", "{\"filename\":", 400, "bad_json"),
        ("POST", "/files/register", "", 400, "bad_json"),
        ("POST", "/files/register", "{}", 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"20250101000000","shards":[]}"#, 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"20250101000000","shards":[0,0]}"#, 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"20250101000000","shards":[128]}"#, 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"20250101000000","shards":[-1]}"#, 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"20250230000000","shards":[0]}"#, 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"../../etc/passwd","shards":[0]}"#, 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"20250101000000","shards":[0],"x":1}"#, 422, "invalid"),
        ("POST", "/files/register", r#"{"filename":"20250101000000","shards":[1]}"#, 409, "other_shards"),
        ("POST", "/stages/event-ingest/done", r#"{"filename":"20250102000000"}"#, 404, "not_found"),
        ("POST", "/stages/event-ingest/start", task, 404, "not_found"),
        ("POST", "/stages/shard-juggler/start", task, 404, "not_found"),
        ("POST", "/stages/shard-splitter/juggle", task, 404, "not_found"),
        ("POST", "/stages/shard-splitter/start", no_task, 404, "not_found"),
        ("POST", "/stages/shard-worker/start", task, 409, "not_ready"),
        ("POST", "/stages/shard-splitter/done", task, 409, "illegal_move"),
        ("POST", "/stages/shard-splitter/release", task, 422, "invalid"),
        ("POST", "/stages/shard-splitter/heartbeat", task, 422, "invalid"),
        ("POST", "/queues/shard-worker/claim", r#"{"worker":"w","limit":0,"claim_id":"c"}"#, 422, "invalid"),
        ("POST", "/queues/shard-worker/claim", r#"{"worker":"","limit":1,"claim_id":"c"}"#, 422, "invalid"),
        ("POST", "/queues/shard-juggler/claim", r#"{"worker":"w","limit":1,"claim_id":"c"}"#, 404, "not_found"),
        ("POST", "/queues/event-ingest/claim", r#"{"worker":"w","limit":1,"claim_id":"c"}"#, 404, "not_found"),
        ("GET", "/queues/shard-juggler", "", 404, "not_found"),
        ("GET", "/queues/shard-worker?limit=0", "", 422, "invalid"),
        ("GET", "/queues/shard-worker?limit=1001", "", 422, "invalid"),
        ("GET", "/queues/shard-worker?offset=-1", "", 422, "invalid"),
        ("GET", "/queues/shard-worker?lmit=1", "", 422, "invalid"),
        ("GET", "/files/20250102000000", "", 404, "not_found"),
        ("GET", "/files/2025", "", 422, "invalid"),
        ("GET", "/files?status=lost", "", 422, "invalid"),
        ("GET", "/nothing/here", "", 404, "not_found"),
        ("DELETE", "/files/20250101000000", "", 405, "method_not_allowed"),
        ("GET", "/stages/shard-worker/start", "", 405, "method_not_allowed"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = call(apid.addr(), method, &format!("{BASE}{path}"), &[], body);
        let what = format!("{method} {path} {body}: {answer:?}");
        assert_eq!((answer.status, answer.header("content-type")), (status, "application/problem+json"), "{what}");
        let problem = answer.json();
        assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some(code), Some(status.into())), "{what}");
        assert_eq!(problem["type"], format!("urn:shopctl:problem:{code}"), "{what}");
        assert_eq!(problem["request_id"], answer.header("x-request-id"), "{what}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{what}");
    }
    assert_eq!(apid.get(&format!("{BASE}/files/20250101000000")).json()["shards"][0]["shard_splitter_status"], "new");
}

#[test]
fn a_body_over_one_mebibyte_is_refused() {
    let apid = Apid::start();
    let body = |bytes: usize| {
        let frame = r#"{"filename":"20250101000000","shards":[0]}"#;
        format!("{frame}{}", " ".repeat(bytes - frame.len()))
    };
    let answer = post(&apid, "/files/register", &body(1024 * 1024 + 1));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("too_large")));
    assert_eq!(post(&apid, "/files/register", &body(1024 * 1024)).status, 200);
}

#[test]
fn answers_of_the_first_clients_are_to_the_letter() {
    let apid = Apid::start();
    let file = r#"{"filename":"20250101000000","shards":[0,1]}"#;
    assert_eq!(
        post(&apid, "/files/register", file).body,
        r#"{"filename":"20250101000000","shards":[0,1],"created":true}"#
    );
    assert_eq!(announce(&apid, "20250101000000").body, r#"{"filename":"20250101000000","updated_rows":2}"#);
    let task = r#"{"filename":"20250101000000","shard":0}"#;
    let moved = |stage: &str, status: &str| {
        format!(r#"{{"filename":"20250101000000","shard":0,"stage":"{stage}","status":"{status}"}}"#)
    };
    for (transition, status) in [("start", "started"), ("fail", "failed"), ("retry", "new"), ("start", "started")] {
        let answer = post(&apid, &format!("/stages/shard-splitter/{transition}"), task);
        assert_eq!((answer.status, answer.body), (200, moved("shard-splitter", status)));
    }
    let queue = apid.get(&format!("{BASE}/queues/shard-splitter")).body;
    let begin = r#"{"stage":"shard-splitter","items":[{"filename":"20250101000000","shard":1,"created_at":"2"#;
    assert!(queue.starts_with(begin) && queue.ends_with("Z\"}]}"), "{queue}");
    let view = apid.get(&format!("{BASE}/files/20250101000000")).body;
    let begin = r#"{"filename":"20250101000000","shards":[{"shard":0,"event_ingest_status":"done","shard_splitter_status":"started","shard_worker_status":"new","mysql_sender_status":"new","updated_at":"2"#;
    assert!(view.starts_with(begin), "{view}");
    let summary = apid.get(&format!("{BASE}/metrics/summary")).body;
    let expected = r#"{"total":2,"by_stage":{"event_ingest":{"new":0,"started":0,"done":2,"failed":0},"shard_splitter":{"new":1,"started":1,"done":0,"failed":0},"shard_worker":{"new":2,"started":0,"done":0,"failed":0},"mysql_sender":{"new":2,"started":0,"done":0,"failed":0}},"by_shard":[{"shard":0,"total":1,"done":0,"failed":0},{"shard":1,"total":1,"done":0,"failed":0}]}"#;
    assert_eq!(summary, expected);
}

#[test]
fn probes_and_metrics_are_there() {
    let apid = Apid::start();
    assert_eq!(apid.get("/health").json()["status"], "ok");
    assert_eq!(apid.get("/ready").json()["status"], "ready");
    let version = apid.get("/version").json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version["commit"].is_string());
    let begun = std::time::Instant::now();
    let mut metrics = apid.get("/metrics");
    // The tasks are looked up beside the start, not before it.
    while !metrics.body.contains("shopctl_stage_tasks{") && begun.elapsed().as_secs() < 20 {
        metrics = apid.get("/metrics");
    }
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    for name in ["shopctl_build_info", "shopctl_stage_tasks", "http_request_duration_seconds_bucket"] {
        assert!(metrics.body.contains(name), "{name} in {}", metrics.body);
    }
    assert!(metrics.body.ends_with("# EOF\n"));
}

#[test]
fn a_page_of_another_site_cannot_post() {
    let apid = Apid::start();
    let body = r#"{"filename":"20250101000000","shards":[0]}"#;
    let path = format!("{BASE}/files/register");
    let foreign = call(apid.addr(), "POST", &path, &[("origin", "http://evil.example")], body);
    assert_eq!((foreign.status, foreign.json()["code"].as_str()), (403, Some("cross_origin")));
    assert_eq!(apid.get(&format!("{BASE}/files/20250101000000")).status, 404);
    let own = format!("http://{}", apid.addr());
    assert_eq!(call(apid.addr(), "POST", &path, &[("origin", &own)], body).status, 200);
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let apid = Apid::start();
    for (path, kind) in [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")] {
        let answer = apid.get(path);
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with(kind));
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        assert!(!answer.body.contains("//") || path == "/page.js", "{path} names another host");
        assert!(!answer.body.contains("http:") && !answer.body.contains("https:"), "{path} names another host");
        for inline in ["<style", " style=", " onclick=", "innerHTML", "eval("] {
            assert!(!answer.body.contains(inline), "{path}: {inline}");
        }
    }
}
