//! What a role clears from its own folder: only what has provably been delivered (docs/semantics.md, 3).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::Fault;
use crate::base::boot::Failure;
use crate::base::clock::Clock;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::client::Client;
use crate::pipeline::files::folder::{Artifact, UNDELIVERED};
use crate::pipeline::files::{artifact, hold};
use crate::pipeline::settings::{Cleanup, Settings};
use crate::pipeline::task::wire::FileResponse;
use crate::pipeline::task::{Digest, FileName, Stage, Status};

/// Between two clearings of delivered artifacts while a role runs.
const CLEAR_EVERY: Duration = Duration::from_secs(600);
/// A temporary file that is this many leases old is an orphan: no attempt that is still valid writes it.
const ORPHAN_LEASES: u32 = 2;

/// Clears one role's own folder.
pub struct Cleaner {
    own: PathBuf,
    client: Client,
    mode: Cleanup,
    retention: Duration,
    orphan_age: Duration,
    clock: Clock,
}

/// What was cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Delivered artifacts that were removed.
    pub removed: u64,
    /// Artifacts that stay: undelivered, or there was no time for them.
    pub kept: u64,
    /// Undelivered artifacts that were moved aside.
    pub moved: u64,
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    Ok(artifact::digest(&mut artifact::open(path)?)?.sha256)
}

