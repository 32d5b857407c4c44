//! Cuts a file of events into event files. A second run over the same bytes imports nothing twice, even if the first
//! run was killed: each batch is known by a digest of all bytes up to its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::lock_alone;
use crate::base::clock::Clock;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::client::Client;
use crate::pipeline::event::{LineReader, Next};
use crate::pipeline::files::artifact::{self, Draft, Taken};
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::task::{Digest, FileName, Output};

/// Lines up to this many bytes are copied by way of memory, longer ones are streamed.
const LINE_BUFFER_BYTES: usize = 1024 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 * 1024;
/// The first bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Imports into one shared folder.
pub struct Importer {
    folder: Folder,
    client: Client,
    clock: Clock,
    stop: Stop,
    batch_lines: u64,
}

/// A batch that is an event file now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportBatch {
    /// The event file.
    pub file: FileName,
    /// Its lines.
    pub lines: u64,
    /// Whether an earlier run had published it.
    pub before: bool,
}

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// All lines, those included that an earlier run imported.
    pub lines: u64,
    /// The event files that they are in.
    pub files: BTreeSet<FileName>,
    /// How many of these an earlier run had published.
    pub before: u64,
}

impl Imported {
    /// Counts a batch.
    pub fn add(&mut self, batch: &ImportBatch) {
        self.lines += batch.lines;
        self.before += u64::from(batch.before);
        self.files.insert(batch.file.clone());
    }
}

/// What is noted of a batch before it is published, and again after.
#[derive(Serialize, Deserialize)]
struct Note {
    file: FileName,
    lines: u64,
    sha256: Digest,
    published: bool,
}

impl Importer {
    /// An importer of batches with at most so many lines; a stop ends it between two batches.
    pub fn new(folder: Folder, client: Client, clock: Clock, stop: Stop, batch_lines: u64) -> Self {
        Self { folder, client, clock, stop, batch_lines }
    }

    /// Cuts the input into event files and hands each to `published` when it is there.
    ///
    /// # Errors
    /// When the input cannot be read or a file cannot be written. What is published stays; a further run over the
    /// same input goes on behind it.
    pub fn import(&self, input: impl BufRead, mut published: impl FnMut(&ImportBatch)) -> io::Result<()> {
        let _lock = self.lock()?;
        let mut lines = LineReader::new(input, LINE_BUFFER_BYTES);
        // The number of lines per batch is part of the chain: another cut is another import.
        let mut chain = Digest::new(Sha256::digest(self.batch_lines.to_be_bytes()).into());
        let mut name = FileName::of(self.clock.now());
        while let Some((mut draft, output)) = self.next_batch(&mut lines, &name)? {
            if self.stop.is_requested() {
                let why = "stopped before the end of the input; the same command goes on where this one ended";
                return Err(io::Error::new(io::ErrorKind::Interrupted, why));
            }
            let link = [&chain.bytes()[..], &output.sha256.bytes()[..]].concat();
            chain = Digest::new(Sha256::digest(link).into());
            let batch = self.publish(&mut draft, &output, &chain, &name)?;
            published(&batch);
            if !batch.before {
                name = batch.file.next_second();
            }
        }
        Ok(())
    }

    /// One import at a time: two of the same bytes would both find that they are not imported yet.
    fn lock(&self) -> io::Result<File> {
        lock_alone(&self.folder.events().join("imports"), "import", &self.stop)
    }

    /// Writes the next batch into a draft; `None` at the end of the input.
    fn next_batch<R: BufRead>(
        &self,
        lines: &mut LineReader<R>,
        name: &FileName,
    ) -> io::Result<Option<(Draft, Output)>> {
        let mut draft: Option<Draft> = None;
        for _ in 0..self.batch_lines {
            let Some(next) = lines.next_line()? else {
                break;
            };
            let mut open = match draft.take() {
                Some(open) => open,
                None => Draft::create(&self.path(name), rand::random())?,
            };
            // Every line is copied as it is; only a missing last line feed is added, as the format asks for one.
            match next {
                Next::Line { bytes, .. } => open.write_line(bytes)?,
                Next::TooLong { .. } => {
                    lines.rest_of_line(&mut open)?;
                    open.write_all(b"\n")?;
                }
            }
            draft = Some(open);
        }
        let Some(mut draft) = draft else {
            return Ok(None);
        };
        let output = draft.seal()?;
        Ok(Some((draft, output)))
    }

