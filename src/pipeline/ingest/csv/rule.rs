//! The rules of a map. The first rule that fits a row says what becomes of the row.

use std::collections::HashMap;

use toml::{Table, Value};

use super::column::Column;
use super::field::{Field, KINDS, NAMES, fields_of, form_of};
use super::number::{self, Marks};
use super::rows::CsvRow;
use super::section::{Faults, Section, suggestion};
use super::source::{Source, UNTRIMMED};
use crate::pipeline::event::Kind;

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) when: Vec<Condition>,
    pub(super) then: Then,
}

/// What becomes of a row.
#[derive(Debug)]
pub(super) enum Then {
    /// It is left out, for this reason.
    Skip(String),
    /// An event with these fields of its own.
    Event { kind: Kind, fields: Vec<(Field, Source)> },
}

/// What must hold of one column.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) column: Column,
    is: Option<Vec<String>>,
    is_not: Option<Vec<String>>,
    prefix: Option<Vec<String>>,
    empty: Option<bool>,
    below: Option<f64>,
    above: Option<f64>,
}

/// The sources that hold for every rule.
pub(super) type Common<'a> = HashMap<&'static str, &'a Value>;

/// Reads the names of `[fields]` and of a rule's own fields.
pub(super) fn sources<'a>(path: &str, table: &'a Table, faults: &mut Faults) -> Common<'a> {
    let mut section = Section::new(path, table);
    let found = NAMES.into_iter().filter_map(|name| section.get(name).map(|value| (name, value))).collect();
    section.end(faults);
    found
}

impl Rule {
    /// Reads one of `[[rule]]`.
    pub(super) fn read(mut section: Section<'_>, common: &Common<'_>, faults: &mut Faults) -> Self {
        let path = section.name("when");
        let when = match section.get("when") {
            None => Vec::new(),
            Some(Value::Table(table)) => vec![Condition::read(Section::new(path, table), faults)],
            Some(Value::Array(list)) if list.iter().all(Value::is_table) => {
                let tables = list.iter().filter_map(Value::as_table);
                tables.map(|table| Condition::read(Section::new(path.clone(), table), faults)).collect()
            }
            Some(_) => {
                faults.push(format!("{path} is neither a table nor a list of tables"));
                Vec::new()
            }
        };
        let (skip, event) = (section.text("skip", faults), section.text("event", faults));
        let own = section.table("fields", faults);
        let path = section.name("fields");
        let own = own.map(|table| sources(&path, table, faults)).unwrap_or_default();
        let then = match (skip, event) {
            (Some(why), None) => Then::Skip(why.to_owned()),
            (None, Some(name)) => event_of(&section, name, common, &own, faults),
            _ => {
                faults.push(format!("{} or skip: a rule needs one of them", section.name("event")));
                Then::Skip(String::new())
            }
        };
        section.end(faults);
        Self { when, then }
    }

    /// Whether a row is meant.
    ///
    /// # Errors
    /// Why a cell cannot be read.
    pub(super) fn fits(&self, row: &CsvRow<'_>, marks: Marks) -> Result<bool, String> {
        for condition in &self.when {
            if !condition.holds(row.text(&condition.column)?.as_ref(), marks) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn event_of(section: &Section<'_>, name: &str, common: &Common<'_>, own: &Common<'_>, faults: &mut Faults) -> Then {
    let Some((_, kind)) = KINDS.into_iter().find(|(kind, _)| *kind == name) else {
        let names = KINDS.map(|(name, _)| name);
        let hint =
            suggestion(name, names.into_iter()).unwrap_or_else(|| format!("the events are {}", names.join(", ")));
        faults.push(format!("{} \"{}\" is no event; {hint}", section.name("event"), name.escape_debug()));
        return Then::Skip(String::new());
    };
    for stray in own.keys().filter(|name| !fields_of(kind).iter().any(|field| field.name == **name)) {
        faults.push(format!("{}: a {name} has no {stray}", section.name("fields")));
    }
    let mut fields = Vec::new();
    for field in fields_of(kind) {
        let (path, value) = match (own.get(field.name), common.get(field.name)) {
            (Some(value), _) => (section.name("fields"), value),
            (None, Some(value)) => ("fields".to_owned(), value),
            (None, None) if field.required => {
                faults.push(format!("{}: a {name} needs {}", section.name("fields"), field.name));
                continue;
            }
            (None, None) => continue,
        };
        // Faults of what holds for every rule are noted once, where it stands.
        let mut unheard = Faults::new();
        let heard = if path == "fields" { &mut unheard } else { &mut *faults };
        let source = Source::read(&format!("{path}.{}", field.name), value, form_of(field.name), heard);
        if source.latest().is_some() && kind != Kind::Return {
            faults.push(format!("{}: only a return has the order_id of a purchase above", section.name("fields")));
        }
        fields.push((*field, source));
    }
    Then::Event { kind, fields }
}

impl Condition {
    fn read(mut section: Section<'_>, faults: &mut Faults) -> Self {
        let column = section.text("column", faults);
        if column.is_none() && !section.has("column") {
            faults.push(format!("{} is missing", section.name("column")));
        }
        let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        let condition = Self {
            column: Column::new(column.unwrap_or_default()),
            is: section.texts("is", faults),
            is_not: section.texts("is_not", faults),
            prefix: section.texts("prefix", faults),
            empty: section.flag("empty", faults),
            below: section.typed("below", "a number", number, faults),
            above: section.typed("above", "a number", number, faults),
        };
        let exact = condition.is.iter().chain(&condition.is_not).flatten();
        for text in exact.filter(|text| text.trim() != text.as_str()) {
            faults.push(format!(
                "{}: '{}' stands in no cell: {UNTRIMMED}",
                section.name("column"),
                text.escape_debug()
            ));
        }
        let tests = ["is", "is_not", "prefix", "empty", "below", "above"];
        if !tests.iter().any(|test| section.has(test)) {
            faults.push(format!("{} needs one of {}", section.name("column"), tests.join(", ")));
        }
        section.end(faults);
        condition
    }

    /// Whether all of its tests hold. A text that is no number is neither below nor above one.
    fn holds(&self, text: &str, marks: Marks) -> bool {
        let among = |texts: &Vec<String>| texts.iter().any(|one| one == text);
        let number = || number::decimal(text, marks).and_then(|number| number.parse::<f64>().ok());
        self.is.as_ref().is_none_or(among)
            && !self.is_not.as_ref().is_some_and(among)
            && self.prefix.as_ref().is_none_or(|all| all.iter().any(|prefix| text.starts_with(prefix.as_str())))
            && self.empty.is_none_or(|empty| text.is_empty() == empty)
            && self.below.is_none_or(|limit| number().is_some_and(|number| number < limit))
            && self.above.is_none_or(|limit| number().is_some_and(|number| number > limit))
    }
}
