//! Tokens: who may change what, how they are changed, and that they are shown nowhere.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::api::process::{Answer, call};
use crate::support::events::purchase;
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::{Ended, Process};
use crate::support::{PATIENCE, eventually};

const BASE: &str = "/api/v1/pipeline";
pub(crate) const PARTIES: [&str; 6] =
    ["producer", "event_ingest", "shard_splitter", "shard_worker", "mysql_sender", "operator"];
const STAGES: [&str; 3] = ["shard-splitter", "shard-worker", "mysql-sender"];

/// A token that says whose it is; no settings have it in clear but those of a test.
pub(crate) fn token(principal: &str) -> String {
    format!("canary-{principal}-0123456789abcdef")
}

/// Writes a token file; answers the setting that names it.
fn token_file(pipeline: &Pipeline, principal: &str, content: &str) -> String {
    let path = pipeline.write(&format!("{principal}.{}.token", content.len()), content.as_bytes());
    format!("auth.{principal}_file={}", path.display())
}

/// The settings of a server that knows all tokens.
pub(crate) fn all_tokens(pipeline: &Pipeline) -> Vec<String> {
    PARTIES.iter().map(|principal| token_file(pipeline, principal, &token(principal))).collect()
}

pub(crate) fn start(pipeline: &Pipeline, command: &[&str], settings: &[String]) -> Process {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    pipeline.spawn_with(command, &settings, None)
}

/// An API with these settings, behind the pipeline's proxy.
fn start_apid(pipeline: &Pipeline, settings: &[String]) -> (Process, SocketAddr) {
    let apid = start(pipeline, &["apid"], settings);
    let port = apid.wait_ready();
    pipeline.proxy.set_backend(port);
    (apid, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A call with this token.
fn ask(addr: SocketAddr, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    call(addr, method, path, &headers, body)
}

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
}

/// The principals that the document lets do an operation.
pub(crate) fn documented(operation: &Value) -> BTreeSet<String> {
    let all = operation["security"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|one| one["bearer"][0].as_str().unwrap().to_owned()).collect()
}

/// Who may really do it: of those the document names, only the stage's own principal, and the operator.
fn expected(documented: &BTreeSet<String>, path: &str, stage: &str, transition: &str) -> BTreeSet<String> {
    let own = |principal: &String| {
        let of_stage = !path.contains("{stage}") || *principal == stage.replace('-', "_");
        principal == "operator" || of_stage && !(path.contains("{transition}") && transition == "retry")
    };
    documented.iter().filter(|principal| own(principal)).cloned().collect()
}

#[test]
fn every_change_needs_the_token_that_the_document_names() {
    let pipeline = Pipeline::new(&[]);
    let (_apid, addr) = start_apid(&pipeline, &all_tokens(&pipeline));
    let document = call(addr, "GET", "/openapi.json", &[], "").json();
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    let mut changes = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let principals = documented(operation);
            if method == "get" {
                assert!(principals.is_empty(), "{path}: reading needs no token");
                let filled = path.replace("{stage}", STAGES[0]).replace("{filename}", "20250101000000");
                assert!(![401, 403].contains(&call(addr, "GET", &filled, &[], "").status), "{path}");
                continue;
            }
            changes += 1;
            assert!(principals.contains("operator"), "{method} {path}: its security does not name the operator");
            for status in ["401", "403"] {
                assert!(operation["responses"][status].is_object(), "{method} {path} does not describe {status}");
            }
            for stage in STAGES {
                for transition in ["start", "done", "fail", "release", "retry", "juggle"] {
                    let filled = path.replace("{stage}", stage).replace("{transition}", transition);
                    let transition = if transition == "juggle" { "retry" } else { transition };
                    let allowed = expected(&principals, path, stage, transition);
                    check(addr, &method.to_uppercase(), &filled, &allowed);
                }
            }
        }
    }
    assert!(changes >= 5, "{changes}");
}

/// Exactly these principals may make the call. Its body is none, so that it changes nothing.
pub(crate) fn check(addr: SocketAddr, method: &str, path: &str, allowed: &BTreeSet<String>) {
    assert_problem(&ask(addr, method, path, None, "no JSON"), 401, "unauthorized");
    assert_problem(&ask(addr, method, path, Some("canary-nobody-0123456789"), "no JSON"), 401, "unauthorized");
    for principal in PARTIES {
        let answer = ask(addr, method, path, Some(&token(principal)), "no JSON");
        if allowed.contains(principal) {
            assert!(![401, 403].contains(&answer.status), "{principal} {method} {path}: {answer:?}");
        } else {
            assert_problem(&answer, 403, "forbidden");
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains(principal) && detail.contains("operator"), "{detail}");
        }
    }
}

