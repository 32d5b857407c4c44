//! What was redriven into which event file: one note per file, `events/redrives/<id>.json`, written before the file is
//! published. A line that stands in a note is not redriven a second time.
//!
//! The first line of a note says which file, the lines after it where each line of that file came from, in their order.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pipeline::files::artifact::{self, Draft, Taken};
use crate::pipeline::files::folder::Folder;
use crate::pipeline::files::rejected::LineAt;
use crate::pipeline::task::{Digest, FileName};

/// How the name of a note ends.
const NOTE: &str = ".json";
/// How the name of the lines ends that are not published yet.
const STAGED: &str = ".lines";

/// The head of a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The event file that the lines went into.
    pub file: FileName,
    /// How many.
    pub lines: u64,
    /// The digest of the file.
    pub sha256: Digest,
    /// When, UTC.
    pub at: String,
}

type NoteLines = io::Lines<BufReader<File>>;

/// The notes of one shared folder.
#[derive(Debug, Clone)]
pub struct RedriveLog {
    folder: Folder,
}

/// Where lines were redriven from, all notes together, 16 bytes each.
#[derive(Debug, Default)]
pub struct Redriven(Vec<(u64, u64)>);

impl Redriven {
    /// Whether the line was redriven.
    pub fn holds(&self, at: &LineAt) -> bool {
        self.0.binary_search(&key(at)).is_ok()
    }

    /// How many lines were.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no line was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A place in two numbers: a file's name has 14 digits.
pub(super) fn key(at: &LineAt) -> (u64, u64) {
    (at.file.as_str().parse().unwrap_or_default(), at.line)
}

impl RedriveLog {
    /// The notes below this folder.
    pub fn new(folder: Folder) -> Self {
        Self { folder }
    }

    /// Where they are.
    pub fn place(&self) -> PathBuf {
        self.folder.events().join("redrives")
    }

    /// Where the lines of a redrive stay until they are published.
    pub fn staged_path(&self, id: &str) -> PathBuf {
        self.place().join(format!("{id}{STAGED}"))
    }

    fn note_path(&self, id: &str) -> PathBuf {
        self.place().join(format!("{id}{NOTE}"))
    }

    /// The ids of all notes.
    ///
    /// # Errors
    /// Whatever listing the folder fails with.
    pub fn ids(&self) -> io::Result<Vec<String>> {
        self.with_ending(NOTE)
    }

    /// The ids of all redrives whose lines are not published yet. One without a note was killed before it was decided.
    ///
    /// # Errors
    /// Whatever listing the folder fails with.
    pub fn staged(&self) -> io::Result<Vec<String>> {
        self.with_ending(STAGED)
    }

    fn with_ending(&self, ending: &str) -> io::Result<Vec<String>> {
        let names = artifact::list(&self.place())?;
        Ok(names
            .iter()
            .filter(|name| !name.starts_with('.'))
            .filter_map(|n| n.strip_suffix(ending))
            .map(str::to_owned)
            .collect())
    }

    /// Writes a note, in place of the one that is there.
    ///
    /// # Errors
    /// Whatever writing fails with.
    pub fn write(&self, id: &str, note: &Note, sources: &[LineAt]) -> io::Result<()> {
        let mut draft = Draft::create(&self.note_path(id), rand::random())?;
        serde_json::to_writer(&mut draft, note).map_err(io::Error::from)?;
        draft.write_all(b"\n")?;
        for source in sources {
            serde_json::to_writer(&mut draft, source).map_err(io::Error::from)?;
            draft.write_all(b"\n")?;
        }
        draft.publish(Taken::Replace).map(|_| ())
    }

    /// Reads a note's head; `None` if there is no such note.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged, else whatever reading fails with.
    pub fn find(&self, id: &str) -> io::Result<Option<Note>> {
        self.open(id)?.map(|mut lines| self.head(id, &mut lines)).transpose()
    }

    /// Hands every source to `visit`, with its line in the new file; answers the head. A note is whole or not there.
    ///
    /// # Errors
    /// `InvalidData` if it is damaged, else whatever reading fails with.
    pub fn visit(&self, id: &str, mut visit: impl FnMut(LineAt, u64)) -> io::Result<Option<Note>> {
        let Some(mut lines) = self.open(id)? else { return Ok(None) };
        let note = self.head(id, &mut lines)?;
        let mut count = 0;
        for line in lines {
            count += 1;
            visit(serde_json::from_str(&line?).map_err(|e| self.damaged(id, &e.to_string()))?, count);
        }
        if count != note.lines {
            return Err(self.damaged(id, &format!("it has {count} lines of {}", note.lines)));
        }
        Ok(Some(note))
    }

