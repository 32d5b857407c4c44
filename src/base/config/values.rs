//! All values by path, each of its key's kind and with its origin.

use std::collections::BTreeMap;

use super::key::{Key, KeyKind};
use super::secret::Secret;

/// A value of its key's kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Typed {
    Text(String),
    Secret(Secret),
    Int(u64),
    Rate(f64),
    Bool(bool),
}

/// All values by path, each with its origin.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(BTreeMap<&'static str, (Typed, String)>);

impl Typed {
    /// The value that a text is, or what is expected.
    pub(super) fn read(key: &Key, text: &str) -> Result<Self, String> {
        let typed = match key.kind {
            KeyKind::Text => (!text.is_empty()).then(|| Self::Text(text.to_owned())),
            KeyKind::Secret => (!text.is_empty()).then(|| Self::Secret(Secret::new(text))),
            KeyKind::Choice(words) => words.contains(&text).then(|| Self::Text(text.to_owned())),
            KeyKind::Int(least, most) => {
                text.parse().ok().filter(|number| (least..=most).contains(number)).map(Self::Int)
            }
            KeyKind::Rate => text.parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate)).map(Self::Rate),
            KeyKind::Bool => text.parse().ok().map(Self::Bool),
        };
        typed.ok_or_else(|| key.expected())
    }
}

impl Values {
    pub(super) fn set(&mut self, key: &Key, value: Typed, origin: &str) {
        self.0.insert(key.path, (value, origin.to_owned()));
    }

    pub(super) fn get(&self, path: &str) -> Option<&Typed> {
        self.0.get(path).map(|(value, _)| value)
    }

    pub(super) fn origin(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(|(_, origin)| origin.as_str())
    }

    /// All values in the order of their paths, each with its origin.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Typed, &str)> {
        self.0.iter().map(|(path, (value, origin))| (*path, value, origin.as_str()))
    }
}