    fn publish(&self, draft: &mut Draft, output: &Output, chain: &Digest, name: &FileName) -> io::Result<ImportBatch> {
        let noted = self.read_note(chain)?;
        if let Some(note) = &noted {
            let batch = ImportBatch { file: note.file.clone(), lines: note.lines, before: true };
            if note.published {
                return Ok(batch);
            }
            if self.was_published(note)? {
                self.write_note(chain, &Note { file: note.file.clone(), published: true, ..*note })?;
                return Ok(batch);
            }
        }
        let mut name = noted.map_or_else(|| name.clone(), |note| note.file);
        loop {
            let mut note = Note { file: name.clone(), lines: output.lines, sha256: output.sha256, published: false };
            self.write_note(chain, &note)?;
            match draft.publish_as(&self.path(&name), Taken::Refuse) {
                Ok(_) => {
                    note.published = true;
                    self.write_note(chain, &note)?;
                    return Ok(ImportBatch { file: name, lines: output.lines, before: false });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => name = name.next_second(),
                Err(e) => return Err(e),
            }
        }
    }

    /// Whether a batch that was only noted was published after all: the run was killed between the two.
    fn was_published(&self, note: &Note) -> io::Result<bool> {
        match artifact::open(&self.path(&note.file)) {
            Ok(mut file) => Ok(artifact::digest(&mut file)?.sha256 == note.sha256),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // It may have been delivered and removed since; the API remembers it then.
                let known = self.client.find_file(&note.file).map_err(|e| {
                    let kind = if e.is_temporary() { io::ErrorKind::NotConnected } else { io::ErrorKind::Other };
                    io::Error::new(kind, e)
                })?;
                Ok(known.is_some_and(|known| {
                    let result = known.shards.first().and_then(|shard| shard.results.first().cloned());
                    result.and_then(|result| result.output).is_some_and(|output| output.sha256 == note.sha256)
                }))
            }
            Err(e) => Err(e),
        }
    }

    fn path(&self, name: &FileName) -> PathBuf {
        self.folder.path_of(&Artifact::Events(name.clone()))
    }

    fn note_path(&self, chain: &Digest) -> PathBuf {
        self.folder.events().join("imports").join(format!("{chain}.json"))
    }

    fn read_note(&self, chain: &Digest) -> io::Result<Option<Note>> {
        let path = self.note_path(chain);
        let mut text = String::new();
        match artifact::open(&path).and_then(|mut file| file.read_to_string(&mut text)) {
            Ok(_) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {e}", path.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn write_note(&self, chain: &Digest, note: &Note) -> io::Result<()> {
        let mut draft = Draft::create(&self.note_path(chain), rand::random())?;
        serde_json::to_writer(&mut draft, note).map_err(io::Error::from)?;
        draft.write_all(b"\n")?;
        draft.publish(Taken::Replace).map(|_| ())
    }
}

/// An input that is open, and not read yet.
#[derive(Debug)]
pub struct Input {
    /// The file; none for the standard input.
    file: Option<File>,
    /// Its size, where that is known before it is read.
    bytes: Option<u64>,
}

impl Input {
    /// Opens a file or, for `-`, the standard input, of which nothing is read yet.
    ///
    /// # Errors
    /// When it cannot be opened, with its name.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { file: None, bytes: None });
        }
        let cannot = |e: io::Error| io::Error::new(e.kind(), format!("cannot open {}: {e}", path.display()));
        let file = File::open(path).map_err(cannot)?;
        let about = file.metadata().map_err(cannot)?;
        if about.is_dir() {
            let why =
                format!("cannot open {}: it is a directory; name a file, or - for the standard input", path.display());
            return Err(io::Error::new(io::ErrorKind::IsADirectory, why));
        }
        Ok(Self { file: Some(file), bytes: about.is_file().then_some(about.len()) })
    }

    /// Its size as it lies there, packed or not, where that is known before it is read.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// Its lines; gzip is recognised by its first bytes. `count` is told of all bytes as they lie there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(self, count: impl Fn(u64) + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
        let raw: Box<dyn Read + Send> = match self.file {
            Some(file) => Box::new(file),
            None => Box::new(io::stdin()),
        };
        let mut input = BufReader::with_capacity(READ_BYTES, Counting { raw, count });
        if input.fill_buf()?.starts_with(&GZIP_MAGIC) {
            return Ok(Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(input))));
        }
        Ok(Box::new(input))
    }
}

