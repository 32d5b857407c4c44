//! The time of a row: its columns, how it is written there, and in which zone.

use jiff::Timestamp;
use jiff::civil::date;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::column::{Column, columns};
use super::rows::Row;
use super::section::{Faults, Section};
use crate::base::moment::Moment;

/// What a map says without a format: the event line's own forms.
const RFC3339: &str = "rfc3339";
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
    pub(super) fn of(&self, row: &Row<'_>) -> Result<Moment, (String, String)> {
        let texts: Result<Vec<_>, String> = self.columns.iter().map(|column| row.text(column)).collect();
        let text = texts.map_err(|why| (String::new(), format!("time: {why}")))?.join(" ");
        let result = match &self.format {
            _ if text.trim().is_empty() => Err("the cell is empty".to_owned()),
            None => Moment::read(&text).map_err(|e| format!("it is {e}")),
            Some(format) => parse(format, &self.zone, &text).map_err(|e| format!("it does not fit \"{format}\": {e}")),
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

/// A local time that came twice is the first of the two; one that never came is taken as if the clock had not been set.
fn parse(format: &str, zone: &TimeZone, text: &str) -> Result<Moment, jiff::Error> {
    let parts = BrokenDownTime::parse(format, text)?;
    let at = if parts.timestamp().is_some() || parts.offset().is_some() {
        parts.to_timestamp()?
    } else {
        zone.to_timestamp(parts.to_datetime()?)?
    };
    Ok(moment(at))
}

fn moment(at: Timestamp) -> Moment {
    let ms = at.as_nanosecond().div_euclid(1_000_000);
    // The range of a timestamp is that of four-digit years.
    Moment::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Writes a time in the format and reads it again: what cannot be read must be found before the first row.
fn check_format(format: &str) -> Result<(), String> {
    let again = || -> Result<Moment, jiff::Error> {
        let sample = date(2010, 12, 1).at(20, 26, 30, 0).to_zoned_datetime(TimeZone::UTC)?;
        let text = BrokenDownTime::from(&sample).to_string(format)?;
        parse(format, &TimeZone::UTC, &text)
    };
    let read = again().map_err(|e| e.to_string())?.to_string();
    if read.contains(" 08:") {
        return Err("the hour of a 12-hour clock, %I, needs %p with it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, zone: &str, text: &str) -> Option<String> {
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
            // Once more for the hour that the clock was set back, and never for the one it was set forward.
            ("%Y-%m-%d %H:%M", "Europe/London", "2011-10-30 01:30", "2011-10-30 00:30:00.000"),
            ("%Y-%m-%d %H:%M", "Europe/London", "2011-03-27 01:30", "2011-03-27 01:30:00.000"),
        ] {
            assert_eq!(read(format, zone, text).as_deref(), Some(expected), "{text} in {zone}");
        }
        assert_eq!(read("%m/%d/%Y %H:%M", "UTC", "31/12/2010 8:26"), None);
        assert_eq!(read("%m/%d/%Y %H:%M", "UTC", "12/1/2010 8:26 or so"), None);
    }

    #[test]
    fn a_format_that_cannot_be_read_and_a_zone_that_is_nowhere_are_found_at_once() {
        for format in ["%m/%d/%Y %H:%M", "%Y-%m-%d", "%s", "%d.%m.%y"] {
            assert!(check_format(format).is_ok(), "{format}");
        }
        for format in ["%E", "YYYY-MM-DD", "%H:%M", "%Y-%m-%d %I:%M", "%c"] {
            assert!(check_format(format).is_err(), "{format}");
        }
        assert!(zone_of("Europe/Atlantis").is_none());
    }
}
