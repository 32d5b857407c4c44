//! Where the roles listen. Each role notes its address in `run/` of the shared folder while it listens, so that commands
//! for people find it without a setting, whatever port it got.
//!
//! [`publish`] is for roles, [`find`] and [`noted`] are for commands, [`fill`] puts what is found into settings that name
//! no URL. A note is believed only if it belongs to a user who is trusted with the shared folder, and if the role that
//! wrote it answers at the address: commands send tokens there.

mod note;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calls::Service;
use super::files::artifact::{self, Draft, Taken};
use super::files::folder::Folder;
use crate::base::clock::Clock;
use crate::base::config::{Loaded, Settings};
use crate::base::log_format::clean;
use crate::pipeline::event::ShardId;

/// The folder of the notes, below the shared folder.
const FOLDER: &str = "run";
/// The longest that an answer may take: a role on this machine or beside it answers at once.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer to `/version`.
const ANSWER_BYTES_MAX: u64 = 4096;
/// Notes that are listed: seven kinds of roles, and a worker and a sender for each of 128 shards.
const LIST_MAX: usize = 512;

/// Who a role is: it says so at `/version`, and its note says the same.
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
    /// Who listens.
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
#[derive(Debug, Clone)]
pub struct Noted {
    /// Who noted it.
    pub identity: Identity,
    /// The role's base URL.
    pub base: String,
    /// Whether it runs on this machine.
    pub is_here: bool,
}

/// A note that is there until it is dropped.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
    instance: String,
}

impl Identity {
    /// The identity of a role that starts now.
    pub fn new(role: &str, shard: Option<ShardId>) -> Self {
        Self { role: role.to_owned(), shard, instance: super::claim::driver::random_id() }
    }

    fn file_name(&self) -> String {
        file_name(&self.role, self.shard)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // Another process of the same role may have put its own in place of this one.
        let is_own =
            note::read(&self.path).is_ok_and(|found| found.is_some_and(|a| a.identity.instance == self.instance));
        if is_own && let Err(e) = artifact::remove(&self.path) {
            log::warn!(path:% = self.path.display(); "the note of the role's address is not removed: {e}");
        }
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
pub fn publish(shared: &Path, identity: Identity, addr: SocketAddr, clock: &Clock) -> std::io::Result<Published> {
    let path = folder_of(shared).join(identity.file_name());
    let instance = identity.instance.clone();
    let address = Address {
        identity,
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
    Ok(Published { path, instance })
}

/// The base URL of a role that answers, by its note; a note that is of no use is named in the log. Blocking.
pub fn find(settings: &Settings, role: &str, shard: Option<ShardId>) -> Option<String> {
    let path = folder_of(&settings.shared.dir).join(file_name(role, shard));
    let base = match note::read(&path) {
        Ok(found) => checked(&found?),
        Err(why) => Err(why),
    };
    base.inspect_err(|why| log::warn!(path:% = path.display(); "the address of {role} is ignored: {why}")).ok()
}

/// Where roles have noted that they listen, as far as that can be reached from here. Nothing is asked: a role that was
/// killed left its note, and one that stands still has one too. In the order of their names.
pub fn noted(settings: &Settings) -> Vec<Noted> {
    let here = host_name();
    let reachable = |address: Address| {
        let base = note::base(&address, &here).ok()?;
        Some(Noted { is_here: address.host == here, identity: address.identity, base })
    };
    notes(settings).into_iter().filter_map(reachable).collect()
}

fn notes(settings: &Settings) -> Vec<Address> {
    let folder = folder_of(&settings.shared.dir);
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

/// Puts the addresses of these services into the settings whose URL nothing sets, as far as they are found. Blocking.
pub fn fill(loaded: &mut Loaded, services: &[Service]) {
    for service in services {
        let (role, key, path) = match service {
            Service::Status => ("pipeline-apid", "pipeline.url", crate::pipeline::task::wire::BASE),
            Service::Balance => ("balance-daemon", "balance.url", ""),
            Service::Cache => ("cache-service", "cache.url", ""),
        };
        let found = loaded.is_default(key).then(|| find(&loaded.settings, role, None));
        let Some(base) = found.flatten() else { continue };
        log::debug!(role; "found at {base}");
        let settings = &mut loaded.settings;
        let url = match service {
            Service::Status => &mut settings.pipeline.url,
            Service::Balance => &mut settings.balance.url,
            Service::Cache => &mut settings.cache.url,
        };
        *url = format!("{base}{path}");
    }
}

fn folder_of(shared: &Path) -> PathBuf {
    Folder::new(shared).path().join(FOLDER)
}

fn file_name(role: &str, shard: Option<ShardId>) -> String {
    shard.map_or_else(|| format!("{role}.json"), |shard| format!("{role}-{shard}.json"))
}

/// Asks at the address whether the role that wrote the note is there. The role's base URL, or why there is none.
fn checked(address: &Address) -> Result<String, String> {
    let base = note::base(address, &host_name())?;
    match ask(&base) {
        Ok(found) if found == address.identity => Ok(base),
        Ok(found) => Err(format!("{} answers at {base}, but not the one that noted it", clean(&found.role))),
        Err(why) => Err(format!("{}; {}", note::silent(address, &host_name()), clean(&why))),
    }
}

fn ask(base: &str) -> Result<Identity, String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).proxy(None).build().into();
    let mut response = agent.get(format!("{base}/version")).call().map_err(|e| e.to_string())?;
    let answer = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json();
    answer.map_err(|_| format!("what answers at {base} is no role of shopctl"))
}
