//! Where the roles listen. Each role notes its address in `run/` of the shared folder while it listens, so that commands
//! for people find it without a setting, whatever port it got.
//!
//! Every instance of a role has a note of its own. [`publish`] is for roles, [`find`] and [`noted`] are for commands,
//! [`fill`] puts what is found into settings that name no URL. A note is believed only if it belongs to a user who is
//! trusted with the shared folder, and if the role that wrote it answers at the address: commands send tokens there.

mod note;

use std::cmp::Reverse;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calls::Service;
use super::files::artifact::{self, Draft, Taken};
use super::files::folder::Folder;
use crate::base::clock::Clock;
use crate::base::log_format::clean;
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::{Balance, Cache, Loaded, Pipeline, Settings};

/// The folder of the notes, below the shared folder.
const FOLDER: &str = "run";
/// The longest that an answer may take: a role on this machine or beside it answers at once.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer to `/version`.
const ANSWER_BYTES_MAX: u64 = 4096;
/// The longest that a role which starts or stops waits for one that is gone.
const GONE_TIMEOUT: Duration = Duration::from_millis(500);
/// Notes that are listed: a worker and a sender for each of 128 shards, several times.
const LIST_MAX: usize = 1024;

/// The identity of a role: it says so at `/version`, and its note says the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The role's name, as in logs.
    pub role: String,
    /// The only shard that it works for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shard: Option<ShardId>,
    /// Random, of this start of the role.
    pub instance: String,
}

/// A note: where a role listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The role that listens.
    #[serde(flatten)]
    pub identity: Identity,
    /// The address that was bound.
    pub addr: SocketAddr,
    /// The machine's name.
    pub host: String,
    /// The process on that machine.
    pub pid: u32,
    /// When it was written, UTC.
    pub started_at: String,
    /// The version of the program.
    pub version: String,
}

/// Where a role may be asked, by its note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The role that noted it.
    pub identity: Identity,
    /// The role's base URL.
    pub base: String,
    /// The port that was bound.
    pub port: u16,
    /// Whether it was noted on this machine.
    pub is_here: bool,
    /// The process on its machine.
    pub pid: u32,
    /// Whether it was noted on this machine by a process that is not there any more.
    pub is_gone: bool,
    /// When it was noted, UTC.
    pub started_at: String,
}

/// What the notes say of where a role may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the settings hold.
    NoNote,
    /// It answers at this base URL.
    At(String),
    /// It is noted at this base URL, and nothing answers there.
    Silent {
        /// The base URL.
        base: String,
        /// Why there is no answer.
        why: String,
    },
    /// Something else answers where it is noted: a call would reach another pipeline.
    Taken(String),
}

/// Why there is no answer of the role that wrote a note.
enum NoAnswer {
    Silent(String),
    Other(String),
}

/// A note that is there until it is dropped.
#[derive(Debug)]
pub struct PublishedAddress {
    shared: PathBuf,
    path: PathBuf,
    identity: Identity,
}

impl Identity {
    /// The identity of a role that starts now.
    pub fn new(role: &str, shard: Option<ShardId>) -> Self {
        Self { role: role.to_owned(), shard, instance: super::claim::driver::random_id() }
    }

    /// The role's name, with its shard where it has one.
    pub fn name(&self) -> String {
        self.shard.map_or_else(|| self.role.clone(), |shard| format!("{}-{shard}", self.role))
    }

    /// The same for a terminal: another program may have said it.
    pub fn shown(&self) -> String {
        clean(&self.name())
    }

    fn file_name(&self) -> String {
        format!("{}.{}.json", self.name(), self.instance)
    }

    /// Whether both are of the same role and shard.
    fn is_like(&self, other: &Self) -> bool {
        self.role == other.role && self.shard == other.shard
    }
}

impl Drop for PublishedAddress {
    fn drop(&mut self) {
        if let Err(e) = artifact::remove(&self.path) {
            log::warn!(path:% = self.path.display(); "the note of the role's address is not removed: {e}");
        }
        remove_gone(&self.shared, &self.identity.role);
    }
}

/// The name of this machine.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "host".to_owned());
    name.trim().to_owned()
}

