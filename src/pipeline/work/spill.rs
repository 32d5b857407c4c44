//! A list that is written once and read once, in batches. A short list stays in memory. A long one goes into an unnamed
//! temporary file, so that memory does not grow with the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pipeline::claim::fault::Fault;

/// Bytes held in memory.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// The list, one JSON text a line.
pub(super) struct SpillBuffer<T> {
    folder: PathBuf,
    memory: Vec<u8>,
    file: Option<BufWriter<File>>,
    items: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> SpillBuffer<T> {
    /// An empty list that spills into this folder.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, memory: Vec::new(), file: None, items: PhantomData }
    }

    /// Takes the list out; an empty one stays.
    pub(super) fn take(&mut self) -> Self {
        let empty = Self::new(self.folder.clone());
        std::mem::replace(self, empty)
    }

    /// Adds an item.
    ///
    /// # Errors
    /// Whatever spilling fails with.
    pub(super) fn push(&mut self, item: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.memory, item).map_err(io::Error::from)?;
        self.memory.push(b'\n');
        if self.memory.len() > MEMORY_BYTES_MAX {
            let file = match self.file.take() {
                Some(file) => file,
                None => BufWriter::new(tempfile::tempfile_in(&self.folder)?),
            };
            self.file.insert(file).write_all(&self.memory)?;
            self.memory.clear();
        }
        Ok(())
    }

    /// Hands over all items in their order, so many at a time, or fewer if they are long.
    ///
    /// # Errors
    /// The first error of `visit`, or whatever reading fails with.
    pub(super) fn drain(
        self,
        items_max: usize,
        bytes_max: usize,
        mut visit: impl FnMut(Vec<T>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut spilled: Box<dyn BufRead> = match self.file {
            None => Box::new(io::empty()),
            Some(file) => {
                let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.rewind()?;
                Box::new(BufReader::new(file))
            }
        };
        let (mut batch, mut bytes, mut line) = (Vec::new(), 0, Vec::new());
        let mut rest = &self.memory[..];
        loop {
            line.clear();
            let read = match spilled.read_until(b'\n', &mut line)? {
                0 => rest.read_until(b'\n', &mut line)?,
                read => read,
            };
            let is_full = batch.len() >= items_max || bytes + read > bytes_max;
            if !batch.is_empty() && (read == 0 || is_full) {
                visit(std::mem::take(&mut batch))?;
                bytes = 0;
            }
            if read == 0 {
                return Ok(());
            }
            batch.push(serde_json::from_slice(&line).map_err(io::Error::from)?);
            bytes += read;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spilled_or_not_all_come_back_in_their_order_and_in_batches() {
        let folder = tempfile::tempdir().unwrap();
        for (count, length) in [(0_u64, 1), (1, 1), (25, 1), (3000, 1000)] {
            let mut spool = SpillBuffer::new(folder.path().to_owned());
            for number in 0..count {
                spool.push(&(number, "\n".repeat(length))).unwrap();
            }
            let mut all = Vec::new();
            let collect = |batch: Vec<(u64, String)>| {
                assert!((1..=10).contains(&batch.len()));
                all.extend(batch.into_iter().map(|(number, text)| {
                    assert_eq!(text.len(), length);
                    number
                }));
                Ok(())
            };
            spool.drain(10, 9000, collect).unwrap();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
