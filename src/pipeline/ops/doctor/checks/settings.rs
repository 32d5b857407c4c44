//! Settings that are each right and contradict each other.

use crate::base::config::{Principal, Sections};
use crate::pipeline::ops::doctor::Finding;
use crate::pipeline::settings::Settings;

/// A lease that runs out sooner may be lost by a short pause of a process. Heartbeats are three to a lease.
const LEASE_MS_FEW: u128 = 1000;

/// One contradiction: whether it is there, what is found, what to do.
type Rule = (bool, String, &'static str);

/// Judges the settings as a whole.
pub(super) fn check(settings: &Settings) -> Vec<Finding> {
    let rules = [durations(settings), sizes(settings), tokens(settings)].concat();
    let found: Vec<Finding> = rules
        .into_iter()
        .filter(|(is_there, ..)| *is_there)
        .map(|(_, found, todo)| Finding::warn("settings", found, todo))
        .collect();
    if found.is_empty() { vec![Finding::ok("settings", "no two of them contradict each other")] } else { found }
}

fn durations(settings: &Settings) -> Vec<Rule> {
    let (pipeline, cache, shared) = (&settings.pipeline, &settings.cache, &settings.shared);
    let lease = pipeline.lease;
    vec![
        (
            lease.as_millis() < LEASE_MS_FEW,
            format!("pipeline.lease_ms is {}: a short pause of a process loses its task", lease.as_millis()),
            "raise it to 60000, its default",
        ),
        (
            pipeline.claim_wait >= lease,
            format!(
                "pipeline.claim_wait_ms ({}) is not below pipeline.lease_ms ({})",
                pipeline.claim_wait.as_millis(),
                lease.as_millis()
            ),
            "lower pipeline.claim_wait_ms: an answer that is lost leaves the task without a worker until its lease ends",
        ),
        (
            pipeline.backoff > pipeline.backoff_max,
            "pipeline.backoff_ms is above pipeline.backoff_max_ms, which then holds".to_owned(),
            "raise pipeline.backoff_max_ms",
        ),
        (
            shared.retention < cache.pending_ttl,
            format!(
                "event files stay {} s (shared.retention_hours), returns wait {} s (cache.pending_ttl)",
                shared.retention.as_secs(),
                cache.pending_ttl.as_secs()
            ),
            "raise shared.retention_hours: after a loss of the orders, returns that wait are made again from event files",
        ),
        (
            cache.retention < shared.retention,
            "cache.retention_days is less than shared.retention_hours".to_owned(),
            "raise cache.retention_days: a file that is there can be done again, and its returns are then not known",
        ),
        (
            u64::from(settings.worker.key_retention_days) * 86_400 < shared.retention.as_secs(),
            "worker.key_retention_days is less than shared.retention_hours".to_owned(),
            "raise worker.key_retention_days: a file that is there can be done again, and its lines are then not known as duplicates",
        ),
    ]
}

fn sizes(settings: &Settings) -> Vec<Rule> {
    let events = &settings.events;
    vec![
        (
            events.max_payload_size > events.max_body_size,
            "events.max_payload_size is above events.max_body_size: the longest events cannot be posted".to_owned(),
            "raise events.max_body_size",
        ),
        (
            events.generate && events.events_per_batch > events.max_batch_size,
            format!(
                "events.events_per_batch ({}) is above events.max_batch_size ({}), which then holds",
                events.events_per_batch, events.max_batch_size
            ),
            "raise events.max_batch_size",
        ),
    ]
}

fn tokens(settings: &Settings) -> Vec<Rule> {
    let auth = &settings.auth;
    let (known, unknown): (Vec<Principal>, Vec<Principal>) =
        Settings::schema().principals().partition(|principal| auth.has(*principal));
    let (has_none, has_some) = (known.is_empty(), !known.is_empty() && !unknown.is_empty());
    let missing: Vec<&str> = unknown.into_iter().map(Principal::name).collect();
    let is_loopback = matches!(settings.server.host.as_str(), "127.0.0.1" | "::1" | "localhost");
    vec![
        (
            has_none && !is_loopback && !auth.insecure,
            format!("server.host is {}, but without tokens roles listen on 127.0.0.1", settings.server.host),
            "set the tokens of [auth]",
        ),
        (
            has_none && !is_loopback && auth.insecure,
            "auth.insecure is set and there are no tokens: everybody who reaches the ports may post and move tasks"
                .to_owned(),
            "set the tokens of [auth]",
        ),
        (
            has_some,
            format!("there are tokens, but none for {}: what those open is the operator's only", missing.join(", ")),
            "set them, unless this file is for roles that need none of them",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::{Sources, load};

    fn found(flags: &[(&str, &str)]) -> Vec<String> {
        let flags = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { flags, folder: "/nonexistent".into(), ..Sources::default() };
        check(&load::load(&sources).unwrap().settings).into_iter().map(|finding| finding.found).collect()
    }

    #[test]
    fn the_defaults_contradict_nothing() {
        assert_eq!(found(&[]), ["no two of them contradict each other"]);
    }

    #[test]
    fn each_contradiction_is_named_alone() {
        let token = "0123456789abcdef";
        for (flags, part) in [
            (&[("pipeline.lease_ms", "900"), ("pipeline.claim_wait_ms", "100")][..], "pipeline.lease_ms is 900"),
            (&[("pipeline.claim_wait_ms", "20000"), ("pipeline.lease_ms", "20000")], "is not below pipeline.lease_ms"),
            (&[("pipeline.backoff_ms", "70000")], "pipeline.backoff_ms is above"),
            (&[("cache.pending_ttl", "90000")], "returns wait 90000 s"),
            (&[("cache.retention_days", "1"), ("shared.retention_hours", "48")], "cache.retention_days is less"),
            (
                &[("worker.key_retention_days", "1"), ("shared.retention_hours", "25")],
                "worker.key_retention_days is less",
            ),
            (&[("events.max_body_size", "1000")], "the longest events cannot be posted"),
            (&[("events.events_per_batch", "2000")], "is above events.max_batch_size"),
            (&[("server.host", "0.0.0.0")], "roles listen on 127.0.0.1"),
            (&[("server.host", "0.0.0.0"), ("auth.insecure", "true")], "everybody who reaches the ports"),
            (&[("auth.operator", token)], "none for producer, event_ingest"),
        ] {
            let found = found(flags);
            assert!(found.len() == 1 && found[0].contains(part), "{part}: {found:?}");
        }
    }
}
