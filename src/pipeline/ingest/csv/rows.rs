//! Reads the rows of a table, one at a time. The size of a row is limited: a quote that is never closed must not take
//! all memory.

use std::borrow::Cow;
use std::io::{self, Read};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use encoding_rs::Encoding;
use serde_json::{Value, json};

use super::bounded::Bounded;
use super::column::Column;
use super::form::FileForm;

/// Bytes of one row: as many as an event line may have by default.
const ROW_BYTES_MAX: usize = 1024 * 1024;

/// Reads rows.
pub(super) struct CsvRows<R> {
    reader: Reader<Bounded<R>>,
    record: ByteRecord,
    encoding: &'static Encoding,
    /// The names of the columns.
    header: Vec<String>,
    /// CsvRows so far; the header counts as one.
    number: u64,
    /// The line that the row begins in, from 1, and how many lines it has.
    line: u64,
    lines: u64,
    /// The first row was read for its columns, and is none of names.
    is_first_unread: bool,
}

/// A row.
pub(super) struct CsvRow<'a> {
    pub(super) number: u64,
    /// The line that it begins in, from 1: another one than its number where lines are empty or rows span several.
    pub(super) line: u64,
    /// How many lines it has.
    pub(super) lines: u64,
    cells: &'a ByteRecord,
    encoding: &'static Encoding,
    /// How many cells it should have.
    width: usize,
}

