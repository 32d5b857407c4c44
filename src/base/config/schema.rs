//! Every setting there is: its key, kind, default and meaning. Documents, `config default` and checks come from here.

use super::load::Profile;

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// A text that is never shown.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number within these bounds, both included.
    Int(u64, u64),
    /// A number from 0 to 1.
    Rate,
    /// `true` or `false`.
    Bool,
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// The default, as written in TOML; empty where there is none or each role has its own.
    pub default: &'static str,
    /// The default of local runs, where it differs from that of containers.
    pub local: Option<&'static str>,
    /// What it means, in one line.
    pub doc: &'static str,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, local: None, doc }
}

const fn local(path: &'static str, kind: Kind, default: &'static str, local: &'static str, doc: &'static str) -> Key {
    Key { path, kind, default, local: Some(local), doc }
}

const PORT: Kind = Kind::Int(0, 65_535);
const SECS: Kind = Kind::Int(1, 86_400);
const MS: Kind = Kind::Int(1, 86_400_000);

/// All settings, by section.
pub const KEYS: &[Key] = &[
    local(
        "server.host",
        Kind::Text,
        "\"0.0.0.0\"",
        "\"127.0.0.1\"",
        "address to listen on; without tokens and without auth.insecure it is 127.0.0.1 whatever stands here",
    ),
    key(
        "server.port",
        PORT,
        "",
        "port to listen on, 0 = any free one; default: event-ingest 8080, apid 8082, balance 8083, cache 8084, split 8085, send 8086, work 8100 + shard",
    ),
    key("server.read_timeout", SECS, "30", "seconds that a request's head, and then its body, may take to arrive"),
    key("server.write_timeout", SECS, "30", "seconds that a response may wait for a slow reader"),
    key("server.idle_timeout", SECS, "120", "seconds that a kept connection may be silent"),
    key(
        "server.max_connections",
        Kind::Int(1, 100_000),
        "1024",
        "connections served at once; more wait in the kernel's queue",
    ),
    key("server.drain_timeout", SECS, "20", "seconds that a stop may take before everything ends"),
    key(
        "events.max_payload_size",
        Kind::Int(1, 67_108_864),
        "1048576",
        "bytes of one event line; longer ones are rejected",
    ),
    key("events.validation_timeout", SECS, "5", "seconds that the checking of one posted body may take"),
    key(
        "events.max_batch_size",
        Kind::Int(1, 10_000_000),
        "1000",
        "generated events per tick, at the most: the guard over events_per_batch",
    ),
    key("events.generation_interval", SECS, "10", "seconds between two ticks; ticks fall on multiples of it"),
    key("events.events_per_batch", Kind::Int(1, 10_000_000), "5", "generated events per tick, at the most"),
    key(
        "events.generate",
        Kind::Bool,
        "true",
        "whether to generate events; without, a tick with nothing posted writes no file",
    ),
    key("events.seed", Kind::Int(0, i64::MAX as u64), "0", "seed of the generator; the same seed makes the same world"),
    key("events.duplicate_rate", Kind::Rate, "0.0", "chance of a generated line being an earlier one again"),
    key("events.malformed_rate", Kind::Rate, "0.0", "chance of a generated line being broken"),
    key("events.out_of_order_rate", Kind::Rate, "0.0", "chance of a generated line being written late"),
    key("events.max_body_size", Kind::Int(1, 1_073_741_824), "16777216", "bytes of one posted body, after unpacking"),
    key(
        "logging.level",
        Kind::Text,
        "\"INFO\"",
        "least level to log (ERROR, WARN, INFO, DEBUG, TRACE), or a filter as in RUST_LOG",
    ),
    local(
        "logging.format",
        Kind::Choice(&["json", "text"]),
        "\"json\"",
        "\"text\"",
        "json: one object a line; text: for people",
    ),
    local(
        "pipeline.url",
        Kind::Text,
        "\"http://pipeline-apid:8082/api/v1/pipeline\"",
        "\"http://127.0.0.1:8082/api/v1/pipeline\"",
        "base of the stage-status API",
    ),
    key(
        "pipeline.shards_count",
        Kind::Int(1, 128),
        "2",
        "shards of the files registered from now on; a registered file keeps its number",
    ),
    key("pipeline.strict_order", Kind::Bool, "false", "whether a failed task blocks the later files of its shard"),
    key(
        "pipeline.lease_ms",
        Kind::Int(100, 86_400_000),
        "60000",
        "milliseconds that a claimed task is held without a heartbeat",
    ),
    key(
        "pipeline.attempts_max",
        Kind::Int(1, 1000),
        "5",
        "attempts at a task, the first included, before it is failed",
    ),
    key(
        "pipeline.backoff_ms",
        MS,
        "1000",
        "milliseconds before the second attempt; doubles with every further one, half of it jitter",
    ),
    key("pipeline.backoff_max_ms", MS, "60000", "the longest wait between two attempts, in milliseconds"),
    key(
        "pipeline.claim_wait_ms",
        Kind::Int(100, 25_000),
        "2000",
        "milliseconds that a claim waits at the API when nothing is ready",
    ),
    local(
        "balance.url",
        Kind::Text,
        "\"http://balance-daemon:8083\"",
        "\"http://127.0.0.1:8083\"",
        "where balance-daemon is",
    ),
    key(
        "balance.opening_balance",
        Kind::Text,
        "\"0\"",
        "what is in the account of a user who is named for the first time, as in \"100.00\"; those who are known keep theirs",
    ),
    local(
        "cache.url",
        Kind::Text,
        "\"http://cache-service:8084\"",
        "\"http://127.0.0.1:8084\"",
        "where cache-service is",
    ),
    key("cache.pending_ttl", Kind::Int(1, 31_536_000), "300", "seconds that a return waits for its purchase"),
    key(
        "cache.pending_max",
        Kind::Int(1, 100_000_000),
        "1000000",
        "returns that may be pending; beyond it workers wait, and nothing is thrown away",
    ),
    key(
        "cache.retention_days",
        Kind::Int(1, 36_500),
        "30",
        "days that returns of finished tasks are kept, for tasks that are done again",
    ),
    local(
        "shared.dir",
        Kind::Text,
        "\"/shared\"",
        "\"./shared\"",
        "the shared folder; each role writes into its own subfolder only",
    ),
    key(
        "shared.cleanup",
        Kind::Choice(&["delivered", "all", "none"]),
        "\"delivered\"",
        "what a role clears from its subfolder when it stops: what has been delivered, all (the rest moves to undelivered/), or none",
    ),
    key("shared.retention_hours", Kind::Int(0, 87_600), "24", "hours that delivered raw event files stay"),
    key("auth.insecure", Kind::Bool, "false", "listen beyond loopback although there are no tokens"),
    key(
        "auth.producer",
        Kind::Secret,
        "",
        "token of those who post events; every token: 16 or more visible characters, or two as NEW,OLD while it is changed",
    ),
    key("auth.producer_file", Kind::Text, "", "file with that token instead, as for all that follow"),
    key("auth.event_ingest", Kind::Secret, "", "token of the event-ingest at the stage-status API"),
    key("auth.event_ingest_file", Kind::Text, "", "file with the token of the event-ingest"),
    key("auth.shard_splitter", Kind::Secret, "", "token of the shard-splitter at the stage-status API"),
    key("auth.shard_splitter_file", Kind::Text, "", "file with the token of the shard-splitter"),
    key(
        "auth.shard_worker",
        Kind::Secret,
        "",
        "token of the shard-workers at the stage-status API, balance-daemon and cache-service",
    ),
    key("auth.shard_worker_file", Kind::Text, "", "file with the token of the shard-workers"),
    key("auth.mysql_sender", Kind::Secret, "", "token of the mysql-sender at the stage-status API"),
    key("auth.mysql_sender_file", Kind::Text, "", "file with the token of the mysql-sender"),
    key("auth.operator", Kind::Secret, "", "token of the people who run all this; it opens every call"),
    key("auth.operator_file", Kind::Text, "", "file with the token of the operators"),
    key(
        "database.tracking",
        Kind::Text,
        "\"sqlite://{shared}/db/pipeline_db.sqlite\"",
        "the tracking database; {shared} stands for shared.dir",
    ),
    key(
        "database.shard",
        Kind::Text,
        "\"sqlite://{shared}/db/shop_shard_{shard}.sqlite\"",
        "the shard databases; {shard} stands for the shard's number",
    ),
    key("database.balance", Kind::Text, "\"sqlite://{shared}/db/balance_db.sqlite\"", "the accounts"),
    key(
        "database.cache",
        Kind::Text,
        "\"sqlite://{shared}/db/cache_db.sqlite\"",
        "the order directory and the pending returns",
    ),
    key(
        "worker.untracked_stock",
        Kind::Choice(&["allow", "reject"]),
        "\"allow\"",
        "whether goods that a shop was never delivered can be sold there: allow, uncounted, or reject",
    ),
    key("worker.key_retention_days", Kind::Int(1, 36_500), "90", "days that a worker remembers the keys it has seen"),
];

