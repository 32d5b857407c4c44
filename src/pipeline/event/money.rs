//! Money: i64 minor units, read from the digits of a JSON number without a float in between (docs/contracts.md, 1).

use std::fmt;

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
        let magnitude = number.minor_units()?;
        let minor = i64::try_from(magnitude).map_err(|_| MoneyError::OutOfRange)?;
        Ok(Self(if number.negative { -minor } else { minor }))
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

/// A JSON number taken apart: `-12.50e1` is (negative, "12", "50", 1).
struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Number<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Self::exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if all_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        (all_digits(whole) && !leading_zero).then_some(Self { negative, whole, fraction, exponent })
    }

    /// The value of an exponent; those beyond any use are clamped, which changes no result.
    fn exponent(text: &str) -> Option<i64> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if !all_digits(digits) {
            return None;
        }
        let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000_000);
        Some(if text.starts_with('-') { -magnitude } else { magnitude })
    }

    fn minor_units(&self) -> Result<u64, MoneyError> {
        let digits = || self.whole.bytes().chain(self.fraction.bytes()).map(|digit| u64::from(digit - b'0'));
        let total = i64::try_from(self.whole.len() + self.fraction.len()).unwrap_or(i64::MAX);
        // How many of the digits stand before the point once the amount is in minor units.
        let kept = i64::try_from(self.whole.len()).unwrap_or(i64::MAX).saturating_add(self.exponent).saturating_add(2);
        let mut minor = 0_u64;
        for (index, digit) in (0_i64..).zip(digits()) {
            if index >= kept {
                break;
            }
            minor = minor.checked_mul(10).and_then(|m| m.checked_add(digit)).ok_or(MoneyError::OutOfRange)?;
            if minor > MINOR_MAX {
                return Err(MoneyError::OutOfRange);
            }
        }
        for _ in total..kept {
            if minor == 0 {
                break;
            }
            minor = minor.checked_mul(10).filter(|m| *m <= MINOR_MAX).ok_or(MoneyError::OutOfRange)?;
        }
        let half = usize::try_from(kept).ok().and_then(|kept| digits().nth(kept)).is_some_and(|digit| digit >= 5);
        minor = minor.saturating_add(u64::from(half));
        if minor > MINOR_MAX { Err(MoneyError::OutOfRange) } else { Ok(minor) }
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
