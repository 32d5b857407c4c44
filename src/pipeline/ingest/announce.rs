//! Announces event files to the API, again and again until the API knows them (docs/contracts.md, 3, docs/semantics.md, 3).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::publish_at_free_name;
use crate::base::config::Principal;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::client::{Client, ClientError};
use crate::pipeline::calls::CallObserver;
use crate::pipeline::event::ShardCount;
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::settings::{Settings, principal};
use crate::pipeline::task::wire::FileResponse;
use crate::pipeline::task::{Digest, FileName, Output, Stage, Status};

/// Announces the files of one folder. Blocking: call it from blocking threads only.
pub struct Announcer {
    client: Client,
    folder: Folder,
    count: ShardCount,
    pending: BTreeSet<FileName>,
    /// Files that were just written and not announced yet: only those may still change their names.
    fresh: BTreeSet<FileName>,
    /// Files that are known to be what the API was told, or known to differ.
    told: BTreeSet<FileName>,
    /// Files that any process announced before, as these bytes, and that this process has not read yet.
    unread: BTreeMap<FileName, Digest>,
}

/// Why announcing stopped, or what became of one file.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The API does not answer, or not to us: no other file has a better chance now.
    #[error(transparent)]
    Unavailable(ClientError),
    /// The API does not take this file.
    #[error(transparent)]
    Refused(ClientError),
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

/// What comparing the folder with the API found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Files of the folder that the API does not know as complete: they will be announced.
    pub unannounced: u64,
    /// Files that the API waits for and that are not in the folder.
    pub missing: u64,
}

impl From<ClientError> for AnnounceError {
    fn from(error: ClientError) -> Self {
        if error.is_temporary() { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}

impl Announcer {
    /// An announcer for the folder and the API of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self::of(settings, principal::EVENT_INGEST)
    }

    /// The same for another principal than the event-ingest.
    pub fn of(settings: &Settings, principal: Principal) -> Self {
        Self {
            client: Client::of(settings, principal),
            folder: Folder::new(&settings.shared.dir),
            count: settings.pipeline.shards_count,
            pending: BTreeSet::new(),
            fresh: BTreeSet::new(),
            told: BTreeSet::new(),
            unread: BTreeMap::new(),
        }
    }

    /// The same with an observer of its calls.
    pub fn observed(self, observer: CallObserver) -> Self {
        Self { client: self.client.observed(observer), ..self }
    }

    /// Notes a file that was just written.
    pub fn add_fresh(&mut self, file: FileName) {
        self.fresh.insert(file.clone());
        self.pending.insert(file);
    }

    /// Notes a file that may have been announced before.
    pub fn add_known(&mut self, file: FileName) {
        self.pending.insert(file);
    }

    /// Files that the API was not told of yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Tries to announce every file that is noted; those that cannot be announced now stay noted.
    ///
    /// # Errors
    /// [`AnnounceError::Unavailable`], after which no further file was tried.
    pub fn announce_all(&mut self) -> Result<(), AnnounceError> {
        self.announce_until(&|| false)
    }

    /// The same, until it is over.
    ///
    /// # Errors
    /// As for [`Self::announce_all`].
    pub fn announce_until(&mut self, is_over: &dyn Fn() -> bool) -> Result<(), AnnounceError> {
        for file in self.pending.clone() {
            if is_over() {
                break;
            }
            match self.announce(&file) {
                Ok(name) => {
                    self.pending.remove(&file);
                    self.fresh.remove(&file);
                    self.told.insert(name);
                }
                Err(e @ AnnounceError::Unavailable(_)) => return Err(e),
                Err(e) => log::error!(file = file.as_str(); "cannot be announced: {e}"),
            }
        }
        Ok(())
    }

    /// Announces one file; answers the name that it has then.
    fn announce(&self, file: &FileName) -> Result<FileName, AnnounceError> {
        let output = match self.output(file) {
            // Delivered and cleared since: there is nothing to announce if the API knows it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return self.expect_known(file, e).map(|()| file.clone());
            }
            output => output?,
        };
        let mut name = file.clone();
        while let Err(e) = self.tell(&name, output) {
            let name_is_used = matches!(&e, ClientError::Refused { code, .. } if code == "other_content");
            // Renaming a file that was announced before would deliver its lines a second time.
            if !name_is_used || !self.fresh.contains(file) {
                return Err(e.into());
            }
            // The API remembers another file of this name, which was cleared here: a clock was set back, or files of an
            // import reached into the future. This one gets the next free name.
            let from = self.folder.path_of(&Artifact::Events(name.clone()));
            name = publish_at_free_name(&self.folder, &from, name.next_second())?;
            log::warn!(file = file.as_str(), new_name = name.as_str(); "the name was used before; renamed");
        }
        log::info!(stage = Stage::EventIngest.name(), file = name.as_str(), lines = output.lines, bytes = output.bytes; "announced");
        Ok(name)
    }

