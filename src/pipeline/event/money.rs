//! Money: i64 minor units, read from the digits of a JSON number without a float in between (docs/contracts.md, 1).

use std::fmt;

use crate::base::decimal::Number;

/// Decimals of an amount: minor units are hundredths.
const DECIMALS: u32 = 2;
/// The largest amount, in minor units: what DECIMAL(18,2) holds.
const MINOR_MAX: u64 = Money::MAX.0.unsigned_abs();

/// An amount of money in minor units (hundredths).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Why a text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The text is no JSON number.
    #[error("not a number")]
    NotANumber,
    /// The amount does not fit DECIMAL(18,2).
    #[error("out of range, the largest amount is 9999999999999999.99")]
    OutOfRange,
}

impl Money {
    /// The largest amount: what DECIMAL(18,2) holds.
    pub const MAX: Self = Self(999_999_999_999_999_999);

    /// The amount of so many minor units.
    pub const fn from_minor(minor: i64) -> Self {
        Self(minor)
    }

    /// This amount in minor units.
    pub const fn minor(self) -> i64 {
        self.0
    }

    /// Reads the text of a JSON number, rounding half away from zero to two decimals.
    ///
    /// ```
    /// use shopctl::pipeline::event::Money;
    ///
    /// let price = Money::parse("19.995").unwrap();
    /// assert_eq!((price.minor(), price.to_string()), (2000, "20.00".to_owned()));
    /// assert!(Money::parse("twenty").is_err());
    /// ```
    ///
    /// # Errors
    /// [`MoneyError`] when the text is no JSON number or does not fit DECIMAL(18,2).
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let number = Number::split(text).ok_or(MoneyError::NotANumber)?;
        let magnitude = number.scaled(DECIMALS, MINOR_MAX).ok_or(MoneyError::OutOfRange)?;
        let minor = i64::try_from(magnitude).map_err(|_| MoneyError::OutOfRange)?;
        Ok(Self(if number.is_negative { -minor } else { minor }))
    }
}

impl Money {
    /// Reads an amount that is exact as it stands: digits with at most two decimals, no sign, no exponent. `None` for
    /// everything else.
    pub fn parse_decimal(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        if is_plain && decimals <= 2 { Self::parse(text).ok() } else { None }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minor(text: &str) -> i64 {
        Money::parse(text).unwrap().minor()
    }

    #[test]
    fn digits_become_minor_units() {
        for (text, expected) in [
            ("2.55", 255),
            ("0", 0),
            ("-0", 0),
            ("27.5", 2750),
            ("150", 15000),
            ("-1.01", -101),
            ("1e2", 10_000),
            ("1.5E+1", 1500),
            ("12345e-3", 1235),
            ("1e-9", 0),
            ("0e999999999999", 0),
            ("1.1", 110),
            ("9999999999999999.99", 999_999_999_999_999_999),
        ] {
            assert_eq!(minor(text), expected, "{text}");
        }
    }

    #[test]
    fn half_is_rounded_away_from_zero() {
        for (text, expected) in
            [("0.005", 1), ("-0.005", -1), ("0.0049999", 0), ("1.005", 101), ("2.675", 268), ("0.5e-2", 1), ("5e-3", 1)]
        {
            assert_eq!(minor(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_number_is_refused() {
        for text in ["", "-", "+1", ".5", "1.", "01", "1e", "1e+", "0x10", "NaN", "\"1\"", "1 ", "1_0", "null"] {
            assert_eq!(Money::parse(text), Err(MoneyError::NotANumber), "{text}");
        }
        for text in ["10000000000000000", "1e17", "9999999999999999.995", "1e999999999999999999999"] {
            assert_eq!(Money::parse(text), Err(MoneyError::OutOfRange), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_survives_writing_and_reading(minor in -999_999_999_999_999_999_i64..=999_999_999_999_999_999) {
            let money = Money::from_minor(minor);
            prop_assert_eq!(Money::parse(&money.to_string()), Ok(money));
        }

        #[test]
        fn rounding_agrees_with_whole_number_arithmetic(milli in -10_000_000_i64..10_000_000) {
            let text = format!("{}{}.{:03}", if milli < 0 { "-" } else { "" }, milli.abs() / 1000, milli.abs() % 1000);
            let expected = (milli.abs() + 5) / 10 * milli.signum();
            prop_assert_eq!(Money::parse(&text).unwrap().minor(), expected);
        }

        #[test]
        fn any_json_number_is_read_or_out_of_range(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let text = serde_json::to_string(&value).unwrap();
            prop_assert!(Money::parse(&text) != Err(MoneyError::NotANumber), "{}", text);
        }
    }
}
