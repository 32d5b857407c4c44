//! Posted lines on their way into an event file. The spool *becomes* the event file by one rename, so that no crash
//! can lose an acknowledged line or publish it twice. A spool is locked by the process that writes it: another ingest
//! on the same folder takes over only what nobody holds.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::pipeline::artifact;
use crate::pipeline::driver::random_id;
use crate::pipeline::folder::{Artifact, Folder};
use crate::task::FileName;

/// Bytes read at a time while looking for the last complete line.
const BLOCK_BYTES: u64 = 64 * 1024;

/// The lines of the present tick.
pub struct Spool {
    folder: Folder,
    current: Option<Open>,
    /// Closed spools that are not published yet: of earlier runs, or closed by a fault.
    sealed: Vec<Open>,
}

struct Open {
    path: PathBuf,
    file: File,
    /// Everything before this is acknowledged.
    durable: u64,
}

impl Spool {
    /// Opens the spool and takes over what an earlier run left: its acknowledged lines are whole, a torn last line was
    /// never acknowledged and is cut off.
    ///
    /// # Errors
    /// Whatever reading the folder fails with.
    pub fn open(folder: Folder) -> io::Result<Self> {
        let own = spool_folder(&folder);
        artifact::create_folder(&own)?;
        let mut sealed = Vec::new();
        for name in artifact::list(&own)? {
            let path = own.join(name);
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                log::info!(path:% = path.display(); "another ingest writes this spool");
                continue;
            }
            match cut_torn_line(&mut file, &path)? {
                0 => drop(artifact::remove(&path)?),
                durable => sealed.push(Open { path, file, durable }),
            }
        }
        Ok(Self { folder, current: None, sealed })
    }

    /// Whether anything waits to be published.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.sealed.is_empty()
    }

    /// Appends complete lines and makes them durable. One call is one fsync, however many posts it carries.
    ///
    /// # Errors
    /// When writing or syncing fails: none of these lines counts then, all earlier ones do. The spool is closed and
    /// the next call begins a new one, because a failed fsync must not be repeated (semantics 3).
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
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
    /// which nobody was promised, go into the last file.
    ///
    /// # Errors
    /// When something cannot be written; what is not published stays for the next call.
    pub fn publish(&mut self, name: &FileName, more: &[u8]) -> io::Result<Vec<FileName>> {
        if !more.is_empty()
            && let Err(e) = self.append(more)
        {
            // What was acknowledged needs no more room to be published.
            log::error!(bytes = more.len(); "generated events were dropped: {e}");
        }
        if let Some(open) = self.current.take() {
            self.sealed.push(open);
        }
        let (mut published, mut name) = (Vec::new(), name.clone());
        while let Some(open) = self.sealed.first() {
            name = publish_at_free_name(&self.folder, &open.path, name)?;
            self.sealed.remove(0);
            published.push(name.clone());
            name = name.next_second();
        }
        Ok(published)
    }

    fn begin(&self) -> io::Result<Open> {
        let (id, own) = (random_id(), spool_folder(&self.folder));
        // Locked before it has the name by which another ingest would find it.
        let (hidden, path) = (self.folder.events().join(format!(".{id}.spool.tmp")), own.join(format!("{id}.spool")));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&hidden)?;
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

/// Renames a file into the events folder; on a taken name the next second is tried (semantics 3).
fn publish_at_free_name(folder: &Folder, path: &Path, mut name: FileName) -> io::Result<FileName> {
    loop {
        match artifact::relocate(path, &folder.path_of(&Artifact::Events(name.clone()))) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => name = name.next_second(),
            result => return result.map(|()| name),
        }
    }
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
    use super::*;

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
        let mut spool = Spool::open(folder.clone()).unwrap();
        spool.append(b"a\nb\n").unwrap();
        let path = spool.current.as_ref().unwrap().path.clone();
        drop(spool);
        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(&vec![b'x'; 200_000]).unwrap();
        let mut again = Spool::open(folder.clone()).unwrap();
        again.append(b"c\n").unwrap();
        let files = again.publish(&name("20250101000000"), b"generated\n").unwrap();
        assert_eq!(files, [name("20250101000000"), name("20250101000001")]);
        assert_eq!(content(&folder, &files[0]), "a\nb\n");
        assert_eq!(content(&folder, &files[1]), "c\ngenerated\n");
        assert!(Spool::open(folder).unwrap().is_empty(), "nothing is published twice");
    }

    #[test]
    fn a_spool_that_another_ingest_writes_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let mut first = Spool::open(folder.clone()).unwrap();
        first.append(b"a\n").unwrap();
        let mut second = Spool::open(folder.clone()).unwrap();
        assert!(second.is_empty());
        first.append(b"b\n").unwrap();
        let tick = name("20250101000000");
        assert!(second.publish(&tick, b"").unwrap().is_empty());
        assert_eq!(content(&folder, &first.publish(&tick, b"").unwrap()[0]), "a\nb\n");
    }

    #[test]
    fn a_taken_name_is_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        std::fs::create_dir_all(folder.events()).unwrap();
        std::fs::write(folder.path_of(&Artifact::Events(name("20250101000000"))), "theirs\n").unwrap();
        let mut spool = Spool::open(folder.clone()).unwrap();
        assert!(spool.publish(&name("20250101000000"), b"").unwrap().is_empty(), "nothing posted, no file");
        let files = spool.publish(&name("20250101000000"), b"ours\n").unwrap();
        assert_eq!(files, [name("20250101000001")]);
        assert_eq!(content(&folder, &name("20250101000000")), "theirs\n");
    }
}