/// The setting with this path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

impl Key {
    /// The default that holds in this profile, as written in TOML; empty where there is none.
    pub fn default_in(&self, profile: Profile) -> &'static str {
        match (profile, self.local) {
            (Profile::Local, Some(local)) => local,
            _ => self.default,
        }
    }

    /// What its values may be, for people.
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Text => "a text".to_owned(),
            Kind::Secret => "a token".to_owned(),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::Int(least, most) => format!("a whole number from {least} to {most}"),
            Kind::Rate => "a number from 0 to 1".to_owned(),
            Kind::Bool => "true or false".to_owned(),
        }
    }
}

/// A settings file with every key, what it means, what it may be, and the default that holds in this profile, all of it
/// commented out: such a file changes nothing. `of_up` are the defaults that `shopctl up` has of its own.
pub fn sample(profile: Profile, of_up: &[(&'static str, String)]) -> String {
    let name = match profile {
        Profile::Local => "local",
        Profile::Container => "container",
    };
    let mut text = format!(
        "# shopctl settings: one file for all roles. Every key is optional. The values are the defaults of the profile\n\
         # \"{name}\", which holds here (SHOPCTL_PROFILE). To change one, remove the # before its name.\n"
    );
    let mut section = "";
    for key in KEYS {
        let (own, name) = key.path.split_once('.').unwrap_or(("", key.path));
        if own != section {
            section = own;
            text.push_str(&format!("\n[{section}]\n"));
        }
        text.push_str(&format!("# {}\n# {}", key.doc, key.expected()));
        let up = of_up.iter().find(|(path, _)| *path == key.path);
        text.push_str(&up.map_or_else(String::new, |(_, value)| format!("; 'shopctl up' has {value} by itself")));
        match key.default_in(profile) {
            "" => text.push_str(&format!("\n#{name} =\n")),
            default => text.push_str(&format!("\n#{name} = {default}\n")),
        }
    }
    text
}
