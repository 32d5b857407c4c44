//! A column as a map names it, and its place in the table.

use super::section::{Faults, Section, suggestion};

/// The name of a column that every table has: the row's number.
pub(super) const ROW: &str = "#row";

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its place from 0, known once the header was read.
    pub(super) at: usize,
}

impl Column {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.trim().to_owned(), at: 0 }
    }

    /// Whether it is the row's number.
    pub(super) fn is_row(&self) -> bool {
        self.name == ROW
    }

    /// Finds its place among the names of the header.
    pub(super) fn bind(&mut self, header: &[String], faults: &mut Faults) {
        if self.is_row() {
            return;
        }
        let mut places = header.iter().enumerate().filter(|(_, name)| **name == self.name).map(|(at, _)| at);
        match (places.next(), places.next()) {
            (Some(at), None) => self.at = at,
            (Some(_), Some(_)) => faults.push(format!("the column '{}' stands twice in the header", self.name)),
            (None, _) if is_undivided(header) => {
                let said = format!("the header is one column, '{}'; is file.delimiter right?", header[0]);
                if !faults.contains(&said) {
                    faults.push(said);
                }
            }
            (None, _) => {
                let names = || header.iter().map(String::as_str).filter(|name| !name.is_empty());
                let hint = suggestion(&self.name, names())
                    .unwrap_or_else(|| format!("the columns are {}", names().collect::<Vec<_>>().join(", ")));
                faults.push(format!("there is no column '{}' in the table; {hint}", self.name));
            }
        }
    }
}

/// Whether a header has one column whose name holds what divides columns elsewhere.
fn is_undivided(header: &[String]) -> bool {
    matches!(header, [only] if only.contains([',', ';', '\t', '|']))
}

/// Reads `column = "A"` or `columns = ["A", "B"]`.
pub(super) fn columns(section: &mut Section<'_>, faults: &mut Faults) -> Vec<Column> {
    let one = section.text("column", faults).map(|name| vec![name.to_owned()]);
    let many = section.texts("columns", faults);
    if one.is_some() && many.is_some() {
        faults.push(format!("{} and columns say the same; keep one of them", section.name("column")));
    }
    one.or(many).unwrap_or_default().iter().map(|name| Column::new(name)).collect()
}
