//! What is imported: event lines as they are, or a table with its map.

use std::io::{self, BufRead, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::events::{Events, TableError};
use super::map::{Map, MapError};
use super::tally::CsvTally;
use crate::base::boot::Failure;
use crate::pipeline::ingest::import::Input;

/// Bytes of a map that are read; a table named in its place must not fill the memory.
const MAP_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes by which a table is told from event lines: as many for a pipe that moves in small pieces as for a file.
const START_BYTES: u64 = 8 * 1024;
/// The byte order marks of UTF-16.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// The bytes of an input, unpacked.
pub type Bytes = Box<dyn BufRead + Send>;

/// An open input of event lines.
pub enum EventLines {
    /// A file of event lines.
    Lines(Bytes),
    /// A table that is read as event lines.
    Table(Box<Events<Bytes>>),
}

/// An open input, and how far it was read.
pub struct Opened {
    /// Its lines.
    pub lines: EventLines,
    /// Its size as it lies there, packed or not, where that is known before it is read.
    pub bytes: Option<u64>,
    /// How many of these bytes were read.
    pub read: Arc<AtomicU64>,
}

/// Why an input cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its first line is none of an event.
    #[error(
        "{0}: this looks like CSV; give --map FILE, which says what its rows become (shopctl ingest --map-example prints one, docs/csv.md explains it)"
    )]
    NoMap(String),
    /// It begins with a byte order mark of UTF-16.
    #[error("{0}: this is UTF-16; convert it to UTF-8 first: iconv -f utf-16 -t utf-8 {0} > utf-8.csv")]
    Utf16(String),
    /// The map cannot be used.
    #[error("the map {path} cannot be used:\n  {fault}")]
    Map {
        /// Which one.
        path: String,
        /// Everything that is wrong.
        fault: MapError,
    },
    /// The map is not one for this table.
    #[error("the map does not fit the table {from}:\n  {fault}")]
    OtherTable {
        /// Which table.
        from: String,
        /// Everything that is missing.
        fault: MapError,
    },
}

/// Opens a file, or the standard input for `-`, with its map if it is a table; plain or gzip.
///
/// # Errors
/// [`InputError`] before anything is written anywhere.
pub fn open(from: &Path, map: Option<&Path>) -> Result<Opened, InputError> {
    // The map first: it is what has faults.
    let map = map.map(read_map).transpose()?;
    let input = Input::open(from)?;
    let (bytes, read) = (input.bytes(), Arc::new(AtomicU64::new(0)));
    let counter = Arc::clone(&read);
    let count = move |bytes| {
        counter.fetch_add(bytes, Ordering::Relaxed);
    };
    let lines = over(input.read(count)?, from, map)?;
    Ok(Opened { lines, bytes, read })
}

/// Reads the first bytes of an input that is open, and the header if it is a table; `from` is its name in messages.
///
/// # Errors
/// [`InputError`] when it is a table without a map, is UTF-16, or the map is not one for this table.
fn over(mut bytes: Bytes, from: &Path, map: Option<Map>) -> Result<EventLines, InputError> {
    let mut start = Vec::new();
    bytes.by_ref().take(START_BYTES).read_to_end(&mut start)?;
    if UTF_16.iter().any(|mark| start.starts_with(mark)) {
        return Err(InputError::Utf16(from.display().to_string()));
    }
    if map.is_none() && looks_like_csv(&start) {
        return Err(InputError::NoMap(from.display().to_string()));
    }
    let bytes: Bytes = Box::new(Cursor::new(start).chain(bytes));
    let Some(map) = map else { return Ok(EventLines::Lines(bytes)) };
    match Events::new(bytes, map) {
        Ok(events) => Ok(EventLines::Table(Box::new(events))),
        Err(TableError::Map(fault)) => Err(InputError::OtherTable { from: from.display().to_string(), fault }),
        Err(TableError::Table(e)) => Err(io::Error::new(e.kind(), format!("{}: {e}", from.display())).into()),
    }
}

/// Reads a map file.
///
/// # Errors
/// [`InputError`] with everything that is wrong with it.
fn read_map(path: &Path) -> Result<Map, InputError> {
    let shown = path.display();
    let mut text = String::new();
    let read = Input::open(path)
        .and_then(|input| input.read(|_| {}))
        .and_then(|bytes| bytes.take(MAP_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|e| io::Error::new(e.kind(), format!("the map {shown}: {e}")))?;
    Map::read(&text).map_err(|fault| InputError::Map { path: shown.to_string(), fault })
}

/// Whether the first line is text with cells and no JSON, and no line of the start is one of an event. Anything else is
/// taken as it is: broken lines among events are rejected later, with their reason.
fn looks_like_csv(start: &[u8]) -> bool {
    let mut lines = start.split(|byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).trim_ascii();
    let has_cells = line.iter().any(|byte| matches!(byte, b',' | b';' | b'\t' | b'|'));
    let is_text = !line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
    let is_json = line.starts_with(b"{") || serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
    has_cells && is_text && !is_json && !lines.any(|line| line.starts_with(b"{"))
}

impl EventLines {
    /// What became of the rows so far, if it is a table.
    pub fn tally(&self) -> Option<&CsvTally> {
        match self {
            Self::Lines(_) => None,
            Self::Table(events) => Some(events.tally()),
        }
    }
}

impl BufRead for EventLines {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Lines(bytes) => bytes.fill_buf(),
            Self::Table(events) => events.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Lines(bytes) => bytes.consume(amount),
            Self::Table(events) => events.consume(amount),
        }
    }
}

impl Read for EventLines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Lines(bytes) => bytes.read(buffer),
            Self::Table(events) => events.read(buffer),
        }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Io(e) => e.into(),
            wrong => Self::usage(wrong.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_told_from_event_lines_good_and_broken() {
        for table in ["order_id,sku\n1,A\n", "\u{feff}a;b\r\n", "InvoiceNo\tStockCode", "\"a\",\"b\"\n", "1,A\n"] {
            assert!(looks_like_csv(table.as_bytes()), "{table}");
        }
        for other in [
            "{\"event_type\":1,",
            "\u{feff}{\"a\":1,\"b\":2}\n",
            "",
            "nonsense\n",
            "[1,2]\n",
            "\"a,b\"\n",
            "\n1,2\n",
            "damaged, cut\n{\"event_type\":4}\n",
            "\u{1b}[2J,x\n",
        ] {
            assert!(!looks_like_csv(other.as_bytes()), "{other}");
        }
    }

    /// Gives a byte at a time, as a slow pipe may.
    struct Slow(&'static [u8]);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    fn opened(bytes: &'static [u8]) -> Result<EventLines, InputError> {
        over(Box::new(io::BufReader::new(Slow(bytes))), Path::new("-"), None)
    }

    #[test]
    fn a_pipe_in_small_pieces_is_judged_like_a_file_and_lost_nothing() {
        assert!(matches!(opened(b"order_id,sku\n1,A\n"), Err(InputError::NoMap(_))));
        let lines = b"damaged, cut\n{\"event_type\":4}\n";
        let mut read = Vec::new();
        opened(lines).unwrap_or_else(|e| panic!("{e}")).read_to_end(&mut read).unwrap();
        assert_eq!(read, lines);
    }

    #[test]
    fn utf_16_is_refused_with_what_to_do() {
        for bytes in [&b"\xff\xfea\0,\0b\0\n\0"[..], b"\xfe\xff\0a\0,\0b\0\n"] {
            let Err(error) = opened(bytes) else { panic!("it is UTF-16") };
            assert!(error.to_string().contains("convert it to UTF-8 first: iconv -f utf-16"), "{error}");
        }
    }
}
