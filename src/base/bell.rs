//! Wakes what waits for changes of an embedded database, in this process and in others, without polling.
//!
//! A commit of SQLite cannot be watched: the write of its log comes before other processes see what is in it. So the
//! process that changes something writes a byte into a file beside the database after the commit, and inotify tells those
//! that wait. A process that is killed between the commit and the byte wakes no other: what waits looks again by itself
//! after some seconds.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::base::db::{Error, Result};

/// Where the system has no inotify, or no instance of it is left: how often those that wait look by themselves.
const FALLBACK: Duration = Duration::from_millis(50);

/// The bell of one database.
pub(crate) struct Bell {
    file: File,
    rung: watch::Receiver<u64>,
    watcher: JoinHandle<()>,
}

/// Waits for the bell.
#[derive(Clone)]
pub struct Ear(watch::Receiver<u64>);

impl Bell {
    /// Opens the bell of the database in this file.
    pub(crate) fn open(database: &Path) -> Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-bell");
        let path = PathBuf::from(path);
        let failed = |e: std::io::Error| Error::unavailable(format!("{}: {e}", path.display()));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let (sender, rung) = watch::channel(0);
        let watcher = tokio::spawn(listen(path.clone(), sender));
        Ok(Self { file, rung, watcher })
    }

    /// Wakes all that wait.
    pub(crate) fn ring(&self) {
        if let Err(e) = self.file.write_at(b"!", 0) {
            log::warn!(err:% = e; "what waits for changes of this database was not woken; it looks again within seconds");
        }
    }

    /// Something to wait with.
    pub(crate) fn ear(&self) -> Ear {
        Ear(self.rung.clone())
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Ear {
    /// Forgets what was rung. Called before looking: what is rung from then on is heard by [`Ear::wait`].
    pub fn reset(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for the bell, at most so long.
    pub async fn wait(&mut self, at_most: Duration) {
        // The sender lives as long as the bell. After it nothing comes, and the wait is the time.
        let rung = tokio::time::timeout(at_most, self.0.changed()).await;
        if matches!(rung, Ok(Err(_))) {
            tokio::time::sleep(at_most).await;
        }
    }
}

#[cfg(target_os = "linux")]
async fn listen(path: PathBuf, sender: watch::Sender<u64>) {
    if let Err(e) = watch_file(&path, &sender).await {
        let path = path.display();
        log::warn!(err:% = e, path:%; "the database is polled: changes of its bell file cannot be watched");
        poll(&sender).await;
    }
}

#[cfg(not(target_os = "linux"))]
async fn listen(_: PathBuf, sender: watch::Sender<u64>) {
    poll(&sender).await;
}

/// Rings whenever the file is written. Ends with the error that makes this impossible.
#[cfg(target_os = "linux")]
async fn watch_file(path: &Path, sender: &watch::Sender<u64>) -> std::io::Result<()> {
    use std::mem::MaybeUninit;

    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let inotify = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    add_watch(&inotify, path, WatchFlags::MODIFY)?;
    #[expect(
        deprecated,
        reason = "sound for a descriptor that is never replaced; what is said to use instead is unsafe"
    )]
    let inotify = AsyncFd::with_interest(inotify, Interest::READABLE)?;
    // Room for one event: all are alike, and those that wait are read by the loop.
    let mut buffer = [MaybeUninit::uninit(); 512];
    loop {
        let mut ready = inotify.readable().await?;
        let mut events = Reader::new(ready.get_inner(), &mut buffer);
        loop {
            match events.next() {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(e) => return Err(e.into()),
            }
        }
        ready.clear_ready();
        sender.send_modify(|rung| *rung = rung.wrapping_add(1));
    }
}

async fn poll(sender: &watch::Sender<u64>) {
    loop {
        tokio::time::sleep(FALLBACK).await;
        sender.send_modify(|rung| *rung = rung.wrapping_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_is_heard_through_another_opening_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("bus.sqlite");
        let (one, other) = (Bell::open(&database).unwrap(), Bell::open(&database).unwrap());
        let mut ear = one.ear();
        // Until the watch stands, rings go unheard: ring until one is heard.
        let ring = async {
            loop {
                other.ring();
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = ring => unreachable!("it goes on for ever"),
            heard = tokio::time::timeout(Duration::from_secs(30), ear.0.changed()) => heard.unwrap().unwrap(),
        }
        // From here on one ring is enough, also one that came before the wait.
        ear.reset();
        other.ring();
        tokio::time::timeout(Duration::from_secs(30), ear.0.changed()).await.unwrap().unwrap();
    }
}