/// Tells how much was read.
struct Counting<F> {
    raw: Box<dyn Read + Send>,
    count: F,
}

impl<F: Fn(u64)> Read for Counting<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.raw.read(buffer)?;
        (self.count)(bytes as u64);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn importer(folder: &Folder, batch_lines: u64) -> Importer {
        let clock = Clock::manual(crate::base::timestamp::Timestamp::parse("2025-01-01 00:00:00.000").unwrap());
        Importer::new(folder.clone(), Client::new("http://127.0.0.1:9"), clock, Stop::new(), batch_lines)
    }

    fn import(folder: &Folder, input: &[u8], batch_lines: u64) -> Vec<ImportBatch> {
        let mut batches = Vec::new();
        importer(folder, batch_lines).import(input, |batch| batches.push(batch.clone())).unwrap();
        batches
    }

    #[test]
    fn a_file_is_cut_and_the_same_file_is_not_cut_again() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let batches = import(&folder, b"a\nb\nc", 2);
        let names: Vec<&str> = batches.iter().map(|batch| batch.file.as_str()).collect();
        assert_eq!(names, ["20250101000000", "20250101000001"]);
        let read = |name: &str| std::fs::read(folder.path_of(&Artifact::Events(name.parse().unwrap()))).unwrap();
        assert_eq!((read(names[0]), read(names[1])), (b"a\nb\n".to_vec(), b"c\n".to_vec()));
        assert!(import(&folder, b"a\nb\nc\n", 2).iter().all(|batch| batch.before));
        let longer = import(&folder, b"a\nb\nc\nd\n", 2);
        assert_eq!(longer.iter().map(|batch| batch.before).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_run_that_was_killed_between_note_and_publication_goes_on() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let file = import(&folder, b"a\n", 5)[0].file.clone();
        let imports = folder.events().join("imports");
        let note = imports.join(&artifact::list(&imports).unwrap()[0]);
        let unpublished = std::fs::read_to_string(&note).unwrap().replace("true", "false");
        std::fs::write(&note, &unpublished).unwrap();
        assert_eq!(import(&folder, b"a\n", 5), [ImportBatch { file: file.clone(), lines: 1, before: true }]);
        std::fs::write(&note, &unpublished).unwrap();
        std::fs::remove_file(folder.path_of(&Artifact::Events(file))).unwrap();
        let error = importer(&folder, 5).import(&b"a\n"[..], |_| {}).unwrap_err();
        assert!(error.to_string().contains("does not answer"), "without the API it cannot be told: {error}");
    }

    #[test]
    fn gzip_is_recognised() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x");
        let mut packed = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        packed.write_all(b"a\n").unwrap();
        packed.finish().unwrap();
        let input = Input::open(&path).unwrap();
        let (size, read) = (input.bytes(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&read);
        let count = move |bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed);
        };
        assert_eq!(io::read_to_string(input.read(count).unwrap()).unwrap(), "a\n");
        assert_eq!(size, Some(read.load(Ordering::Relaxed)), "counted as they lie there");
    }

    #[test]
    fn what_cannot_be_opened_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let why = |path: &Path| Input::open(path).unwrap_err().to_string();
        let (nope, folder) = (temp.path().join("nope"), temp.path());
        assert!(why(&nope).starts_with(&format!("cannot open {}: No such file", nope.display())), "{}", why(&nope));
        assert!(
            why(folder).starts_with(&format!("cannot open {}: it is a directory", folder.display())),
            "{}",
            why(folder)
        );
        assert_eq!(Input::open(Path::new("-")).unwrap().bytes(), None);
    }
}
