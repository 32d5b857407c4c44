//! Posted lines on their way into an event file. The spool *becomes* the event file by one rename, so that no crash can
//! lose an acknowledged line or publish it twice. The process that writes a spool locks it: another ingest on the same
//! folder takes over only spools that no process holds.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::publish_at_free_name;
use crate::pipeline::claim::driver::random_id;
use crate::pipeline::files::artifact::{self, Draft};
use crate::pipeline::files::folder::Folder;
use crate::pipeline::task::FileName;

/// Bytes read at a time while looking for the last complete line.
const BLOCK_BYTES: u64 = 64 * 1024;
/// How the name of a spool ends.
const SUFFIX: &str = ".spool";
/// Bytes that must fit on the disk again before it counts as having room: a post of common size.
const ROOM_BYTES: usize = 1024 * 1024;

/// The lines of the present tick.
pub struct Journal {
    folder: Folder,
    current: Option<Open>,
    /// Closed spools that are not published yet: of earlier runs, or closed by a fault.
    sealed: Vec<Open>,
    /// Whether the last lines could not be made durable.
    is_refusing: bool,
}

/// What became of a tick.
#[derive(Debug)]
pub struct Published {
    /// The new event files.
    pub files: Vec<FileName>,
    /// Why the lines that were not acknowledged are in none of them.
    pub dropped: Option<io::Error>,
    /// Why posted lines cannot be made durable, if they could not and still cannot.
    pub refusing: Option<io::Error>,
}

struct Open {
    path: PathBuf,
    file: File,
    /// Everything before this is acknowledged.
    durable: u64,
}

impl Journal {
    /// Opens the spool and takes over what an earlier run left: its acknowledged lines are whole, a torn last line was
    /// never acknowledged and is cut off.
    ///
    /// # Errors
    /// Whatever reading the folder fails with.
    pub fn open(folder: Folder) -> io::Result<Self> {
        artifact::create_folder(&spool_folder(&folder))?;
        let mut spool = Self { folder, current: None, sealed: Vec::new(), is_refusing: false };
        spool.take_over()?;
        Ok(spool)
    }

    /// Takes over the spools that no process holds: those of an ingest that is gone. One that cannot be read must not
    /// keep the others from being published.
    fn take_over(&mut self) -> io::Result<()> {
        let own = spool_folder(&self.folder);
        for name in artifact::list(&own)?.into_iter().filter(|name| name.ends_with(SUFFIX)) {
            let path = own.join(name);
            if self.sealed.iter().chain(&self.current).any(|open| open.path == path) {
                continue;
            }
            match take_over_one(&path) {
                Ok(taken) => self.sealed.extend(taken),
                Err(e) => log::error!(path:% = path.display(); "cannot take over posted events: {e}"),
            }
        }
        Ok(())
    }

