//! Where the value of a field comes from: a column, several, a constant, or the latest purchase above.

use std::collections::BTreeMap;

use toml::Value;

use super::column::{Column, columns};
use super::field::Form;
use super::hash::hash63;
use super::latest::Latest;
use super::number::{self, Marks};
use super::rows::CsvRow;
use super::section::{Faults, Section, what};

/// Why a text with white space around it stands in no cell.
pub(super) const UNTRIMMED: &str = "white space around a cell is not part of it";

/// A source and what is done with it.
#[derive(Debug, Default)]
pub(super) struct Source {
    from: From,
    /// What stands for which text of the cell, as JSON.
    values: Option<BTreeMap<String, String>>,
    /// What is taken where the cell is empty or not among the values, as JSON.
    default: Option<String>,
    hash: bool,
    abs: bool,
}

/// Where the text comes from.
#[derive(Debug)]
pub(super) enum From {
    Columns(Vec<Column>),
    /// As JSON.
    Constant(String),
    /// The order of the latest purchase with the same texts in these columns.
    LatestPurchase(Vec<Column>),
}

impl Default for From {
    fn default() -> Self {
        Self::Columns(Vec::new())
    }
}

/// A cell that has no value: what is written in its place, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unmapped {
    /// A text that the check of the event's shape refuses; nothing where there is none.
    pub(super) json: Option<String>,
    pub(super) why: String,
}

impl Source {
    /// Reads what a map says of a field.
    pub(super) fn read(name: &str, value: &Value, form: Form, faults: &mut Faults) -> Self {
        match value {
            Value::String(column) => Self { from: From::Columns(vec![Column::new(column)]), ..Self::default() },
            Value::Table(table) => Self::read_table(Section::new(name, table), form, faults),
            constant => Self { from: From::Constant(json_of(name, constant, form, faults)), ..Self::default() },
        }
    }

    fn read_table(mut section: Section<'_>, form: Form, faults: &mut Faults) -> Self {
        let columns = columns(&mut section, faults);
        let value = section.get("value").map(|value| json_of(&section.name("value"), value, form, faults));
        let latest = section.texts("latest_purchase", faults);
        let (hash, abs) = (section.flag("hash", faults), section.flag("abs", faults));
        let default = section.get("default").map(|value| json_of(&section.name("default"), value, form, faults));
        let values = section.table("values", faults).map(|table| values_of(&section, table, form, faults));
        let said = ["column", "columns", "value", "latest_purchase"].iter().filter(|key| section.has(key)).count();
        if said != 1 {
            faults.push(format!("{} needs one of column, columns, value, latest_purchase", section.name("column")));
        }
        let source = Self {
            from: match (value, latest) {
                (Some(json), _) => From::Constant(json),
                (None, Some(names)) => From::LatestPurchase(names.iter().map(|name| Column::new(name)).collect()),
                (None, None) => From::Columns(columns),
            },
            values,
            default,
            hash: hash.unwrap_or_default(),
            abs: abs.unwrap_or_default(),
        };
        source.check(&section, form, faults);
        section.end(faults);
        source
    }

    /// What does not go together.
    fn check(&self, section: &Section<'_>, form: Form, faults: &mut Faults) {
        let mut fault = |key: &str, why: &str| faults.push(format!("{}: {why}", section.name(key)));
        let many = matches!(&self.from, From::Columns(columns) if columns.len() > 1);
        if many && form != Form::Text && !self.hash {
            fault("columns", "several columns make one number only with hash = true");
        }
        if self.hash && form != Form::Integer {
            fault("hash", "only ids can be made by hash");
        }
        if self.abs && !matches!(form, Form::Integer | Form::Money) {
            fault("abs", "only numbers have a sign");
        }
        if self.hash && (self.values.is_some() || self.abs) {
            fault("hash", "hash goes neither with values nor with abs");
        }
        if self.abs && self.values.is_some() {
            fault("abs", "abs does nothing to what stands in values");
        }
        if !matches!(self.from, From::Columns(_)) {
            for key in ["default", "values", "abs", "hash"].into_iter().filter(|key| section.has(key)) {
                fault(key, "this is for column and columns, and does nothing here");
            }
        }
        for text in self.values.iter().flat_map(BTreeMap::keys).filter(|text| text.trim() != *text) {
            fault("values", &format!("'{}' stands in no cell: {UNTRIMMED}", text.escape_debug()));
        }
        let is_order = section.name("").ends_with("order_id.");
        if matches!(self.from, From::LatestPurchase(_)) && !is_order {
            fault("latest_purchase", "only an order_id is that of a purchase");
        }
    }

