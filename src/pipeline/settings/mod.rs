//! The settings of the pipeline: its sections, and all that its roles read. [`principal`] lists who makes calls.
//!
//! To add a setting, add a field with its comment and its [`spec`](crate::base::config::spec) to a section; the
//! documents, the checks and the environment's name come from there.

pub mod principal;

use std::path::PathBuf;
use std::time::Duration;

use crate::base::config::spec::{
    DAY_MS, DAY_SECS, bytes, choice, days, flag, hours, millis, number, number_as, parsed, rate, secs,
};
use crate::base::config::{Auth, Folder, Logging, Reader, Schema, Sections, Server, api_base, section};
use crate::base::db::StoreUrl;
use crate::pipeline::event::{Money, ShardCount, ShardId};
use crate::pipeline::task::wire;

/// All settings that the pipeline's roles read, checked.
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

/// Settings of the pipeline, and where each value came from.
pub type Loaded = crate::base::config::Loaded<Settings>;
/// What a role of the pipeline runs with.
pub type Context = crate::base::boot::Context<Settings>;

section! {
    /// Events: their limits and their generator.
    pub struct Events in "events" {
        /// bytes of one event line; longer ones are rejected
        pub max_payload_size: usize = bytes(1_048_576, 1..=67_108_864),
        /// seconds that the checking of one posted body may take
        pub validation_timeout: Duration = secs(5, 1..=DAY_SECS),
        /// generated events per tick, at the most: the guard over events_per_batch
        pub max_batch_size: usize = number(1000, 1..=10_000_000).unit("events"),
        /// seconds between two ticks; ticks fall on multiples of it
        pub generation_interval: Duration = secs(10, 1..=DAY_SECS),
        /// generated events per tick, at the most
        pub events_per_batch: usize = number(5, 1..=10_000_000).unit("events"),
        /// whether to generate events; without, a tick with nothing posted writes no file
        pub generate: bool = flag(true),
        /// seed of the generator; the same seed makes the same world
        pub seed: u64 = number(0, 0..=i64::MAX as u64).unit("any number"),
        /// chance of a generated line being an earlier one again
        pub duplicate_rate: f64 = rate(0.0),
        /// chance of a generated line being broken
        pub malformed_rate: f64 = rate(0.0),
        /// chance of a generated line being written late
        pub out_of_order_rate: f64 = rate(0.0),
        /// bytes of one posted body, after unpacking
        pub max_body_size: usize = bytes(16_777_216, 1..=1_073_741_824),
    }
}

section! {
    /// The pipeline and its tracking API.
    pub struct Pipeline in "pipeline" {
        /// base of the stage-status API
        pub url: String = parsed("http://pipeline-apid:8082/api/v1/pipeline", status_api)
            .local("http://127.0.0.1:8082/api/v1/pipeline")
            .short("PIPELINE_URL"),
        /// shards of the files registered from now on; a registered file keeps its number
        pub shards_count: ShardCount = number_as(2, 1..=128, ShardCount::new)
            .unit("shards")
            .short("PIPELINE_SHARDS_COUNT"),
        /// whether a failed task blocks the later files of its shard
        pub strict_order: bool = flag(false),
        /// milliseconds that a claimed task is held without a heartbeat
        pub lease as "lease_ms": Duration = millis(60_000, 100..=DAY_MS),
        /// attempts at a task, the first included, before it is failed
        pub attempts_max: u32 = number(5, 1..=1000).unit("attempts"),
        /// milliseconds before the second attempt; doubles with every further one, half of it jitter
        pub backoff as "backoff_ms": Duration = millis(1000, 1..=DAY_MS),
        /// the longest wait between two attempts, in milliseconds
        pub backoff_max as "backoff_max_ms": Duration = millis(60_000, 1..=DAY_MS),
        /// milliseconds that a claim waits at the API when nothing is ready
        pub claim_wait as "claim_wait_ms": Duration = millis(2000, 100..=25_000),
    }
}

section! {
    /// The accounts.
    pub struct Balance in "balance" {
        /// where balance-daemon is
        pub url: String = parsed("http://balance-daemon:8083", |url| api_base(url, "http://127.0.0.1:8083"))
            .local("http://127.0.0.1:8083"),
        /// what is in the account of a user who is named for the first time, as in "100.00"; those who are known keep theirs
        pub opening as "opening_balance": Money = parsed("0", money).unit("money"),
    }
}

