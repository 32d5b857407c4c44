//! Counts and hashes a file, and checks that it is the one that was reported.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::disk::{create_new, open};
use crate::pipeline::task::{Digest, Output};

/// Bytes of a file's buffer.
const BUFFER_BYTES: usize = 128 * 1024;

/// Counts and hashes what passes through. It stands below a buffer, so that it sees large blocks.
pub struct Hashed<T> {
    pub(super) inner: T,
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

#[cfg(test)]
mod tests {
    use super::super::{Draft, Taken};
    use super::*;

    #[test]
    fn any_other_byte_is_corrupt() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x");
        let mut draft = Draft::create(&target, 7).unwrap();
        draft.write_all(b"line 1\nline 2\n").unwrap();
        let output = draft.publish(Taken::Refuse).unwrap();
        let (reader, found) = open_verified(&target, Some(&output)).unwrap();
        assert_eq!((io::read_to_string(reader).unwrap().len(), found), (14, output));
        for bad in [&b"line 1\nline 3\n"[..], b"line 1\n", b"", b"line 1\nline 2\n\n"] {
            std::fs::write(&target, bad).unwrap();
            let error = open_verified(&target, Some(&output)).unwrap_err();
            assert!(error.to_string().contains("corrupt"), "{error}");
        }
    }
}