#[test]
fn another_spelling_of_a_path_opens_nothing() {
    let pipeline = Pipeline::new(&[]);
    let (_apid, addr) = start_apid(&pipeline, &all_tokens(&pipeline));
    let worker = token("shard_worker");
    for path in [
        "/stages/shard-worker/re%74ry",
        "/stages/shard-worker/%72etry",
        "/stages/mysql%2dsender/done",
        "/stages/%6dysql-sender/done",
        "/queues/shard%2Dsplitter/claim",
        "/stages/event%2Dingest/done",
        "/stages/shard-juggler/done",
    ] {
        assert_problem(&ask(addr, "POST", &format!("{BASE}{path}"), Some(&worker), "{}"), 403, "forbidden");
    }
    // Its own stage is its own, however it is spelled.
    assert_eq!(ask(addr, "POST", &format!("{BASE}/stages/shard%2Dworker/d%6fne"), Some(&worker), "{}").status, 422);
}

#[test]
fn a_call_without_a_token_is_refused_before_its_body_comes() {
    let pipeline = Pipeline::new(&[]);
    let (_apid, apid) = start_apid(&pipeline, &all_tokens(&pipeline));
    let ingest = start(&pipeline, &["ingest"], &all_tokens(&pipeline));
    let ingest_addr = SocketAddr::from(([127, 0, 0, 1], ingest.wait_port()));
    for (addr, path) in [(apid, format!("{BASE}/files/register")), (ingest_addr, "/api/v1/events".to_owned())] {
        // A body that never comes, and one that would be too large: both get the same answer.
        for length in [1000_u64, 1 << 40] {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(String::from_utf8_lossy(&status), "HTTP/1.1 401");
        }
    }
}

