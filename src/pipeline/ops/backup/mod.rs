//! Backups of a shared folder with its embedded databases, made while roles run, and put back.
//!
//! **The order makes the set consistent.** Each part is at least as new as what the parts before it claim: the tracking
//! database, the shard databases, the workers' states, the orders, the accounts, then the files. A task that is done
//! in the tracking database has its rows; a decision in a state and an accepted order have their money (a debit without
//! its order is harmless: its key repeats its outcome); a file that a task waits for is there.
//! What was done meanwhile is done again after a restore, and recognised. Roles clear no file while a backup is made
//! ([`super::super::files::hold`]), so that the last part has all files of the first.
//!
//! **The manifest makes it whole.** It is published last; a backup without one was interrupted and is never used.
//! [`take`] makes a backup, [`restore`] puts one back, [`servers`] names the commands for databases on servers.

mod files;
mod manifest;
pub mod restore;
mod room;
pub mod servers;
mod spools;
pub mod take;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::manifest::{Header, Part};
use super::super::files::artifact;
use super::super::files::folder::{Folder, resolve};
use crate::base::db::{Server, StoreUrl};
use crate::pipeline::event::ShardId;
use crate::pipeline::schemas;
use crate::pipeline::settings::Settings;

/// The folder of the databases in a backup.
const DATABASES: &str = "databases";
/// The folder of the files in a backup.
const FILES: &str = "shared";

/// Why a backup was not made, or not put back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be done as asked; nothing was touched.
    #[error("{0}")]
    Usage(String),
    /// It failed, or must not be done.
    #[error("{0}")]
    Failed(String),
    /// The same may succeed later.
    #[error("{0}")]
    TryLater(String),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::StorageFull => {
                Self::TryLater(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<crate::base::db::Error> for Error {
    fn from(error: crate::base::db::Error) -> Self {
        if error.is_temporary() { Self::TryLater(error.to_string()) } else { Self::Failed(error.to_string()) }
    }
}

/// A database of the pipeline, in the order in which a backup takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Database {
    /// The tracking database.
    Tracking,
    /// A shard's database.
    Shard(ShardId),
    /// A worker's state.
    Worker(ShardId),
    /// The order directory and the early returns.
    Cache,
    /// The accounts.
    Balance,
}

impl Database {
    /// All databases that there may be, in the order of a backup.
    fn all() -> impl Iterator<Item = Self> {
        let (shards, workers) = (ShardId::all().map(Self::Shard), ShardId::all().map(Self::Worker));
        [Self::Tracking].into_iter().chain(shards).chain(workers).chain([Self::Cache, Self::Balance])
    }

    /// Where the settings have it.
    fn place(self, settings: &Settings, folder: &Folder) -> Result<StoreUrl, Error> {
        Ok(match self {
            Self::Tracking => settings.database.tracking.clone(),
            Self::Balance => settings.database.balance.clone(),
            Self::Cache => settings.database.cache.clone(),
            Self::Shard(shard) => settings.database.shard(shard).map_err(Error::Usage)?,
            Self::Worker(shard) => StoreUrl::Sqlite(folder.worker_state(shard)),
        })
    }

    /// Its path in a backup.
    fn path(self) -> String {
        format!("{DATABASES}/{self}.sqlite")
    }

    /// The migrations that this program knows for it.
    fn known_schema(self) -> usize {
        let schema = match self {
            Self::Tracking => &schemas::TRACKING,
            Self::Shard(_) => &schemas::SHARD,
            Self::Balance => &schemas::BALANCE,
            Self::Cache => &schemas::CACHE,
            Self::Worker(_) => &schemas::WORKER,
        };
        schema.known()
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tracking => f.write_str("tracking"),
            Self::Balance => f.write_str("balance"),
            Self::Cache => f.write_str("cache"),
            Self::Shard(shard) => write!(f, "shard-{shard}"),
            Self::Worker(shard) => write!(f, "worker-{shard}"),
        }
    }
}

impl FromStr for Database {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all().find(|one| one.to_string() == text).ok_or_else(|| "no database of the pipeline".to_owned())
    }
}

impl Serialize for Database {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Database {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The databases of the settings.
#[derive(Debug, Default, PartialEq, Eq)]
struct Databases {
    /// Those in files that are there, in the order of a backup.
    embedded: Vec<(Database, PathBuf)>,
    /// Those on servers.
    servers: Vec<(Database, Server)>,
    /// The files of all embedded ones, there or not: none is ever copied as a plain file.
    places: Vec<PathBuf>,
}

impl Databases {
    fn of(settings: &Settings, folder: &Folder) -> Result<Self, Error> {
        let mut found = Self::default();
        for database in Database::all() {
            match database.place(settings, folder)? {
                StoreUrl::Sqlite(path) => {
                    let path = resolve(&path);
                    found.places.push(path.clone());
                    if artifact::is_there(&path)? {
                        found.embedded.push((database, path));
                    }
                }
                StoreUrl::Mysql(server) => {
                    let is_used = !matches!(database, Database::Shard(shard) if shard.get() >= settings.pipeline.shards_count.get());
                    if is_used {
                        found.servers.push((database, server));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The bytes of an embedded database with its log.
fn size(path: &Path) -> Result<u64, Error> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = Path::new(&log);
    let log_bytes = if artifact::is_there(log)? { artifact::size(log)? } else { 0 };
    Ok(artifact::size(path)?.saturating_add(log_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_are_copied_last_and_the_orders_after_the_workers() {
        let order: Vec<String> = Database::all().map(|database| database.to_string()).collect();
        assert_eq!(order[0], "tracking");
        assert!(order[order.len() - 3].starts_with("worker-"), "{order:?}");
        assert_eq!(order[order.len() - 2..], ["cache", "balance"]);
    }
}
