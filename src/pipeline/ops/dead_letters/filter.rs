//! Which rejected lines are meant. Pure.

use std::str::FromStr;

use crate::pipeline::event::{Reason, ShardId};
use crate::pipeline::files::folder::Artifact;
use crate::pipeline::files::rejected::Rejected;
use crate::pipeline::task::{FileName, Stage};

/// Digits of a whole name.
const DIGITS: usize = 14;

/// The first digits of a file's name: a year, a month, a day, an hour, a minute, or the whole of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(String);

/// The text is no beginning of a file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no moment; {1}")]
pub struct BadPrefix(String, &'static str);

/// How files are named for a person who wrote something else.
const FILE_FORMS: &str = "a file is named by its 14 digits, several by the first 4, 6, 8, 10 or 12 of them, or by two such names with .. between them";
/// How moments are named.
const TIME_FORMS: &str = "use 2025-10-15, '2025-10-15 17:25', '2025-10-15 17:25:20', or the digits of a file's name";

impl Prefix {
    /// Reads a moment as people write it: a date, or a date with a time; digits alone do too.
    ///
    /// # Errors
    /// [`BadPrefix`] with the forms that are taken.
    pub fn of_moment(text: &str) -> Result<Self, BadPrefix> {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let form: String = text.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
        let dated =
            ["dddd-dd-dd", "dddd-dd-dd dd:dd", "dddd-dd-dd dd:dd:dd", "dddd-dd-ddTdd:dd:ddZ", "dddd-dd-ddTdd:dd:dd"];
        if digits.len() != text.len() && !dated.contains(&form.as_str()) {
            return Err(BadPrefix(text.escape_debug().to_string(), TIME_FORMS));
        }
        Self::read(&digits).ok_or_else(|| BadPrefix(text.escape_debug().to_string(), TIME_FORMS))
    }

    fn read(digits: &str) -> Option<Self> {
        let is_sound = (4..=DIGITS).contains(&digits.len())
            && digits.len().is_multiple_of(2)
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        // The rest of a name that begins like this and is a real moment.
        let rest = is_sound.then(|| &"00000101000000"[digits.len()..])?;
        format!("{digits}{rest}").parse::<FileName>().ok().map(|_| Self(digits.to_owned()))
    }

    /// Whether the file is of the moment that this begins with, or later.
    pub fn begins_by(&self, file: &FileName) -> bool {
        file.as_str() >= self.0.as_str()
    }

    /// Whether the file is of the time that this names, or earlier.
    pub fn ends_after(&self, file: &FileName) -> bool {
        file.as_str().get(..self.0.len()).is_some_and(|start| start <= self.0.as_str())
    }
}

/// Files by name: one, those that begin alike, or all from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRange {
    from: Prefix,
    to: Prefix,
}

impl FromStr for FileRange {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let bad = || BadPrefix(text.escape_debug().to_string(), FILE_FORMS);
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let range = Self { from: Prefix::read(from).ok_or_else(bad)?, to: Prefix::read(to).ok_or_else(bad)? };
        if range.to.0.as_str() < range.from.0.get(..range.to.0.len()).unwrap_or(&range.from.0) {
            return Err(BadPrefix(text.to_owned(), "the range ends before it begins"));
        }
        Ok(range)
    }
}

impl FileRange {
    /// Whether the file is one of them.
    pub fn holds(&self, file: &FileName) -> bool {
        self.from.begins_by(file) && self.to.ends_after(file)
    }
}

/// Which rejected lines; everything that is not said holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Refused by one of these stages.
    pub stages: Vec<Stage>,
    /// For one of these reasons.
    pub reasons: Vec<Reason>,
    /// From one of these event files.
    pub files: Option<FileRange>,
    /// From an event file of this time or later.
    pub since: Option<Prefix>,
    /// From an event file of this time or earlier.
    pub until: Option<Prefix>,
    /// Refused by the worker of this shard.
    pub shard: Option<ShardId>,
}

impl Filter {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a rejects file can hold lines that are meant.
    pub fn may_take(&self, artifact: &Artifact) -> bool {
        self.shard.is_none_or(|shard| artifact.shard() == Some(shard))
    }