    fn open(&self, id: &str) -> io::Result<Option<NoteLines>> {
        match artifact::open(&self.note_path(id)) {
            Ok(file) => Ok(Some(BufReader::new(file).lines())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn head(&self, id: &str, lines: &mut NoteLines) -> io::Result<Note> {
        let head = lines.next().ok_or_else(|| self.damaged(id, "it is empty"))??;
        serde_json::from_str(&head).map_err(|e| self.damaged(id, &e.to_string()))
    }

    fn damaged(&self, id: &str, why: &str) -> io::Error {
        let path = self.note_path(id);
        let advice = "put it back from a backup, or lines may be redriven twice";
        io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged: {why}; {advice}", path.display()))
    }

    /// All lines that were redriven, or are about to be.
    ///
    /// # Errors
    /// As [`RedriveLog::visit`].
    pub fn redriven(&self) -> io::Result<Redriven> {
        let mut all = Vec::new();
        for id in self.ids()? {
            self.visit(&id, |source, _| all.push(key(&source)))?;
        }
        all.sort_unstable();
        all.dedup();
        Ok(Redriven(all))
    }

    /// Hands every pair of an old place and its new one to `visit`.
    ///
    /// # Errors
    /// As [`RedriveLog::visit`].
    pub fn for_each_pair(&self, mut visit: impl FnMut(&LineAt, &LineAt, &Note)) -> io::Result<()> {
        for id in self.ids()? {
            let Some(note) = self.find(&id)? else { continue };
            self.visit(&id, |source, line| visit(&source, &LineAt { file: note.file.clone(), line }, &note))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> (RedriveLog, tempfile::TempDir) {
        let temp = tempfile::tempdir().unwrap();
        (RedriveLog::new(Folder::new(temp.path())), temp)
    }

    fn at(text: &str) -> LineAt {
        text.parse().unwrap()
    }

    fn note(file: &str, lines: u64) -> Note {
        Note {
            file: file.parse().unwrap(),
            lines,
            sha256: Digest::new([7; 32]),
            at: "2025-01-02 00:00:00.000".to_owned(),
        }
    }

    #[test]
    fn what_is_noted_is_found_from_both_ends() {
        let (notes, _temp) = notes();
        assert!(notes.redriven().unwrap().is_empty() && notes.find("a").unwrap().is_none());
        let sources = [at("20250101000000:2"), at("20250101000001:1")];
        notes.write("a", &note("20250102000000", 2), &sources).unwrap();
        notes.write("b", &note("20250103000000", 1), &[at("20250102000000:1")]).unwrap();
        // The name was taken: the same note with another one.
        notes.write("a", &note("20250102000001", 2), &sources).unwrap();
        let redriven = notes.redriven().unwrap();
        assert_eq!(redriven.len(), 3);
        assert!(sources.iter().all(|source| redriven.holds(source)) && !redriven.holds(&at("20250101000000:1")));
        let mut pairs = Vec::new();
        notes.for_each_pair(|old, new, _| pairs.push(format!("{old} {new}"))).unwrap();
        pairs.sort();
        assert_eq!(
            pairs,
            [
                "20250101000000:2 20250102000001:1",
                "20250101000001:1 20250102000001:2",
                "20250102000000:1 20250103000000:1"
            ]
        );
        assert_eq!((notes.ids().unwrap(), notes.staged().unwrap()), (vec!["a".to_owned(), "b".to_owned()], vec![]));
    }

    #[test]
    fn a_damaged_note_stops_everything_instead_of_forgetting_lines() {
        let (notes, _temp) = notes();
        notes.write("a", &note("20250102000000", 1), &[at("20250101000000:2")]).unwrap();
        let path = notes.note_path("a");
        let whole = std::fs::read_to_string(&path).unwrap();
        let head = whole.lines().next().unwrap().to_owned() + "\n";
        for damaged in [String::new(), "x\n".to_owned(), head, whole.replace(":2}", ":}"), whole.clone() + "x\n"] {
            std::fs::write(&path, &damaged).unwrap();
            let error = notes.redriven().unwrap_err();
            assert!(error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("is damaged"), "{error}");
        }
    }
}
