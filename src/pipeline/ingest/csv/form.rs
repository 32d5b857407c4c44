//! How the table is written: `[file]` of a map.

use encoding_rs::{Encoding, UTF_8};

use super::number::Marks;
use super::section::{Faults, Section};

/// How the table is written.
#[derive(Debug)]
pub(super) struct FileForm {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    /// Whether the first row names the columns; they are called 1, 2, 3 otherwise.
    pub(super) header: bool,
    pub(super) encoding: &'static Encoding,
    pub(super) marks: Marks,
}

impl Default for FileForm {
    fn default() -> Self {
        let marks = Marks { decimal: '.', thousands: None };
        Self { delimiter: b',', quote: b'"', header: true, encoding: UTF_8, marks }
    }
}

impl FileForm {
    /// Reads `[file]`.
    pub(super) fn read(mut section: Section<'_>, faults: &mut Faults) -> Self {
        let own = Self::default();
        let delimiter = byte(&mut section, "delimiter", own.delimiter, faults);
        let quote = byte(&mut section, "quote", own.quote, faults);
        if delimiter == quote {
            faults.push(format!("{} is the same character as delimiter", section.name("quote")));
        }
        let header = section.flag("header", faults).unwrap_or(own.header);
        let encoding = section.text("encoding", faults).map_or(own.encoding, |label| {
            // Others may have the delimiter's byte within a character, so that it cannot be told apart.
            let found = Encoding::for_label(label.as_bytes()).filter(|found| *found == UTF_8 || found.is_single_byte());
            found.unwrap_or_else(|| {
                let hint = "use utf-8, windows-1252 (for Latin-1 too) or another one of single bytes; others convert first, as in iconv -f utf-16 -t utf-8";
                faults.push(format!("{} \"{}\" is not taken; {hint}", section.name("encoding"), label.escape_debug()));
                own.encoding
            })
        });
        let decimal = mark(&mut section, "decimal", faults).unwrap_or(own.marks.decimal);
        let thousands = mark(&mut section, "thousands", faults);
        if thousands == Some(decimal) {
            faults.push(format!("{} is the same character as decimal", section.name("thousands")));
        }
        section.end(faults);
        Self { delimiter, quote, header, encoding, marks: Marks { decimal, thousands } }
    }
}

/// One character of one byte.
fn byte(section: &mut Section<'_>, key: &'static str, default: u8, faults: &mut Faults) -> u8 {
    let read = |value: &toml::Value| match value.as_str()?.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
        _ => None,
    };
    section.typed(key, "one ASCII character that ends no line, as in \",\" or \"\\t\"", read, faults).unwrap_or(default)
}

/// A character within a number.
fn mark(section: &mut Section<'_>, key: &'static str, faults: &mut Faults) -> Option<char> {
    let read = |value: &toml::Value| {
        let mut chars = value.as_str()?.chars();
        let mark = chars.next().filter(|mark| !mark.is_ascii_digit() && !matches!(mark, '-' | '+'))?;
        chars.next().is_none().then_some(mark)
    };
    section.typed(key, "one character that is no digit", read, faults)
}
