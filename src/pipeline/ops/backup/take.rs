//! Makes a backup, in the order that the parent module gives.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::files::{Met, Walk};
use super::manifest::{FORMAT, NAME, Writer};
use super::{Database, Databases, Error, FILES, Header, Part, room, size};
use crate::base::clock::Clock;
use crate::base::db::{Server, check_embedded, copy_embedded};
use crate::base::shutdown::Stop;
use crate::pipeline::addresses;
use crate::pipeline::files::folder::{Folder, resolve};
use crate::pipeline::files::{artifact, hold};
use crate::pipeline::settings::Settings;
use crate::pipeline::work::Worker;

/// Where posted lines wait, below the shared folder.
const SPOOL: &str = "events/spool/";

/// What a backup will hold, or holds.
#[derive(Debug, Default)]
pub struct BackupExtent {
    /// Embedded databases, the workers' states among them.
    pub databases: u64,
    /// Other files.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Links, pipes and the like, which are left out.
    pub left_out: u64,
}

/// A backup that is to be made.
pub struct Backup<'a> {
    settings: &'a Settings,
    stop: &'a Stop,
    folder: Folder,
    dir: PathBuf,
    databases: Databases,
}

impl<'a> Backup<'a> {
    /// A backup of the shared folder of these settings into this folder.
    ///
    /// # Errors
    /// [`Error::Usage`] when the folder is not new or empty, or is part of what it would hold.
    pub fn new(settings: &'a Settings, stop: &'a Stop, dir: &Path) -> Result<Self, Error> {
        let (folder, dir) = (Folder::new(&settings.shared.dir), resolve(dir));
        if !artifact::is_there(folder.path())? {
            let shared = folder.path().display();
            return Err(Error::Usage(format!("there is no shared folder {shared}; is shared.dir right?")));
        }
        if dir.starts_with(folder.path()) {
            let (dir, shared) = (dir.display(), folder.path().display());
            return Err(Error::Usage(format!("{dir} is inside the shared folder {shared}: name a folder beside it")));
        }
        let present = artifact::list(&dir)?;
        if !present.is_empty() {
            let what = match present.iter().any(|name| name == NAME) {
                true => "holds a backup already: name another folder",
                false => "is not empty; an interrupted backup has no manifest and may be removed. Name another folder",
            };
            return Err(Error::Usage(format!("{} {what}", dir.display())));
        }
        let databases = Databases::of(settings, &folder)?;
        Ok(Self { settings, stop, folder, dir, databases })
    }

    /// Where it will be, without links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The databases on servers, which are not in it.
    pub fn servers(&self) -> &[(Database, Server)] {
        &self.databases.servers
    }

    /// What there is to copy now.
    ///
    /// # Errors
    /// [`Error`] when the shared folder cannot be read.
    pub fn extent(&self) -> Result<BackupExtent, Error> {
        let mut extent = BackupExtent { databases: self.databases.embedded.len() as u64, ..BackupExtent::default() };
        for (_, path) in &self.databases.embedded {
            extent.bytes += size(path)?;
        }
        let mut walk = Walk::new(&self.folder, &self.databases);
        walk.all(&mut |met| {
            if let Met::File(_, path) = met
                && let Some(bytes) = found(artifact::size(path))?
            {
                extent.files += 1;
                extent.bytes += bytes;
            }
            Ok(())
        })?;
        extent.left_out = walk.others;
        Ok(extent)
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`Error`]; the folder has no manifest then.
    pub fn make(self, clock: &Clock) -> Result<BackupExtent, Error> {
        let Some(_running) = hold::while_running(self.folder.path()) else {
            let shared = self.folder.path().display();
            return Err(Error::TryLater(format!("a restore works on {shared}: make the backup when it is over")));
        };
        let _stopped = self.keep_workers_away()?;
        let held = hold::against_clearing(&self.folder, self.stop)?;
        room::require(&self.dir, self.extent()?.bytes)?;
        artifact::create_folder(&self.dir)?;
        let mut made =
            MadeCopy { writer: Writer::begin(&self.dir, &self.header(clock))?, extent: BackupExtent::default() };
        for (database, path) in &self.databases.embedded {
            self.copy_database(*database, path, &mut made)?;
        }
        self.copy_files(&mut made)?;
        let before: Vec<&str> = held.iter().map(|(name, _)| name.as_str()).collect();
        if hold::own_folders(&self.folder)? != before {
            let why = "a role ran here for the first time meanwhile; make another backup";
            return Err(Error::TryLater(why.to_owned()));
        }
        if Databases::of(self.settings, &self.folder)? != self.databases {
            let why = "a database was made or removed meanwhile; make another backup";
            return Err(Error::TryLater(why.to_owned()));
        }
        made.writer.publish(&self.dir)?;
        Ok(made.extent)
    }