/// Whether a process writes into the file; one that is gone meanwhile is not in use.
fn is_in_use(temporary: &Path) -> io::Result<bool> {
    match artifact::is_being_written(temporary) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

impl Cleaner {
    /// A cleaner of this folder.
    pub fn new(own: PathBuf, settings: &Settings, clock: Clock) -> Self {
        Self {
            own,
            client: Client::new(&settings.pipeline.url),
            mode: settings.shared.cleanup,
            retention: settings.shared.retention,
            orphan_age: settings.pipeline.lease * ORPHAN_LEASES,
            clock,
        }
    }

    /// At start: takes back what an earlier stop moved to `undelivered/`, and removes orphaned temporary files.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn at_start(&self) -> io::Result<()> {
        let aside = self.own.join(UNDELIVERED);
        for name in artifact::list(&aside)? {
            self.take_back(&aside, &name)?;
        }
        self.remove_orphans()
    }

    /// Moves one artifact back. Where its name is taken, an event file gets the next free one, and anything else stays
    /// aside unless it is the very same: nothing undelivered is ever removed.
    fn take_back(&self, aside: &Path, name: &str) -> io::Result<()> {
        let from = aside.join(name);
        let mut target = name.to_owned();
        loop {
            let to = self.own.join(&target);
            match artifact::relocate(&from, &to) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result,
            }
            if digest_of(&from)? == digest_of(&to)? {
                return artifact::remove(&from).map(drop);
            }
            match Artifact::from_file_name(&target) {
                Some(Artifact::Events(file)) => target = Artifact::Events(file.next_second()).file_name(),
                _ => {
                    log::warn!(path:% = from.display(); "stays aside: another file has its name");
                    return Ok(());
                }
            }
        }
    }

    /// While running: removes what has been delivered, until it is time to stop.
    ///
    /// # Errors
    /// [`Fault`] when the API does not answer or the folder cannot be read.
    pub fn while_running(&self, stop: &Stop) -> Result<Cleared, Fault> {
        if self.mode == Cleanup::None { Ok(Cleared::default()) } else { self.clear(false, &|| stop.is_requested()) }
    }

    /// At stop: clears as the settings say, while there is time. The next run clears what is left.
    ///
    /// # Errors
    /// [`Fault`] when the API does not answer or the folder cannot be read; nothing is removed that is not known to be
    /// delivered.
    pub fn at_stop(&self, stop: &Stop) -> Result<Cleared, Fault> {
        if self.mode == Cleanup::None {
            return Ok(Cleared::default());
        }
        self.remove_orphans()?;
        let cleared = self.clear(self.mode == Cleanup::All, &|| stop.is_giving_back())?;
        log::info!(folder:% = self.own.display(), removed = cleared.removed, kept = cleared.kept, moved = cleared.moved; "cleared");
        Ok(cleared)
    }

    /// Removes delivered artifacts, file by file, until `is_over`; then moves the rest to `undelivered/` if `aside` is set.
    fn clear(&self, aside: bool, is_over: &dyn Fn() -> bool) -> Result<Cleared, Fault> {
        // What a backup has yet to copy stays where it is.
        let Some(_held) = hold::while_clearing(&self.own)? else {
            log::info!(folder:% = self.own.display(); "not cleared: a backup is being made; the next clearing takes it");
            return Ok(Cleared::default());
        };
        let mut present: BTreeMap<FileName, Vec<Artifact>> = BTreeMap::new();
        for name in artifact::list(&self.own)? {
            if let Some(found) = Artifact::from_file_name(&name) {
                present.entry(found.file().clone()).or_default().push(found);
            }
        }
        let mut cleared = Cleared::default();
        let files: BTreeSet<FileName> = present.keys().cloned().collect();
        let mut trouble = None;
        if !is_over() {
            self.client.for_each_of(&files, |file| {
                if let Some(artifacts) = present.get_mut(&file.filename) {
                    let removed = self.remove_delivered(artifacts, &file, aside);
                    removed.map_or_else(|e| trouble = Some(e), |removed| cleared.removed += removed);
                }
                trouble.is_none() && !is_over()
            })?;
        }
        if let Some(trouble) = trouble {
            return Err(trouble.into());
        }
        for artifact in present.into_values().flatten() {
            if aside && !is_over() {
                let name = artifact.file_name();
                artifact::relocate(&self.own.join(&name), &self.own.join(UNDELIVERED).join(name))?;
                cleared.moved += 1;
            } else {
                cleared.kept += 1;
            }
        }
        if cleared != Cleared::default() {
            artifact::sync_folder(&self.own)?;
        }
        Ok(cleared)
    }

    /// Removes those artifacts of a file that are delivered, and leaves the others in the list.
    fn remove_delivered(&self, artifacts: &mut Vec<Artifact>, file: &FileResponse, now: bool) -> io::Result<u64> {
        let mut removed = 0;
        for artifact in std::mem::take(artifacts) {
            if self.is_delivered(&artifact, file, now) {
                removed += u64::from(artifact::remove(&self.own.join(artifact.file_name()))?);
            } else {
                artifacts.push(artifact);
            }
        }
        Ok(removed)
    }

    /// Whether the stage that reads the artifact is done with it. Raw events and receipts have their retention on top:
    /// the first are the only source of a full rebuild, the second are read by people only. `now` skips it.
    fn is_delivered(&self, artifact: &Artifact, file: &FileResponse, now: bool) -> bool {
        let shard = file.shards.iter().find(|shard| Some(shard.shard) == artifact.shard());
        let done = |stage: Stage| shard.is_some_and(|shard| shard.status(stage) == Status::Done);
        match artifact {
            Artifact::Events(_) => {
                let delivered = file.all_done(Stage::MysqlSender) && (now || self.is_kept_long_enough(artifact));
                delivered && self.is_what_was_announced(artifact, file)
            }
            Artifact::Split(..) | Artifact::SplitIndex(..) => done(Stage::ShardWorker),
            Artifact::Prepared(..) => done(Stage::MysqlSender),
            Artifact::Receipt(..) => done(Stage::MysqlSender) && (now || self.is_kept_long_enough(artifact)),
            Artifact::SplitRejects(_) | Artifact::WorkRejects(..) => false,
        }
    }

    /// Whether the artifact has the announced digest. Another file under the same name was not delivered.
    fn is_what_was_announced(&self, artifact: &Artifact, file: &FileResponse) -> bool {
        let output = file.announced();
        let found = digest_of(&self.own.join(artifact.file_name()));
        output.is_none_or(|output| found.is_ok_and(|found| found == output.sha256))
    }

    fn remove_orphans(&self) -> io::Result<()> {
        for folder in [".", "rejects", "imports", "redrives"].map(|name| self.own.join(name)) {
            for name in artifact::list(&folder)? {
                let temporary = name.starts_with('.') && Path::new(&name).extension().is_some_and(|ext| ext == "tmp");
                let path = folder.join(&name);
                if temporary && self.is_path_old(&path, self.orphan_age) && !is_in_use(&path)? {
                    artifact::remove(&path)?;
                }
            }
        }
        Ok(())
    }

    fn is_kept_long_enough(&self, artifact: &Artifact) -> bool {
        self.is_path_old(&self.own.join(artifact.file_name()), self.retention)
    }

    fn is_path_old(&self, path: &Path, age: Duration) -> bool {
        let Ok(written) = artifact::written_unix_ms(path) else {
            return false;
        };
        self.clock.now().unix_ms().saturating_sub(written) > i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Clears what is delivered every ten minutes; hands the cleaner back when the stop is requested.
pub(crate) fn clear_until_stop(cleaner: Cleaner, stop: &Stop) -> Cleaner {
    while !stop.wait(CLEAR_EVERY) {
        if let Err(e) = cleaner.while_running(stop) {
            log::warn!("nothing was cleared: {e}");
        }
    }
    cleaner
}

/// Clears once more when everything else of the role has ended.
///
/// # Errors
/// [`Failure`] when the clearing ended abnormally.
pub(crate) async fn clear_at_stop(cleaner: Cleaner, stop: Stop) -> Result<(), Failure> {
    match tokio::task::spawn_blocking(move || cleaner.at_stop(&stop)).await? {
        // Where all roles stop together the API may be gone before the others: no fault, and nothing is lost by it.
        Err(Fault::Unavailable(e)) => log::info!("nothing was cleared, the next run does it: {e}"),
        Err(e) => log::warn!("nothing was cleared: {e}"),
        Ok(_) => {}
    }
    Ok(())
}
