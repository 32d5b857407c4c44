//! The time of a row: which columns hold it, how it is written there, and in which zone.

use jiff::Timestamp as JiffTimestamp;
use jiff::civil::date;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use super::column::{Column, columns};
use super::rows::CsvRow;
use super::section::{Faults, Section};
use crate::base::timestamp::{Timestamp, TimestampError};

/// What a map says without a format: the event line's own forms.
const RFC3339: &str = "rfc3339";
/// Half past five hours before UTC, all the year.
const SAMPLE_ZONE: &str = "Asia/Kolkata";
/// What a map says without a zone.
const UTC: &str = "UTC";

/// Where the time of an event comes from.
#[derive(Debug)]
pub(super) struct Time {
    pub(super) columns: Vec<Column>,
    /// Nothing for [`RFC3339`].
    format: Option<String>,
    zone: TimeZone,
}

impl Time {
    /// Reads `[time]`.
    pub(super) fn read(mut section: Section<'_>, faults: &mut Faults) -> Self {
        let columns = columns(&mut section, faults);
        if columns.is_empty() && !section.has("column") && !section.has("columns") {
            faults.push(format!("{} is missing: the column that says when it happened", section.name("column")));
        }
        let format = section.text("format", faults).filter(|format| *format != RFC3339);
        if let Some(format) = format
            && let Err(why) = check_format(format)
        {
            faults.push(format!("{} \"{}\" cannot be used: {why}", section.name("format"), format.escape_debug()));
        }
        let name = section.text("zone", faults).unwrap_or(UTC);
        let zone = zone_of(name).unwrap_or_else(|| {
            let hint = "use UTC, an offset like +02:00, or a name like Europe/London";
            faults.push(format!("{} \"{}\" is not known; {hint}", section.name("zone"), name.escape_debug()));
            TimeZone::UTC
        });
        section.end(faults);
        Self { columns, format: format.map(str::to_owned), zone }
    }

    /// The time of a row.
    ///
    /// # Errors
    /// The cell's text, and why it is no time.
    pub(super) fn of(&self, row: &CsvRow<'_>) -> Result<Timestamp, (String, String)> {
        let texts: Result<Vec<_>, String> = self.columns.iter().map(|column| row.text(column)).collect();
        let text = texts.map_err(|why| (String::new(), format!("time: {why}")))?.join(" ");
        let result = match &self.format {
            _ if text.trim().is_empty() => Err("the cell is empty".to_owned()),
            None => read(&self.zone, &text).map_err(|e| format!("it is {e}")),
            Some(format) => parse(format, &self.zone, &text),
        };
        result.map_err(|why| {
            let said = format!("time '{}': {why}", text.escape_debug());
            (text, said)
        })
    }
}

fn zone_of(name: &str) -> Option<TimeZone> {
    // The database is compiled in: the same file and map make the same events on every machine.
    DateTimeParser::new().parse_time_zone_with(&TimeZoneDatabase::bundled(), name).ok()
}

/// Reads the forms of an event line; the one without an offset is in the zone.
fn read(zone: &TimeZone, text: &str) -> Result<Timestamp, TimestampError> {
    let Some(local) = Timestamp::parse(text) else { return Timestamp::read(text) };
    let local = JiffTimestamp::from_millisecond(local.unix_ms()).map(|at| Offset::UTC.to_datetime(at));
    local.and_then(|local| zone.to_timestamp(local)).map(moment).map_err(|_| TimestampError::Range)
}

/// Reads a time of this format. A zone of its own comes before the map's.
///
/// # Errors
/// Why it is none.
fn parse(format: &str, zone: &TimeZone, text: &str) -> Result<Timestamp, String> {
    let unfit = |e: jiff::Error| format!("it does not fit \"{format}\": {e}");
    let parts = BrokenDownTime::parse(format, text).map_err(unfit)?;
    if is_leap_second(format, &parts, text) {
        return Err(format!("it is {}", TimestampError::LeapSecond));
    }
    if parts.timestamp().is_some() || parts.offset().is_some() {
        return parts.to_timestamp().map(moment).map_err(unfit);
    }
    let own = parts.iana_time_zone().map(|name| zone_of(name).ok_or_else(|| format!("its zone '{name}' is not known")));
    let own = own.transpose()?;
    let local = parts.to_datetime().map_err(unfit)?;
    // A local time that came twice is the first of the two; one that never came is taken as if the clock had not been set.
    own.as_ref().unwrap_or(zone).to_timestamp(local).map(moment).map_err(unfit)
}

/// Whether the text names a second 60, which the parser takes for 59: with another number in its place, the second is
/// that one.
fn is_leap_second(format: &str, parts: &BrokenDownTime, text: &str) -> bool {
    let is_second = |(at, _): (usize, &str)| {
        let other = format!("{}58{}", &text[..at], &text[at + 2..]);
        BrokenDownTime::parse(format, &other).is_ok_and(|parts| parts.second() == Some(58))
    };
    parts.second() == Some(59) && text.match_indices("60").any(is_second)
}

