//! Writes and reads the files between the stages, so that no reader ever sees half a file (docs/semantics.md, 3).
//!
//! A file is written as `.<name>.t<token>.tmp` in the same folder, fsynced and renamed, and then the folder is fsynced.
//! A file is read only after its digest was found to be the one that the stage before reported.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, RenameFlags, flock};
use sha2::{Digest as _, Sha256};

use super::no_follow;
use crate::pipeline::task::{Digest, Output};

/// Bytes of a file's write buffer.
const BUFFER_BYTES: usize = 128 * 1024;

/// What to do when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Refuse with `AlreadyExists`: the file belongs to another writer.
    Refuse,
    /// Put ours in its place: our own earlier attempt at the same bytes, or what became of it.
    Replace,
}

/// A file being written: no reader sees it until it is published, and it vanishes if it never is.
pub struct Draft {
    target: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<Hashed<File>>>,
    output: Option<Output>,
}

/// Counts and hashes what passes through. It stands below a buffer, so that it sees large blocks.
pub struct Hashed<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
    lines: u64,
}

impl<T> Hashed<T> {
    /// Nothing has passed yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0, lines: 0 }
    }

    /// What has passed so far.
    pub fn output(&self) -> Output {
        let sha256 = Digest::new(self.hash.clone().finalize().into());
        Output { lines: self.lines, bytes: self.bytes, sha256, index_sha256: None }
    }

    fn note(&mut self, block: &[u8]) {
        self.hash.update(block);
        self.bytes += block.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', block).count() as u64;
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.note(&buffer[..read]);
        Ok(read)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Draft {
    /// Begins the file that will be `target`. The token keeps two attempts apart.
    ///
    /// # Errors
    /// When the folder cannot be created or the file cannot be opened.
    pub fn create(target: &Path, token: u64) -> io::Result<Self> {
        let (temporary, file) = begin(target, token)?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, Hashed::new(file));
        Ok(Self { target: target.to_owned(), temporary, writer: Some(writer), output: None })
    }

    /// Writes a line and its line feed.
    ///
    /// # Errors
    /// Whatever writing fails with.
    pub fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_all(line)?;
        self.write_all(b"\n")
    }

    /// Makes the content durable without publishing it; answers its digest.
    ///
    /// # Errors
    /// When writing or syncing fails. A failed fsync is never repeated: the draft has to be dropped
    /// (docs/semantics.md, 3).
    pub fn seal(&mut self) -> io::Result<Output> {
        if let Some(writer) = self.writer.take() {
            let hashed = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            hashed
                .inner
                .sync_all()
                .map_err(|e| io::Error::new(e.kind(), format!("cannot sync {}: {e}", self.temporary.display())))?;
            self.output = Some(hashed.output());
        }
        self.output.ok_or_else(|| io::Error::other("the draft failed before"))
    }

    /// Seals the file, gives it its name and makes the name durable.
    ///
    /// # Errors
    /// As [`Draft::seal`]; `AlreadyExists` if the name is taken and is not to be replaced.
    pub fn publish(mut self, taken: Taken) -> io::Result<Output> {
        let output = self.seal()?;
        rename(&self.temporary, &self.target, taken)?;
        Ok(output)
    }

    /// Seals the file and gives it another name than it began with, in the same folder.
    ///
    /// # Errors
    /// As [`Draft::publish`]; after `AlreadyExists` another name can be tried.
    pub fn publish_as(&mut self, target: &Path, taken: Taken) -> io::Result<Output> {
        let output = self.seal()?;
        rename(&self.temporary, target, taken)?;
        Ok(output)
    }
}

/// The file that a draft is written into, until it is whole.
fn begin(target: &Path, token: u64) -> io::Result<(PathBuf, File)> {
    let folder = no_follow::parent(target);
    create_folder(folder)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.t{token}.tmp"));
    // Whatever has this name is a left-over of ours, or something that must not be written through.
    remove(&temporary)?;
    let file = create_new(&temporary)?;
    // The lock keeps the cleanup from removing the file, however long nothing is written into it. On a file system
    // without locks its age alone protects it.
    if let Err(e) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        log::debug!(path:% = temporary.display(); "a temporary file is not locked: {e}");
    }
    Ok((temporary, file))
}