#[test]
fn events_are_posted_by_producers_and_operators() {
    let pipeline = Pipeline::new(&[]);
    let ingest = start(&pipeline, &["ingest"], &all_tokens(&pipeline));
    let addr = SocketAddr::from(([127, 0, 0, 1], ingest.wait_port()));
    let post = |token: Option<&str>| ask(addr, "POST", "/api/v1/events", token, &purchase(1, 1));
    assert_problem(&post(None), 401, "unauthorized");
    assert_problem(&post(Some(&token("event_ingest"))), 403, "forbidden");
    for principal in ["producer", "operator"] {
        assert_eq!(post(Some(&token(principal))).status, 202);
    }
    for path in ["/health", "/version", "/metrics", "/api/v1/events/stats"] {
        assert_eq!(call(addr, "GET", path, &[], "").status, 200, "{path}");
    }
    let metrics = call(addr, "GET", "/metrics", &[], "").body;
    for (reason, count) in [("unauthorized", 1), ("forbidden", 1)] {
        let line = format!("shopctl_auth_refused_total{{reason=\"{reason}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn what_no_token_opens_is_the_operators() {
    let pipeline = Pipeline::new(&[]);
    let some = ["shard_splitter", "operator"].map(|principal| token_file(&pipeline, principal, &token(principal)));
    let (apid, addr) = start_apid(&pipeline, &some);
    let register = format!("{BASE}/files/register");
    let body = r#"{"filename":"20250101000000","shards":[0]}"#;
    assert_problem(&ask(addr, "POST", &register, None, body), 401, "unauthorized");
    assert_problem(&ask(addr, "POST", &register, Some(&token("event_ingest")), body), 401, "unauthorized");
    assert_problem(&ask(addr, "POST", &register, Some(&token("shard_splitter")), body), 403, "forbidden");
    assert_eq!(ask(addr, "POST", &register, Some(&token("operator")), body).status, 200);
    for principal in ["event_ingest", "shard_worker", "mysql_sender"] {
        apid.wait_log(&format!("auth.{principal} is not set here"), |_| Some(()));
    }
}

#[test]
fn each_role_works_with_its_own_token_and_tokens_are_changed_one_by_one() {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none"]);
    let changed = |principal: &str| format!("{}-new\n{}\n", token(principal), token(principal));
    let server: Vec<String> =
        PARTIES.iter().map(|principal| token_file(&pipeline, principal, &changed(principal))).collect();
    let (apid, _) = start_apid(&pipeline, &server);
    [Role::Balance, Role::Cache].into_iter().for_each(|role| pipeline.start(role));
    // Some have the new token already, others still the old one.
    let own = |principal: &str, token: &str| vec![token_file(&pipeline, principal, token)];
    let (old, new) =
        (|principal: &str| own(principal, &token(principal)), |principal: &str| own(principal, &changed(principal)));
    let roles = [
        start(&pipeline, &["split"], &new("shard_splitter")),
        start(&pipeline, &["work", "--shard", "0"], &old("shard_worker")),
        start(&pipeline, &["work", "--shard", "1"], &new("shard_worker")),
        start(&pipeline, &["send"], &old("mysql_sender")),
    ];
    let path = pipeline.write("input.ndjson", format!("{}\n{}\n", purchase(1, 1), purchase(2, 2)).as_bytes());
    let import = start(&pipeline, &["ingest", "--from", path.to_str().unwrap()], &old("event_ingest"));
    import.wait_exit(PATIENCE).expect_code(0);
    pipeline.wait_settled();
    assert_eq!(pipeline.assert_all_is_well(&Known::new()).world.row_count(), 2);
    for role in roles {
        role.terminate(PATIENCE).expect_code(0);
    }
    apid.terminate(PATIENCE).expect_code(0);
    pipeline.start(Role::Apid);
}

#[test]
fn a_role_with_the_wrong_token_says_so_and_burns_no_attempt() {
    let pipeline = Pipeline::new(&["pipeline.attempts_max=1"]);
    let (_apid, addr) = start_apid(&pipeline, &all_tokens(&pipeline));
    let operator = token("operator");
    for (path, body) in [
        ("files/register", r#"{"filename":"20250301080000","shards":[0,1]}"#),
        ("stages/event-ingest/done", r#"{"filename":"20250301080000"}"#),
    ] {
        assert_eq!(ask(addr, "POST", &format!("{BASE}/{path}"), Some(&operator), body).status, 200);
    }
    let events = pipeline.shared().join("events");
    std::fs::create_dir_all(&events).unwrap();
    std::fs::write(events.join("20250301080000.event-ingest.txt"), format!("{}\n", purchase(1, 1))).unwrap();
    let wrong = [
        (vec![token_file(&pipeline, "shard_splitter", "canary-of-yesterday-0123")], "refuses our token (401)"),
        (vec![], "refuses calls without a token (401)"),
        // The worker's token in the splitter's place.
        (vec![token_file(&pipeline, "shard_splitter", &token("shard_worker"))], "refuses our token (403)"),
    ];
    for (settings, why) in wrong {
        let split = start(&pipeline, &["split"], &settings);
        let port = split.wait_port();
        let reason = not_ready(port, why);
        assert!(reason.contains("set auth.shard_splitter (or auth.shard_splitter_file)"), "{reason}");
        assert!(!reason.contains("canary"), "{reason}");
        let ended = split.terminate(PATIENCE).expect_code(0);
        assert!(!ended.log.contains("canary-of"), "{}", ended.log);
        let once = start(&pipeline, &["split", "--once"], &settings).wait_exit(PATIENCE).expect_code(1);
        assert!(once.log.contains(why), "{}", once.log);
    }
    let right = vec![token_file(&pipeline, "shard_splitter", &token("shard_splitter"))];
    start(&pipeline, &["split", "--once"], &right).wait_exit(PATIENCE).expect_code(0);
    let file = pipeline.find("/files/20250301080000").unwrap();
    assert_eq!(file["shards"][0]["shard_splitter_status"], "done", "the only attempt was not used up: {file}");
}

/// Waits until `/ready` says no for this reason; answers all of what it says.
fn not_ready(port: u16, why: &str) -> String {
    let mut said = String::new();
    eventually(why, PATIENCE, || {
        let answer = call(SocketAddr::from(([127, 0, 0, 1], port)), "GET", "/ready", &[], "");
        said = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        answer.status == 503 && said.contains(why)
    });
    said
}

#[test]
fn only_operators_retry() {
    let pipeline = Pipeline::new(&[]);
    let (_apid, addr) = start_apid(&pipeline, &all_tokens(&pipeline));
    let (operator, file) = (token("operator"), r#"{"filename":"20250301080000","shards":[0]}"#);
    let task = r#"{"filename":"20250301080000","shard":0}"#;
    for (path, body) in [
        ("files/register", file),
        ("stages/event-ingest/done", r#"{"filename":"20250301080000"}"#),
        ("stages/shard-splitter/fail", task),
    ] {
        assert_eq!(ask(addr, "POST", &format!("{BASE}/{path}"), Some(&operator), body).status, 200);
    }
    let retry = |settings: &[String], code: i32| -> Ended {
        start(&pipeline, &["retry", "20250301080000"], settings).wait_exit(PATIENCE).expect_code(code)
    };
    let refused = retry(&[token_file(&pipeline, "shard_splitter", &token("shard_splitter"))], 1);
    assert!(refused.log.contains("set auth.operator (or auth.operator_file)"), "{}", refused.log);
    let taken = retry(&[token_file(&pipeline, "operator", &operator)], 0);
    assert!(taken.out.contains("retrying shard-splitter of 20250301080000 shard 0"), "{}", taken.out);
}

#[test]
fn beyond_127_0_0_1_a_role_listens_only_with_a_token_of_those_whom_it_serves() {
    for (command, own, foreign) in [
        (&["apid"][..], "mysql_sender", "producer"),
        (&["ingest"], "producer", "event_ingest"),
        (&["balance"], "shard_worker", "producer"),
        (&["cache"], "operator", "mysql_sender"),
        (&["split"], "shard_splitter", "shard_worker"),
        (&["work", "--shard", "0"], "shard_worker", "operator"),
        (&["send"], "mysql_sender", "shard_splitter"),
    ] {
        // 127.0.0.2 is this machine too, so that the test opens no port to other machines.
        let pipeline = Pipeline::new(&["server.host=127.0.0.2"]);
        for (principal, host) in [(Some(own), "127.0.0.2:"), (Some(foreign), "127.0.0.1:"), (None, "127.0.0.1:")] {
            let settings: Vec<String> =
                principal.iter().map(|principal| token_file(&pipeline, principal, &token(principal))).collect();
            let role = start(&pipeline, command, &settings);
            let addr = role.wait_log("listening", |line| line["addr"].as_str().map(str::to_owned));
            assert!(addr.starts_with(host), "{command:?} with {principal:?} listens on {addr}");
        }
    }
}

#[test]
fn tokens_and_passwords_are_shown_nowhere() {
    let mut pipeline = Pipeline::new(&["logging.level=TRACE"]);
    let toml: String = PARTIES.iter().map(|principal| format!("{principal} = \"{}\"\n", token(principal))).collect();
    pipeline.write("shopctl.toml", format!("[auth]\n{toml}").as_bytes());
    let mut said = Vec::new();
    // All that a server and its clients say while they work, and what they answer.
    let (apid, addr) = start_apid(&pipeline, &[]);
    [Role::Balance, Role::Cache].into_iter().for_each(|role| pipeline.start(role));
    let path = pipeline.write("input.ndjson", format!("{}\n", purchase(1, 1)).as_bytes());
    let others = [
        start(&pipeline, &["split"], &[]),
        start(&pipeline, &["work", "--shard", "1"], &[]),
        start(&pipeline, &["send"], &[]),
    ];
    said.push(start(&pipeline, &["ingest", "--from", path.to_str().unwrap()], &[]).wait_exit(PATIENCE).expect_code(0));
    let work0 = start(&pipeline, &["work", "--shard", "0"], &[]);
    pipeline.wait_settled();
    let wrong = ask(addr, "POST", &format!("{BASE}/files/register"), Some("canary-nobody-0123456789"), "{}");
    let foreign = ask(addr, "POST", &format!("{BASE}/files/register"), Some(&token("mysql_sender")), "{}");
    let mut answers = vec![wrong, foreign];
    for path in ["/metrics", "/openapi.json", "/ready", "/version", &format!("{BASE}/files"), &format!("{BASE}/audit")]
    {
        answers.push(call(addr, "GET", path, &[], ""));
    }
    let services = [Role::Balance, Role::Cache].map(|role| pipeline.take(role));
    for role in others.into_iter().chain([work0, apid]).chain(services) {
        said.push(role.terminate(PATIENCE).expect_code(0));
    }
    said.push(pipeline.run(&["config", "show", "--origin"], 0));
    assert!(said.last().unwrap().out.contains("operator = \"***\""), "{}", said.last().unwrap().out);
    said.extend(failing_starts(&pipeline));
    for answer in answers {
        assert!(!format!("{answer:?}").contains("canary"), "{answer:?}");
    }
    for ended in said {
        // The process's name is its command line, which the test knows already.
        assert!(
            !ended.log.contains("canary") && !ended.out.contains("canary"),
            "{}\n{}\n{}",
            ended.name,
            ended.out,
            ended.log
        );
    }
}

/// Starts that fail over something that stands beside a secret, or over the secret itself.
fn failing_starts(pipeline: &Pipeline) -> Vec<Ended> {
    let with_file = |name: &str, content: &str| {
        let path = pipeline.write(name, content.as_bytes());
        pipeline.run(&["apid", "--config", path.to_str().unwrap()], 64)
    };
    let with_flag = |command: &[&str], flag: &str, code: i32| {
        pipeline.spawn_with(command, &[flag], None).wait_exit(PATIENCE).expect_code(code)
    };
    vec![
        with_file("unclosed.toml", "[auth]\noperator = \"canary-0123456789abcdef\n"),
        with_file("bare.toml", "[auth]\noperator = canary-0123456789abcdef\n"),
        with_file("misplaced.toml", "[auth]\noperator_token = \"canary-0123456789abcdef\"\n"),
        with_file("short.toml", "[auth]\noperator = \"canary\"\n"),
        with_file("list.toml", "[auth]\noperator = [\"canary-0123456789abcdef\"]\n"),
        with_file(
            "shared.toml",
            "[auth]\noperator = \"canary-0123456789abcdef\"\nproducer = \"canary-0123456789abcdef\"\n",
        ),
        with_file("kind.toml", "[logging]\nformat = \"mysql://u:canary@h/db\"\n"),
        with_flag(&["apid"], "auth.operator:canary-0123456789abcdef", 64),
        with_flag(&["apid"], "auth.operator=canary", 64),
        with_flag(&["apid"], "pipeline.url=http://u:canary@127.0.0.1:1/x", 64),
        with_flag(&["config", "show"], "auth.operator=canary-0123456789abcdef", 0),
        with_flag(&["split", "--once"], "auth.operator=canary-0123456789abcdef", 75),
    ]
}

#[test]
fn a_secret_on_the_command_line_is_warned_of_by_its_name() {
    let pipeline = Pipeline::new(&[]);
    let split = start(&pipeline, &["split"], &["auth.shard_splitter=canary-0123456789abcdef".to_owned()]);
    let setting = split.wait_log("a secret on the command line", |line| line["setting"].as_str().map(str::to_owned));
    assert_eq!(setting, "auth.shard_splitter");
    assert!(!split.log().contains("canary"), "{}", split.log());
}

#[test]
fn a_health_check_finds_the_role_and_tells_by_its_exit_code() {
    let pipeline = Pipeline::new(&[]);
    let (apid, addr) = start_apid(&pipeline, &[]);
    let port = addr.port().to_string();
    let well = |args: &[&str]| pipeline.run(&[&["healthcheck"], args].concat(), 0);
    assert_eq!(well(&["apid", "--port", &port]).out, format!("http://127.0.0.1:{port}/health is well"));
    well(&["--port", &port, "--ready"]);
    well(&[&format!("http://{addr}")]);
    let by_settings = start(&pipeline, &["healthcheck", "apid"], &[format!("server.port={port}")]);
    by_settings.wait_exit(PATIENCE).expect_code(0);
    // A role that lives but cannot work is healthy and not ready.
    pipeline.proxy.set_backend(1);
    let split = start(&pipeline, &["split"], &[]);
    let split_port = split.wait_port().to_string();
    not_ready(split.wait_port(), "does not answer");
    well(&["split", "--port", &split_port]);
    let not_well = pipeline.run(&["healthcheck", "--port", &split_port, "--ready"], 1);
    assert!(not_well.log.contains("status 503 apid: service_away: the stage-status API"), "{}", not_well.log);
    apid.terminate(PATIENCE).expect_code(0);
    assert_eq!(pipeline.run(&["healthcheck", "apid", "--port", &port], 1).log.lines().count(), 1);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port().to_string();
    // It has a time-out of its own, or this would wait for ever.
    pipeline.run(&["healthcheck", "--port", &silent_port], 1);
    for usage in [&["healthcheck"][..], &["healthcheck", "juggle"], &["healthcheck", "work"], &["healthcheck", "apid"]]
    {
        pipeline.run(usage, 64);
    }
}