    fn tell(&self, file: &FileName, output: Output) -> Result<(), ClientError> {
        match self.client.register(file, self.count.shards().collect()) {
            // Registered before with another number of shards, which it keeps.
            Err(ClientError::Refused { code, .. }) if code == "other_shards" => {}
            result => drop(result?),
        }
        self.client.ingest_done(file, Some(output)).map(drop)
    }

    fn expect_known(&self, file: &FileName, error: io::Error) -> Result<(), AnnounceError> {
        match self.client.find_file(file)? {
            Some(known) if known.all_done(Stage::EventIngest) => Ok(()),
            _ => Err(error.into()),
        }
    }

    fn output(&self, file: &FileName) -> io::Result<Output> {
        artifact::digest(&mut artifact::open(&self.folder.path_of(&Artifact::Events(file.clone())))?)
    }

    /// Compares the folder with the API in both directions and notes what is not announced. What is announced is noted
    /// for [`Self::read_back`]. A stop ends it with nothing noted.
    ///
    /// # Errors
    /// [`AnnounceError`] when the folder cannot be read or the API does not answer.
    pub fn compare(&mut self, stop: &Stop) -> Result<Compared, AnnounceError> {
        let present = self.files()?;
        let mut announced = BTreeMap::new();
        self.client.for_each_of(&present, |known| {
            if known.all_done(Stage::EventIngest) {
                let output = known.announced();
                announced.insert(known.filename, output);
            }
            !stop.is_requested()
        })?;
        let mut missing = BTreeSet::new();
        for unfinished in [Status::New, Status::Started, Status::Failed] {
            if stop.is_requested() {
                return Ok(Compared::default());
            }
            let mut look = |known: FileResponse| {
                if !present.contains(&known.filename) {
                    missing.insert(known.filename);
                }
            };
            self.client.for_each_in(Stage::EventIngest, unfinished, &mut look)?;
        }
        if !missing.is_empty() {
            // It may have come since the folder was looked at: an import writes it first, and then registers it.
            let now = self.files()?;
            missing.retain(|file| !now.contains(file));
        }
        for file in &missing {
            log::error!(file = file.as_str(); "is registered but its event file is not in the folder");
        }
        let unannounced = self.note(present, &announced);
        Ok(Compared { unannounced, missing: missing.len() as u64 })
    }

    /// Notes what is to be done about the files of the folder; answers how many are to be announced.
    fn note(&mut self, present: BTreeSet<FileName>, announced: &BTreeMap<FileName, Option<Output>>) -> u64 {
        self.told.retain(|file| present.contains(file));
        self.pending.retain(|file| present.contains(file));
        self.unread.clear();
        let mut unannounced = 0;
        for file in present {
            if self.told.contains(&file) {
                continue;
            }
            match announced.get(&file) {
                None => {
                    unannounced += 1;
                    self.pending.insert(file);
                }
                Some(Some(output)) => drop(self.unread.insert(file, output.sha256)),
                // Announced by a client that reports no digest: its name is all there is.
                Some(None) => drop(self.told.insert(file)),
            }
        }
        unannounced
    }

    /// Reads what was announced before, file by file, until it is over; answers how many files are not what was
    /// announced under their names. Those are left alone for a person to look at: a file may be damaged, or another one
    /// that came by its name. Each file is read once for that in the life of a process.
    pub fn read_back(&mut self, is_over: &dyn Fn() -> bool) -> u64 {
        let mut different = 0;
        while !is_over()
            && let Some((file, announced)) = self.unread.pop_first()
        {
            match self.output(&file) {
                Ok(found) if found.sha256 == announced => {}
                // Delivered and cleared since.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                _ => {
                    different += 1;
                    log::error!(file = file.as_str(); "differs from what was announced under its name, see 'shopctl audit'");
                }
            }
            self.told.insert(file);
        }
        different
    }

    /// Announced files that this process has not read yet.
    pub fn unread(&self) -> usize {
        self.unread.len()
    }

    fn files(&self) -> io::Result<BTreeSet<FileName>> {
        let names = artifact::list(&self.folder.events())?;
        Ok(names
            .iter()
            .filter_map(|name| match Artifact::from_file_name(name) {
                Some(Artifact::Events(file)) => Some(file),
                _ => None,
            })
            .collect())
    }
}
