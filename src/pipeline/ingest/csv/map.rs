//! A map file: it says what the rows of a table become. It is read whole before the first row, and all its faults are
//! reported at once.

use toml::Table;

use super::column::{Column, ROW};
use super::field::{Form, NAMES, form_of};
use super::form::FileForm;
use super::rule::{Rule, Then, sources};
use super::section::{Faults, Section};
use super::source::Source;
use super::time::Time;

/// A map with comments, for the public table *Online Retail*.
pub const EXAMPLE: &str = include_str!("online-retail.map.toml");

/// What the rows of a table become.
#[derive(Debug)]
pub struct Map {
    pub(super) file: FileForm,
    pub(super) time: Time,
    pub(super) extra: Vec<(String, Source)>,
    pub(super) rules: Vec<Rule>,
}

/// Why a map cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// It is no TOML.
    #[error("it is no TOML: {0}")]
    Syntax(String),
    /// It says something else than a map does.
    #[error("{}", .0.join("\n  "))]
    Faults(Vec<String>),
}

impl Map {
    /// Reads a map.
    ///
    /// # Errors
    /// [`MapError`] with everything that is wrong.
    pub fn read(text: &str) -> Result<Self, MapError> {
        let table: Table = text.parse().map_err(|e: toml::de::Error| MapError::Syntax(e.to_string()))?;
        let (mut faults, empty) = (Faults::new(), Table::new());
        let mut top = Section::new("", &table);
        let file = Section::new("file", top.table("file", &mut faults).unwrap_or(&empty));
        let file = FileForm::read(file, &mut faults);
        let time = Section::new("time", top.table("time", &mut faults).unwrap_or(&empty));
        let time = Time::read(time, &mut faults);
        let common = sources("fields", top.table("fields", &mut faults).unwrap_or(&empty), &mut faults);
        for (name, value) in &common {
            Source::read(&format!("fields.{name}"), value, form_of(name), &mut faults);
        }
        let extra = extra_of(top.table("extra", &mut faults).unwrap_or(&empty), &mut faults);
        let tables = |value: &toml::Value| -> Option<Vec<Table>> {
            value.as_array()?.iter().map(|one| one.as_table().cloned()).collect()
        };
        let tables = top.typed("rule", "written as [[rule]]", tables, &mut faults).unwrap_or_default();
        let rule = |(index, table): (usize, &Table)| {
            Rule::read(Section::new(format!("rule {}", index + 1), table), &common, &mut faults)
        };
        let rules: Vec<Rule> = tables.iter().enumerate().map(rule).collect();
        if rules.is_empty() && !top.has("rule") {
            faults.push(
                "[[rule]] is missing: at least one has to say what a row becomes, as in event = \"purchase\""
                    .to_owned(),
            );
        }
        top.end(&mut faults);
        let map = Self { file, time, extra, rules };
        if faults.is_empty() { Ok(map) } else { Err(MapError::Faults(faults)) }
    }

    /// Finds every column in the header.
    ///
    /// # Errors
    /// [`MapError`] with every column that is not there.
    pub(super) fn bind(&mut self, header: &[String]) -> Result<(), MapError> {
        let mut faults = Faults::new();
        let sources = self.extra.iter_mut().map(|(_, source)| source);
        let extra = sources.flat_map(Source::columns_mut);
        let rules = self.rules.iter_mut().flat_map(|rule| {
            let own = match &mut rule.then {
                Then::Skip(_) => [].iter_mut(),
                Then::Event { fields, .. } => fields.iter_mut(),
            };
            let own = own.flat_map(|(_, source)| source.columns_mut());
            rule.when.iter_mut().map(|condition| &mut condition.column).chain(own)
        });
        for column in self.time.columns.iter_mut().chain(extra).chain(rules) {
            column.bind(header, &mut faults);
        }
        faults.sort();
        faults.dedup();
        if faults.is_empty() { Ok(()) } else { Err(MapError::Faults(faults)) }
    }

    /// The columns by which returns look for their purchases.
    pub(super) fn latest(&self) -> impl Iterator<Item = &[Column]> {
        self.rules
            .iter()
            .flat_map(|rule| match &rule.then {
                Then::Skip(_) => [].iter(),
                Then::Event { fields, .. } => fields.iter(),
            })
            .filter_map(|(_, source)| source.latest())
    }
}

/// Reads `[extra]`: what is kept in the payload beside the fields.
fn extra_of(table: &Table, faults: &mut Faults) -> Vec<(String, Source)> {
    let mut extra = Vec::new();
    for (name, value) in table {
        let path = format!("extra.{}", name.escape_debug());
        if NAMES.contains(&name.as_str()) || name == ROW {
            faults.push(format!("{path} is a field of events; it belongs to [fields]"));
        }
        extra.push((name.clone(), Source::read(&path, value, Form::Text, faults)));
    }
    extra
}