    /// Whether a line of this rejects file is meant.
    pub fn takes(&self, artifact: &Artifact, line: &Rejected) -> bool {
        let file = &line.at.file;
        self.may_take(artifact)
            && (self.stages.is_empty() || self.stages.contains(&line.stage))
            && (self.reasons.is_empty() || self.reasons.contains(&line.reason))
            && self.files.as_ref().is_none_or(|files| files.holds(file))
            && self.since.as_ref().is_none_or(|since| since.begins_by(file))
            && self.until.as_ref().is_none_or(|until| until.ends_after(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::dead_letters::{LineAt, Raw};

    fn name(text: &str) -> FileName {
        text.parse().unwrap()
    }

    fn holds(range: &str, file: &str) -> bool {
        range.parse::<FileRange>().unwrap().holds(&name(file))
    }

    #[test]
    fn a_prefix_holds_all_that_begins_with_it_and_a_range_both_its_ends() {
        assert!(holds("20251015172520", "20251015172520") && !holds("20251015172520", "20251015172521"));
        assert!(holds("20251015", "20251015000000") && holds("20251015", "20251015235959"));
        assert!(!holds("20251015", "20251014235959") && !holds("20251015", "20251016000000"));
        for (file, inside) in
            [("20250930235959", false), ("20251001000000", true), ("20251015172520", true), ("20251015172521", false)]
        {
            assert_eq!(holds("202510..20251015172520", file), inside, "{file}");
        }
        assert!(holds("20251015172520..20251015", "20251015235959"), "the end may be shorter than the beginning");
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for bad in [
            "",
            "2",
            "20251",
            "20251399",
            "2025-10",
            "20251015..",
            "..2025",
            "x",
            "2025..2024",
            "２０２５",
            "2025101517252000",
        ] {
            assert!(bad.parse::<FileRange>().is_err(), "{bad}");
        }
        assert!("2025..2024".parse::<FileRange>().unwrap_err().to_string().contains("before it begins"));
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        for good in
            ["2025-10-15", "2025-10-15 17:25", "2025-10-15 17:25:20", "2025-10-15T17:25:20Z", "20251015", "2025"]
        {
            Prefix::of_moment(good).unwrap();
        }
        for bad in ["", "yesterday", "2025-13-01", "15.10.2025", "2025-10-15 25:00", "2025/10/15", "20251"] {
            assert!(Prefix::of_moment(bad).unwrap_err().to_string().contains("is no moment"), "{bad}");
        }
        let day = Prefix::of_moment("2025-10-15").unwrap();
        assert!(day.begins_by(&name("20251015000000")) && !day.begins_by(&name("20251014235959")));
        assert!(day.ends_after(&name("20251015235959")) && !day.ends_after(&name("20251016000000")));
    }

    #[test]
    fn every_part_of_a_filter_must_hold() {
        let shard = ShardId::new(1).unwrap();
        let line = Rejected {
            at: LineAt { file: name("20251015172520"), line: 3 },
            stage: Stage::ShardWorker,
            reason: Reason::ShopClosed,
            detail: String::new(),
            raw: Raw::Whole(Vec::new()),
        };
        let (worker, splitter) =
            (Artifact::WorkRejects(name("20251015172530"), shard), Artifact::SplitRejects(name("20251015172520")));
        assert!(Filter::default().is_empty() && Filter::default().takes(&worker, &line));
        let right = Filter {
            stages: vec![Stage::ShardSplitter, Stage::ShardWorker],
            reasons: vec![Reason::BadJson, Reason::ShopClosed],
            files: "202510".parse().ok(),
            since: Prefix::of_moment("2025-10-15").ok(),
            until: Prefix::of_moment("2025-10-15").ok(),
            shard: Some(shard),
        };
        assert!(right.takes(&worker, &line));
        assert!(!right.takes(&splitter, &line), "the splitter's lines are of no shard");
        for wrong in [
            Filter { stages: vec![Stage::ShardSplitter], ..right.clone() },
            Filter { reasons: vec![Reason::BadJson], ..right.clone() },
            Filter { files: "202509".parse().ok(), ..right.clone() },
            Filter { since: Prefix::of_moment("2025-10-16").ok(), ..right.clone() },
            Filter { until: Prefix::of_moment("2025-10-14").ok(), ..right.clone() },
            Filter { shard: ShardId::new(0), ..right.clone() },
        ] {
            assert!(!wrong.takes(&worker, &line), "{wrong:?}");
        }
    }
}
