//! Names of environment variables: which ones with our prefix mean something, and which one was probably meant.

use std::collections::HashMap;
use std::net::IpAddr;

use super::key::Key;
use super::schema::Schema;

/// What all our own variables begin with.
const PREFIX: &str = "SHOPCTL_";
/// Letters that a name may be off by for the one that was meant to be named.
const TYPOS_MAX: usize = 3;

/// Variables that are no settings and that a role may be started with all the same, and what uses them.
const OTHERS: &[&str] = &[
    // Which defaults hold; the image sets it.
    "SHOPCTL_PROFILE",
    // docker-compose.yml: the user of the roles, the image and the commit it is built from.
    "SHOPCTL_UID",
    "SHOPCTL_GID",
    "SHOPCTL_IMAGE",
    "SHOPCTL_COMMIT",
    // The tests and the scripts that start them: the program that is tested, and whether golden files are written anew.
    "SHOPCTL_BIN",
    "SHOPCTL_BLESS",
    // The database servers of the tests, and the program that starts one.
    "SHOPCTL_TEST_MARIADB",
    "SHOPCTL_TEST_MYSQL",
    "SHOPCTL_MYSQL_SERVER",
    // tests/chaos and the tests that it runs: length, input, seed and report.
    "SHOPCTL_CHAOS",
    "SHOPCTL_CHAOS_INPUT",
    "SHOPCTL_CHAOS_REPORT",
    "SHOPCTL_CHAOS_SEED",
    // The tests on a year of real data: where it is, and how often it is cut.
    "SHOPCTL_YEAR",
    "SHOPCTL_YEAR_CUTS",
];

/// A fault for each variable that looks like one of ours and is none. One that is empty says nothing, as everywhere.
pub(super) fn faults(environment: &HashMap<String, String>, schema: &Schema) -> Vec<String> {
    let is_strange = |(name, value): &(&String, &String)| {
        let rest = name.strip_prefix(PREFIX);
        let is_ours = rest.is_some_and(|rest| !rest.starts_with('_')) && !is_of_kubernetes(name, value);
        is_ours && !OTHERS.contains(&name.as_str()) && !value.is_empty()
    };
    let mut strangers: Vec<&String> = environment.iter().filter(is_strange).map(|(name, _)| name).collect();
    strangers.sort();
    strangers.into_iter().map(|name| format!("{name} (environment) is no setting; {}", hint(name, schema))).collect()
}

/// A fault for each of these variables, which are no text, that a setting would be read from.
pub(super) fn unreadable(names: &[String], schema: &Schema) -> Vec<String> {
    let is_short = |name: &str| schema.keys().iter().any(|key| key.short == Some(name));
    let ours = names.iter().filter(|name| name.starts_with(PREFIX) || is_short(name));
    ours.map(|name| format!("{name} (environment): a text in UTF-8 is expected")).collect()
}

/// Whether Kubernetes made the variable: for every service in a namespace, such as `shopctl-apid`, it tells all containers
/// where that is. Names alone would let `SHOPCTL_SERVER_PORT=8082` pass.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    let is_link = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<IpAddr>().is_ok();
    }
    if let Some((_, port)) = name.split_once("_SERVICE_PORT") {
        return (port.is_empty() || port.starts_with('_')) && is_number(value);
    }
    if name.ends_with("_PORT") && is_link {
        return true;
    }
    // SHOPCTL_APID_PORT_8082_TCP, and the same with _PROTO, _PORT and _ADDR.
    let Some((_, port)) = name.split_once("_PORT_") else { return false };
    let parts: Vec<&str> = port.split('_').collect();
    let [number, protocol, rest @ ..] = parts.as_slice() else { return false };
    let is_port = is_number(number) && ["TCP", "UDP", "SCTP"].contains(protocol);
    let is_value = match rest {
        [] => is_link,
        ["PROTO"] => ["tcp", "udp", "sctp"].contains(&value),
        ["PORT"] => is_number(value),
        ["ADDR"] => value.parse::<IpAddr>().is_ok(),
        _ => false,
    };
    is_port && is_value
}