    fn header(&self, clock: &Clock) -> Header {
        Header {
            format: FORMAT,
            program: "shopctl".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("SHOPCTL_COMMIT").to_owned(),
            created_at: clock.now().to_string(),
            shared: self.folder.path().display().to_string(),
            shards_count: self.settings.pipeline.shards_count.get(),
            servers: self.databases.servers.iter().map(|(database, _)| *database).collect(),
        }
    }

    /// Dumps of servers are made before this backup. A worker that ran on would leave decisions in its state whose
    /// money is in no dump, and a sender would report rows as delivered that are in none. Answers what keeps workers
    /// away; without servers that is nothing.
    fn keep_workers_away(&self) -> Result<Vec<File>, Error> {
        let mut held = Vec::new();
        if self.databases.servers.is_empty() {
            return Ok(held);
        }
        let stop = "stop every shard-worker and mysql-sender, dump the databases on servers, then make the backup";
        for (database, path) in &self.databases.embedded {
            if matches!(database, Database::Worker(_)) {
                let lock = Worker::hold_state(path, artifact::Lock::Exclusive)?;
                held.push(lock.ok_or_else(|| Error::TryLater(format!("{database} runs: {stop}")))?);
            }
        }
        let senders = addresses::noted(self.settings).into_iter();
        match senders.map(|noted| noted.identity.role).find(|role| role == "mysql-sender" || role == "shard-worker") {
            Some(role) => {
                Err(Error::TryLater(format!("{role} runs, or was killed and left its address in run/: {stop}")))
            }
            None => Ok(held),
        }
    }

    fn require_time(&self) -> Result<(), Error> {
        if !self.stop.is_requested() {
            return Ok(());
        }
        let dir = self.dir.display();
        Err(Error::TryLater(format!("stopped: {dir} is no whole backup, and may be removed")))
    }

    fn copy_database(&self, database: Database, from: &Path, made: &mut MadeCopy) -> Result<(), Error> {
        self.require_time()?;
        let path = database.path();
        let to = self.dir.join(&path);
        let own = to.parent().unwrap_or(&self.dir);
        artifact::create_folder(own)?;
        copy_embedded(from, &to, &|| !self.stop.is_requested())?;
        let mut copy = artifact::open_for_update(&to)?;
        copy.sync_all()?;
        artifact::sync_folder(own)?;
        let schema = check_embedded(&to)?;
        let output = artifact::digest(&mut copy)?;
        made.extent.databases += 1;
        made.add(Part {
            path,
            bytes: output.bytes,
            sha256: output.sha256,
            database: Some(database),
            schema: Some(schema),
        })
    }

    fn copy_files(&self, made: &mut MadeCopy) -> Result<(), Error> {
        let to = self.dir.join(FILES);
        artifact::create_folder(&to)?;
        let mut spools = HashMap::new();
        let mut walk = Walk::new(&self.folder, &self.databases);
        walk.all(&mut |met| match met {
            Met::Folder(below) => {
                let own = to.join(below);
                if artifact::is_there(&own)? { Ok(artifact::sync_folder(&own)?) } else { Ok(()) }
            }
            Met::File(relative, from) => {
                self.require_time()?;
                self.copy_file(relative, from, &mut spools, made)
            }
        })?;
        made.extent.left_out = walk.others;
        spools.into_values().try_for_each(|part| made.add_file(part))
    }

    fn copy_file(&self, relative: &str, from: &Path, spools: &mut Spools, made: &mut MadeCopy) -> Result<(), Error> {
        let Some(mut source) = found(artifact::open(from))? else {
            // A spool that became an event file, or a file that was put back from 'undelivered/': it is met later.
            return Ok(());
        };
        let path = format!("{FILES}/{relative}");
        let to = self.dir.join(&path);
        artifact::create_folder(to.parent().unwrap_or(&self.dir))?;
        let output = artifact::copy_new(&mut source, &to)?;
        let part = Part { path, bytes: output.bytes, sha256: output.sha256, database: None, schema: None };
        let file = source.metadata()?;
        let identity = (file.dev(), file.ino());
        if relative.starts_with(SPOOL) {
            spools.insert(identity, part);
            return Ok(());
        }
        // The spool became this event file: its lines would be delivered twice.
        if let Some(spool) = spools.remove(&identity) {
            artifact::remove(&self.dir.join(spool.path))?;
        }
        made.add_file(part)
    }
}

/// Copies of spools, by the file that was copied.
type Spools = HashMap<(u64, u64), Part>;

/// What was copied so far.
struct MadeCopy {
    writer: Writer,
    extent: BackupExtent,
}

impl MadeCopy {
    fn add(&mut self, part: Part) -> Result<(), Error> {
        self.extent.bytes += part.bytes;
        self.writer.add(&part)
    }