fn moment(at: JiffTimestamp) -> Timestamp {
    let ms = at.as_nanosecond().div_euclid(1_000_000);
    // The range of a timestamp is that of four-digit years.
    Timestamp::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Writes a time in the format and reads it again: what cannot be read must be found before the first row. Its zone is
/// none that a format could mean by saying nothing.
fn check_format(format: &str) -> Result<(), String> {
    if !format.contains('%') {
        return Err("a format is made of %d, %m, %Y, %H, %M and %S, as in %d.%m.%Y %H:%M".to_owned());
    }
    let zone = zone_of(SAMPLE_ZONE).unwrap_or(TimeZone::UTC);
    let sample = date(2010, 12, 1).at(20, 26, 30, 0).to_zoned_datetime(zone.clone());
    let text = sample.and_then(|sample| BrokenDownTime::from(&sample).to_string(format)).map_err(|e| e.to_string())?;
    let read = parse(format, &zone, &text)?.to_string();
    // 8:26 there, in UTC.
    if read.contains(" 02:") {
        return Err("the hour of a 12-hour clock, %I, needs %p with it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(format: &str, zone: &str, text: &str) -> Option<String> {
        parse(format, &zone_of(zone).unwrap(), text).ok().map(|moment| moment.to_string())
    }

    #[test]
    fn local_times_become_utc() {
        for (format, zone, text, expected) in [
            ("%m/%d/%Y %H:%M", "UTC", "12/1/2010 8:26", "2010-12-01 08:26:00.000"),
            ("%m/%d/%Y %H:%M", "Europe/London", "7/1/2011 8:26", "2011-07-01 07:26:00.000"),
            ("%d.%m.%Y %H:%M:%S", "+02:00", "1.7.2011 00:30:07", "2011-06-30 22:30:07.000"),
            ("%Y-%m-%d", "-05:00", "2011-07-01", "2011-07-01 05:00:00.000"),
            ("%s", "Europe/London", "1293840000", "2011-01-01 00:00:00.000"),
            ("%Y-%m-%dT%H:%M:%S%.f%:z", "UTC", "2011-07-01T10:00:00.1239+02:00", "2011-07-01 08:00:00.123"),
            ("%I:%M %p %d %b %Y", "UTC", "8:26 PM 1 Dec 2010", "2010-12-01 20:26:00.000"),
            ("%Y-%m-%d %H:%M %Q", "UTC", "2011-07-01 10:00 Asia/Kolkata", "2011-07-01 04:30:00.000"),
            ("%Y-%m-%d %H:%M %:Q", "UTC", "2011-07-01 10:00 +02:00", "2011-07-01 08:00:00.000"),
            // Once more for the hour that the clock was set back, and never for the one it was set forward.
            ("%Y-%m-%d %H:%M", "Europe/London", "2011-10-30 01:30", "2011-10-30 00:30:00.000"),
            ("%Y-%m-%d %H:%M", "Europe/London", "2011-03-27 01:30", "2011-03-27 01:30:00.000"),
        ] {
            assert_eq!(parsed(format, zone, text).as_deref(), Some(expected), "{text} in {zone}");
        }
        assert_eq!(parsed("%m/%d/%Y %H:%M", "UTC", "31/12/2010 8:26"), None);
        assert_eq!(parsed("%m/%d/%Y %H:%M", "UTC", "12/1/2010 8:26 or so"), None);
    }

    #[test]
    fn the_form_of_event_lines_without_an_offset_is_in_the_zone() {
        let zone = zone_of("Europe/London").unwrap();
        for (text, expected) in [
            ("2011-07-01 10:00:00.123", "2011-07-01 09:00:00.123"),
            ("2011-07-01T10:00:00Z", "2011-07-01 10:00:00.000"),
            ("2011-07-01 10:00:00+05:00", "2011-07-01 05:00:00.000"),
        ] {
            assert_eq!(read(&zone, text).map(|at| at.to_string()).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(read(&zone, "2011-07-01 10:00:60.000"), Err(TimestampError::LeapSecond));
    }

    #[test]
    fn a_second_60_is_refused_in_any_format_and_other_sixties_are_not() {
        for (format, text) in [
            ("%Y-%m-%d %H:%M:%S", "2016-12-31 23:59:60"),
            ("%Y%m%d%H%M%S", "20601231235960"),
            ("%d.%m.%Y %T", "31.12.2016 23:59:60"),
        ] {
            let why = parse(format, &TimeZone::UTC, text).unwrap_err();
            assert!(why.starts_with("it is a leap second"), "{why}");
        }
        assert_eq!(parsed("%Y%m%d%H%M%S", "UTC", "20601231235959").as_deref(), Some("2060-12-31 23:59:59.000"));
        assert_eq!(
            parsed("%Y-%m-%d %H:%M:%S%.f", "UTC", "2016-12-31 23:59:59.60").as_deref(),
            Some("2016-12-31 23:59:59.600")
        );
    }

    #[test]
    fn a_zone_of_the_row_that_is_not_known_is_refused() {
        let why = parse("%Y-%m-%d %H:%M %Q", &TimeZone::UTC, "2011-07-01 10:00 Europe/Atlantis").unwrap_err();
        assert!(why.contains("Europe/Atlantis"), "{why}");
    }

    #[test]
    fn a_format_that_cannot_be_read_and_a_zone_that_is_nowhere_are_found_at_once() {
        for format in [
            "%m/%d/%Y %H:%M",
            "%Y-%m-%d",
            "%s",
            "%d.%m.%y",
            "%Y-%m-%d %H:%M %Q",
            "%Y-%m-%d %H:%M %:z",
            "%d.%m.%Y %I %p",
        ] {
            assert!(check_format(format).is_ok(), "{format}");
        }
        for format in ["%E", "YYYY-MM-DD", "%H:%M", "%Y-%m-%d %I:%M", "%c"] {
            assert!(check_format(format).is_err(), "{format}");
        }
        assert!(zone_of("Europe/Atlantis").is_none());
    }
}
