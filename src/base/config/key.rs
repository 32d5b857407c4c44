//! A setting as documents, checks and messages know it: its path, what it may be, its default and its meaning.

use super::sources::Profile;

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyKind {
    /// Any text that is not empty.
    Text,
    /// A text that is never shown.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number within these bounds, both included.
    Int(u64, u64),
    /// A number from 0 to 1.
    Rate,
    /// `true` or `false`.
    Bool,
}

/// A default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Default {
    /// There is none, or each role has its own.
    None,
    /// Of a text or a choice.
    Text(&'static str),
    /// Of a whole number.
    Int(u64),
    /// Of a rate.
    Rate(f64),
    /// Of `true` or `false`.
    Bool(bool),
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.name`.
    pub path: &'static str,
    /// What it may be.
    pub kind: KeyKind,
    /// The default in containers, and elsewhere where `local` says nothing.
    pub default: Default,
    /// The default of local runs, where it differs from that of containers.
    pub local: Option<Default>,
    /// A short name in the environment, beside `SHOPCTL__SECTION__KEY`.
    pub short: Option<&'static str>,
    /// What a number counts; empty for what is no number.
    pub unit: &'static str,
    /// What it means, in one line.
    pub doc: &'static str,
}

impl Default {
    /// The default as TOML has it; empty where there is none.
    pub fn toml(self) -> String {
        match self {
            Self::Text(text) => format!("\"{text}\""),
            other => other.text(),
        }
    }

    /// The default as the environment has it; empty where there is none.
    pub(super) fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) => text.to_owned(),
            Self::Int(number) => number.to_string(),
            Self::Rate(rate) => format!("{rate:?}"),
            Self::Bool(flag) => flag.to_string(),
        }
    }
}

impl Key {
    /// A text without a default, at the place of a token or of its file.
    pub(super) const fn bare(path: &'static str, kind: KeyKind, doc: &'static str) -> Self {
        Self { path, kind, default: Default::None, local: None, short: None, unit: "", doc }
    }

    /// The section and the name in it.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// The default that holds in this profile.
    pub fn default_in(&self, profile: Profile) -> Default {
        match (profile, self.local) {
            (Profile::Local, Some(local)) => local,
            _ => self.default,
        }
    }

    /// What its values may be, for people.
    pub fn expected(&self) -> String {
        match self.kind {
            KeyKind::Text => "a text".to_owned(),
            KeyKind::Secret => "a token".to_owned(),
            KeyKind::Choice(words) => format!("one of {}", words.join(", ")),
            KeyKind::Int(least, most) => format!("a whole number from {least} to {most}"),
            KeyKind::Rate => "a number from 0 to 1".to_owned(),
            KeyKind::Bool => "true or false".to_owned(),
        }
    }

    /// Whether TOML has its values in quotes.
    pub(super) fn is_textual(&self) -> bool {
        matches!(self.kind, KeyKind::Text | KeyKind::Secret | KeyKind::Choice(_))
    }

    /// The variable of the environment that every setting has.
    pub fn variable(&self) -> String {
        format!("SHOPCTL__{}", self.path.replace('.', "__").to_uppercase())
    }
}
