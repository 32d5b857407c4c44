//! Puts a backup back: verified whole, copied into a folder beside the shared one, and given its name in one step.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use super::manifest::{self, Header, Part};
use super::{Database, Databases, Error, FILES, room, spools};
use crate::base::clock::Clock;
use crate::base::db::{Server, StoreUrl, is_embedded_in_use};
use crate::base::shutdown::Stop;
use crate::pipeline::addresses;
use crate::pipeline::claim::driver::random_id;
use crate::pipeline::files::artifact::{self, EntryKind};
use crate::pipeline::files::folder::{Folder, resolve};
use crate::pipeline::files::hold::{self, FolderHold};
use crate::pipeline::settings::Settings;
use crate::pipeline::task::FileName;

/// A backup that was verified.
pub struct Restore<'a> {
    settings: &'a Settings,
    stop: &'a Stop,
    folder: Folder,
    dir: PathBuf,
    /// What it is.
    pub header: Header,
    /// Its databases.
    pub databases: u64,
    /// Its other files.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Databases whose place is outside the shared folder: to be copied by hand from the first path to the second.
    pub by_hand: Vec<(PathBuf, PathBuf)>,
}

/// What is at the place of the shared folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Absent,
    Empty,
    Used,
}

impl<'a> Restore<'a> {
    /// Reads every byte of the backup and compares it with the manifest, then the manifest with the settings.
    ///
    /// # Errors
    /// [`Error`] when anything is missing or another, or does not fit the settings.
    pub fn verified(settings: &'a Settings, stop: &'a Stop, dir: &Path) -> Result<Self, Error> {
        let (folder, dir) = (Folder::new(&settings.shared.dir), resolve(dir));
        // Once for the header alone: what another form has for parts is not known.
        let header = manifest::read(&dir, &mut |_| Ok(()))?;
        let (databases, files, bytes, by_hand) = (0, 0, 0, Vec::new());
        let mut restore = Self { settings, stop, folder, dir, header, databases, files, bytes, by_hand };
        let dir = restore.dir.clone();
        manifest::read(&dir, &mut |part| restore.verify(&part))?;
        restore.require_same_servers()?;
        Ok(restore)
    }

    fn verify(&mut self, part: &Part) -> Result<(), Error> {
        self.require_time()?;
        let path = self.path_of(part)?;
        let mut file = artifact::open(&path).map_err(|e| Error::Failed(format!("the backup is not whole: {e}")))?;
        let found = artifact::digest(&mut file)?;
        if (found.bytes, found.sha256) != (part.bytes, part.sha256) {
            return Err(corrupt(&path, part, found.bytes, &found.sha256.to_string()));
        }
        self.bytes += part.bytes;
        let Some(database) = part.database else {
            self.files += 1;
            return Ok(());
        };
        self.databases += 1;
        if part.schema.is_some_and(|schema| schema > database.known_schema()) {
            log::warn!(database:%; "the schema of the backup is newer than this program");
        }
        match self.place_of(database)? {
            Ok(_) => {}
            Err(outside) => self.by_hand.push((path, outside)),
        }
        Ok(())
    }

    /// The part's file. A manifest names nothing outside the backup.
    fn path_of(&self, part: &Part) -> Result<PathBuf, Error> {
        let path = Path::new(&part.path);
        let is_below = path.components().all(|step| matches!(step, Component::Normal(_)));
        if !is_below || path.components().next().is_none() {
            return Err(Error::Failed(format!("the manifest names '{}', which is no part", part.path)));
        }
        Ok(self.dir.join(path))
    }

    /// Where a database belongs below the shared folder, or its place outside.
    fn place_of(&self, database: Database) -> Result<Result<PathBuf, PathBuf>, Error> {
        match database.place(self.settings, &self.folder)? {
            StoreUrl::Sqlite(path) => {
                let path = resolve(&path);
                Ok(path.strip_prefix(self.folder.path()).map(Path::to_owned).map_err(|_| path.clone()))
            }
            StoreUrl::Mysql(server) => Err(Error::Usage(format!(
                "the backup has {database} as a file, but the settings name {server}: restore with the settings of the backup"
            ))),
        }
    }