section! {
    /// The order directory and the early returns.
    pub struct Cache in "cache" {
        /// where cache-service is
        pub url: String = parsed("http://cache-service:8084", |url| api_base(url, "http://127.0.0.1:8084"))
            .local("http://127.0.0.1:8084"),
        /// seconds that a return waits for its purchase
        pub pending_ttl: Duration = secs(300, 1..=31_536_000),
        /// returns that may be pending; beyond it workers wait, and nothing is thrown away
        pub pending_max: u64 = number(1_000_000, 1..=100_000_000).unit("returns"),
        /// days that returns of finished tasks are kept, for tasks that are done again
        pub retention as "retention_days": Duration = days(30, 1..=36_500),
    }
}

section! {
    /// The shared folder.
    pub struct Shared in "shared" {
        /// what a role clears from its subfolder when it stops: what has been delivered, all (the rest moves to
        /// undelivered/), or none
        pub cleanup: Cleanup = choice("delivered", &["delivered", "all", "none"], Cleanup::parse),
        /// hours that delivered raw event files stay
        pub retention as "retention_hours": Duration = hours(24, 0..=87_600),
    }
    beside {
        /// The folder.
        pub dir: PathBuf = |reader: &mut Reader<'_>| Folder::read(reader).map(|folder| folder.dir).unwrap_or_default(),
    }
}

section! {
    /// The databases.
    pub struct Database in "database" {
        /// the tracking database; {shared} stands for shared.dir
        pub tracking: StoreUrl = parsed("sqlite://{shared}/db/pipeline_db.sqlite", StoreUrl::parse),
        /// the shard databases; {shard} stands for the shard's number
        shard: String = parsed("sqlite://{shared}/db/shop_shard_{shard}.sqlite", template),
        /// the accounts
        pub balance: StoreUrl = parsed("sqlite://{shared}/db/balance_db.sqlite", StoreUrl::parse),
        /// the order directory and the early returns
        pub cache: StoreUrl = parsed("sqlite://{shared}/db/cache_db.sqlite", StoreUrl::parse),
    }
}

section! {
    /// The worker.
    pub struct Worker in "worker" {
        /// whether goods that a shop was never delivered can be sold there: allow, uncounted, or reject
        pub untracked_is_none as "untracked_stock": bool =
            choice("allow", &["allow", "reject"], |word| Ok(word == "reject")),
        /// days that a worker remembers the keys it has seen
        pub key_retention_days: u32 = number(90, 1..=36_500).unit("days"),
    }
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

impl Sections for Settings {
    fn schema() -> Schema {
        let sections = [
            Server::SECTION,
            Events::SECTION,
            Logging::SECTION,
            Pipeline::SECTION,
            Balance::SECTION,
            Cache::SECTION,
            Folder::SECTION,
            Shared::SECTION,
            Auth::SECTION,
            Database::SECTION,
            Worker::SECTION,
        ];
        Schema::new(&sections, principal::LISTED)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        // All are read before any is missed, so that all faults are listed.
        let (server, events, logging) = (Server::read(reader), Events::read(reader), Logging::read(reader));
        let (pipeline, balance, cache) = (Pipeline::read(reader), Balance::read(reader), Cache::read(reader));
        let (shared, auth, worker) = (Shared::read(reader), Auth::read(reader), Worker::read(reader));
        let database = Folder::mark(reader, Database::read);
        Some(Self {
            server: server?,
            events: events?,
            logging: logging?,
            pipeline: pipeline?,
            balance: balance?,
            cache: cache?,
            shared: shared?,
            auth: auth?,
            database: database?,
            worker: worker?,
        })
    }

    fn server(&self) -> &Server {
        &self.server
    }

    fn logging(&self) -> &Logging {
        &self.logging
    }

    fn auth(&self) -> &Auth {
        &self.auth
    }
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

impl Cleanup {
    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "delivered" => Ok(Self::Delivered),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Err(String::new()),
        }
    }
}

/// The template, if the first shard's database can be named by it.
fn template(text: &str) -> Result<String, String> {
    let first = ShardId::new(0).ok_or_else(String::new)?;
    StoreUrl::of_shard(text, first).map(|_| text.to_owned())
}

/// The stage-status API lies below a path: its bare address is enough.
fn status_api(url: &str) -> Result<String, String> {
    let url = api_base(url, "http://127.0.0.1:8082")?;
    let is_bare = url.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
    Ok(if is_bare { format!("{url}{}", wire::BASE) } else { url })
}

fn money(text: &str) -> Result<Money, String> {
    Money::parse_decimal(text).ok_or_else(|| "must be an amount such as 100.00".to_owned())
}

#[cfg(test)]
mod tests;
