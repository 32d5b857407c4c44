//! What a check found: how much it compared, the first differences in words, and all of them counted.

use serde::Serialize;

/// Differences of one check that are kept with their words.
const KEPT: usize = 100;

/// What came of comparing two sets of books.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How many entries were compared.
    pub compared: u64,
    /// How many of them differ.
    pub differences: u64,
    /// Why some or all of them were not compared, if so.
    pub note: Option<String>,
}

/// A check that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Entries that were compared.
    pub(super) compared: u64,
    /// Entries that differ.
    pub(super) differences: u64,
    /// The first of them in words.
    pub(super) named: Vec<String>,
    /// Why not everything was compared.
    pub(super) note: Option<String>,
}

impl Found {
    /// Nothing was compared, for this reason.
    pub(super) fn nothing(why: impl Into<String>) -> Self {
        Self { note: Some(why.into()), ..Self::default() }
    }

    /// Notes a difference.
    pub(super) fn differ(&mut self, what: String) {
        self.differences += 1;
        if self.named.len() < KEPT {
            self.named.push(what);
        }
    }

    /// What is told of it beside the differences themselves.
    pub(super) fn check(&self) -> Check {
        Check { compared: self.compared, differences: self.differences, note: self.note.clone() }
    }
}
