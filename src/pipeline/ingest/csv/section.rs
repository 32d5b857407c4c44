//! Reads one table of a map file. Every fault is noted, and a key that was not asked for is an unknown key.

use toml::{Table, Value};

/// Everything that is wrong with a map, one sentence each.
pub(super) type Faults = Vec<String>;

/// A table and the keys that were asked for.
pub(super) struct Section<'a> {
    path: String,
    table: &'a Table,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// A table of this name; the top level has an empty one.
    pub(super) fn new(path: impl Into<String>, table: &'a Table) -> Self {
        Self { path: path.into(), table, known: Vec::new() }
    }

    /// The name of a key in messages.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table.get(key)
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str, faults: &mut Faults) -> Option<&'a str> {
        self.typed(key, "a text in quotes", Value::as_str, faults)
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, faults: &mut Faults) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool, faults)
    }

    /// A table.
    pub(super) fn table(&mut self, key: &'static str, faults: &mut Faults) -> Option<&'a Table> {
        self.typed(key, "a table", Value::as_table, faults)
    }

    /// A text, or a list of texts.
    pub(super) fn texts(&mut self, key: &'static str, faults: &mut Faults) -> Option<Vec<String>> {
        let read = |value: &'a Value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(list) if !list.is_empty() => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        self.typed(key, "a text in quotes or a list of them", read, faults)
    }

    /// A value that a reader takes, or the fault that it is not `expected`.
    pub(super) fn typed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
        faults: &mut Faults,
    ) -> Option<T> {
        let value = self.get(key)?;
        let read = read(value);
        if read.is_none() {
            faults.push(format!("{} is {}, not {expected}", self.name(key), what(value)));
        }
        read
    }

    /// Whether a key is there, without asking for it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes the keys that were not asked for.
    pub(super) fn end(self, faults: &mut Faults) {
        for key in self.table.keys().filter(|key| !self.known.contains(&key.as_str())) {
            let hint = suggestion(key, self.known.iter().copied())
                .unwrap_or_else(|| format!("the keys here are {}", self.known.join(", ")));
            faults.push(format!("{} is no key of a map; {hint}", self.name(&key.escape_debug().to_string())));
        }
    }
}

/// Letters of a name that is too short to be told from another one by a letter.
const SHORT_NAME: usize = 2;

/// What was probably meant.
pub(super) fn suggestion<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    // A third of the letters may differ: more than that is another word.
    let letters = wrong.chars().count();
    let allowed = if letters <= SHORT_NAME { 0 } else { 1 + letters / 3 };
    let distance = |name: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &wrong.to_lowercase());
    let nearest = names.filter(|name| !name.is_empty()).map(|name| (distance(name), name)).min()?;
    (nearest.0 <= allowed).then(|| format!("did you mean {}?", nearest.1))
}

/// What a value is, in the words of a message.
pub(super) fn what(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text \"{}\"", text.escape_debug()),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("{flag}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
    }
}
