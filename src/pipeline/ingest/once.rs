//! One pass of the ingest: announces files that are not announced, cuts posted lines into event files, and makes a
//! flush file if returns are due. It does not disturb a running ingest on the same folder: a spool belongs to the
//! process that writes it, and a file that is announced twice counts once.

use std::fmt;
use std::io;

use super::announce::{AnnounceError, Announcer};
use super::journal::{Journal, Published};
use crate::base::boot::Failure;
use crate::base::clock::Clock;
use crate::base::shutdown::Stop;
use crate::base::text::count;
use crate::pipeline::apid::client::{Client, ClientError};
use crate::pipeline::cache::client::CacheClient;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::settings::{Settings, principal};
use crate::pipeline::task::FileName;
use crate::pipeline::trade::Backlog;

/// One pass of the ingest. Blocking: call it from blocking threads only.
pub struct Once {
    folder: Folder,
    client: Client,
    cache: CacheClient,
    announcer: Announcer,
    clock: Clock,
    stop: Stop,
}

/// What one pass made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Made {
    /// Event files that were there and not announced.
    pub announced: u64,
    /// Event files that were cut from posted lines.
    pub cut: u64,
    /// How many returns are due, where a flush file was made for them.
    pub flushed: Option<u64>,
    /// Tasks that are neither delivered nor failed, the new ones included.
    pub open: u64,
}

impl Made {
    /// Whether nothing was to be done, here or by the stages.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nothing() {
            return f.write_str("nothing to do: no file to announce, no return due, no task open");
        }
        let (announced, cut) = (count(self.announced, "file"), count(self.cut, "file"));
        write!(f, "{announced} announced, {cut} cut from posts, ")?;
        match self.flushed {
            Some(due) => write!(f, "a flush file made for {} due, ", count(due, "return"))?,
            None => f.write_str("no flush file, ")?,
        }
        write!(f, "{} open", count(self.open, "task"))
    }
}

/// Why a pass could not be finished. What it made by then stays.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// A service does not answer, or refuses.
    #[error(transparent)]
    Call(#[from] ClientError),
    /// The folder cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The API does not take so many files; the log says why.
    #[error("{} written but could not be announced, see above", count(*.0 as u64, "event file"))]
    Unannounced(usize),
}

impl From<AnnounceError> for OnceError {
    fn from(error: AnnounceError) -> Self {
        match error {
            AnnounceError::Unavailable(e) | AnnounceError::Refused(e) => Self::Call(e),
            AnnounceError::Unreadable(e) => Self::Io(e),
        }
    }
}

impl Once {
    /// A pass over the folder of these settings.
    pub fn new(settings: &Settings, clock: Clock, stop: Stop) -> Self {
        Self {
            folder: Folder::new(&settings.shared.dir),
            client: Client::new(&settings.pipeline.url),
            cache: CacheClient::of(settings, principal::EVENT_INGEST),
            announcer: Announcer::new(settings),
            clock,
            stop,
        }
    }

    /// Does everything that is to be done now. While tasks are open no flush file is made: they take up what is due.
    ///
    /// # Errors
    /// [`OnceError`]; the same call may be made again.
    pub fn run(&mut self) -> Result<Made, OnceError> {
        let announced = self.announcer.compare(&self.stop)?.unannounced;
        let cut = self.publish(false)?;
        let mut made = Made { announced, cut, flushed: None, open: self.open()?.0 };
        if made.open == 0 && !self.stop.is_requested() {
            let due = self.backlog()?.due;
            if due > 0 {
                self.flush()?;
                made = Made { flushed: Some(due), open: self.open()?.0, ..made };
            }
        }
        Ok(made)
    }

    /// Makes a flush file and announces it.
    ///
    /// # Errors
    /// [`OnceError`].
    pub fn flush(&mut self) -> Result<(), OnceError> {
        self.publish(true).map(drop)
    }

    /// How many returns wait, and how many of them are due.
    ///
    /// # Errors
    /// [`ClientError`] when the cache-service does not answer.
    pub fn backlog(&self) -> Result<Backlog, ClientError> {
        self.cache.backlog()
    }

    /// How many tasks are neither delivered nor failed, and how many there are.
    ///
    /// # Errors
    /// [`ClientError`] when the API does not answer.
    pub fn open(&self) -> Result<(u64, u64), ClientError> {
        self.client.summary().map(|summary| (summary.open(), summary.total))
    }

    /// Turns what is spooled into event files, or makes one without lines if there must be one, and announces all.
    fn publish(&mut self, is_flush: bool) -> Result<u64, OnceError> {
        let mut spool = Journal::open(self.folder.clone())?;
        let name = FileName::of(self.clock.now());
        let Published { files, .. } = if is_flush { spool.publish_flush(&name)? } else { spool.publish(&name, &[])? };
        let count = files.len() as u64;
        files.into_iter().for_each(|file| self.announcer.add_fresh(file));
        self.announcer.announce_all()?;
        match self.announcer.pending() {
            0 => Ok(count),
            pending => Err(OnceError::Unannounced(pending)),
        }
    }
}

impl From<OnceError> for Failure {
    fn from(error: OnceError) -> Self {
        match error {
            OnceError::Call(e) => e.into(),
            other => Self::new(other.to_string()),
        }
    }
}
