//! What `/metrics` says, of every role while it works: promtool takes it, and docs/metrics.md lists it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::api::process::{Apid, call};
use crate::support::PATIENCE;
use crate::support::events::{MISHAPS, event, generated};
use crate::support::eventually;
use crate::support::pipeline::{Pipeline, Role, STAGES};

/// The metrics of a role in the format that is asked for, with the content type of the answer.
fn scrape(port: u16, accept: Option<&str>) -> (String, String) {
    let mut request = ureq::get(format!("http://127.0.0.1:{port}/metrics"));
    if let Some(accept) = accept {
        request = request.header("accept", accept);
    }
    let mut response = request.call().unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.body_mut().read_to_string().unwrap(), kind)
}

/// What promtool says of a text; nothing if it has no complaint.
fn promtool(text: &str) -> String {
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| {
            panic!("promtool cannot be run ({e}): install Debian's package 'prometheus', or run tests/run")
        });
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let says = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { says } else { format!("{}: {says}", output.status) }
}

/// Names and kinds, as the text announces them.
fn announced(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split_once(' ').unwrap()).map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The kind, the labels and the roles of a metric.
type Documented = (String, BTreeSet<String>, String);

/// The table in docs/metrics.md, by names.
fn documented() -> BTreeMap<String, Documented> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let plain = |text: &str| text.trim_matches('`').to_owned();
        let labels = cells[2].split(", ").filter(|label| !label.is_empty()).map(plain).collect();
        (plain(cells[0]), (cells[1].to_owned(), labels, cells[3].to_owned()))
    };
    rows.map(row).collect()
}

/// The labels of every sample but those of the buckets, by the name that is announced for it.
fn labels(text: &str, names: &BTreeMap<String, String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let family = if names.contains_key(family) { family } else { name };
        let inside = rest.rsplit_once('}').unwrap().0;
        let pairs = inside.split("\",").filter_map(|pair| pair.split_once('='));
        found
            .entry(family.to_owned())
            .or_default()
            .extend(pairs.map(|(label, _)| label.to_owned()).filter(|label| label != "le"));
    }
    found
}

/// What the document calls a role.
fn name_of(role: Role) -> &'static str {
    match role {
        Role::Apid => "pipeline-apid",
        Role::Balance => "balance-daemon",
        Role::Cache => "cache-service",
        Role::Split => "shard-splitter",
        Role::Work0 | Role::Work1 => "shard-worker",
        Role::Send => "mysql-sender",
        Role::Ingest => "event-ingest",
    }
}

