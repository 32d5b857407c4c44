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
    /// Whether they were not compared because work was under way.
    pub is_under_way: bool,
}

/// A check that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Entries that were compared.
    pub compared: u64,
    /// Entries that differ.
    pub differences: u64,
    /// The first of them in words.
    pub named: Vec<String>,
    /// Why not everything was compared.
    pub note: Option<String>,
    /// Whether that was because work was under way.
    pub is_under_way: bool,
}

impl Findings {
    /// Nothing was compared, for this reason.
    pub fn nothing(why: impl Into<String>) -> Self {
        Self { note: Some(why.into()), ..Self::default() }
    }

    /// Nothing was compared, because this is under way.
    pub fn under_way(why: impl Into<String>) -> Self {
        Self { is_under_way: true, ..Self::nothing(why) }
    }

    /// Notes a difference.
    pub fn differ(&mut self, what: String) {
        self.differences += 1;
        if self.named.len() < KEPT {
            self.named.push(what);
        }
    }

    /// What is told of it beside the differences themselves.
    pub fn check(&self) -> Check {
        let Self { compared, differences, ref note, is_under_way, .. } = *self;
        Check { compared, differences, note: note.clone(), is_under_way }
    }
}
