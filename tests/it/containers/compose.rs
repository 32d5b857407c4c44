//! docker-compose.yml with `.env`: names, commands, settings, credentials, and what no container may do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};
use shopctl::base::config::{Sources, load};
use shopctl::pipeline::settings::Settings;

use super::{file, variables};

/// The services of the assignment.
const NAMED: [&str; 11] = [
    "event-ingest",
    "pipeline-apid",
    "balance-daemon",
    "cache-service",
    "shard-splitter",
    "shard-worker-0",
    "shard-worker-1",
    "mysql-sender",
    "mysql-pipeline",
    "mysql-shard-0",
    "mysql-shard-1",
];
/// What runs once: before them, or when a person asks for it.
const ONE_SHOTS: [&str; 3] = ["shared-init", "migrate", "operator"];

/// Puts the variables in as compose does: `${NAME:?why}`, `${NAME:-default}`, and `$$` for one `$`.
fn interpolate(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        done.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            done.push('$');
            rest = after;
            continue;
        }
        let (inner, after) = after.strip_prefix('{').and_then(|after| after.split_once('}')).expect("${NAME...}");
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (inner.strip_suffix(":?see .env").unwrap_or_else(|| panic!("{inner} may be missing")), None),
        };
        let value = variables.get(name).cloned().or(default);
        done.push_str(&value.unwrap_or_else(|| panic!("{name} is not in .env")));
        rest = after;
    }
    done + rest
}

fn document() -> Value {
    serde_saphyr::from_str(&interpolate(&file("docker-compose.yml"), &variables())).unwrap()
}

fn services() -> BTreeMap<String, Map<String, Value>> {
    let document = document();
    let services = document["services"].as_object().unwrap();
    services.iter().map(|(name, service)| (name.clone(), service.as_object().unwrap().clone())).collect()
}