/// Whether a process writes into this temporary file at the moment.
///
/// # Errors
/// Whatever opening it fails with.
pub fn is_being_written(temporary: &Path) -> io::Result<bool> {
    let file = open(temporary)?;
    Ok(flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
}

/// Takes the lock of a folder, shared or alone, until what is answered is dropped or the process ends; nothing when
/// another process holds it.
///
/// # Errors
/// Whatever the system says.
pub fn lock_folder(folder: &Path, alone: bool) -> io::Result<Option<File>> {
    let held = open_folder(folder)?;
    let how = if alone { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    match flock(&held, how) {
        Ok(()) => Ok(Some(held)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Copies a file, whole and durable or not at all, over whatever has the name. The content is not checked: a
/// reader that relies on the copy has to verify it.
///
/// # Errors
/// When one cannot be read, or the other not be written or synced.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = open(from)?;
    let (temporary, mut file) = begin(to, 0)?;
    // From file to file: the system copies by itself.
    let copied = io::copy(&mut source, &mut file).and_then(|_| file.sync_all());
    let published = copied.and_then(|()| rename(&temporary, to, Taken::Replace));
    if published.is_err() {
        drop(remove(&temporary));
    }
    published
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().ok_or_else(|| io::Error::other("the draft is sealed"))?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a publication there is nothing left to remove; else the file is an orphan that the next start sweeps
        // should this fail too.
        if let Err(e) = remove(&self.temporary) {
            log::warn!(path:% = self.temporary.display(); "cannot remove a temporary file: {e}");
        }
    }
}

/// Opens a regular file for reading without following a link at its name.
///
/// # Errors
/// When it cannot be opened or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    no_follow::open(path, OFlags::RDONLY)
}

/// Opens a regular file for reading and writing without following a link at its name.
///
/// # Errors
/// When it cannot be opened or is no regular file.
pub fn open_for_update(path: &Path) -> io::Result<File> {
    no_follow::open(path, OFlags::RDWR)
}

/// Creates a file for reading and writing; whatever has its name already is left alone.
///
/// # Errors
/// `AlreadyExists` if the name is taken, else whatever the system says.
pub fn create_new(path: &Path) -> io::Result<File> {
    no_follow::open(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
}

/// Opens a folder, for locking it.
///
/// # Errors
/// Whatever the system says.
pub fn open_folder(folder: &Path) -> io::Result<File> {
    no_follow::folder(folder)
}

/// What a file is, read from its first byte to its last.
///
/// # Errors
/// Whatever reading fails with.
pub fn digest(file: &mut File) -> io::Result<Output> {
    file.rewind()?;
    let mut hashed = Hashed::new(&mut *file);
    io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, &mut hashed), &mut io::sink())?;
    let output = hashed.output();
    file.rewind()?;
    Ok(output)
}

/// Opens a file and checks its digest before the first line is used.
///
/// # Errors
/// `InvalidData` with "corrupt" if the file is not what was reported; else whatever opening and reading fail with.
pub fn open_verified(path: &Path, expected: Option<&Output>) -> io::Result<(BufReader<File>, Output)> {
    let mut file = open(path)?;
    let found = digest(&mut file)?;
    verify(path, expected, &found)?;
    Ok((BufReader::with_capacity(BUFFER_BYTES, file), found))
}

/// Checks what was read against what was reported, where anything was.
///
/// # Errors
/// `InvalidData` with "corrupt" if they differ.
pub fn verify(path: &Path, expected: Option<&Output>, found: &Output) -> io::Result<()> {
    let Some(expected) = expected else {
        return Ok(());
    };
    if (found.lines, found.bytes, found.sha256) == (expected.lines, expected.bytes, expected.sha256) {
        return Ok(());
    }
    let why = format!(
        "corrupt: {} has {} lines, {} bytes, SHA-256 {}; reported were {} lines, {} bytes, SHA-256 {}",
        path.display(),
        found.lines,
        found.bytes,
        found.sha256,
        expected.lines,
        expected.bytes,
        expected.sha256
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Creates a folder and makes its name durable; the folders above it too, as far as they are new.
///
/// # Errors
/// Whatever the system says.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    match no_follow::folder(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        other => return other.map(drop),
    }
    create_folder(no_follow::parent(folder))?;
    no_follow::create_folder(folder)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Whatever the system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    no_follow::folder(folder)?.sync_all()
}

/// Removes a file and says whether it was there.
///
/// # Errors
/// Whatever the system says, unless the file is already gone.
pub fn remove(path: &Path) -> io::Result<bool> {
    match no_follow::remove(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Moves a file without replacing another, within one file system; both folders are made durable.
///
/// # Errors
/// `AlreadyExists` if the name is taken, else whatever the system says.
pub fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    create_folder(no_follow::parent(to))?;
    rename(from, to, Taken::Refuse)?;
    sync_folder(no_follow::parent(from))
}

/// Gives a file its name and makes the name durable.
fn rename(from: &Path, to: &Path, taken: Taken) -> io::Result<()> {
    no_follow::rename(from, to, if taken == Taken::Refuse { RenameFlags::NOREPLACE } else { RenameFlags::empty() })
}

/// The names in a folder, sorted; none if there is no such folder.
///
/// # Errors
/// Whatever reading the folder fails with.
pub fn list(folder: &Path) -> io::Result<Vec<String>> {
    match no_follow::list(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Ok(mut names) => {
            names.sort();
            Ok(names)
        }
        Err(e) => Err(e),
    }
}

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A link, a pipe or anything else that is never read.
    Other,
}

/// What this name stands for; a link is not followed.
///
/// # Errors
/// Whatever the system says.
pub fn kind(path: &Path) -> io::Result<Kind> {
    use rustix::fs::FileType;
    Ok(match FileType::from_raw_mode(no_follow::stat(path)?.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        _ => Kind::Other,
    })
}

/// Copies an open file to a new name, and makes the content durable; the folder is the caller's to sync.
///
/// # Errors
/// `AlreadyExists` if the name is taken, else whatever reading, writing or syncing fails with.
pub fn copy_new(source: &mut File, to: &Path) -> io::Result<Output> {
    let mut hashed = Hashed::new(create_new(to)?);
    io::copy(&mut BufReader::with_capacity(BUFFER_BYTES, source), &mut hashed)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot write {}: {e}", to.display())))?;
    hashed.inner.sync_all().map_err(|e| io::Error::new(e.kind(), format!("cannot sync {}: {e}", to.display())))?;
    Ok(hashed.output())
}

/// Changes the names of two folders, or two files, in one step, and makes that durable.
///
/// # Errors
/// `InvalidInput` or `Unsupported` where the file system knows no such step, else whatever the system says.
pub fn swap(one: &Path, other: &Path) -> io::Result<()> {
    no_follow::rename(one, other, RenameFlags::EXCHANGE)
}

/// Gives a folder the name of an empty one, or a new name, and makes that durable.
///
/// # Errors
/// Whatever the system says.
pub fn take_name(from: &Path, to: &Path) -> io::Result<()> {
    no_follow::rename(from, to, RenameFlags::empty())
}

/// The size of a file in bytes.
///
/// # Errors
/// Whatever the system says.
pub fn size(path: &Path) -> io::Result<u64> {
    Ok(u64::try_from(no_follow::stat(path)?.st_size).unwrap_or_default())
}

/// Whether anything has this name.
///
/// # Errors
/// Whatever the system says, unless nothing has.
pub fn is_there(path: &Path) -> io::Result<bool> {
    match no_follow::stat(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// When a file was last written, as Unix time in milliseconds.
///
/// # Errors
/// Whatever the system says.
pub fn written_unix_ms(path: &Path) -> io::Result<i64> {
    let stat = no_follow::stat(path)?;
    Ok(stat
        .st_mtime
        .saturating_mul(1000)
        .saturating_add(i64::try_from(stat.st_mtime_nsec / 1_000_000).unwrap_or_default()))
}

/// Whether this name is that of this open file.
///
/// # Errors
/// Whatever the system says.
pub fn is_name_of(path: &Path, file: &File) -> io::Result<bool> {
    let (named, held) = (no_follow::stat(path)?, rustix::fs::fstat(file)?);
    Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(target: &Path, content: &[u8]) -> Draft {
        let mut draft = Draft::create(target, 7).unwrap();
        draft.write_all(content).unwrap();
        draft
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("deep/er/x.txt");
        let draft = written(&target, b"a\nb\n");
        assert!(!target.exists());
        let output = draft.publish(Taken::Refuse).unwrap();
        assert_eq!((output.lines, output.bytes), (2, 4));
        assert_eq!(list(target.parent().unwrap()).unwrap(), ["x.txt"]);
        drop(written(&target, b"never"));
        assert_eq!(std::fs::read(&target).unwrap(), b"a\nb\n");
        assert_eq!(list(target.parent().unwrap()).unwrap(), ["x.txt"]);
    }

    #[test]
    fn a_draft_is_in_use_as_long_as_its_writer_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let draft = written(&folder.path().join("x"), b"");
        let temporary = folder.path().join(".x.t7.tmp");
        assert!(is_being_written(&temporary).unwrap());
        let copy = folder.path().join(".y.t7.tmp");
        std::fs::write(&copy, b"left over").unwrap();
        assert!(!is_being_written(&copy).unwrap());
        drop(draft);
        assert_eq!(is_being_written(&temporary).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_is_shared_by_many_or_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let shared = [false, false].map(|alone| lock_folder(folder.path(), alone).unwrap().unwrap());
        assert!(lock_folder(folder.path(), true).unwrap().is_none());
        drop(shared);
        let alone = lock_folder(folder.path(), true).unwrap().unwrap();
        assert!(lock_folder(folder.path(), false).unwrap().is_none());
        drop(alone);
        assert!(lock_folder(folder.path(), false).unwrap().is_some());
    }

    #[test]
    fn a_taken_name_is_refused_or_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        written(&target, b"first").publish(Taken::Refuse).unwrap();
        let refused = written(&target, b"second").publish(Taken::Refuse).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&target).unwrap(), b"first");
        written(&target, b"third").publish(Taken::Replace).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"third");
    }

    #[test]
    fn any_other_byte_is_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        let output = written(&target, b"line 1\nline 2\n").publish(Taken::Refuse).unwrap();
        let (reader, found) = open_verified(&target, Some(&output)).unwrap();
        assert_eq!((io::read_to_string(reader).unwrap().len(), found), (14, output));
        for bad in [&b"line 1\nline 3\n"[..], b"line 1\n", b"", b"line 1\nline 2\n\n"] {
            std::fs::write(&target, bad).unwrap();
            let error = open_verified(&target, Some(&output)).unwrap_err();
            assert!(error.to_string().contains("corrupt"), "{error}");
        }
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("x"), folder.path().join("link"));
        std::fs::write(&target, b"secret").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(open(&link).is_err());
        std::fs::hard_link(&target, folder.path().join("hard")).unwrap();
        assert!(open(&target).is_err());
        assert!(open(folder.path()).is_err());
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(open(&pipe).is_err());
    }
}
