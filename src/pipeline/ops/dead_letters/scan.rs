//! Goes through the rejects files of all stages, line by line: memory does not grow with them.

use std::io::{self, BufReader, Write};
use std::path::PathBuf;

use crate::pipeline::event::{LineReader, Next, ShardId};
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::files::rejected::Rejected;

/// What JSON makes of a byte at the most, in the line itself and in a detail that quotes it.
const ESCAPED: usize = 16;
/// Bytes that are read of a line whose text is too long to be held; its head is within them.
const HEAD_BYTES: usize = 64 * 1024;
/// Bytes of the read buffer.
const BUFFER_BYTES: usize = 256 * 1024;

/// The rejects files of one shared folder.
#[derive(Debug, Clone)]
pub struct RejectsFiles {
    folder: Folder,
    line_bytes_max: usize,
}

/// A line of a rejects file.
#[derive(Debug)]
pub struct FoundReject<'a> {
    /// Which rejects file.
    pub artifact: &'a Artifact,
    /// The number of the line in it.
    pub number: u64,
    /// What it says, or a sentence why it says nothing.
    pub line: Result<Rejected, String>,
}

/// How much was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Files.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Extent {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { files: self.files + other.files, bytes: self.bytes + other.bytes }
    }
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// With the next line.
    On,
    /// Enough was seen.
    Enough,
}

impl RejectsFiles {
    /// The rejects files below this folder; event lines have `line_bytes_max` bytes at the most.
    pub fn new(folder: Folder, line_bytes_max: usize) -> Self {
        Self { folder, line_bytes_max }
    }

    /// Where a rejects file is.
    pub fn path_of(&self, artifact: &Artifact) -> PathBuf {
        self.folder.path_of(artifact)
    }

    /// All of them: the splitter's, then those of each shard's worker, by name.
    ///
    /// # Errors
    /// Whatever listing a folder fails with.
    pub fn list(&self) -> io::Result<Vec<Artifact>> {
        let mut found = Vec::new();
        for name in artifact::list(&self.folder.splitter().join("rejects"))? {
            found.extend(Artifact::from_file_name(&name).filter(|a| matches!(a, Artifact::SplitRejects(_))));
        }
        for shard in ShardId::all() {
            for name in artifact::list(&self.folder.worker(shard).join("rejects"))? {
                let own = |a: &Artifact| matches!(a, Artifact::WorkRejects(_, of) if *of == shard);
                found.extend(Artifact::from_file_name(&name).filter(own));
            }
        }
        Ok(found)
    }

    /// Hands every line of one rejects file to `visit`. A file that is gone has none: its stage was run again and
    /// rejected nothing.
    ///
    /// # Errors
    /// Whatever reading or `visit` fails with.
    pub fn read(
        &self,
        artifact: &Artifact,
        visit: &mut dyn FnMut(FoundReject<'_>) -> io::Result<Go>,
    ) -> io::Result<(Extent, Go)> {
        let path = self.folder.path_of(artifact);
        let file = match artifact::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Extent::default(), Go::On)),
            Err(e) => return Err(e),
        };
        let line_max = self.line_bytes_max.saturating_mul(ESCAPED).saturating_add(HEAD_BYTES);
        let mut lines = LineReader::new(BufReader::with_capacity(BUFFER_BYTES, file), line_max);
        let mut extent = Extent { files: 1, bytes: 0 };
        while let Some(next) = lines.next_line()? {
            let (number, line) = match next {
                Next::Line { number, bytes, .. } => {
                    extent.bytes += bytes.len() as u64 + 1;
                    (number, Rejected::parse(bytes))
                }
                Next::TooLong { number } => {
                    let mut head = Head::default();
                    lines.rest_of_line(&mut head)?;
                    extent.bytes += head.bytes + 1;
                    (number, Rejected::parse_head(&head.start, head.bytes))
                }
            };
            if visit(FoundReject { artifact, number, line })? == Go::Enough {
                return Ok((extent, Go::Enough));
            }
        }
        Ok((extent, Go::On))
    }
}

/// Keeps the beginning of what is written and counts the rest.
#[derive(Default)]
struct Head {
    start: Vec<u8>,
    bytes: u64,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = HEAD_BYTES.saturating_sub(self.start.len()).min(bytes.len());
        self.start.extend_from_slice(&bytes[..room]);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::reject::{Origin, write_streamed};
    use crate::pipeline::event::{Reason, Reject};
    use crate::pipeline::ops::dead_letters::Raw;

    #[test]
    fn only_rejects_files_are_listed_and_each_from_its_own_folder() {
        let temp = tempfile::tempdir().unwrap();
        let files = RejectsFiles::new(Folder::new(temp.path()), 100);
        assert_eq!(files.list().unwrap(), []);
        for name in [
            "shard-splitter/rejects/20250101000000.shard-splitter.rejects.txt",
            "shard-splitter/rejects/.20250101000000.shard-splitter.rejects.txt.t1.tmp",
            "shard-splitter/rejects/20250101000000.shard-worker.0.rejects.txt",
            "shard-worker-1/rejects/20250101000001.shard-worker.1.rejects.txt",
            "shard-worker-1/rejects/20250101000001.shard-worker.0.rejects.txt",
            "shard-worker-1/rejects/notes.txt",
        ] {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names: Vec<String> = files.list().unwrap().iter().map(Artifact::file_name).collect();
        assert_eq!(names, ["20250101000000.shard-splitter.rejects.txt", "20250101000001.shard-worker.1.rejects.txt"]);
    }

    #[test]
    fn a_line_that_fits_no_memory_is_told_without_its_text_and_the_next_one_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let files = RejectsFiles::new(Folder::new(temp.path()), 10);
        let artifact = Artifact::SplitRejects("20250101000000".parse().unwrap());
        let path = files.path_of(&artifact);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut out = Vec::new();
        for (line, bytes) in [(1, 300_000), (2, 5)] {
            let origin = Origin { file: "20250101000000", line, stage: "shard-splitter" };
            let reject = Reject::new(Reason::TooLong, "long");
            write_streamed(&mut out, origin, &reject, |sink| sink.write_all(&vec![b'x'; bytes])).unwrap();
        }
        out.extend_from_slice(b"not one\n");
        std::fs::write(&path, &out).unwrap();
        let mut seen = Vec::new();
        let visited = files.read(&artifact, &mut |found| {
            seen.push(found.line.map(|line| (line.at.line, line.raw)));
            Ok(Go::On)
        });
        assert_eq!(visited.unwrap(), (Extent { files: 1, bytes: out.len() as u64 }, Go::On));
        let Ok((1, Raw::TooLong { bytes })) = seen[0] else { panic!("{:?}", seen[0]) };
        assert!((299_998..300_003).contains(&bytes), "{bytes}");
        assert_eq!(seen[1], Ok((2, Raw::Whole(b"xxxxx".to_vec()))));
        assert!(seen[2].is_err() && seen.len() == 3);
    }
}
