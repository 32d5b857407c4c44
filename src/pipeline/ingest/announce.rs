//! Tells the API about event files, and again until it knows (contracts 3, semantics 3).

use std::collections::BTreeSet;
use std::io;

use crate::config::Settings;
use crate::event::ShardCount;
use crate::pipeline::artifact;
use crate::pipeline::client::{Client, ClientError};
use crate::pipeline::fault::Fault;
use crate::pipeline::folder::{Artifact, Folder};
use crate::task::{FileName, Stage};

/// Announces the files of one folder. Blocking: call it from blocking threads only.
pub struct Announcer {
    client: Client,
    folder: Folder,
    count: ShardCount,
    pending: BTreeSet<FileName>,
}

/// What comparing the folder with the API found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Files of the folder that the API does not know as complete: they will be announced.
    pub unannounced: u64,
    /// Files that the API waits for and that are not in the folder.
    pub missing: u64,
}

impl Announcer {
    /// An announcer for the folder and the API of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            client: Client::new(&settings.pipeline.url),
            folder: Folder::new(&settings.shared.dir),
            count: settings.pipeline.shards_count,
            pending: BTreeSet::new(),
        }
    }

    /// Notes a new file.
    pub fn add(&mut self, file: FileName) {
        self.pending.insert(file);
    }

    /// Files that the API was not told of yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Tries to announce every file that is noted; those that cannot be announced now stay noted.
    ///
    /// # Errors
    /// The first fault, after which no further file was tried: the API does not answer.
    pub fn announce_all(&mut self) -> Result<u64, Fault> {
        let mut announced = 0;
        for file in self.pending.clone() {
            match self.announce(&file) {
                Ok(()) => announced += 1,
                Err(Fault::Surroundings(why)) => return Err(Fault::Surroundings(why)),
                // Saying it again would not help; the comparison at the next start will find it again.
                Err(fault) => log::error!(file = file.as_str(); "cannot be announced: {fault}"),
            }
            self.pending.remove(&file);
        }
        Ok(announced)
    }

    fn announce(&self, file: &FileName) -> Result<(), Fault> {
        let path = self.folder.path_of(&Artifact::Events(file.clone()));
        let output = artifact::digest(&mut artifact::open(&path)?)?;
        match self.client.register(file, self.count.shards().collect()) {
            // Registered before with another number of shards, which it keeps.
            Err(ClientError::Refused { code, .. }) if code == "other_shards" => {}
            result => drop(result?),
        }
        self.client.ingest_done(file, Some(output))?;
        log::info!(stage = Stage::EventIngest.name(), file = file.as_str(), lines = output.lines, bytes = output.bytes; "announced");
        Ok(())
    }

    /// Compares the folder with the API in both directions and notes what is not announced.
    ///
    /// # Errors
    /// [`Fault`] when the folder cannot be read or the API does not answer.
    pub fn compare(&mut self) -> Result<Compared, Fault> {
        let mut unknown = self.files()?;
        let mut compared = Compared::default();
        self.client.for_each_file(|known| {
            let present = unknown.contains(&known.filename);
            let announced = known.all_done(Stage::EventIngest);
            if announced {
                unknown.remove(&known.filename);
            } else if !present {
                compared.missing += 1;
                log::error!(file = known.filename.as_str(); "is registered but its event file is not in the folder");
            }
        })?;
        compared.unannounced = unknown.len() as u64;
        self.pending.extend(unknown);
        Ok(compared)
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