/// The spelling that was meant, or the form of all of them.
pub(super) fn hint(name: &str, schema: &Schema) -> String {
    let plain =
        |name: &str| name.to_uppercase().split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
    let wanted = plain(name);
    let distance = |meant: &str| strsim::damerau_levenshtein(&plain(meant), &wanted);
    let settings = schema.keys().iter().map(Key::variable);
    let all = settings.chain(OTHERS.iter().map(|name| (*name).to_owned()));
    match all.map(|meant| (distance(&meant), meant)).min() {
        Some((distance, meant)) if distance <= TYPOS_MAX => format!("did you mean {meant}?"),
        _ => "settings are named SHOPCTL__SECTION__KEY, 'shopctl config default' lists all keys".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sections;
    use super::super::test_system::TestSystem;
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Vec<String> {
        faults(
            &pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            &TestSystem::schema(),
        )
    }

    #[test]
    fn a_variable_with_too_few_underscores_names_the_one_that_was_meant() {
        for (name, meant) in [
            ("SHOPCTL_SERVER_PORT", "SHOPCTL__SERVER__PORT"),
            ("SHOPCTL_SERVER__PORT", "SHOPCTL__SERVER__PORT"),
            ("SHOPCTL_SERVER_DRAIN_TIME", "SHOPCTL__SERVER__DRAIN_TIMEOUT"),
            ("SHOPCTL_sample_count", "SHOPCTL__SAMPLE__COUNT"),
            ("SHOPCTL_AUTH_OPERATOR_FILE", "SHOPCTL__AUTH__OPERATOR_FILE"),
            ("SHOPCTL_PROFIL", "SHOPCTL_PROFILE"),
        ] {
            let expected = format!("{name} (environment) is no setting; did you mean {meant}?");
            assert_eq!(of(&[(name, "secret")]), [expected]);
        }
        assert!(of(&[("SHOPCTL_FROBNICATE", "1")])[0].contains("SHOPCTL__SECTION__KEY"));
    }

    #[test]
    fn what_is_none_of_ours_or_empty_or_known_is_left_alone() {
        let all: Vec<(&str, &str)> = OTHERS.iter().map(|name| (*name, "x")).collect();
        assert_eq!(of(&all), [""; 0]);
        let others = [("SHOPCTLX_A", "1"), ("PATH", "/"), ("SHOPCTL_SERVER_PORT", ""), ("SHOPCTL__SERVER__PORT", "1")];
        assert_eq!(of(&others), [""; 0]);
    }

    #[test]
    fn what_kubernetes_says_of_services_is_left_alone() {
        let all = [
            ("SHOPCTL_SERVICE_HOST", "10.96.0.7"),
            ("SHOPCTL_SERVICE_PORT", "8082"),
            ("SHOPCTL_APID_SERVICE_PORT_HTTP", "8082"),
            ("SHOPCTL_PORT", "tcp://10.96.0.7:8082"),
            ("SHOPCTL_APID_PORT_8082_TCP", "tcp://10.96.0.7:8082"),
            ("SHOPCTL_APID_PORT_8082_TCP_PROTO", "tcp"),
            ("SHOPCTL_APID_PORT_8082_TCP_PORT", "8082"),
            ("SHOPCTL_APID_PORT_8082_TCP_ADDR", "fd00::7"),
        ];
        assert_eq!(of(&all), [""; 0]);
        for (name, value) in
            [("SHOPCTL_SERVER_PORT", "8082"), ("SHOPCTL_PORT", "8082"), ("SHOPCTL_SERVICE_HOST", "all")]
        {
            assert_eq!(of(&[(name, value)]).len(), 1, "{name}");
        }
    }

    /// What is beside the program and sets such a variable must not keep a role from starting.
    #[test]
    fn every_variable_of_the_scripts_and_of_compose_is_known() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in
            ["docker-compose.yml", "Dockerfile", "justfile", "Makefile", "tests/run", "tests/databases", "tests/chaos"]
        {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            for name in text.split(|c: char| !is_name(c)).filter(|word| word.starts_with(PREFIX)) {
                let is_setting = name.starts_with("SHOPCTL__");
                assert!(is_setting || OTHERS.contains(&name), "{file} has {name}");
            }
        }
    }
}