    /// Its columns.
    pub(super) fn columns_mut(&mut self) -> &mut [Column] {
        match &mut self.from {
            From::Columns(columns) | From::LatestPurchase(columns) => columns,
            From::Constant(_) => &mut [],
        }
    }

    /// The columns by which it looks for a purchase.
    pub(super) fn latest(&self) -> Option<&[Column]> {
        match &self.from {
            From::LatestPurchase(columns) => Some(columns),
            _ => None,
        }
    }

    /// The value for a row as JSON; nothing for an empty cell.
    ///
    /// # Errors
    /// [`Unmapped`] when the cell has no such value.
    pub(super) fn value(
        &self,
        form: Form,
        row: &CsvRow<'_>,
        marks: Marks,
        latest: &Latest,
    ) -> Result<Option<String>, Unmapped> {
        let unreadable = |why| Unmapped { json: Some(json_text("")), why };
        let columns = match &self.from {
            From::Constant(json) => return Ok(Some(json.clone())),
            From::LatestPurchase(columns) => {
                let found = latest.find(columns, row).map(|order| Some(order.to_string()));
                return found.map_err(|why| Unmapped { json: None, why });
            }
            From::Columns(columns) => columns,
        };
        let texts: Vec<_> =
            columns.iter().map(|column| row.text(column)).collect::<Result<_, _>>().map_err(unreadable)?;
        if columns.iter().zip(&texts).all(|(column, text)| column.is_row() && columns.len() > 1 || text.is_empty()) {
            return Ok(self.default.clone());
        }
        if self.hash {
            return Ok(Some(hash63(texts.iter().map(AsRef::as_ref)).to_string()));
        }
        self.of_text(&texts.join(" "), form, marks).map(Some)
    }

    fn of_text(&self, text: &str, form: Form, marks: Marks) -> Result<String, Unmapped> {
        let no = |expected: &str| Unmapped {
            json: Some(json_text(text)),
            why: format!("'{}' is {expected}", text.escape_debug()),
        };
        if let Some(values) = &self.values {
            let found = values.get(text).or(self.default.as_ref());
            return found.cloned().ok_or_else(|| no("not among its values, and there is no default"));
        }
        let number = match form {
            Form::Text => return Ok(json_text(text)),
            Form::Flag if matches!(text, "true" | "false") => return Ok(text.to_owned()),
            Form::Flag => return Err(no("neither true nor false")),
            Form::Integer => number::integer(text, marks).ok_or_else(|| no("no whole number"))?,
            Form::Money => number::decimal(text, marks).ok_or_else(|| no(&not_a_number(text, marks)))?,
        };
        Ok(if self.abs { number::abs(&number) } else { number })
    }
}

/// Why a text with digits is no number: another mark than the map names is the most frequent cause.
fn not_a_number(text: &str, marks: Marks) -> String {
    let other = text.chars().find(|c| matches!(c, ',' | '.') && *c != marks.decimal);
    let is_like_one = text.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.' | '-' | '+'));
    match other {
        Some(mark) if is_like_one => {
            format!("no number (file.decimal is '{}'; is '{mark}' file.decimal or file.thousands?)", marks.decimal)
        }
        _ => "no number".to_owned(),
    }
}

/// A text as JSON.
pub(super) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A constant as JSON, if the field can have it.
fn json_of(name: &str, value: &Value, form: Form, faults: &mut Faults) -> String {
    let (json, expected) = match (form, value) {
        (Form::Text, Value::String(text)) => (Some(json_text(text)), ""),
        (Form::Flag, Value::Boolean(flag)) => (Some(flag.to_string()), ""),
        (Form::Integer | Form::Money, Value::Integer(number)) => (Some(number.to_string()), ""),
        (Form::Money, Value::Float(number)) if number.is_finite() => (Some(number.to_string()), ""),
        (Form::Text, _) => (None, "a text in quotes"),
        (Form::Flag, _) => (None, "true or false"),
        (Form::Integer, _) => (None, "a whole number"),
        (Form::Money, _) => (None, "a number"),
    };
    json.unwrap_or_else(|| {
        faults.push(format!("{name} is {}, not {expected}", what(value)));
        "null".to_owned()
    })
}

fn values_of(section: &Section<'_>, table: &toml::Table, form: Form, faults: &mut Faults) -> BTreeMap<String, String> {
    let path = section.name("values");
    let one = |(text, value): (&String, &Value)| {
        (text.clone(), json_of(&format!("{path}.{}", text.escape_debug()), value, form, faults))
    };
    table.iter().map(one).collect()
}
