//! A file that is being written: it gets its name when it is whole and durable.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::super::no_follow;
use super::digest::Hashed;
use super::disk::{Taken, create_folder, create_new, open, remove, rename};
use crate::pipeline::task::Output;

/// Bytes of a file's write buffer.
const BUFFER_BYTES: usize = 128 * 1024;

/// A file being written: no reader sees it until it is published, and it vanishes if it never is.
pub struct Draft {
    target: PathBuf,
    temporary: PathBuf,
    writer: Option<BufWriter<Hashed<File>>>,
    output: Option<Output>,
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

#[cfg(test)]
mod tests {
    use super::super::list;
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
}