    /// Whether anything waits to be published.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.sealed.is_empty()
    }

    /// Appends complete lines and makes them durable. One call is one fsync, however many posts it carries.
    ///
    /// # Errors
    /// When writing or syncing fails: none of these lines counts then, all earlier ones do. The spool is closed and
    /// the next call begins a new one, because a failed fsync must not be repeated (docs/semantics.md, 3).
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let appended = self.append_to_current(lines);
        self.is_refusing = appended.is_err();
        appended
    }

    fn append_to_current(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = match self.current.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        match open.file.write_all(lines).and_then(|()| open.file.sync_data()) {
            Ok(()) => {
                open.durable += lines.len() as u64;
                self.current = Some(open);
                Ok(())
            }
            Err(e) => {
                self.close_after_fault(open);
                Err(e)
            }
        }
    }

    /// Publishes everything as event files, the first of them with this name or the next free one. `more` lines,
    /// which were not acknowledged, go into the last file.
    ///
    /// # Errors
    /// When something cannot be published; it stays for the next call.
    pub fn publish(&mut self, name: &FileName, more: &[u8]) -> io::Result<Published> {
        // What was acknowledged needs no more room to be published, so that a full disk is no reason to stop here.
        let dropped = if more.is_empty() { None } else { self.append(more).err() };
        if let Err(e) = self.take_over() {
            log::error!("cannot look for posted events that were left behind: {e}");
        }
        if let Some(open) = self.current.take() {
            self.sealed.push(open);
        }
        let (mut files, mut name) = (Vec::new(), name.clone());
        while let Some(open) = self.sealed.first() {
            match publish_at_free_name(&self.folder, &open.path, name.clone()) {
                Ok(given) => {
                    name = given.next_second();
                    files.push(given);
                }
                // It has its name already, and only the folder could not be synced then. The comparison of the folder
                // with the API finds it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    log::warn!(path:% = open.path.display(); "was published before: {e}");
                }
                Err(e) => return Err(e),
            }
            self.sealed.remove(0);
        }
        let refusing = if self.is_refusing { self.try_room().err() } else { None };
        self.is_refusing = refusing.is_some();
        Ok(Published { files, dropped, refusing })
    }

    /// Publishes a file even if nothing was appended.
    ///
    /// # Errors
    /// As for [`Self::publish`].
    pub fn publish_flush(&mut self, name: &FileName) -> io::Result<Published> {
        if self.is_empty() {
            self.current = Some(self.begin()?);
        }
        self.publish(name, &[])
    }

    /// Whether lines could be made durable again. Posts are refused until then, so that no post would find out.
    fn try_room(&self) -> io::Result<()> {
        let mut draft = Draft::create(&self.folder.events().join("room"), 0)?;
        draft.write_all(&vec![0; ROOM_BYTES])?;
        draft.seal().map(drop)
    }

    fn begin(&self) -> io::Result<Open> {
        let (id, own) = (random_id(), spool_folder(&self.folder));
        // Locked before it has the name by which another ingest would find it.
        let (hidden, path) = (self.folder.events().join(format!(".{id}.spool.tmp")), own.join(format!("{id}{SUFFIX}")));
        let file = artifact::create_new(&hidden)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        artifact::relocate(&hidden, &path)?;
        Ok(Open { path, file, durable: 0 })
    }

    fn close_after_fault(&mut self, open: Open) {
        match open.file.set_len(open.durable) {
            Ok(()) if open.durable > 0 => self.sealed.push(open),
            Ok(()) => {
                if let Err(e) = artifact::remove(&open.path) {
                    log::warn!("{e}");
                }
            }
            // Lines that were refused may stay in the file. That is safe: their senders will post them again, and
            // the worker knows them by their keys.
            Err(e) => {
                log::warn!(path:% = open.path.display(); "cannot cut refused lines off the spool: {e}");
                self.sealed.push(open);
            }
        }
    }
}

fn spool_folder(folder: &Folder) -> PathBuf {
    folder.events().join("spool")
}

/// Bytes of acknowledged lines that are no event file yet, for the audit.
///
/// # Errors
/// Whatever reading the folder fails with.
pub fn waiting_bytes(folder: &Folder) -> io::Result<u64> {
    let own = spool_folder(folder);
    let mut bytes = 0;
    for name in artifact::list(&own)? {
        match artifact::size(&own.join(name)) {
            Ok(size) => bytes += size,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(bytes)
}

/// Locks a spool and cuts off its torn last line; an empty one is removed.
fn take_over_one(path: &Path) -> io::Result<Option<Open>> {
    let Some(mut file) = lock(path)? else {
        return Ok(None);
    };
    match cut_torn_line(&mut file, path)? {
        0 => artifact::remove(path).map(|_| None),
        durable => Ok(Some(Open { path: path.to_owned(), file, durable })),
    }
}

/// Opens and locks a spool; nothing if it is gone or another process holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = match artifact::open_for_update(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(e) => {
            return Err(io::Error::new(io::Error::from(e).kind(), format!("cannot lock {}: {e}", path.display())));
        }
    }
    // Between opening and locking it may have become an event file: then this name is gone, or another file's.
    let same = artifact::is_name_of(path, &file).unwrap_or(false);
    Ok(same.then_some(file))
}