/// The services that run shopctl itself.
fn roles() -> BTreeMap<String, Map<String, Value>> {
    let image = &variables()["SHOPCTL_IMAGE"];
    let runs = |service: &Map<String, Value>| service["image"] == *image && !service.contains_key("entrypoint");
    services().into_iter().filter(|(_, service)| runs(service)).collect()
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn environment(service: &Map<String, Value>) -> HashMap<String, String> {
    let Some(own) = service.get("environment") else { return HashMap::new() };
    own.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
}

/// `30s` as 30.
fn seconds(value: &Value) -> u64 {
    value.as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap()
}

/// The settings that a role's container has (those of the image and of its environment), loaded as the role loads them.
fn settings(name: &str, service: &Map<String, Value>) -> Settings {
    let mut environment = environment(service);
    environment.insert("SHOPCTL_PROFILE".to_owned(), "container".to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker");
    let loaded = load::load(&Sources { environment, folder, ..Sources::default() });
    loaded.unwrap_or_else(|faults| panic!("{name}: {faults}")).settings
}

#[test]
fn services_have_the_names_of_the_assignment() {
    let services = services();
    let found: BTreeSet<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(found, NAMED.into_iter().chain(ONE_SHOTS).collect());
    assert_eq!(services["mysql-pipeline"]["container_name"], "shop-mysql-pipeline");
    // 'up' starts all but this one.
    let optional: Vec<&str> =
        services.iter().filter(|(_, s)| s.contains_key("profiles")).map(|(n, _)| n.as_str()).collect();
    assert_eq!(optional, ["operator"]);
    // A name of its own would forbid a second one.
    let fixed: Vec<_> = services.iter().filter(|(_, service)| service.contains_key("container_name")).collect();
    assert_eq!(fixed.len(), 1, "{fixed:?}");
}

#[test]
fn every_role_and_its_health_check_are_commands_of_the_program() {
    let mut checked = 0;
    for (name, service) in roles() {
        let mut commands = vec![words(&service["command"])];
        if let Some(test) = service["healthcheck"].get("test") {
            let test = words(test);
            assert_eq!(test[..2], ["CMD", "shopctl"], "{name}");
            // The check asks for the very role that runs.
            assert_eq!(test[3], commands[0][0], "{name}");
            commands.push(test[2..].to_vec());
        } else {
            assert!(ONE_SHOTS.contains(&name.as_str()), "{name} has no health check");
        }
        for command in commands {
            let mut shopctl = Command::new(env!("CARGO_BIN_EXE_shopctl"));
            let output = shopctl.args(&command).arg("--help").env_clear().output().unwrap();
            assert!(output.status.success(), "{name}: {command:?}: {output:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 2 + 2 * 8, "migrate, operator, eight roles and their checks");
}

#[test]
fn every_container_starts_with_settings_that_load() {
    for (name, service) in roles() {
        // Not over those of the image: a mounted file keeps its mode, and the roles cannot read what a umask of 077 made.
        assert_eq!(words(&service["volumes"]), ["./shared:/shared"], "{name}");
        let settings = settings(&name, &service);
        assert_eq!(settings.shared.dir, Path::new("/shared"), "{name}");
        assert_eq!(settings.logging.json, name != "operator", "{name}");
        let drain = settings.server.drain_timeout.as_secs();
        assert!(seconds(&service["stop_grace_period"]) > drain, "{name} is killed while it drains");
    }
    for shard in ["0", "1"] {
        let worker = &services()[&format!("shard-worker-{shard}")];
        assert_eq!(environment(worker)["SHARD_ID"], shard);
    }
}

#[test]
fn everybody_has_the_credentials_of_his_own_work_only() {
    let stages = ["EVENT_INGEST", "SHARD_SPLITTER", "SHARD_WORKER", "MYSQL_SENDER"];
    let expected: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("event-ingest", vec!["PRODUCER", "EVENT_INGEST"]),
        ("pipeline-apid", stages.into_iter().chain(["OPERATOR"]).collect()),
        ("balance-daemon", vec!["SHARD_WORKER", "OPERATOR"]),
        ("cache-service", vec!["SHARD_WORKER", "OPERATOR"]),
        ("shard-splitter", vec!["SHARD_SPLITTER"]),
        ("shard-worker-0", vec!["SHARD_WORKER"]),
        ("shard-worker-1", vec!["SHARD_WORKER"]),
        ("mysql-sender", vec!["MYSQL_SENDER"]),
        ("operator", vec!["OPERATOR"]),
    ]);
    let accounts = BTreeMap::from([
        ("migrate", "migrate"),
        ("pipeline-apid", "apid"),
        ("balance-daemon", "balance"),
        ("cache-service", "cache"),
        ("mysql-sender", "sender"),
        ("operator", "auditor"),
    ]);
    let variables = variables();
    for (name, service) in services() {
        let environment = environment(&service);
        let tokens: BTreeSet<String> =
            environment.keys().filter_map(|key| key.strip_prefix("SHOPCTL__AUTH__")).map(str::to_owned).collect();
        let own = expected.get(name.as_str()).cloned().unwrap_or_default();
        assert_eq!(tokens, own.iter().map(|token| (*token).to_owned()).collect(), "{name}");
        for token in own {
            assert_eq!(environment[&format!("SHOPCTL__AUTH__{token}")], variables[&format!("TOKEN_{token}")], "{name}");
        }
        let urls = environment.iter().filter(|(key, _)| key.starts_with("SHOPCTL__DATABASE__"));
        let users: BTreeSet<&str> =
            urls.map(|(_, url)| url.strip_prefix("mysql://").unwrap().split(':').next().unwrap()).collect();
        assert_eq!(
            users.into_iter().collect::<Vec<_>>(),
            accounts.get(name.as_str()).copied().into_iter().collect::<Vec<_>>(),
            "{name}"
        );
        let is_database = name == "mysql-pipeline" || name.starts_with("mysql-shard-");
        assert_eq!(environment.contains_key("MYSQL_ROOT_PASSWORD"), is_database, "{name}");
        if is_database {
            assert_eq!(environment["MYSQL_ROOT_HOST"], "localhost", "{name}: root comes from elsewhere");
            let harmless = ["SELECT", "INSERT", "UPDATE", "DELETE"];
            let rights: Vec<&String> =
                environment.iter().filter(|(key, _)| key.ends_with("_RIGHTS")).map(|(_, rights)| rights).collect();
            assert_eq!(rights.len(), if name == "mysql-pipeline" { 3 } else { 1 }, "{name}");
            for rights in rights {
                assert!(rights.split(", ").all(|right| harmless.contains(&right)), "{name}: {rights}");
            }
        }
    }
    let secrets = variables.iter().filter(|(name, _)| name.starts_with("TOKEN_") || name.ends_with("_PASSWORD"));
    let mut seen = BTreeSet::new();
    for (name, secret) in secrets {
        assert!(seen.insert(secret), "{name} is the same as another");
        assert!(!file("docker-compose.yml").contains(secret.as_str()), "{name} stands in docker-compose.yml");
    }
}

#[test]
fn ports_are_published_on_loopback_and_databases_not_at_all() {
    let mut published = BTreeMap::new();
    for (name, service) in services() {
        for port in service.get("ports").map(words).unwrap_or_default() {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
            published.insert(name.clone(), port);
        }
        let networks = service.get("networks").map(words).unwrap_or_default();
        if name == "mysql-pipeline" || name.starts_with("mysql-shard-") {
            assert_eq!(networks, ["data"], "{name}");
        }
        let has_url = environment(&service).keys().any(|key| key.starts_with("SHOPCTL__DATABASE__"));
        assert!(has_url || name.starts_with("mysql-") || !networks.contains(&"data".to_owned()), "{name}");
    }
    assert_eq!(published["event-ingest"], "127.0.0.1:8080:8080");
    assert_eq!(published["pipeline-apid"], "127.0.0.1:8082:8082");
    assert_eq!(published["balance-daemon"], "127.0.0.1:8083:8083");
    assert_eq!(published.len(), 3, "{published:?}");
    assert_eq!(document()["networks"]["data"]["internal"], true);
}

#[test]
fn every_base_image_can_be_pinned() {
    let text = file("docker-compose.yml");
    let mut variables = variables();
    let pins = ["RUST_IMAGE", "DEBIAN_IMAGE", "MYSQL_IMAGE"].map(|name| (name, format!("{name}@sha256:pinned")));
    variables.extend(pins.iter().map(|(name, pin)| ((*name).to_owned(), pin.clone())));
    let pinned: Value = serde_saphyr::from_str(&interpolate(&text, &variables)).unwrap();
    for (name, pin) in &pins[..2] {
        // The same default in both places: what is built is what compose says.
        let default = document()["services"]["shared-init"]["build"]["args"][name].as_str().unwrap().to_owned();
        assert!(file("Dockerfile").contains(&format!("ARG {name}={default}\n")), "{name}: {default}");
        assert_eq!(pinned["services"]["shared-init"]["build"]["args"][name], **pin);
    }
    for database in ["mysql-pipeline", "mysql-shard-0", "mysql-shard-1"] {
        assert_eq!(pinned["services"][database]["image"], pins[2].1, "{database}");
    }
}

#[test]
fn no_service_waits_for_what_does_not_come() {
    let services = services();
    for (name, service) in &services {
        let Some(needed) = service.get("depends_on") else { continue };
        for (needed, how) in needed.as_object().unwrap() {
            let other = services.get(needed).unwrap_or_else(|| panic!("{name} needs {needed}, which does not exist"));
            match how["condition"].as_str().unwrap() {
                "service_healthy" => assert!(other["healthcheck"].get("test").is_some(), "{name} needs {needed}"),
                "service_completed_successfully" => assert_eq!(other["restart"], "no", "{name} needs {needed}"),
                other => panic!("{name} needs {needed}: {other}"),
            }
        }
    }
    // Over TCP: the server of the first start has none, so it does not count as healthy.
    for (name, service) in services.iter().filter(|(name, _)| name.starts_with("mysql-") && *name != "mysql-sender") {
        assert_eq!(service["image"], "mysql:9", "{name}");
        let test = words(&service["healthcheck"]["test"]).join(" ");
        assert!(test.contains("--protocol=TCP") && test.contains("$MYSQL_DATABASE"), "{name}: {test}");
    }
}

#[test]
fn no_container_has_more_than_it_needs() {
    for (name, service) in services() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        for limit in ["mem_limit", "pids_limit"] {
            assert!(service.contains_key(limit), "{name} has no {limit}");
        }
        assert!(service["logging"]["options"].get("max-size").is_some(), "{name}: its log grows without end");
        assert!(!service.contains_key("privileged"), "{name}");
        let expected = if ONE_SHOTS.contains(&name.as_str()) { "no" } else { "unless-stopped" };
        assert_eq!(service["restart"], expected, "{name}");
    }
    for (name, service) in roles() {
        assert_eq!(service["user"], "65532:65532", "{name}");
        assert!(!service.contains_key("cap_add"), "{name}");
    }
}

#[test]
fn what_is_mounted_is_there() {
    let document = document();
    for (name, service) in services() {
        for volume in service.get("volumes").map(words).unwrap_or_default() {
            let (source, target) = volume.split_once(':').unwrap();
            match source.strip_prefix("./") {
                Some("shared") => assert_eq!(target, "/shared", "{name}"),
                Some(path) => {
                    assert!(target.ends_with(":ro"), "{name} may write {path}");
                    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).is_file(), "{name}: {path}");
                }
                None => assert!(document["volumes"].get(source).is_some(), "{name}: {source}"),
            }
        }
    }
    for name in NAMED.iter().filter(|name| roles().contains_key(**name)) {
        assert!(words(&services()[*name]["volumes"]).contains(&"./shared:/shared".to_owned()), "{name}");
    }
}

