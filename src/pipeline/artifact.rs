//! Writing and reading the files between the stages so that no reader ever sees a half one (semantics 3).
//!
//! Written as `.<name>.t<token>.tmp` in the same folder, fsynced, renamed, and the folder fsynced; read only after
//! its digest is what the stage before reported.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};

use crate::task::{Digest, Output};

/// Bytes of a file's write buffer.
const BUFFER_BYTES: usize = 128 * 1024;

/// What to do when the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Refuse with `AlreadyExists`: somebody else's file.
    Refuse,
    /// Put ours in its place: our own earlier attempt at the same bytes, or what became of it.
    Replace,
}

/// A file being written: nobody sees it until it is published, and it vanishes if it never is.
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
        let folder = folder_of(target)?;
        create_folder(folder)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = folder.join(format!(".{name}.t{token}.tmp"));
        // Whatever has this name is a left-over of ours, or something that must not be written through.
        remove(&temporary)?;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .custom_flags(no_follow())
            .open(&temporary)
            .map_err(|e| named(&e, "cannot create", &temporary))?;
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
    /// When writing or syncing fails. A failed fsync is never repeated: the draft has to be dropped (semantics 3).
    pub fn seal(&mut self) -> io::Result<Output> {
        if let Some(writer) = self.writer.take() {
            let hashed = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            hashed.inner.sync_all().map_err(|e| named(&e, "cannot sync", &self.temporary))?;
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
        if let Err(e) = std::fs::remove_file(&self.temporary)
            && e.kind() != io::ErrorKind::NotFound
        {
            log::warn!(path:% = self.temporary.display(); "cannot remove a temporary file: {e}");
        }
    }
}

/// Opens a regular file for reading without following a link at its name.
///
/// # Errors
/// When it cannot be opened or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    open_plain(path, OpenOptions::new().read(true))
}

/// Opens a regular file for reading and writing without following a link at its name.
///
/// # Errors
/// When it cannot be opened or is no regular file.
pub fn open_for_update(path: &Path) -> io::Result<File> {
    open_plain(path, OpenOptions::new().read(true).write(true))
}

fn open_plain(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options
        // NONBLOCK: a FIFO in the file's place must not hang the reader.
        .custom_flags(no_follow() | flag(OFlags::NONBLOCK))
        .open(path)
        .map_err(|e| match e.raw_os_error() {
            Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => not_plain(path),
            _ => named(&e, "cannot open", path),
        })?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() > 1 {
        return Err(not_plain(path));
    }
    Ok(file)
}

fn not_plain(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no plain file", path.display()))
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

/// Opens a file and checks its digest before anybody uses a line of it.
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
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_folder(parent)?;
    }
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(named(&e, "cannot create", folder)),
        _ => sync_folder(parent.unwrap_or(Path::new("."))),
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Whatever the system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| named(&e, "cannot sync", folder))
}

/// Removes a file and says whether it was there.
///
/// # Errors
/// Whatever the system says, unless the file is already gone.
pub fn remove(path: &Path) -> io::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(named(&e, "cannot remove", path)),
    }
}

/// Moves a file without replacing another, within one file system; both folders are made durable.
///
/// # Errors
/// `AlreadyExists` if the name is taken, else whatever the system says.
pub fn relocate(from: &Path, to: &Path) -> io::Result<()> {
    create_folder(folder_of(to)?)?;
    rename(from, to, Taken::Refuse)?;
    sync_folder(folder_of(from)?)
}

/// Gives a file its name and makes the name durable.
fn rename(from: &Path, to: &Path, taken: Taken) -> io::Result<()> {
    let flags = if taken == Taken::Refuse { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
    renameat_with(CWD, from, CWD, to, flags).map_err(|e| named(&e.into(), "cannot publish", to))?;
    sync_folder(folder_of(to)?)
}

/// The names in a folder, sorted; none if there is no such folder.
///
/// # Errors
/// Whatever reading the folder fails with.
pub fn list(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(named(&e, "cannot list", folder)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn folder_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::other(format!("{} has no folder", path.display())))
}

fn flag(flags: OFlags) -> i32 {
    // The flags of open(2) are an int; rustix keeps the same bits unsigned.
    i32::try_from(flags.bits()).unwrap_or_default()
}

fn no_follow() -> i32 {
    flag(OFlags::NOFOLLOW)
}

fn named(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
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
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(open(&pipe).is_err());
    }
}
