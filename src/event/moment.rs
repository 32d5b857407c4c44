//! Moments: UTC, milliseconds, written `YYYY-MM-DD HH:MM:SS.mmm` with always three digits (contracts 1).

use std::fmt;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const WIRE: &[BorrowedFormatItem<'_>] =
    format_description!(version = 2, "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
/// Bytes of a moment on the wire.
const WIRE_LEN: usize = 23;
/// The smallest year that MySQL's DATETIME documents as supported.
const YEAR_MIN: i32 = 1000;

/// A moment in UTC with millisecond precision; ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// The moment so many milliseconds after 1970-01-01 00:00:00 UTC.
    pub const fn from_unix_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970-01-01 00:00:00 UTC.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// Days since 1970-01-01, in UTC.
    pub fn day(self) -> i64 {
        self.unix_ms().div_euclid(86_400_000)
    }

    /// Reads `YYYY-MM-DD HH:MM:SS.mmm`; `None` for any other form and for days that no calendar has.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if text.len() != WIRE_LEN || !unsigned {
            return None;
        }
        let parsed = PrimitiveDateTime::parse(text, WIRE).ok()?;
        if parsed.year() < YEAR_MIN {
            return None;
        }
        Some(Self::from_datetime(parsed.assume_utc()))
    }

    /// Reads what [`Moment::rfc3339`] writes.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        Self::parse(&format!("{date} {time}.000"))
    }

    /// The moment of a `time` value, cut (not rounded) to the millisecond.
    pub fn from_datetime(at: OffsetDateTime) -> Self {
        let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
        // Every representable date is within i64 milliseconds: years are limited to ±9999.
        Self(i64::try_from(ms).unwrap_or(i64::MAX))
    }

    /// This moment as a `time` value; moments outside the years ±9999 are clamped to 1970.
    pub fn datetime(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// RFC 3339 in whole seconds, as the stage-status API writes its times: `2025-01-01T00:00:00Z`.
    pub fn rfc3339(self) -> String {
        let text = self.to_string();
        format!("{}T{}Z", &text[..10], &text[11..19])
    }

    /// This moment moved by so many milliseconds (negative: earlier).
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.datetime();
        let (date, time) = (at.date(), at.time());
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moment({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_back_as_written() {
        for text in ["2025-10-15 17:41:40.018", "1970-01-01 00:00:00.000", "2024-02-29 23:59:59.999"] {
            assert_eq!(Moment::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn impossible_days_and_other_forms_are_refused() {
        for text in [
            "2025-02-30 00:00:00.000",
            "2023-02-29 00:00:00.000",
            "2025-13-01 00:00:00.000",
            "2025-01-01 24:00:00.000",
            "2025-01-01 00:00:60.000",
            "2025-01-01 00:00:00",
            "2025-01-01 00:00:00.00",
            "2025-01-01 00:00:00.0000",
            "2025-01-01T00:00:00.000",
            "+025-01-01 00:00:00.000",
            "0000-01-01 00:00:00.000",
            "",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn api_times_are_whole_seconds() {
        assert_eq!(Moment::parse("2025-01-01 00:05:00.999").unwrap().rfc3339(), "2025-01-01T00:05:00Z");
        assert_eq!(Moment::parse_rfc3339("2025-01-01T00:05:00Z").unwrap().rfc3339(), "2025-01-01T00:05:00Z");
        assert_eq!(Moment::parse_rfc3339("2025-01-01 00:05:00Z"), None);
    }
}