#[test]
fn a_password_that_would_break_a_statement_is_refused() {
    let names = [
        "MYSQL_ROOT_PASSWORD",
        "MYSQL_PASSWORD",
        "DAEMON_PASSWORD",
        "AUDITOR_PASSWORD",
        "BALANCE_PASSWORD",
        "CACHE_PASSWORD",
    ];
    for (bad, value) in names.into_iter().zip(["", "a/b", "a'b", "a b", "", "a\"b"]) {
        let mut command = Command::new("bash");
        command.arg("docker/mysql/start").current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
        command.env("PATH", "/usr/bin:/bin").envs(names.map(|name| (name, "good-Pass_1"))).env(bad, value);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{bad}: {said}");
        assert!(said.contains(bad) && said.contains(".env") && !said.contains("a'b"), "{said}");
    }
}

/// Runs docker/shared-init on a folder with a file, and with a link to another, that belong to none of the roles. What
/// stands in for chown notes its arguments and says `answer`. Gives exit code, what was said, and what was noted.
fn shared_init(answer: &str) -> (Option<i32>, String, String) {
    let scratch = tempfile::tempdir().unwrap();
    for folder in ["bin", "shared/events", "outside"] {
        std::fs::create_dir_all(scratch.path().join(folder)).unwrap();
    }
    std::fs::write(scratch.path().join("shared/events/inside"), "").unwrap();
    std::fs::write(scratch.path().join("outside/stranger"), "").unwrap();
    std::os::unix::fs::symlink(scratch.path().join("outside"), scratch.path().join("shared/link")).unwrap();
    let chown = scratch.path().join("bin/chown");
    let notes = scratch.path().join("notes");
    let stand_in = format!("#!/bin/sh\necho \"$@\" >>'{}'\n{answer}\n", notes.display());
    std::fs::write(&chown, stand_in).unwrap();
    std::fs::set_permissions(&chown, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("bash");
    command.args(["docker/shared-init", "4242:4243"]).arg(scratch.path().join("shared"));
    let path = format!("{}:/usr/bin:/bin", scratch.path().join("bin").display());
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().env("PATH", path).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said, std::fs::read_to_string(notes).unwrap())
}

#[test]
fn the_folder_is_handed_over_while_files_vanish_and_no_link_is_followed() {
    let (code, said, notes) = shared_init("echo \"chown: cannot access './x': No such file or directory\" >&2; exit 1");
    assert_eq!((code, said.as_str()), (Some(0), ""), "{notes}");
    assert!(notes.contains("./inside") && notes.contains("./link"), "{notes}");
    assert!(notes.lines().all(|call| call.starts_with("--no-dereference 4242:4243 ./")), "{notes}");
    assert!(!notes.contains("stranger"), "{notes}");

    let (code, said, _) = shared_init("echo \"chown: changing './x': Operation not permitted\" >&2; exit 1");
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot be given to 4242:4243") && said.contains("not permitted"), "{said}");
}
