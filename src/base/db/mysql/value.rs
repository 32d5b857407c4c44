//! Values on their way into columns and out of them.

use mysql_async::prelude::FromValue;
use mysql_async::{Row, Value};
use time::{Date, Month, PrimitiveDateTime, Time};

use crate::base::db::{Error, Result};
use crate::base::timestamp::Timestamp;

/// A moment as DATETIME(3). It is cut to the millisecond already: MySQL would round what is finer into the next one,
/// MariaDB would cut it.
pub(crate) fn moment_value(at: Timestamp) -> Value {
    let at = at.datetime();
    let year = u16::try_from(at.year()).unwrap_or_default();
    Value::Date(year, at.month().into(), at.day(), at.hour(), at.minute(), at.second(), at.microsecond())
}

/// A count as a column's number.
pub(crate) fn count_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A column's value; NULL as `None` of an `Option`.
pub(crate) fn get<T: FromValue>(row: &Row, column: &str) -> Result<T> {
    match row.get_opt(column) {
        Some(Ok(value)) => Ok(value),
        Some(Err(e)) => Err(Error::broken(format!("column {column}: {e}"))),
        None => Err(Error::broken(format!("there is no column {column}"))),
    }
}

/// A column's moment, or nothing for NULL.
pub(crate) fn optional_timestamp(row: &Row, column: &str) -> Result<Option<Timestamp>> {
    let value: Value = get(row, column)?;
    let bad = || Error::broken(format!("column {column} holds {}, no moment", value.as_sql(false)));
    match value {
        Value::NULL => Ok(None),
        Value::Date(year, month, day, hour, minute, second, micros) => {
            let date = Month::try_from(month).and_then(|month| Date::from_calendar_date(year.into(), month, day));
            let time = Time::from_hms_micro(hour, minute, second, micros);
            let (date, time) = (date.map_err(|_| bad())?, time.map_err(|_| bad())?);
            Ok(Some(Timestamp::from_datetime(PrimitiveDateTime::new(date, time).assume_utc())))
        }
        _ => Err(bad()),
    }
}

/// A column's moment.
pub(crate) fn moment(row: &Row, column: &str) -> Result<Timestamp> {
    optional_timestamp(row, column)?.ok_or_else(|| Error::broken(format!("column {column} holds NULL, no moment")))
}

/// A column's number that is never below zero.
pub(crate) fn count(row: &Row, column: &str) -> Result<u64> {
    let number: i64 = get(row, column)?;
    u64::try_from(number).map_err(|_| Error::broken(format!("column {column} holds {number}")))
}

/// A column's text as something that has a form.
pub(crate) fn parsed<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T> {
    let text: String = get(row, column)?;
    text.parse().map_err(|_| Error::broken(format!("column {column} holds '{text}'")))
}

/// A DECIMAL column's digits in minor units: sums may be larger than any amount.
pub(crate) fn minor_units(row: &Row, column: &str) -> Result<i128> {
    let text: String = get(row, column)?;
    read_minor(&text).ok_or_else(|| Error::broken(format!("column {column} holds '{text}', no amount")))
}

fn read_minor(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = whole.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits || decimals.len() > 2 {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse::<i128>().ok().map(|minor| sign * minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_digit_by_digit() {
        for (text, minor) in
            [("0", 0), ("-0.01", -1), ("12.5", 1250), ("-9999999999999999999.99", -999_999_999_999_999_999_999)]
        {
            assert_eq!(read_minor(text), Some(minor), "{text}");
        }
        for text in ["", "-", "1.005", "1e2", "+1", ".5", "1.2.3"] {
            assert_eq!(read_minor(text), None, "{text}");
        }
    }
}