    fn add_file(&mut self, part: Part) -> Result<(), Error> {
        self.extent.files += 1;
        self.add(part)
    }
}

/// Nothing for a file that is gone.
fn found<T>(result: std::io::Result<T>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::config::{Sources, load};
    use crate::pipeline::ops::backup::manifest;
    use crate::pipeline::ops::backup::restore::Restore;

    fn settings(shared: &Path) -> Settings {
        let flags = vec![("shared.dir".to_owned(), shared.display().to_string())];
        load::load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap().settings
    }

    fn parts(dir: &Path) -> Vec<String> {
        let mut paths = Vec::new();
        manifest::read(dir, &mut |part| {
            paths.push(part.path);
            Ok(())
        })
        .unwrap();
        paths
    }

    #[test]
    fn a_spool_that_became_an_event_file_is_taken_once() {
        let temp = tempfile::tempdir().unwrap();
        let shared = temp.path().join("shared");
        for name in ["events/spool/a.spool", "events/spool/b.spool"] {
            std::fs::create_dir_all(shared.join("events/spool")).unwrap();
            std::fs::write(shared.join(name), format!("{name}\n")).unwrap();
        }
        let (settings, stop) = (settings(&shared), Stop::new());
        let backup = Backup::new(&settings, &stop, &temp.path().join("backup")).unwrap();
        let dir = backup.dir().to_owned();
        artifact::create_folder(&dir).unwrap();
        let writer = Writer::begin(&dir, &backup.header(&Clock::System)).unwrap();
        let (mut made, mut spools) = (MadeCopy { writer, extent: BackupExtent::default() }, Spools::new());
        let from = |relative: &str| shared.join(relative);
        for spool in ["events/spool/a.spool", "events/spool/b.spool"] {
            backup.copy_file(spool, &from(spool), &mut spools, &mut made).unwrap();
        }
        // The tick comes between the two folders, and the spool's rename is met as an event file.
        let event_file = "events/20250101000000.event-ingest.txt";
        artifact::relocate(&from("events/spool/a.spool"), &from(event_file)).unwrap();
        backup.copy_file(event_file, &from(event_file), &mut spools, &mut made).unwrap();
        backup.copy_file("events/gone", &from("events/gone"), &mut spools, &mut made).unwrap();
        spools.into_values().try_for_each(|part| made.add_file(part)).unwrap();
        made.writer.publish(&dir).unwrap();
        assert_eq!(parts(&dir), [format!("shared/{event_file}"), "shared/events/spool/b.spool".to_owned()]);
        assert!(!dir.join("shared/events/spool/a.spool").exists());
    }

    #[test]
    fn no_backup_is_made_while_a_restore_works() {
        let temp = tempfile::tempdir().unwrap();
        let shared = temp.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let (settings, stop) = (settings(&shared), Stop::new());
        let backup = Backup::new(&settings, &stop, &temp.path().join("backup")).unwrap();
        let _restore = hold::against_roles(&shared).unwrap().unwrap();
        assert!(matches!(backup.make(&Clock::System), Err(Error::TryLater(_))));
    }

    #[test]
    fn a_database_that_appeared_meanwhile_ends_the_backup() {
        let temp = tempfile::tempdir().unwrap();
        let shared = temp.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let (settings, stop) = (settings(&shared), Stop::new());
        let dir = temp.path().join("backup");
        let backup = Backup::new(&settings, &stop, &dir).unwrap();
        let place = backup.databases.places[0].clone();
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, "").unwrap();
        assert!(matches!(backup.make(&Clock::System), Err(Error::TryLater(_))));
        assert!(!dir.join(NAME).exists());
    }

    #[test]
    fn a_stop_leaves_no_manifest_and_the_shared_folder_as_it_was() {
        let temp = tempfile::tempdir().unwrap();
        let shared = temp.path().join("shared");
        std::fs::create_dir_all(shared.join("events/imports")).unwrap();
        std::fs::write(shared.join("events/imports/x.json"), "{}").unwrap();
        let (settings, stop) = (settings(&shared), Stop::new());
        let dir = temp.path().join("backup");
        let extent = Backup::new(&settings, &stop, &dir).unwrap().make(&Clock::System).unwrap();
        assert_eq!((extent.files, extent.databases, extent.bytes), (1, 0, 2));
        let other = temp.path().join("other");
        let backup = Backup::new(&settings, &stop, &other).unwrap();
        stop.request();
        assert!(matches!(backup.make(&Clock::System), Err(Error::TryLater(_))));
        assert!(!other.join(NAME).exists());
        assert!(matches!(Restore::verified(&settings, &stop, &dir), Err(Error::TryLater(_))));
    }
}