/// Notes where a role listens, until what is answered is dropped.
///
/// # Errors
/// Whatever writing the note fails with.
pub fn publish(
    shared: &Path,
    identity: Identity,
    addr: SocketAddr,
    clock: &Clock,
) -> std::io::Result<PublishedAddress> {
    remove_gone(shared, &identity.role);
    let path = folder_of(shared).join(identity.file_name());
    let address = Address {
        identity: identity.clone(),
        addr,
        host: host_name(),
        pid: std::process::id(),
        started_at: clock.now().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut draft = Draft::create(&path, 0)?;
    draft.write_all(&serde_json::to_vec(&address)?)?;
    draft.write_all(b"\n")?;
    draft.publish(Taken::Replace)?;
    Ok(PublishedAddress { shared: shared.to_owned(), path, identity })
}

/// Where a role may be called, by the notes of its instances: the newest one that answers. Blocking.
pub fn find(settings: &Settings, role: &str, shard: Option<ShardId>) -> Found {
    let here = host_name();
    let is_it = |address: &Address| address.identity.role == role && address.identity.shard == shard;
    let mut addresses: Vec<Address> = notes(&settings.shared.dir).into_iter().filter(is_it).collect();
    addresses.sort_by_key(|address| (note::is_gone(address, &here), Reverse(address.started_at.clone())));
    let mut found = Found::NoNote;
    for address in &addresses {
        let base = match note::base(address, &here) {
            Ok(base) => base,
            Err(why) => {
                log::warn!("the address of {role} is ignored: {why}");
                continue;
            }
        };
        found = match (check(address, &base, TIMEOUT), found) {
            (Ok(()), _) => return Found::At(base),
            (Err(_), silent @ Found::Silent { .. }) => silent,
            (Err(NoAnswer::Silent(why)), _) => Found::Silent { base, why },
            (Err(NoAnswer::Other(why)), _) => Found::Taken(why),
        };
    }
    found
}

/// Where roles have noted that they listen, as far as that can be reached from here. Nothing is asked: a role that stands
/// still has a note too. One that was killed is told of as long as nothing took its place. In the order of their names.
pub fn noted(settings: &Settings) -> Vec<Noted> {
    let shards = usize::from(settings.pipeline.shards_count.get());
    without_replaced(listed(settings), shards)
}

/// All notes that can be reached from here, those of ended processes too.
pub fn listed(settings: &Settings) -> Vec<Noted> {
    let here = host_name();
    let reachable = |address: Address| {
        let base = note::base(&address, &here).ok()?;
        Some(Noted {
            is_here: address.host == here,
            is_gone: note::is_gone(&address, &here),
            port: address.addr.port(),
            pid: address.pid,
            started_at: address.started_at,
            identity: address.identity,
            base,
        })
    };
    notes(&settings.shared.dir).into_iter().filter_map(reachable).collect()
}

/// Leaves out ended processes of shards that there are no more, or with a later note of the same role and shard. Pure.
fn without_replaced(all: Vec<Noted>, shards: usize) -> Vec<Noted> {
    let is_replaced = |gone: &Noted| {
        let is_later = |other: &Noted| {
            let is_newer = (&other.started_at, &other.identity.instance) > (&gone.started_at, &gone.identity.instance);
            other.identity.is_like(&gone.identity) && (!other.is_gone || is_newer)
        };
        gone.identity.shard.is_some_and(|shard| usize::from(shard.get()) >= shards) || all.iter().any(is_later)
    };
    let keep: Vec<bool> = all.iter().map(|noted| !noted.is_gone || !is_replaced(noted)).collect();
    all.into_iter().zip(keep).filter_map(|(noted, keep)| keep.then_some(noted)).collect()
}

fn notes(shared: &Path) -> Vec<Address> {
    let folder = folder_of(shared);
    let names = artifact::list(&folder).unwrap_or_else(|e| {
        log::warn!("the addresses of the roles cannot be listed: {e}");
        Vec::new()
    });
    let names = names.iter().filter(|name| name.ends_with(".json") && !name.starts_with('.')).take(LIST_MAX);
    let mut addresses = Vec::new();
    for name in names {
        match note::read(&folder.join(name)) {
            Ok(Some(address)) if address.identity.file_name() == *name => addresses.push(address),
            // It was removed since, or says that it is another one.
            Ok(_) => {}
            Err(why) => log::warn!(file = name.as_str(); "a role's address is ignored: {why}"),
        }
    }
    addresses
}

/// Removes the notes that ended processes of this machine left of a role. Machines may share a name, and containers see
/// other processes: what answers stays.
fn remove_gone(shared: &Path, role: &str) {
    let here = host_name();
    for address in notes(shared).iter().filter(|address| address.identity.role == role && note::is_gone(address, &here))
    {
        if note::base(address, &here).is_ok_and(|base| check(address, &base, GONE_TIMEOUT).is_ok()) {
            continue;
        }
        let path = folder_of(shared).join(address.identity.file_name());
        if let Err(e) = artifact::remove(&path) {
            log::warn!(path:% = path.display(); "the note of a process that has ended is not removed: {e}");
        }
    }
}

/// Fills in the URLs of these services from their notes, where no source of the settings names one. A service that is
/// noted and silent keeps its noted address: another pipeline may listen at the default one. Blocking.
///
/// # Errors
/// A sentence when something else answers where a service is noted.
pub fn fill(loaded: &mut Loaded, services: &[Service]) -> Result<(), String> {
    for service in services {
        let (role, key, path) = match service {
            Service::Status => ("pipeline-apid", Pipeline::KEYS.url, crate::pipeline::task::wire::BASE),
            Service::Balance => ("balance-daemon", Balance::KEYS.url, ""),
            Service::Cache => ("cache-service", Cache::KEYS.url, ""),
        };
        if !loaded.is_default(key) {
            continue;
        }
        let base = match find(&loaded.settings, role, None) {
            Found::NoNote => continue,
            Found::At(base) => base,
            Found::Silent { base, why } => {
                log::warn!("{role} has noted that it listens at {base}, and does not answer: {why}");
                base
            }
            Found::Taken(why) => {
                return Err(format!("{role} cannot be called: {why}; start {role}, or set {}", key.path));
            }
        };
        log::debug!(role; "found at {base}");
        let settings = &mut loaded.settings;
        let url = match service {
            Service::Status => &mut settings.pipeline.url,
            Service::Balance => &mut settings.balance.url,
            Service::Cache => &mut settings.cache.url,
        };
        *url = format!("{base}{path}");
    }
    Ok(())
}

fn folder_of(shared: &Path) -> PathBuf {
    Folder::new(shared).path().join(FOLDER)
}

/// Asks at the address whether the role that wrote the note is there.
fn check(address: &Address, base: &str, timeout: Duration) -> Result<(), NoAnswer> {
    match ask(base, timeout) {
        Ok(found) if found == address.identity => Ok(()),
        Ok(found) => {
            Err(NoAnswer::Other(format!("{} answers at {base}, but not the one that noted it", clean(&found.role))))
        }
        Err(NoAnswer::Silent(why)) => {
            Err(NoAnswer::Silent(format!("{}; {}", note::silent(address, &host_name()), clean(&why))))
        }
        Err(other) => Err(other),
    }
}

/// Whether the role that noted this base answers there.
///
/// # Errors
/// A sentence when nothing answers in time, or something else.
pub fn verify(noted: &Noted, timeout: Duration) -> Result<(), String> {
    match ask(&noted.base, timeout) {
        Ok(found) if found == noted.identity => Ok(()),
        Ok(found) if noted.is_gone => {
            Err(format!("{}; {} answers there now", note::ended(noted.pid), clean(&found.role)))
        }
        Ok(found) => Err(format!("{} answers there, but not the one that noted it", clean(&found.role))),
        Err(NoAnswer::Silent(_)) if noted.is_gone => Err(note::ended(noted.pid)),
        Err(NoAnswer::Silent(why) | NoAnswer::Other(why)) => Err(why),
    }
}

fn ask(base: &str, timeout: Duration) -> Result<Identity, NoAnswer> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .proxy(None)
        .build()
        .into();
    let call = agent.get(format!("{base}/version")).call();
    let mut response = call.map_err(|e| NoAnswer::Silent(e.to_string()))?;
    let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json();
    answer.map_err(|e| match e {
        ureq::Error::Timeout(_) => NoAnswer::Silent(e.to_string()),
        _ => NoAnswer::Other(format!("what answers at {base} is no role of shopctl")),
    })
}

#[cfg(test)]
mod tests;
