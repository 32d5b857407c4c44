//! Passes the bytes of a table to the parser. It limits the bytes of each row, and notes what the parser does not tell.

use std::io::{self, Read};

/// An input with an allowance of bytes. One line feed is added at its end, so that every row that is complete ends
/// before the end of the input: what ends there is within a quote.
pub(super) struct Bounded<R> {
    inner: R,
    left: usize,
    is_exceeded: bool,
    end: End,
    /// The bytes that were read last, and how many were read before them.
    chunk: Vec<u8>,
    before: u64,
}

/// How far the end of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Ahead,
    /// The line feed was added.
    Fed,
    /// The parser was told.
    Told,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, left: 0, is_exceeded: false, end: End::Ahead, chunk: Vec::new(), before: 0 }
    }

    /// Allows so many bytes from now on.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.left = bytes;
    }

    /// Whether more was asked for than allowed.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded
    }

    /// Whether the parser knows that the input has ended.
    pub(super) fn is_over(&self) -> bool {
        self.end == End::Told
    }

    /// The byte at this place of the input, if it is among those that were read last.
    pub(super) fn byte(&self, at: u64) -> Option<u8> {
        let index = usize::try_from(at.checked_sub(self.before)?).ok()?;
        self.chunk.get(index).copied()
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.end == End::Told || buffer.is_empty() {
            return Ok(0);
        }
        if self.end == End::Fed {
            self.end = End::Told;
            return Ok(0);
        }
        if self.left == 0 {
            self.is_exceeded = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let room = buffer.len().min(self.left);
        let mut read = self.inner.read(&mut buffer[..room])?;
        if read == 0 {
            self.end = End::Fed;
            buffer[0] = b'\n';
            read = 1;
        }
        self.left -= read;
        self.before += self.chunk.len() as u64;
        self.chunk.clear();
        self.chunk.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}