impl<R: Read> CsvRows<R> {
    /// Reads the first row for the names of the columns, or for how many there are.
    ///
    /// # Errors
    /// When the input cannot be read, or is empty.
    pub(super) fn new(input: R, form: &FileForm) -> io::Result<Self> {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(form.delimiter).quote(form.quote);
        let mut rows = Self {
            reader: builder.from_reader(Bounded::new(input)),
            record: ByteRecord::new(),
            encoding: form.encoding,
            header: Vec::new(),
            number: 0,
            line: 1,
            lines: 1,
            is_first_unread: false,
        };
        if !rows.advance()? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the table is empty: there is not even a header"));
        }
        rows.is_first_unread = !form.header;
        rows.header = if form.header {
            let names = rows.record.iter().map(|cell| form.encoding.decode_with_bom_removal(cell).0);
            names.map(|name| name.trim().to_owned()).collect()
        } else {
            (1..=rows.record.len()).map(|number| number.to_string()).collect()
        };
        Ok(rows)
    }

    /// The names of the columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// The next row.
    ///
    /// # Errors
    /// When the input cannot be read, a row has too many bytes, or the input ends within a quote.
    pub(super) fn next_row(&mut self) -> io::Result<Option<CsvRow<'_>>> {
        if !std::mem::take(&mut self.is_first_unread) && !self.advance()? {
            return Ok(None);
        }
        let Self { number, line, lines, encoding, .. } = *self;
        Ok(Some(CsvRow { number, line, lines, cells: &self.record, encoding, width: self.header.len() }))
    }

    fn advance(&mut self) -> io::Result<bool> {
        self.reader.get_mut().allow(ROW_BYTES_MAX);
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => Ok(false),
            Ok(true) => {
                self.number += 1;
                self.locate();
                if self.reader.get_ref().is_over() { Err(self.unclosed()) } else { Ok(true) }
            }
            Err(_) if self.reader.get_ref().is_exceeded() => {
                let (row, line) = (self.number + 1, self.reader.position().line());
                let why = format!(
                    "row {row} of the table (line {line}) has more than {ROW_BYTES_MAX} bytes: is a quote not closed?"
                );
                Err(io::Error::new(io::ErrorKind::InvalidData, why))
            }
            Err(e) => Err(match e.into_kind() {
                ErrorKind::Io(e) => e,
                other => io::Error::other(format!("the table cannot be read: {other:?}")),
            }),
        }
    }

    /// Finds out in which lines the row stands. The parser's own line is where it stopped: behind the row's line feed,
    /// or before it if the row ended with a carriage return. What ends with the input has no line feed of its own.
    fn locate(&mut self) {
        let (input, end) = (self.reader.get_ref(), self.reader.position());
        let is_behind = !input.is_over() && end.byte().checked_sub(1).and_then(|at| input.byte(at)) == Some(b'\n');
        let within = memchr::memchr_iter(b'\n', self.record.as_slice()).count() as u64;
        self.line = end.line().saturating_sub(u64::from(is_behind) + within);
        self.lines = 1 + within;
    }

    fn unclosed(&self) -> io::Error {
        let (row, line) = (self.number, self.line);
        let why = format!(
            "row {row} of the table (line {line}) is not complete: the table ends within a quote; close the quote, or \
             say file.quote in the map if this character quotes nothing"
        );
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

impl CsvRow<'_> {
    /// The text of a cell without the white space around it.
    ///
    /// # Errors
    /// A sentence, when its bytes are none of the encoding's.
    pub(super) fn text(&self, column: &Column) -> Result<Cow<'_, str>, String> {
        if column.is_row() {
            return Ok(Cow::Owned(self.number.to_string()));
        }
        let cell = self.cells.get(column.at).unwrap_or_default();
        let text = self.encoding.decode_without_bom_handling_and_without_replacement(cell).ok_or_else(|| {
            let encoding = self.encoding.name();
            format!("the column '{}' is not {encoding}; say file.encoding, as in \"windows-1252\"", column.name)
        })?;
        Ok(match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        })
    }

    /// What is wrong with the row as a whole.
    pub(super) fn fault(&self) -> Option<String> {
        let (cells, width) = (self.cells.len(), self.width);
        (cells != width).then(|| format!("the row has {cells} cells, the first one {width}"))
    }

    /// All cells as they are, for an operator who mends the row: texts, or bytes where they are no text.
    pub(super) fn cells(&self) -> Value {
        let cell = |cell| match self.encoding.decode_without_bom_handling_and_without_replacement(cell) {
            Some(text) => Value::from(text.as_ref()),
            None => json!({"base64": BASE64_STANDARD.encode(cell)}),
        };
        self.cells.iter().map(cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(table: &[u8]) -> CsvRows<&[u8]> {
        CsvRows::new(table, &FileForm::default()).unwrap()
    }

    #[test]
    fn rows_are_numbered_without_empty_lines_and_know_their_own_lines() {
        let mut rows = rows("\u{feff}A, B\r\n1,\" 2 \"\r\n\r\n\"x\ny\",\n\n5,6\r\n7,8".as_bytes());
        assert_eq!(rows.header(), ["A", "B"]);
        let (mut a, mut b) = (Column::new("A"), Column::new("B"));
        let header = rows.header().to_vec();
        let mut faults = Vec::new();
        a.bind(&header, &mut faults);
        b.bind(&header, &mut faults);
        let mut seen = Vec::new();
        while let Some(row) = rows.next_row().unwrap() {
            let cells = (row.text(&a).unwrap().into_owned(), row.text(&b).unwrap().into_owned());
            seen.push((row.number, row.line, row.lines, cells));
        }
        let expected = [(2, 2, 1, ("1", "2")), (3, 4, 2, ("x\ny", "")), (4, 7, 1, ("5", "6")), (5, 8, 1, ("7", "8"))];
        assert_eq!(seen, expected.map(|(row, line, lines, (a, b))| (row, line, lines, (a.to_owned(), b.to_owned()))));
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn a_quote_that_is_never_closed_ends_the_import_and_names_its_row() {
        let mut endless = b"A,B\n1,2\n3,\"open".to_vec();
        endless.resize(3 * ROW_BYTES_MAX, b'x');
        let mut rows = rows(&endless);
        assert_eq!(rows.next_row().unwrap().map(|row| row.number), Some(2));
        let error = rows.next_row().map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("row 3 of the table (line 3) has more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn a_table_that_ends_within_a_quote_is_an_error_that_names_its_row() {
        for table in ["A,B\n1,2\n\n3,\"4\n5,6\n7,8\n", "A,B\r\n1,2\r\n\r\n3,\"4\r\n5,\"\"6", "A,B\n1,2\n\n3,\""] {
            let mut rows = rows(table.as_bytes());
            assert_eq!(rows.next_row().unwrap().map(|row| row.number), Some(2));
            let error = rows.next_row().map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with("row 3 of the table (line 4) is not complete"), "{error}");
        }
        for table in ["A,B\n3,\"4\"", "A,B\n3,\"4\"\"\"", "A,B\n3,4\r", "A,B\n3,\"4\"x\n\n", "A,B\n3,"] {
            let mut rows = rows(table.as_bytes());
            assert_eq!(rows.next_row().unwrap().map(|row| (row.number, row.line)), Some((2, 2)), "{table:?}");
            assert!(rows.next_row().unwrap().is_none(), "{table:?}");
        }
    }
}