/// All roles at work: what is measured has values.
fn working() -> (Pipeline, Vec<(Role, u16)>) {
    let mut pipeline = Pipeline::running(&["events.generate=true", "events.malformed_rate=0.2"]);
    // What both workers reject, beside what the generator makes of a year in small.
    let cut_short = |shop: u32| event(1, &format!(r#""shop_id":{shop},"good_id":1"#)) + "\n";
    let lines = [generated(11, MISHAPS, 600), cut_short(2).into_bytes(), cut_short(3).into_bytes()].concat();
    pipeline.import(&lines, 100);
    pipeline.start(Role::Ingest);
    pipeline.wait_settled();
    let roles: Vec<Role> = STAGES.into_iter().chain([Role::Ingest]).collect();
    let ports = roles.into_iter().map(|role| (role, pipeline.role(role).wait_port())).collect();
    (pipeline, ports)
}

/// Checks what a role says against the document; answers with the names of its metrics.
fn assert_documented(role: &str, port: u16, documented: &BTreeMap<String, Documented>) -> BTreeSet<String> {
    // The first request that it measures is this one.
    scrape(port, None);
    let (text, kind) = scrape(port, None);
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8", "{role}");
    assert_eq!(promtool(&text), "", "{role}\n{text}");
    let names = announced(&text);
    for (name, kind) in &names {
        let found = documented.get(name);
        let (of_document, _, roles) = found.unwrap_or_else(|| panic!("{name} is not in docs/metrics.md"));
        assert_eq!(of_document, kind, "{name}");
        assert!(roles == "all" || roles.split(", ").any(|own| own == role), "{name} of {role}");
    }
    for (name, labels) in labels(&text, &names) {
        assert_eq!(labels, documented[&name].1, "{name} of {role}\n{text}");
    }
    for (name, _) in documented.iter().filter(|(_, (_, _, roles))| roles == "all") {
        assert!(names.contains_key(name), "{role} has no {name}");
    }

    let (open_metrics, kind) = scrape(port, Some("application/openmetrics-text; version=1.0.0"));
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8", "{role}");
    assert!(open_metrics.ends_with("# EOF\n") && open_metrics.contains("# UNIT "), "{role}\n{open_metrics}");
    names.into_keys().collect()
}

#[test]
fn promtool_takes_the_metrics_of_every_role_and_the_document_lists_them() {
    let (pipeline, ports) = working();
    let ingest = ports.iter().find(|(role, _)| *role == Role::Ingest).unwrap().1;
    let has = |port: u16, line: &str| scrape(port, None).0.lines().any(|own| own.starts_with(line));
    eventually("events are generated", PATIENCE, || has(ingest, "shopctl_events_accepted_total{source=\"generator\"}"));
    let apid = ports[0].1;
    eventually("the tasks are looked up", PATIENCE, || {
        has(apid, "shopctl_stage_tasks{stage=\"mysql-sender\",shard=\"1\",status=\"done\"}")
    });
    // A file that is never complete: something waits as long as the test lasts.
    pipeline.post("/files/register", &serde_json::json!({"filename": "20990101000000", "shards": [0, 1]}));
    eventually("what waits is looked up", PATIENCE, || has(apid, "shopctl_stage_oldest_task_timestamp_seconds{"));

    let documented = documented();
    let mut seen = BTreeSet::new();
    for (role, port) in &ports {
        seen.extend(assert_documented(name_of(*role), *port, &documented));
    }
    let (hub, minutes) = (Apid::start_role("hub"), Apid::start_role("hub-metrics"));
    let event = r#"{"user_id":"u","event_type":"purchase","amount":1,"timestamp":"2024-01-15T10:30:00Z"}"#;
    assert_eq!(hub.post("/events", event).status, 200);
    let query = r#"{"query":"{lastEvents{id}}"}"#;
    let json = [("content-type", "application/json")];
    assert_eq!(call(hub.addr(), "POST", "/graphql", &json, query).status, 200);
    seen.extend(assert_documented("event-hub", hub.addr().port(), &documented));
    seen.extend(assert_documented("hub-metrics", minutes.addr().port(), &documented));
    let unknown: Vec<&String> = documented.keys().filter(|name| !seen.contains(*name)).collect();
    assert!(unknown.is_empty(), "docs/metrics.md has metrics that no role has: {unknown:?}");
    drop(pipeline);
}

#[test]
fn what_stages_databases_and_services_do_is_measured() {
    let (pipeline, ports) = working();
    let port = |role: Role| ports.iter().find(|(own, _)| *own == role).unwrap().1;
    let value_in = |text: &str, sample: &str| -> f64 {
        let found = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or_else(|| panic!("there is no {sample}\n{text}"))
    };
    let value = |role: Role, sample: &str| value_in(&scrape(port(role), None).0, sample);
    // Both from one text: lines go on being rejected meanwhile.
    let (text, _) = scrape(port(Role::Work0), None);
    let worked = value_in(&text, "shopctl_lines_total{stage=\"shard-worker\",outcome=\"rejected\"}");
    let by_reason = text.lines().filter(|line| line.starts_with("shopctl_lines_rejected_total{stage=\"shard-worker\""));
    let sum: f64 = by_reason.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert!(sum > 0.0 && sum == worked, "{sum} by reason, {worked} in all");
    for (role, sample) in [
        (
            Role::Apid,
            "shopctl_database_call_duration_seconds_count{store=\"tracking\",operation=\"claim\",outcome=\"ok\"}",
        ),
        (
            Role::Balance,
            "shopctl_database_call_duration_seconds_count{store=\"balance\",operation=\"apply\",outcome=\"ok\"}",
        ),
        (
            Role::Cache,
            "shopctl_database_call_duration_seconds_count{store=\"cache\",operation=\"record_and_take\",outcome=\"ok\"}",
        ),
        (
            Role::Send,
            "shopctl_database_call_duration_seconds_count{store=\"shard\",operation=\"deliver\",outcome=\"ok\"}",
        ),
        (
            Role::Split,
            "shopctl_service_call_duration_seconds_count{service=\"pipeline-apid\",route=\"/stages/shard-splitter/done\",outcome=\"ok\"}",
        ),
        (
            Role::Work1,
            "shopctl_service_call_duration_seconds_count{service=\"balance-daemon\",route=\"/api/v1/operations\",outcome=\"ok\"}",
        ),
        (Role::Work1, "shopctl_output_bytes_total{stage=\"shard-worker\"}"),
        (Role::Split, "shopctl_output_bytes_total{stage=\"shard-splitter\"}"),
    ] {
        assert!(value(role, sample) > 0.0, "{sample}");
    }
    drop(pipeline);
}

#[test]
fn a_takeover_is_counted_as_an_expired_lease_and_a_retry() {
    let mut pipeline = Pipeline::new(&["pipeline.lease_ms=300"]);
    pipeline.start(Role::Apid);
    pipeline.import(&generated(12, MISHAPS, 20), 20);
    let port = pipeline.role(Role::Apid).wait_port();
    let claim = |id: &str| {
        let url = format!("http://127.0.0.1:{port}{}/queues/shard-splitter/claim", shopctl::pipeline::apid::BASE);
        let body = serde_json::json!({"worker": id, "claim_id": id, "limit": 1, "wait_ms": 0});
        let answer: serde_json::Value = ureq::post(url).send_json(body).unwrap().body_mut().read_json().unwrap();
        answer["items"].as_array().unwrap().len()
    };
    assert_eq!(claim("first"), 2, "both shards of the file");
    let counted = |name: &str| {
        let sample = format!("{name}{{stage=\"shard-splitter\"}} ");
        let (text, _) = scrape(port, None);
        text.lines().find_map(|line| line.strip_prefix(&sample)?.parse::<u32>().ok()).unwrap()
    };
    assert_eq!((counted("shopctl_leases_expired_total"), counted("shopctl_task_retries_total")), (0, 0));
    eventually("the lease runs out", PATIENCE, || claim("second") == 2);
    assert_eq!((counted("shopctl_leases_expired_total"), counted("shopctl_task_retries_total")), (2, 2));
    assert_eq!(claim("second"), 2, "the same claim gets the same answer");
    assert_eq!(counted("shopctl_task_retries_total"), 2, "which is no attempt");
}
