//! What the checks judge: plain data, as it was found.

use std::path::PathBuf;

use crate::base::db::{SchemaState, ServerFacts};

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Facts {
    /// The shared folder and those of the roles.
    pub folders: Vec<FolderFact>,
    /// The disks that something of ours is on.
    pub disks: Vec<DiskFact>,
    /// The databases.
    pub databases: Vec<DatabaseFact>,
    /// The ports of the roles.
    pub ports: Vec<PortFact>,
    /// What was left behind.
    pub orphans: OrphanFacts,
    /// Files that a process may have open at once; nothing without a limit.
    pub open_files_max: Option<u64>,
    /// The files with tokens, and who may read them.
    pub token_files: Vec<TokenFile>,
}

/// A folder.
#[derive(Debug, Clone)]
pub struct FolderFact {
    /// Its path.
    pub path: PathBuf,
    /// What is there.
    pub state: FolderState,
    /// Whether it is the shared folder itself.
    pub is_shared: bool,
    /// The kind of network file system that it is on.
    pub network: Option<&'static str>,
}

/// What is at a folder's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderState {
    /// Nothing.
    Missing,
    /// A file, a link or something else.
    NoFolder,
    /// A folder that may not be read, or not be written.
    Closed,
    /// A folder that may be read and written.
    Open,
}

/// A disk.
#[derive(Debug, Clone)]
pub struct DiskFact {
    /// A folder on it.
    pub path: PathBuf,
    /// Bytes that are free for us.
    pub free_bytes: u64,
    /// Files that may still be made; nothing where the file system has no limit.
    pub free_files: Option<u64>,
    /// Whether it is mounted read-only.
    pub is_read_only: bool,
}

/// A database.
#[derive(Debug, Clone)]
pub struct DatabaseFact {
    /// The setting that names it, and the shard.
    pub name: String,
    /// Where it is, without its password.
    pub place: String,
    /// Whether it is a file.
    pub is_embedded: bool,
    /// Bytes that the server must take at once.
    pub packet_bytes_min: u64,
    /// What was found there.
    pub state: Result<DatabaseState, DatabaseProblem>,
}

/// What a database says.
#[derive(Debug, Clone, Default)]
pub struct DatabaseState {
    /// How far its schema is; nothing where there is no database.
    pub schema: Option<SchemaState>,
    /// What its server says.
    pub server: Option<ServerFacts>,
    /// Milliseconds by which the server's clock is ahead of ours.
    pub ahead_ms: i64,
    /// Why this process cannot change a database in a file, if so.
    pub read_only: Option<String>,
}

/// Why a database says nothing.
#[derive(Debug, Clone)]
pub struct DatabaseProblem {
    /// In one sentence.
    pub why: String,
    /// Whether it may be over by itself.
    pub is_temporary: bool,
    /// Whether it takes no changes.
    pub is_read_only: bool,
}

/// A port of a role.
#[derive(Debug, Clone)]
pub struct PortFact {
    /// The role.
    pub role: String,
    /// The port.
    pub port: u16,
    /// The process that has it.
    pub holder: Holder,
}

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nothing.
    Free,
    /// A role of shopctl of this version, which has noted its address in the shared folder.
    Role(String),
    /// A role of shopctl that has noted nothing there: its name, where it tells that, and its version.
    Stranger(String),
    /// A process of shopctl that does not answer.
    Still(u32),
    /// Something else: process id and name, where the system tells.
    Foreign(Option<(u32, String)>),
    /// It may not be taken.
    Refused(String),
}

/// Things that were left behind: how many, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

/// Examples of each that are named.
const FIRST_MAX: usize = 3;

impl Left {
    /// One more.
    pub fn add(&mut self, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < FIRST_MAX {
            self.first.push(what.into());
        }
    }
}

/// What was left behind.
#[derive(Debug, Clone, Default)]
pub struct OrphanFacts {
    /// Temporary files that nothing writes.
    pub temporary: Left,
    /// Event files that the tracking database does not know.
    pub unannounced: Left,
    /// Open tasks whose input is not there: file, shard, stage.
    pub without_file: Left,
    /// Addresses of roles that are not there.
    pub stale_addresses: Left,
    /// Why the folders or the tracking database could not be looked through.
    pub unread: Option<String>,
}

/// A file with a token.
#[derive(Debug, Clone)]
pub struct TokenFile {
    /// The setting that names it.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its rights.
    pub mode: Option<u32>,
}