/// Cuts off what follows the last line feed; answers the length that is left.
fn cut_torn_line(file: &mut File, path: &Path) -> io::Result<u64> {
    let mut end = file.seek(io::SeekFrom::End(0))?;
    let length = end;
    let mut whole = 0;
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        let mut block = vec![0; usize::try_from(end - start).unwrap_or_default()];
        file.seek(io::SeekFrom::Start(start))?;
        io::Read::read_exact(file, &mut block)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            whole = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    if whole < length {
        file.set_len(whole)?;
        file.sync_all()?;
        log::warn!(path:% = path.display(), bytes = length - whole; "cut off a line that was never acknowledged");
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;
    use crate::pipeline::files::folder::Artifact;

    fn name(text: &str) -> FileName {
        text.parse().unwrap()
    }

    fn content(folder: &Folder, file: &FileName) -> String {
        std::fs::read_to_string(folder.path_of(&Artifact::Events(file.clone()))).unwrap()
    }

    #[test]
    fn acknowledged_lines_survive_a_crash_once_and_a_torn_one_does_not() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let mut spool = Journal::open(folder.clone()).unwrap();
        spool.append(b"a\nb\n").unwrap();
        let path = spool.current.as_ref().unwrap().path.clone();
        drop(spool);
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(&vec![b'x'; 200_000]).unwrap();
        let mut again = Journal::open(folder.clone()).unwrap();
        again.append(b"c\n").unwrap();
        let files = again.publish(&name("20250101000000"), b"generated\n").unwrap().files;
        assert_eq!(files, [name("20250101000000"), name("20250101000001")]);
        assert_eq!(content(&folder, &files[0]), "a\nb\n");
        assert_eq!(content(&folder, &files[1]), "c\ngenerated\n");
        assert!(Journal::open(folder).unwrap().is_empty(), "nothing is published twice");
    }

    #[test]
    fn a_spool_that_another_ingest_writes_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let mut first = Journal::open(folder.clone()).unwrap();
        first.append(b"a\n").unwrap();
        let mut second = Journal::open(folder.clone()).unwrap();
        assert!(second.is_empty());
        first.append(b"b\n").unwrap();
        let tick = name("20250101000000");
        assert!(second.publish(&tick, b"").unwrap().files.is_empty());
        assert_eq!(content(&folder, &first.publish(&tick, b"").unwrap().files[0]), "a\nb\n");
    }

    #[test]
    fn something_strange_in_the_folder_keeps_nothing_from_being_published() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let mut spool = Journal::open(folder.clone()).unwrap();
        spool.append(b"a\n").unwrap();
        std::fs::write(temp.path().join("victim"), "whole\ntorn").unwrap();
        std::os::unix::fs::symlink(temp.path().join("victim"), folder.events().join("spool/x.spool")).unwrap();
        let files = spool.publish(&name("20250101000000"), b"").unwrap().files;
        assert_eq!(content(&folder, &files[0]), "a\n");
        assert!(Journal::open(folder).is_ok());
        assert_eq!(
            std::fs::read_to_string(temp.path().join("victim")).unwrap(),
            "whole\ntorn",
            "links are not followed"
        );
    }

    #[test]
    fn a_taken_name_is_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        std::fs::create_dir_all(folder.events()).unwrap();
        std::fs::write(folder.path_of(&Artifact::Events(name("20250101000000"))), "theirs\n").unwrap();
        let mut spool = Journal::open(folder.clone()).unwrap();
        assert!(spool.publish(&name("20250101000000"), b"").unwrap().files.is_empty(), "nothing posted, no file");
        let files = spool.publish(&name("20250101000000"), b"ours\n").unwrap().files;
        assert_eq!(files, [name("20250101000001")]);
        assert_eq!(content(&folder, &name("20250101000000")), "theirs\n");
    }
}
