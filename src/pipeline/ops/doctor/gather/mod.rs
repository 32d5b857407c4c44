//! Looks at everything that the checks judge, and changes nothing.

mod databases;
mod files;
mod ports;

use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags};
use rustix::process::{Resource, getrlimit};

pub use self::databases::databases;
pub use self::files::orphans;
pub use self::ports::ports;
use super::facts::{DiskFact, FolderFact, FolderState, TokenFile};
use crate::base::db::StoreUrl;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::artifact::{self, EntryKind};
use crate::pipeline::files::folder::Folder;
use crate::pipeline::settings::Settings;

/// Network file systems by the number that the kernel gives them.
const NETWORK: [(u64, &str); 8] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x0bd0_0bd0, "Lustre"),
];

/// The shared folder and those of the roles.
pub fn folders(settings: &Settings) -> Vec<FolderFact> {
    let folder = Folder::new(&settings.shared.dir);
    let workers = settings.pipeline.shards_count.shards().map(|shard| folder.worker(shard));
    let shared = (folder.path().to_owned(), true);
    let own = [folder.events(), folder.splitter(), folder.sender()].into_iter().chain(workers);
    let is_there = artifact::is_there(folder.path()).unwrap_or(false);
    // Without the shared folder there is nothing to say of those in it.
    let own = own.map(|path| (path, false)).filter(|_| is_there);
    [shared].into_iter().chain(own).map(|(path, is_shared)| folder_fact(path, is_shared)).collect()
}

fn folder_fact(path: PathBuf, is_shared: bool) -> FolderFact {
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let state = match artifact::kind(&path) {
        Ok(EntryKind::Folder) if rustix::fs::access(&path, all).is_ok() => FolderState::Open,
        Ok(EntryKind::Folder) => FolderState::Closed,
        Ok(_) => FolderState::NoFolder,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => FolderState::Missing,
        Err(_) => FolderState::Closed,
    };
    let network = rustix::fs::statfs(&path).ok().and_then(|stat| {
        let number = (stat.f_type as u64) & 0xffff_ffff;
        NETWORK.iter().find(|(own, _)| *own == number).map(|(_, name)| *name)
    });
    FolderFact { path, state, is_shared, network }
}

/// The disks of the shared folder and of the databases in files, each once.
pub fn disks(settings: &Settings) -> Vec<DiskFact> {
    let mut folders = vec![settings.shared.dir.clone()];
    let database = &settings.database;
    let shard = ShardId::new(0).and_then(|shard| database.shard(shard).ok());
    for url in [Some(database.tracking.clone()), Some(database.balance.clone()), Some(database.cache.clone()), shard] {
        if let Some(StoreUrl::Sqlite(path)) = url {
            folders.extend(path.parent().map(Path::to_owned));
        }
    }
    let (mut disks, mut seen) = (Vec::new(), Vec::new());
    for folder in folders {
        let Some(there) = folder.ancestors().find(|above| above.is_dir()) else { continue };
        let Ok(stat) = rustix::fs::statvfs(there) else { continue };
        // A folder of the same disk may be mounted read-only on its own.
        let disk = (stat.f_fsid, stat.f_flag.contains(StatVfsMountFlags::RDONLY));
        if seen.contains(&disk) {
            continue;
        }
        seen.push(disk);
        disks.push(DiskFact {
            path: there.to_owned(),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            free_files: (stat.f_files > 0).then_some(stat.f_favail),
            is_read_only: disk.1,
        });
    }
    disks
}

/// How many files this process may have open at once.
pub fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The files with tokens, and who may read them.
pub fn token_files(settings: &Settings) -> Vec<TokenFile> {
    let fact = |(key, path): &(String, PathBuf)| {
        let mode = rustix::fs::stat(path).ok().map(|stat| stat.st_mode);
        TokenFile { key: key.clone(), path: path.clone(), mode }
    };
    settings.auth.files().iter().map(fact).collect()
}
