//! What was left behind in the shared folder, and what its tasks wait for.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::Clock;
use crate::pipeline::addresses::Noted;
use crate::pipeline::apid::store::{Tracking, for_each_file};
use crate::pipeline::event::ShardId;
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::ops::doctor::facts::OrphanFacts;
use crate::pipeline::settings::Settings;
use crate::pipeline::task::{FileName, FileView, ShardView, Stage, Status};

/// The longest that a role may take to let us in.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Folders below those of the roles that hold files being written.
const BELOW: [&str; 7] = ["", "rejects", "imports", "redrives", "spool", "undelivered", "state/kept"];

/// Looks through the folders, and through the tracking database where there is one.
pub async fn orphans(
    settings: &Settings,
    clock: &Clock,
    tracking: Option<&dyn Tracking>,
    noted: &[Noted],
) -> OrphanFacts {
    let folder = Folder::new(&settings.shared.dir);
    let mut facts = OrphanFacts::default();
    let lease_ms = i64::try_from(settings.pipeline.lease.as_millis()).unwrap_or(i64::MAX / 2);
    let oldest = clock.now().plus_ms(-2 * lease_ms).unix_ms();
    // What is wrong with one folder says nothing of the others.
    for own in own_folders(&folder) {
        if let Err(e) = look_for_temporary(&own, oldest, &mut facts) {
            facts.unread = Some(e.to_string());
        }
    }
    for noted in noted.iter().filter(|noted| is_silent(noted)) {
        facts.stale_addresses.add(format!("{} ({})", noted.identity.shown(), noted.base));
    }
    let Some(tracking) = tracking else { return facts };
    let mut unknown: BTreeSet<FileName> = event_files(&folder).unwrap_or_default();
    let visited = for_each_file(tracking, |file| {
        if file.shards.iter().all(|shard| shard.status(Stage::EventIngest) == Status::Done) {
            unknown.remove(&file.file);
        }
        look_at_tasks(file, &folder, &mut facts);
    });
    if let Err(e) = visited.await {
        facts.unread = Some(e.to_string());
        return facts;
    }
    unknown.iter().for_each(|file| facts.unannounced.add(file.as_str()));
    facts
}

fn event_files(folder: &Folder) -> io::Result<BTreeSet<FileName>> {
    let names = artifact::list(&folder.events())?;
    let event_file = |name: &String| match Artifact::from_file_name(name) {
        Some(Artifact::Events(file)) => Some(file),
        _ => None,
    };
    Ok(names.iter().filter_map(event_file).collect())
}

fn own_folders(folder: &Folder) -> impl Iterator<Item = PathBuf> {
    let workers: Vec<PathBuf> = ShardId::all().map(|shard| folder.worker(shard)).collect();
    [folder.events(), folder.splitter(), folder.sender()].into_iter().chain(workers)
}

fn look_for_temporary(own: &Path, oldest_unix_ms: i64, facts: &mut OrphanFacts) -> io::Result<()> {
    for below in BELOW.map(|below| own.join(below)) {
        for name in artifact::list(&below)? {
            let path = below.join(&name);
            if name.starts_with('.') && name.ends_with(".tmp") && is_abandoned(&path, oldest_unix_ms)? {
                facts.temporary.add(path.display().to_string());
            }
        }
    }
    Ok(())
}

fn is_abandoned(path: &Path, oldest_unix_ms: i64) -> io::Result<bool> {
    let written = artifact::written_unix_ms(path);
    match written.and_then(|written| Ok(written < oldest_unix_ms && !artifact::is_being_written(path)?)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

/// Whether nothing listens at a noted address. What cannot be reached from here, such as a machine whose name is unknown
/// here, is not judged.
fn is_silent(noted: &Noted) -> bool {
    let Some(addr) = noted.base.strip_prefix("http://") else { return false };
    let addrs = addr.to_socket_addrs().map(|addrs| addrs.collect::<Vec<_>>()).unwrap_or_default();
    let refuses = |addr: &SocketAddr| {
        let connected = TcpStream::connect_timeout(addr, TIMEOUT);
        connected.is_err_and(|e| noted.is_here || e.kind() == io::ErrorKind::ConnectionRefused)
    };
    !addrs.is_empty() && addrs.iter().all(refuses)
}

/// Notes the tasks of a file whose input is not there.
fn look_at_tasks(file: &FileView, folder: &Folder, facts: &mut OrphanFacts) {
    for shard in &file.shards {
        let Some((stage, input)) = awaited(&file.file, shard) else { continue };
        if matches!(artifact::is_there(&folder.locate(&input)), Ok(false)) {
            facts.without_file.add(format!("{} shard {} at {stage}", file.file, shard.shard));
        }
    }
}

/// The first stage of a task that is not done, with the file that it reads.
fn awaited(file: &FileName, shard: &ShardView) -> Option<(Stage, Artifact)> {
    let is_open = |stage: Stage| shard.status(stage) != Status::Done;
    let file = file.clone();
    if is_open(Stage::EventIngest) {
        return None;
    }
    if is_open(Stage::ShardSplitter) {
        return Some((Stage::ShardSplitter, Artifact::Events(file)));
    }
    if is_open(Stage::ShardWorker) {
        return Some((Stage::ShardWorker, Artifact::Split(file, shard.shard)));
    }
    is_open(Stage::MysqlSender).then_some((Stage::MysqlSender, Artifact::Prepared(file, shard.shard)))
}
