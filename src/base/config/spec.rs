//! What the value of a setting may be, its default, and what it becomes in the program: one expression per field of a
//! section.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::key::{Default, Key, KeyKind};

/// A day, the longest that most times may be.
pub const DAY_SECS: u64 = 86_400;
/// The same in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

/// What a value may be, and the `T` that it becomes.
pub struct Spec<T> {
    kind: KeyKind,
    default: Default,
    local: Option<Default>,
    short: Option<&'static str>,
    unit: &'static str,
    pub(super) read: Read<T>,
}

/// How a value becomes a `T`. What is handed over is of the right kind already.
pub(super) enum Read<T> {
    /// A text or a word; the error says what is wrong with it.
    Text(fn(&str) -> Result<T, String>),
    /// A whole number, if it has a place in the type.
    Int(fn(u64) -> Option<T>),
    /// A whole number that may be left out.
    OptionalInt(fn(Option<u64>) -> Option<T>),
    /// A rate.
    Rate(fn(f64) -> T),
    /// `true` or `false`.
    Bool(fn(bool) -> T),
}

/// Any text that is not empty.
pub const fn text(default: &'static str) -> Spec<String> {
    parsed(default, |text| Ok(text.to_owned()))
}

/// A text that is parsed; the error of `parse` is a sentence that follows the setting's name.
pub const fn parsed<T>(default: &'static str, parse: fn(&str) -> Result<T, String>) -> Spec<T> {
    Spec::new(KeyKind::Text, Default::Text(default), Read::Text(parse))
}

/// One of these words; `parse` gets no other.
pub const fn choice<T>(
    default: &'static str,
    words: &'static [&'static str],
    parse: fn(&str) -> Result<T, String>,
) -> Spec<T> {
    Spec::new(KeyKind::Choice(words), Default::Text(default), Read::Text(parse))
}

/// A whole number; `make` is asked for numbers of the range only.
pub const fn number_as<T>(default: u64, range: RangeInclusive<u64>, make: fn(u64) -> Option<T>) -> Spec<T> {
    let (least, most) = (*range.start(), *range.end());
    assert!(least <= default && default <= most, "the default is out of range");
    Spec::new(KeyKind::Int(least, most), Default::Int(default), Read::Int(make))
}

/// A whole number.
pub const fn number<T: TryFrom<u64>>(default: u64, range: RangeInclusive<u64>) -> Spec<T> {
    number_as(default, range, |number| T::try_from(number).ok())
}

/// A size in bytes.
pub const fn bytes(default: u64, range: RangeInclusive<u64>) -> Spec<usize> {
    number(default, range).unit("bytes")
}

/// A duration in milliseconds.
pub const fn millis(default: u64, range: RangeInclusive<u64>) -> Spec<Duration> {
    number_as(default, range, |number| Some(Duration::from_millis(number))).unit("ms")
}

/// A duration in seconds.
pub const fn secs(default: u64, range: RangeInclusive<u64>) -> Spec<Duration> {
    number_as(default, range, |number| Some(Duration::from_secs(number))).unit("s")
}

/// A duration in hours.
pub const fn hours(default: u64, range: RangeInclusive<u64>) -> Spec<Duration> {
    number_as(default, range, |number| Some(Duration::from_secs(number.checked_mul(3600)?))).unit("hours")
}

/// A duration in days.
pub const fn days(default: u64, range: RangeInclusive<u64>) -> Spec<Duration> {
    number_as(default, range, |number| Some(Duration::from_secs(number.checked_mul(DAY_SECS)?))).unit("days")
}

/// A port; where none is set, each role has its own.
pub const fn port() -> Spec<Option<u16>> {
    let read = Read::OptionalInt(|number| number.map_or(Some(None), |number| u16::try_from(number).ok().map(Some)));
    Spec::new(KeyKind::Int(0, u16::MAX as u64), Default::None, read).unit("port")
}

/// A port with a default of its own; 0 is any free one.
pub const fn port_at(default: u16) -> Spec<u16> {
    number(default as u64, 0..=u16::MAX as u64).unit("port")
}

/// A chance, from 0 to 1.
pub const fn rate(default: f64) -> Spec<f64> {
    assert!(0.0 <= default && default <= 1.0, "the default is out of range");
    Spec::new(KeyKind::Rate, Default::Rate(default), Read::Rate(|rate| rate)).unit("share")
}

/// `true` or `false`.
pub const fn flag(default: bool) -> Spec<bool> {
    Spec::new(KeyKind::Bool, Default::Bool(default), Read::Bool(|flag| flag))
}

impl<T> Spec<T> {
    const fn new(kind: KeyKind, default: Default, read: Read<T>) -> Self {
        Self { kind, default, local: None, short: None, unit: "", read }
    }

    /// The same with another default in local runs.
    pub const fn local(mut self, default: &'static str) -> Self {
        self.local = Some(Default::Text(default));
        self
    }

    /// The same with a short name in the environment.
    pub const fn short(mut self, variable: &'static str) -> Self {
        self.short = Some(variable);
        self
    }

    /// The same with what it counts.
    pub const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// The setting of this path that has such values.
    pub const fn key(&self, path: &'static str, doc: &'static str) -> Key {
        let Self { kind, default, local, short, unit, .. } = *self;
        Key { path, kind, default, local, short, unit, doc: doc.trim_ascii() }
    }
}
