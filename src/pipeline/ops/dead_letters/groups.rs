//! Counts rejected lines in groups: by reason, or by what the detail says. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::LineAt;
use crate::pipeline::event::Reason;
use crate::pipeline::event::detail::pattern;
use crate::pipeline::task::Stage;

/// Different details that are told apart; they hold what producers wrote, so there may be as many as lines.
const DETAILS_MAX: usize = 10_000;
/// What stands for the details beyond them.
const OTHERS: &str = "(other details)";

/// By what lines are counted together, beside their stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The reason.
    #[default]
    Reason,
    /// The reason and the detail, where any number is as good as another.
    Detail,
}

/// The lines of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The stage that refused them.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// What the detail of the first of them says; empty if they are counted by reason.
    pub detail: String,
    /// How many there are.
    pub lines: u64,
    /// How many of them were redriven.
    pub redriven: u64,
    /// The first of them.
    pub example: LineAt,
}

/// The groups seen so far.
#[derive(Debug, Default)]
pub struct Groups {
    by: By,
    groups: BTreeMap<(Stage, Reason, String), Group>,
}

impl Groups {
    /// Nothing counted yet.
    pub fn new(by: By) -> Self {
        Self { by, groups: BTreeMap::new() }
    }

    /// Counts a line.
    pub fn add(&mut self, stage: Stage, reason: Reason, detail: &str, at: &LineAt, is_redriven: bool) {
        let (mut shown, mut like) = match self.by {
            By::Reason => (String::new(), String::new()),
            By::Detail => (detail.to_owned(), pattern(detail)),
        };
        if self.groups.len() >= DETAILS_MAX && !self.groups.contains_key(&(stage, reason, like.clone())) {
            (shown, like) = (OTHERS.to_owned(), OTHERS.to_owned());
        }
        let first = || Group { stage, reason, detail: shown, lines: 0, redriven: 0, example: at.clone() };
        let group = self.groups.entry((stage, reason, like)).or_insert_with(first);
        group.lines += 1;
        group.redriven += u64::from(is_redriven);
    }

    /// All groups: by stage and reason, or the largest first.
    pub fn sorted(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.groups.values().cloned().collect();
        if self.by == By::Detail {
            groups.sort_by_key(|group| Reverse(group.lines));
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_most_often_comes_first_and_names_its_first_line() {
        let mut groups = Groups::new(By::Detail);
        let at = |line| LineAt { file: "20250101000000".parse().unwrap(), line };
        let mut add = |detail: &str, line| {
            groups.add(Stage::ShardWorker, Reason::Malformed, detail, &at(line), line == 3);
        };
        add("qty is missing", 1);
        add("qty is 0, the least is 1", 2);
        add("qty is -5, the least is 1", 3);
        add("qty is 00, the least is 1", 4);
        let seen: Vec<_> =
            groups.sorted().into_iter().map(|g| (g.detail, g.lines, g.redriven, g.example.line)).collect();
        let expected = [
            ("qty is 0, the least is 1", 2, 0, 2),
            ("qty is -5, the least is 1", 1, 1, 3),
            ("qty is missing", 1, 0, 1),
        ];
        assert_eq!(seen, expected.map(|(detail, lines, redriven, first)| (detail.to_owned(), lines, redriven, first)));
    }

    #[test]
    fn endlessly_many_details_take_no_endless_memory() {
        let mut groups = Groups::new(By::Detail);
        let at = LineAt { file: "20250101000000".parse().unwrap(), line: 1 };
        for number in 0..DETAILS_MAX + 50 {
            let letters: String = number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            groups.add(Stage::ShardWorker, Reason::Malformed, &letters, &at, false);
        }
        let sorted = groups.sorted();
        assert_eq!((sorted.len(), sorted[0].detail.as_str(), sorted[0].lines), (DETAILS_MAX + 1, OTHERS, 50));
    }
}
