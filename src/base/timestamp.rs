//! Moments: UTC, milliseconds, written `YYYY-MM-DD HH:MM:SS.mmm` with always three digits (docs/contracts.md, 1). An
//! event's time may come as RFC 3339 too; it is written in that one form again.

use std::fmt;
use std::time::Duration;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const WIRE: &[BorrowedFormatItem<'_>] =
    format_description!(version = 2, "[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
/// Bytes of a moment on the wire.
const WIRE_LEN: usize = 23;
/// The smallest year that MySQL's DATETIME documents as supported.
const YEAR_MIN: i32 = 1000;
/// 1000-01-01 00:00:00.000 and 9999-12-31 23:59:59.999: what [`YEAR_MIN`] and four digits of a year allow.
const EVENT_MS: std::ops::RangeInclusive<i64> = -30_610_224_000_000..=253_402_300_799_999;

/// A moment in UTC with millisecond precision; ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is not the time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// It has none of the two forms, or names a day or an hour that no calendar has.
    #[error("no time of the form YYYY-MM-DD HH:MM:SS.mmm (UTC) or RFC 3339 with a zone, as in 2025-10-15T17:41:40Z")]
    Form,
    /// The second 60: the columns of the databases know none.
    #[error("a leap second; databases know no second 60, write 59")]
    LeapSecond,
    /// In UTC it is before the year 1000 or after 9999.
    #[error("outside of the years 1000 to 9999 (UTC)")]
    Range,
}

impl Timestamp {
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

    /// Reads the time of an event: what [`Timestamp::parse`] takes, or RFC 3339 with any offset, with `T`, `t` or a space
    /// between date and time, with or without a fraction, of which milliseconds are kept.
    ///
    /// # Errors
    /// [`TimestampError`] with what is wrong.
    pub fn read(text: &str) -> Result<Self, TimestampError> {
        if let Some(moment) = Self::parse(text) {
            return Ok(moment);
        }
        let bytes = text.as_bytes();
        if bytes.get(17..19) == Some(b"60") && Self::read(&format!("{}59{}", &text[..17], &text[19..])).is_ok() {
            return Err(TimestampError::LeapSecond);
        }
        if !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
            return Err(TimestampError::Form);
        }
        let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError::Form)?;
        let moment = Self::from_datetime(at);
        if EVENT_MS.contains(&moment.0) { Ok(moment) } else { Err(TimestampError::Range) }
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

    /// RFC 3339 in milliseconds: `2024-01-15T10:30:00Z`, or with a fraction of three digits where there is one.
    pub fn rfc3339_ms(self) -> String {
        let text = self.to_string();
        let fraction = if text.ends_with(".000") { "" } else { &text[19..] };
        format!("{}T{}{fraction}Z", &text[..10], &text[11..19])
    }

    /// The moment so much later.
    pub fn plus(self, duration: Duration) -> Self {
        self.plus_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }

    /// The moment so much earlier.
    pub fn minus(self, duration: Duration) -> Self {
        self.plus_ms(-i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }

    /// This moment moved by so many milliseconds (negative: earlier).
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Display for Timestamp {
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

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<String, TimestampError> {
        Timestamp::read(text).map(|moment| moment.to_string())
    }

    #[test]
    fn rfc3339_is_read_with_any_zone_and_cut_to_milliseconds() {
        for (text, expected) in [
            ("2026-01-01T10:00:03Z", "2026-01-01 10:00:03.000"),
            ("2026-01-01t10:00:03z", "2026-01-01 10:00:03.000"),
            ("2026-01-01 10:00:03Z", "2026-01-01 10:00:03.000"),
            ("2026-01-01T10:00:03.9999999999999Z", "2026-01-01 10:00:03.999"),
            ("2026-01-01T10:00:03.1-00:00", "2026-01-01 10:00:03.100"),
            ("2026-01-01T00:30:00+05:45", "2025-12-31 18:45:00.000"),
            ("2026-01-01T23:59:59.5-23:59", "2026-01-02 23:58:59.500"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31 23:59:59.999"),
            ("1000-01-01T00:00:00Z", "1000-01-01 00:00:00.000"),
            ("9999-12-31T23:59:59.9999Z", "9999-12-31 23:59:59.999"),
            ("2026-01-01 10:00:03.007", "2026-01-01 10:00:03.007"),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_reason() {
        for text in [
            "2026-01-01T10:00:03",
            "2026-01-01 10:00:03",
            "2026-01-01T10:00Z",
            "2026-01-01T10:00:03.Z",
            "2026-01-01T10:00:03+24:00",
            "2026-01-01T10:00:03+0100",
            "2026-01-01_10:00:03Z",
            "2026-02-30T10:00:03Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:00:03Z ",
            "12/1/2010 8:26",
            "2026-01-01T10:00:€60",
            "",
        ] {
            assert_eq!(read(text), Err(TimestampError::Form), "{text}");
        }
        assert_eq!(read("2016-12-31T23:59:60Z"), Err(TimestampError::LeapSecond));
        assert_eq!(read("2016-12-31 23:59:60.000"), Err(TimestampError::LeapSecond));
        assert_eq!(read("2016-12-31T23:59:60"), Err(TimestampError::Form));
        assert_eq!(read("0999-12-31T23:59:59Z"), Err(TimestampError::Range));
        assert_eq!(read("1000-01-01T00:00:00+00:01"), Err(TimestampError::Range));
        assert_eq!(read("9999-12-31T23:59:59-00:01"), Err(TimestampError::Range));
    }

    fn event_time() -> impl Strategy<Value = Timestamp> {
        EVENT_MS.prop_map(Timestamp::from_unix_ms)
    }

    proptest! {
        #[test]
        fn every_moment_is_read_as_it_was_written(moment in event_time()) {
            prop_assert_eq!(Timestamp::read(&moment.to_string()), Ok(moment));
            prop_assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
        }

        #[test]
        fn any_offset_is_the_same_moment_as_its_utc(
            moment in event_time(),
            minutes in -1439_i64..=1439,
            separator in prop_oneof![Just('T'), Just('t'), Just(' ')],
            finer in 0_u32..1_000_000,
        ) {
            let local = moment.plus_ms(minutes * 60_000);
            prop_assume!(EVENT_MS.contains(&local.unix_ms()));
            let text = local.to_string().replacen(' ', &separator.to_string(), 1);
            let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
            let zoned = format!("{text}{finer:06}{sign}{:02}:{:02}", minutes / 60, minutes % 60);
            prop_assert_eq!(Timestamp::read(&zoned), Ok(moment), "{}", zoned);
        }

        #[test]
        fn whatever_is_read_is_within_what_can_be_written(text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?") {
            if let Ok(moment) = Timestamp::read(&text) {
                prop_assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
            }
        }
    }

    #[test]
    fn a_moment_comes_back_as_written() {
        for text in ["2025-10-15 17:41:40.018", "1970-01-01 00:00:00.000", "2024-02-29 23:59:59.999"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
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
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn api_times_are_whole_seconds() {
        assert_eq!(Timestamp::parse("2025-01-01 00:05:00.999").unwrap().rfc3339(), "2025-01-01T00:05:00Z");
    }
}
