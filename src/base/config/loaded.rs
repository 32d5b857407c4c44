//! Settings that were loaded, with where each value came from: shown, and compared with others.

use std::fmt::Write as _;

use serde_json::json;

use super::key::Key;
use super::schema::Schema;
use super::secret::mask;
use super::values::{Typed, Values};

/// The origin of values that nothing sets.
pub(super) const DEFAULT: &str = "default";
/// The origin of values from `SHOPCTL__SECTION__KEY`.
pub(super) const ENVIRONMENT: &str = "environment";
/// The origin of values from the command line.
pub(super) const FLAG: &str = "flag";

/// Settings, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded<S> {
    /// The checked settings.
    pub settings: S,
    pub(super) schema: Schema,
    pub(super) values: Values,
}

impl<S> Loaded<S> {
    /// The same with another view of the settings, as that of one system.
    pub fn map<T>(self, view: impl FnOnce(S) -> T) -> Loaded<T> {
        Loaded { settings: view(self.settings), schema: self.schema, values: self.values }
    }

    /// All settings that there are.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Whether nothing sets this key: its value is the program's own.
    pub fn is_default(&self, key: Key) -> bool {
        self.values.origin(key.path).is_none_or(|origin| origin == DEFAULT)
    }

    /// The keys that have another value in other settings, in the order of the schema.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let differs = |key: &&Key| self.values.get(key.path) != other.values.get(key.path);
        self.schema.keys().iter().filter(differs).map(|key| key.path).collect()
    }

    /// The settings that hold a secret and were given on the command line, where every user of the machine can read it.
    pub fn exposed(&self) -> Vec<&'static str> {
        let is_secret = |value: &Typed| match value {
            Typed::Secret(_) => true,
            Typed::Text(text) => mask(text) != *text,
            _ => false,
        };
        let flags = self.values.iter().filter(|(_, value, origin)| *origin == FLAG && is_secret(value));
        flags.map(|(path, ..)| path).collect()
    }

    /// The effective settings as TOML, with tokens and with passwords in URLs masked; `origins` adds where each value came from.
    pub fn show(&self, origins: bool) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in self.schema.keys() {
            let (own, name) = key.parts();
            if own != section {
                section = own;
                let lead = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{lead}[{section}]\n"));
            }
            if let (Some(value), Some(origin)) = (self.values.get(key.path), self.values.origin(key.path)) {
                let origin = if origins { format!("  # {origin}") } else { String::new() };
                // Writing to a String cannot fail.
                writeln!(text, "{name} = {}{origin}", show_value(value)).unwrap_or_default();
            }
        }
        text
    }

    /// The same as [`Loaded::show`] for programs: the value of every key, or with `origins` an object of value and origin.
    pub fn show_json(&self, origins: bool) -> serde_json::Value {
        let mut sections = serde_json::Map::new();
        for (path, value, origin) in self.values.iter() {
            let (section, name) = path.split_once('.').unwrap_or(("", path));
            let value = match value {
                Typed::Text(text) => json!(mask(text)),
                Typed::Secret(secret) => json!(secret.to_string()),
                Typed::Int(number) => json!(number),
                Typed::Rate(rate) => json!(rate),
                Typed::Bool(flag) => json!(flag),
            };
            let shown = if origins { json!({"value": value, "origin": origin}) } else { value };
            sections.entry(section).or_insert_with(|| json!({}))[name] = shown;
        }
        serde_json::Value::Object(sections)
    }
}

fn show_value(value: &Typed) -> String {
    match value {
        Typed::Text(text) => format!("\"{}\"", escaped(&mask(text), |c| matches!(c, '"' | '\\'))),
        Typed::Secret(secret) => format!("\"{secret}\""),
        Typed::Int(number) => number.to_string(),
        Typed::Rate(rate) => format!("{rate:?}"),
        Typed::Bool(flag) => flag.to_string(),
    }
}

/// The text as one line that no terminal obeys: control characters, and what else is named, in the escapes of TOML.
pub(super) fn escaped(text: &str, also: impl Fn(char) -> bool) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if also(c) => line.extend(['\\', c]),
            c if c.is_control() => line.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line
}
