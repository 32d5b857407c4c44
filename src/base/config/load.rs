//! Layers the sources over the defaults, remembers where each value came from, and lists all faults at once.

use std::collections::HashMap;

use config::{Environment, File, FileFormat, Source, Value, ValueKind};

use super::loaded::{DEFAULT, ENVIRONMENT, FLAG, Loaded, escaped};
use super::schema::Schema;
use super::secret::mask;
use super::section::Reader;
use super::sources::{Profile, Sources};
use super::values::{Typed, Values};
use super::{Key, Sections, names};

/// The file that is read when no other is named.
const DEFAULT_FILE: &str = "shopctl.toml";

/// Everything that is wrong with the settings, one sentence each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the settings are not right:\n  {}", .0.join("\n  "))]
pub struct Faults(pub Vec<String>);

/// Layers and checks all sources.
///
/// # Errors
/// [`Faults`] with everything that is wrong.
pub fn load<S: Sections>(sources: &Sources) -> Result<Loaded<S>, Faults> {
    let schema = S::schema();
    let (values, mut faults) = layered(sources, &schema);
    if faults.is_empty() {
        let mut reader = Reader::new(&values, &schema, sources.is_plain());
        let settings = S::read(&mut reader);
        faults = reader.into_faults();
        if let (Some(settings), true) = (settings, faults.is_empty()) {
            return Ok(Loaded { settings, schema, values });
        }
    }
    Err(Faults(faults.iter().map(|fault| escaped(fault, |_| false)).collect()))
}

/// The value of each key from the source that comes last, and what is wrong with any of them.
fn layered(sources: &Sources, schema: &Schema) -> (Values, Vec<String>) {
    let mut layers = Layers { schema, values: Values::default(), faults: Vec::new() };
    let profile = sources.profile().unwrap_or_else(|fault| {
        layers.faults.push(fault);
        Profile::default()
    });
    layers.add_defaults(profile, &sources.role_defaults);
    match file_values(sources) {
        Ok((origin, table)) => layers.add_tree("", table, &origin),
        Err(fault) => layers.faults.push(fault),
    }
    layers.add_short_names(&sources.environment);
    layers.faults.extend(names::unreadable(&sources.unreadable, schema));
    layers.faults.extend(names::faults(&sources.environment, schema));
    layers.add_environment(&sources.environment);
    for (path, text) in &sources.flags {
        layers.add_text(path, text, FLAG);
    }
    (layers.values, layers.faults)
}

fn file_values(sources: &Sources) -> Result<(String, HashMap<String, Value>), String> {
    let path = match &sources.file {
        Some(path) => path.clone(),
        None => sources.folder.join(DEFAULT_FILE),
    };
    if sources.file.is_none() && !path.exists() {
        return Ok((String::new(), HashMap::new()));
    }
    let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let table = File::from_str(&text, FileFormat::Toml)
        .collect()
        .map_err(|e| format!("{} is no TOML: {}", path.display(), without_excerpt(&e.to_string())))?;
    Ok((format!("file {}", path.display()), table.into_iter().collect()))
}

/// What is wrong with a file and where, without the lines of the file that the parser quotes: they may hold a secret.
fn without_excerpt(error: &str) -> String {
    let is_excerpt =
        |line: &&str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    error.lines().filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join(" ")
}

/// Values as they are layered: what is added later wins.
struct Layers<'a> {
    schema: &'a Schema,
    values: Values,
    faults: Vec<String>,
}

impl Layers<'_> {
    fn add_defaults(&mut self, profile: Profile, role: &[(Key, String)]) {
        for key in self.schema.keys() {
            let default = key.default_in(profile).text();
            if !default.is_empty() {
                self.add_text(key.path, &default, DEFAULT);
            }
        }
        for (key, text) in role {
            self.add_text(key.path, text, "default of the role");
        }
    }

    fn add_short_names(&mut self, environment: &HashMap<String, String>) {
        for key in self.schema.keys() {
            let Some(name) = key.short else { continue };
            if let Some(text) = environment.get(name).filter(|text| !text.is_empty()) {
                self.add_text(key.path, text, &format!("environment {name}"));
            }
        }
    }

    fn add_environment(&mut self, environment: &HashMap<String, String>) {
        let own = Environment::with_prefix("SHOPCTL")
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(Some(environment.clone()));
        match own.collect() {
            Ok(table) => self.add_tree("", table.into_iter().collect(), ENVIRONMENT),
            Err(e) => self.faults.push(format!("the environment cannot be read: {e}")),
        }
    }

    fn add_tree(&mut self, prefix: &str, table: HashMap<String, Value>, origin: &str) {
        let mut entries: Vec<_> = table.into_iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in entries {
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value.kind {
                ValueKind::Table(inner) if self.schema.find(&path).is_none() => {
                    self.add_tree(&path, inner.into_iter().collect(), origin);
                }
                ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => {
                    self.faults.push(format!("{path} ({origin}): a single value is expected"));
                }
                kind => self.add_value(&path, kind, origin),
            }
        }
    }

    /// A value with the type that TOML gave it: a number is no text, and text is no number.
    fn add_value(&mut self, path: &str, value: ValueKind, origin: &str) {
        let is_text = matches!(value, ValueKind::String(_));
        match self.schema.find(path).map(Key::is_textual) {
            Some(wants_text) if origin.starts_with("file") && is_text != wants_text => {
                let expected = if wants_text { "a text in quotes" } else { "a value without quotes" };
                self.faults.push(format!("{path} ({origin}): {expected} is expected"));
            }
            _ => self.add_text(path, &value.to_string(), origin),
        }
    }

    fn add_text(&mut self, path: &str, text: &str, origin: &str) {
        let Some(key) = self.schema.find(path) else {
            self.faults.push(unknown(path, origin, self.schema));
            return;
        };
        match Typed::read(key, text) {
            Ok(value) => self.values.set(key, value, origin),
            // A value in the wrong place may be a secret that belongs elsewhere: passwords are masked here too.
            Err(expected) => {
                self.faults.push(format!("{path} ({origin}) is '{}': {expected} is expected", mask(text)));
            }
        }
    }
}

fn unknown(path: &str, origin: &str, schema: &Schema) -> String {
    if origin == ENVIRONMENT {
        let variable = format!("SHOPCTL__{}", path.replace('.', "__").to_uppercase());
        return format!("{variable} ({origin}) is no setting; {}", names::hint(&variable, schema));
    }
    let hint = match schema.nearest(path) {
        Some(meant) => format!("; did you mean {meant}?"),
        None => "; 'shopctl config default' lists all keys".to_owned(),
    };
    format!("{path} ({origin}) is no setting{hint}")
}

#[cfg(test)]
mod tests;
