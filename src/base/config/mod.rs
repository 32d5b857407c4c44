//! Settings: defaults, file, environment, flags, in this order; checked whole at start (docs/contracts.md, 7).
//!
//! [`schema`] is the one list of keys with their defaults, ranges and words; [`load`] layers the sources over it;
//! `names` knows the variables of the environment; [`auth`] reads the tokens, and [`secret`] keeps them from being shown.

pub mod auth;
pub mod load;
mod names;
pub mod schema;
pub mod secret;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use auth::{Auth, Principal, Tokens};
pub use load::{Faults, Loaded, Profile, Sources};
pub use secret::Secret;

use crate::base::db::StoreUrl;
use crate::pipeline::event::{Money, ShardCount, ShardId};
use load::Values;

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[server]`.
    pub server: Server,
    /// `[events]`.
    pub events: Events,
    /// `[logging]`.
    pub logging: Logging,
    /// `[pipeline]`.
    pub pipeline: Pipeline,
    /// `[balance]`.
    pub balance: Balance,
    /// `[cache]`.
    pub cache: Cache,
    /// `[shared]`.
    pub shared: Shared,
    /// `[auth]`.
    pub auth: Auth,
    /// `[database]`.
    pub database: Database,
    /// `[worker]`.
    pub worker: Worker,
}

/// Where and how a role listens.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address to bind, before the loopback rule.
    pub host: String,
    /// The port; none for the role's own default.
    pub port: Option<u16>,
    /// The longest a request may take to arrive.
    pub read_timeout: Duration,
    /// The longest a response may wait for a slow reader.
    pub write_timeout: Duration,
    /// The longest a kept connection may be silent between two requests.
    pub idle_timeout: Duration,
    /// Connections served at once.
    pub max_connections: usize,
    /// The longest a drain may take.
    pub drain_timeout: Duration,
}

/// Events: their limits and their generator.
#[derive(Debug, Clone)]
pub struct Events {
    /// Bytes of one event line.
    pub max_payload_size: usize,
    /// The longest the checking of one posted body may take.
    pub validation_timeout: Duration,
    /// Generated events per tick, at the most: the guard.
    pub max_batch_size: usize,
    /// Time between two ticks.
    pub generation_interval: Duration,
    /// Generated events per tick, at the most.
    pub events_per_batch: usize,
    /// Whether to generate at all.
    pub generate: bool,
    /// The generator's seed.
    pub seed: u64,
    /// Chance of a duplicate line.
    pub duplicate_rate: f64,
    /// Chance of a malformed line.
    pub malformed_rate: f64,
    /// Chance of a line that comes late.
    pub out_of_order_rate: f64,
    /// Bytes of one posted body, unpacked.
    pub max_body_size: usize,
}

/// The log.
#[derive(Debug, Clone)]
pub struct Logging {
    /// A level, or a filter in the form of `RUST_LOG`.
    pub level: String,
    /// JSON lines instead of text.
    pub json: bool,
    /// Whether the environment asks for plain output, by `NO_COLOR`.
    pub is_plain: bool,
}

/// The pipeline and its tracking API.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The API's base, without a slash at the end.
    pub url: String,
    /// Shards of files that are registered from now on.
    pub shards_count: ShardCount,
    /// Whether a failed task blocks the files after it.
    pub strict_order: bool,
    /// The length of a lease.
    pub lease: Duration,
    /// Attempts at a task, the first included.
    pub attempts_max: u32,
    /// The first wait before another attempt.
    pub backoff: Duration,
    /// The longest wait before another attempt.
    pub backoff_max: Duration,
    /// How long a claim waits at the API when nothing is ready.
    pub claim_wait: Duration,
}

/// The accounts.
#[derive(Debug, Clone)]
pub struct Balance {
    /// Where balance-daemon is, without a slash at the end.
    pub url: String,
    /// What is in a new account.
    pub opening: Money,
}

/// The order directory and the pending returns.
#[derive(Debug, Clone)]
pub struct Cache {
    /// Where cache-service is, without a slash at the end.
    pub url: String,
    /// How long a return waits for its purchase.
    pub pending_ttl: Duration,
    /// Returns that may be pending.
    pub pending_max: u64,
    /// How long returns of finished tasks are kept.
    pub retention: Duration,
}

/// The shared folder.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where it is.
    pub dir: PathBuf,
    /// What a role clears from its own folder when it stops.
    pub cleanup: Cleanup,
    /// How long delivered raw event files stay.
    pub retention: Duration,
}

/// What a role clears from its own folder when it stops (docs/semantics.md, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Temporary files, and artifacts whose next stage is done.
    Delivered,
    /// Everything; what is not delivered moves to `undelivered/` and is taken back at the next start.
    All,
    /// Nothing.
    None,
}

/// The databases.
#[derive(Debug, Clone)]
pub struct Database {
    /// The tracking database.
    pub tracking: StoreUrl,
    /// The accounts.
    pub balance: StoreUrl,
    /// The order directory and the pending returns.
    pub cache: StoreUrl,
    /// The template of the shard databases.
    shard: String,
}

/// The worker.
#[derive(Debug, Clone)]
pub struct Worker {
    /// How long keys are remembered.
    pub key_retention_days: u32,
    /// Whether goods that were never delivered cannot be sold.
    pub untracked_is_none: bool,
}

impl Database {
    /// The URL of one shard's database.
    ///
    /// # Errors
    /// Never for settings that were loaded: the template was checked then.
    pub fn shard(&self, shard: ShardId) -> Result<StoreUrl, String> {
        StoreUrl::of_shard(&self.shard, shard)
    }
}

impl Settings {
    fn from_values(values: &Values, faults: &mut Vec<String>) -> Option<Self> {
        let dir = PathBuf::from(values.text("shared.dir"));
        let mut database = |key: &str| faulty(faults, key, StoreUrl::parse(&in_shared(values.text(key), &dir)));
        let [tracking, balance_db, cache_db] =
            ["database.tracking", "database.balance", "database.cache"].map(&mut database);
        let shard = in_shared(values.text("database.shard"), &dir);
        let first = ShardId::new(0).ok_or_else(String::new);
        faulty(faults, "database.shard", first.and_then(|first| StoreUrl::of_shard(&shard, first)));
        let mut base = |key: &str, example: &str| faulty(faults, key, api_base(values.text(key), example));
        let url = base("pipeline.url", "http://127.0.0.1:8082").map(with_base_path);
        let balance_url = base("balance.url", "http://127.0.0.1:8083");
        let cache_url = base("cache.url", "http://127.0.0.1:8084");
        let opening = Money::parse_decimal(values.text("balance.opening_balance"));
        let opening = faulty(
            faults,
            "balance.opening_balance",
            opening.ok_or_else(|| "must be an amount such as 100.00".to_owned()),
        );
        let auth = Auth::from_values(values, faults);
        let level = values.text("logging.level");
        let filter = env_filter::Builder::new().try_parse(level).map(drop);
        faulty(faults, "logging.level", filter.map_err(|e| format!("'{level}' is no filter: {e}")));
        if !faults.is_empty() {
            return None;
        }
        Some(Self {
            server: Self::server(values),
            events: Self::events(values),
            logging: Logging {
                level: values.text("logging.level").to_owned(),
                json: values.text("logging.format") == "json",
                is_plain: false,
            },
            pipeline: Self::pipeline(values, url?)?,
            balance: Balance { url: balance_url?, opening: opening? },
            cache: Self::cache(values, cache_url?),
            shared: Shared {
                dir,
                cleanup: cleanup(values),
                retention: Duration::from_secs(values.int("shared.retention_hours") * 3600),
            },
            auth,
            database: Database { tracking: tracking?, balance: balance_db?, cache: cache_db?, shard },
            worker: Worker {
                key_retention_days: values.small("worker.key_retention_days"),
                untracked_is_none: values.text("worker.untracked_stock") == "reject",
            },
        })
    }

    fn server(values: &Values) -> Server {
        Server {
            host: values.text("server.host").to_owned(),
            port: values.port("server.port"),
            read_timeout: values.secs("server.read_timeout"),
            write_timeout: values.secs("server.write_timeout"),
            idle_timeout: values.secs("server.idle_timeout"),
            max_connections: values.size("server.max_connections"),
            drain_timeout: values.secs("server.drain_timeout"),
        }
    }

    fn events(values: &Values) -> Events {
        Events {
            max_payload_size: values.size("events.max_payload_size"),
            validation_timeout: values.secs("events.validation_timeout"),
            max_batch_size: values.size("events.max_batch_size"),
            generation_interval: values.secs("events.generation_interval"),
            events_per_batch: values.size("events.events_per_batch"),
            generate: values.flag("events.generate"),
            seed: values.int("events.seed"),
            duplicate_rate: values.rate("events.duplicate_rate"),
            malformed_rate: values.rate("events.malformed_rate"),
            out_of_order_rate: values.rate("events.out_of_order_rate"),
            max_body_size: values.size("events.max_body_size"),
        }
    }

    fn cache(values: &Values, url: String) -> Cache {
        Cache {
            url,
            pending_ttl: values.secs("cache.pending_ttl"),
            pending_max: values.int("cache.pending_max"),
            retention: Duration::from_secs(values.int("cache.retention_days") * 24 * 3600),
        }
    }

    fn pipeline(values: &Values, url: String) -> Option<Pipeline> {
        Some(Pipeline {
            url,
            shards_count: ShardCount::new(values.int("pipeline.shards_count"))?,
            strict_order: values.flag("pipeline.strict_order"),
            lease: values.ms("pipeline.lease_ms"),
            attempts_max: values.small("pipeline.attempts_max"),
            backoff: values.ms("pipeline.backoff_ms"),
            backoff_max: values.ms("pipeline.backoff_max_ms"),
            claim_wait: values.ms("pipeline.claim_wait_ms"),
        })
    }
}

fn cleanup(values: &Values) -> Cleanup {
    match values.text("shared.cleanup") {
        "all" => Cleanup::All,
        "none" => Cleanup::None,
        _ => Cleanup::Delivered,
    }
}

/// Database URLs may name the shared folder as `{shared}`.
fn in_shared(url: &str, dir: &Path) -> String {
    url.replace("{shared}", &dir.to_string_lossy())
}

fn api_base(url: &str, example: &str) -> Result<String, String> {
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match host {
        Some(host) if host.split('/').next().is_some_and(|authority| authority.contains('@')) => {
            Err("must have no user and no password; tokens are set in auth".to_owned())
        }
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(url.to_owned()),
        _ => Err(format!("must be a URL such as {example}")),
    }
}

/// The stage-status API lies below a path: its bare address is enough.
fn with_base_path(url: String) -> String {
    let is_bare = url.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
    if is_bare { format!("{url}{}", crate::pipeline::task::wire::BASE) } else { url }
}

fn faulty<T>(faults: &mut Vec<String>, key: &str, result: Result<T, String>) -> Option<T> {
    result.map_err(|why| faults.push(format!("{key}: {why}"))).ok()
}
