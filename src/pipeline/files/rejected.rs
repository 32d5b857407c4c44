//! One line of a rejects file, read back as [`crate::pipeline::event::reject`] wrote it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::pipeline::event::Reason;
use crate::pipeline::task::{FileName, Stage};

/// Where a line stands: the event file and the number in it, from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LineAt {
    /// The event file.
    pub file: FileName,
    /// The line's number in it.
    pub line: u64,
}

/// The text names no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' names no line; a line is named by its file and its number, like 20250101000000:17")]
pub struct BadLineAt(String);

impl FromStr for LineAt {
    type Err = BadLineAt;

    fn from_str(text: &str) -> Result<Self, BadLineAt> {
        let bad = || BadLineAt(text.escape_debug().to_string());
        let (file, line) = text.split_once(':').ok_or_else(bad)?;
        let is_number = line.bytes().all(|byte| byte.is_ascii_digit());
        let line = line.parse().ok().filter(|line| is_number && *line > 0).ok_or_else(bad)?;
        Ok(Self { file: file.parse().map_err(|_| bad())?, line })
    }
}

impl fmt::Display for LineAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The rejected line itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// Its bytes as they came, without a line feed.
    Whole(Vec<u8>),
    /// More bytes than are read into memory.
    TooLong {
        /// About how many.
        bytes: u64,
    },
}

/// A rejected line with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Where it stood.
    pub at: LineAt,
    /// The stage that refused it.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// What exactly is wrong.
    pub detail: String,
    /// What it says.
    pub raw: Raw,
}

#[derive(Deserialize)]
struct Line<'a> {
    file: FileName,
    line: u64,
    stage: Stage,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    detail: String,
    #[serde(default)]
    raw: Option<String>,
    #[serde(default, borrow)]
    raw_base64: Option<Cow<'a, str>>,
}

impl Raw {
    /// How many bytes the line has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::TooLong { bytes } => *bytes,
        }
    }

    /// Whether the line is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Rejected {
    /// Reads one line of a rejects file, without its line feed.
    ///
    /// # Errors
    /// A sentence that says why it is none.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        let raw = match (&line.raw, &line.raw_base64) {
            (Some(_), None) => line.raw.clone().unwrap_or_default().into_bytes(),
            (None, Some(encoded)) => {
                BASE64_STANDARD.decode(encoded.as_bytes()).map_err(|e| format!("raw_base64 is no base64: {e}"))?
            }
            _ => return Err("it has not one of raw and raw_base64".to_owned()),
        };
        line.with(Raw::Whole(raw))
    }

    /// Reads the head of a line that is too long for memory: what stands before its `raw` or `raw_base64`. `bytes` are
    /// those of the whole line.
    ///
    /// # Errors
    /// A sentence that says why it is none.
    pub fn parse_head(prefix: &[u8], bytes: u64) -> Result<Self, String> {
        // Within the strings before it every quotation mark has a backslash.
        let (end, key, packed) = [(",\"raw_base64\":\"", true), (",\"raw\":\"", false)]
            .into_iter()
            .find_map(|(key, packed)| Some((memchr::memmem::find(prefix, key.as_bytes())?, key, packed)))
            .ok_or("its head is too long")?;
        let head = [&prefix[..end], b"}"].concat();
        let line: Line<'_> = serde_json::from_slice(&head).map_err(|e| e.to_string())?;
        // Behind the text stand a quotation mark and a brace.
        let rest = bytes.saturating_sub((end + key.len() + 2) as u64);
        line.with(Raw::TooLong { bytes: if packed { rest / 4 * 3 } else { rest } })
    }
}

impl Line<'_> {
    fn with(self, raw: Raw) -> Result<Rejected, String> {
        let reason = Reason::from_code(&self.reason)
            .ok_or_else(|| format!("the reason '{}' is unknown here", self.reason.escape_debug()))?;
        if self.line == 0 {
            return Err("lines are counted from 1".to_owned());
        }
        let at = LineAt { file: self.file, line: self.line };
        Ok(Rejected { at, stage: self.stage, reason, detail: self.detail, raw })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::event::Reject;
    use crate::pipeline::event::reject::{Origin, write_rejected, write_streamed};

    const ORIGIN: Origin<'_> = Origin { file: "20250101000000", line: 17, stage: "shard-worker" };

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn whatever_was_written_is_read_back_byte_for_byte(
            raw in proptest::collection::vec(any::<u8>().prop_filter("no line feed", |b| *b != b'\n'), 0..60),
            detail: String,
            streamed: bool,
        ) {
            let (mut out, reject) = (Vec::new(), Reject::new(Reason::ShopClosed, detail.clone()));
            if streamed {
                write_streamed(&mut out, ORIGIN, &reject, |sink| sink.write_all(&raw)).unwrap();
            } else {
                write_rejected(&mut out, ORIGIN, &reject, &raw).unwrap();
            }
            let line = out.strip_suffix(b"\n").unwrap();
            let read = Rejected::parse(line).unwrap();
            prop_assert_eq!(&read.raw, &Raw::Whole(raw));
            let head = Rejected::parse_head(&line[..line.len() - 2], line.len() as u64).unwrap();
            prop_assert_eq!(Rejected { raw: head.raw.clone(), ..read.clone() }, head);
            prop_assert_eq!((read.at.to_string(), read.detail), ("20250101000000:17".to_owned(), detail));
        }
    }

    #[test]
    fn what_is_no_rejected_line_is_said_in_a_sentence() {
        let line = |rest: &str| format!(r#"{{"file":"20250101000000","line":1,"stage":"shard-worker",{rest}}}"#);
        for (text, expected) in [
            ("nonsense".to_owned(), "expected"),
            (line(r#""reason":"bad_mood","detail":"","raw":"""#), "'bad_mood' is unknown"),
            (line(r#""reason":"bad_json","detail":"""#), "not one of"),
            (line(r#""reason":"bad_json","detail":"","raw":"","raw_base64":"""#), "not one of"),
            (line(r#""reason":"bad_json","detail":"","raw_base64":"!""#), "no base64"),
            (line(r#""reason":"bad_json","detail":"","raw":"""#).replace(":1,", ":0,"), "from 1"),
            (line(r#""reason":"bad_json","detail":"","raw":"""#).replace("2025", "../."), "14 digits"),
        ] {
            let why = Rejected::parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
        assert!(Rejected::parse_head(b"{\"file\":\"x", 100).unwrap_err().contains("too long"));
    }

    #[test]
    fn a_line_is_named_in_one_way() {
        assert_eq!("20250101000000:17".parse::<LineAt>().unwrap().to_string(), "20250101000000:17");
        for bad in ["", "17", "20250101000000", "20250101000000:0", "20250101000000:+1", "2025:1", "20250101000000:1:2"]
        {
            assert!(bad.parse::<LineAt>().unwrap_err().to_string().contains("names no line"), "{bad}");
        }
    }
}