    fn require_same_servers(&self) -> Result<(), Error> {
        for database in &self.header.servers {
            if matches!(database.place(self.settings, &self.folder)?, StoreUrl::Sqlite(_)) {
                return Err(Error::Usage(format!(
                    "{database} was on a server when the backup was made, and the settings name a file: restore with the settings of the backup"
                )));
            }
        }
        Ok(())
    }

    fn require_time(&self) -> Result<(), Error> {
        match self.stop.is_requested() {
            true => Err(Error::TryLater("stopped: the shared folder is as it was".to_owned())),
            false => Ok(()),
        }
    }

    /// Where it is put back.
    pub fn shared(&self) -> &Path {
        self.folder.path()
    }

    /// The databases on servers that belong to it.
    ///
    /// # Errors
    /// [`Error`] when the settings have no place for one.
    pub fn servers(&self) -> Result<Vec<(Database, Server)>, Error> {
        let mut servers = Vec::new();
        for database in &self.header.servers {
            if let StoreUrl::Mysql(server) = database.place(self.settings, &self.folder)? {
                servers.push((*database, server));
            }
        }
        Ok(servers)
    }

    /// What stands in the way of putting it back now, as far as can be seen without touching anything.
    ///
    /// # Errors
    /// [`Error`] when the place of the shared folder cannot be looked at.
    pub fn obstacles(&self, force: bool) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        if self.target()? == Target::Used && !force {
            found.push(self.not_empty());
        }
        if !addresses::noted(self.settings).is_empty() {
            found.push(format!("roles run on {}, or were killed there: stop them first", self.folder.path().display()));
        }
        if let Err(e) = room::require(self.folder.path(), self.bytes) {
            found.push(e.to_string());
        }
        Ok(found)
    }

    /// Event files of the folder that was moved aside that must not be put back: their lines are in a restored spool.
    ///
    /// # Errors
    /// [`Error`] when the two cannot be compared.
    pub fn spooled_again(&self, aside: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
        Ok(spools::delivered(self.folder.path(), aside)?)
    }

    fn not_empty(&self) -> String {
        let shared = self.folder.path().display();
        format!("{shared} is not empty: --force moves it aside, or name another folder with --set shared.dir=FOLDER")
    }

    fn prepare(&self, force: bool) -> Result<(Target, Option<FolderHold>), Error> {
        let target = self.target()?;
        let held = if target == Target::Absent { None } else { Some(self.keep_roles_away()?) };
        if target == Target::Used && !force {
            return Err(Error::Failed(self.not_empty()));
        }
        room::require(self.folder.path(), self.bytes)?;
        Ok((target, held))
    }

    fn target(&self) -> Result<Target, Error> {
        match artifact::kind(self.folder.path()) {
            Ok(EntryKind::Folder) if artifact::list(self.folder.path())?.is_empty() => Ok(Target::Empty),
            Ok(EntryKind::Folder) => Ok(Target::Used),
            Ok(_) => Err(Error::Usage(format!("{} is no folder", self.folder.path().display()))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Target::Absent),
            Err(e) => Err(e.into()),
        }
    }

    /// Running roles hold a lock on the folder; any other process that works there has a database open.
    fn keep_roles_away(&self) -> Result<FolderHold, Error> {
        let runs = |what: String| {
            let shared = self.folder.path().display();
            Error::Failed(format!("{what} on {shared}: stop all roles, then restore"))
        };
        let held = hold::against_roles(self.folder.path())?;
        let held = held.ok_or_else(|| runs("a role runs".to_owned()))?;
        for (database, path) in Databases::of(self.settings, &self.folder)?.embedded {
            match is_embedded_in_use(&path) {
                Ok(false) => {}
                Ok(true) => return Err(runs(format!("another process has {} open", path.display()))),
                // What is broken is what the backup replaces.
                Err(e) => log::warn!(database:%; "cannot tell whether it is in use: {e}"),
            }
        }
        Ok(held)
    }

    /// Puts the backup in the place of the shared folder; answers where the old one is now.
    ///
    /// # Errors
    /// [`Error`]; the shared folder is as it was then.
    pub fn put_back(&self, force: bool, clock: &Clock) -> Result<Option<PathBuf>, Error> {
        let (target, _held) = self.prepare(force)?;
        let staging = self.beside(&format!("restoring-{}", random_id()));
        let copied = artifact::create_folder(&staging).map_err(Error::from).and_then(|()| self.copy_to(&staging));
        copied.map_err(|e| add_to(e, &format!("{} is half a copy, and may be removed", staging.display())))?;
        let root = self.folder.path();
        if target != Target::Used {
            artifact::take_name(&staging, root).map_err(|e| self.of_swap(e, &staging))?;
            return Ok(None);
        }
        let aside = self.beside(&format!("before-restore-{}", FileName::of(clock.now())));
        match artifact::swap(&staging, root) {
            // The backup is in its place: what is left is a name.
            Ok(()) => {
                if let Err(e) = artifact::relocate(&staging, &aside) {
                    log::warn!("the folder that was there keeps the name {}: {e}", staging.display());
                    return Ok(Some(staging));
                }
            }
            // The file system knows no exchange. A crash in between leaves both under other names, and nothing lost.
            Err(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
                artifact::relocate(root, &aside).map_err(|e| self.of_swap(e, &staging))?;
                artifact::take_name(&staging, root).map_err(|e| self.put_aside_back(e, &aside, &staging))?;
            }
            Err(e) => return Err(self.of_swap(e, &staging)),
        }
        Ok(Some(aside))
    }

    fn put_aside_back(&self, error: std::io::Error, aside: &Path, staging: &Path) -> Error {
        let failure = self.of_swap(error, staging);
        match artifact::relocate(aside, self.folder.path()) {
            Ok(()) => failure,
            Err(e) => add_to(
                failure,
                &format!("the folder that was there is {} and could not be moved back: {e}", aside.display()),
            ),
        }
    }

    fn of_swap(&self, error: std::io::Error, staging: &Path) -> Error {
        let (root, staging) = (self.folder.path().display(), staging.display());
        let what = match error.kind() {
            ErrorKind::ResourceBusy | ErrorKind::CrossesDevices => format!(
                "{root} is a mount point, which cannot be given another content in one step: unmount it, or restore \
                 with --set shared.dir=FOLDER and mount that"
            ),
            _ => error.to_string(),
        };
        Error::Failed(format!("{what}; the restored folder is {staging}"))
    }

    /// A name beside the shared folder.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.folder.path().as_os_str().to_owned();
        name.push(format!(".{suffix}"));
        PathBuf::from(name)
    }

    fn copy_to(&self, staging: &Path) -> Result<(), Error> {
        let mut own = staging.to_owned();
        manifest::read(&self.dir, &mut |part| {
            self.require_time()?;
            let to = match part.database {
                None => Path::new(&part.path)
                    .strip_prefix(FILES)
                    .map(Path::to_owned)
                    .map_err(|_| Error::Failed(format!("the manifest names '{}', which is no part", part.path)))?,
                Some(database) => match self.place_of(database)? {
                    Ok(place) => place,
                    Err(_) => return Ok(()),
                },
            };
            let (from, to) = (self.path_of(&part)?, staging.join(to));
            let folder = to.parent().unwrap_or(staging);
            if folder != own {
                artifact::create_folder(folder)?;
                artifact::sync_folder(&own)?;
                folder.clone_into(&mut own);
            }
            let found = artifact::copy_new(&mut artifact::open(&from)?, &to)?;
            if (found.bytes, found.sha256) != (part.bytes, part.sha256) {
                return Err(corrupt(&from, &part, found.bytes, &found.sha256.to_string()));
            }
            Ok(())
        })?;
        Ok(artifact::sync_folder(&own)?)
    }
}

fn corrupt(path: &Path, part: &Part, bytes: u64, sha256: &str) -> Error {
    Error::Failed(format!(
        "corrupt: {} has {bytes} bytes, SHA-256 {sha256}; the manifest says {} bytes, SHA-256 {}; take another backup",
        path.display(),
        part.bytes,
        part.sha256
    ))
}

fn add_to(error: Error, what: &str) -> Error {
    match error {
        Error::Usage(why) => Error::Usage(format!("{why}; {what}")),
        Error::Failed(why) => Error::Failed(format!("{why}; {what}")),
        Error::TryLater(why) => Error::TryLater(format!("{why}; {what}")),
    }
}
