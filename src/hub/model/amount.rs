//! Amounts: exact decimals with up to four places, never a float.

use std::fmt;

use super::reason::Reason;
use crate::base::decimal::Number;

/// Decimals of an amount.
const DECIMALS: u32 = 4;
/// Units of one.
const UNITS: u64 = 10_000;
/// The largest amount, 10^12, in units of 10^-4.
const UNITS_MAX: u64 = 10_000_000_000_000_000;

/// An amount of an event, from 0 to 10^12, in units of 10^-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

/// A sum of amounts, in units of 10^-4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Total(u128);

impl Amount {
    /// Reads the text of a JSON number.
    ///
    /// # Errors
    /// The [`Reason`] why it is no amount: no number or too large, negative, or more than four decimals.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        let number = Number::split(text).ok_or(Reason::AmountInvalid)?;
        let magnitude = number.scaled(DECIMALS, UNITS_MAX).ok_or(Reason::AmountInvalid)?;
        if !number.is_exact(DECIMALS) {
            return Err(Reason::AmountPrecision);
        }
        if number.is_negative && magnitude > 0 { Err(Reason::AmountNegative) } else { Ok(Self(magnitude)) }
    }

    /// The amount of so many units of 10^-4; nothing over 10^12.
    pub fn from_units(units: i64) -> Option<Self> {
        u64::try_from(units).ok().filter(|units| *units <= UNITS_MAX).map(Self)
    }

    /// This amount in units of 10^-4.
    pub fn units(self) -> i64 {
        // At most 10^16.
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The nearest float, for clients that have nothing better.
    pub fn to_f64(self) -> f64 {
        Total::from(self).to_f64()
    }
}

impl Total {
    /// The sum of so many units of 10^-4.
    pub fn from_units(units: u128) -> Self {
        Self(units)
    }

    /// This sum in units of 10^-4.
    pub fn units(self) -> u128 {
        self.0
    }

    /// This sum and another one.
    #[must_use]
    pub fn plus(self, other: impl Into<Self>) -> Self {
        // 10^16 units a piece: 2^128 is out of reach of any count of events.
        Self(self.0.saturating_add(other.into().0))
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        // Read from the digits: a division of a rounded float would round twice.
        self.to_string().parse().unwrap_or(f64::MAX)
    }
}

impl From<Amount> for Total {
    fn from(amount: Amount) -> Self {
        Self(u128::from(amount.0))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Total::from(*self).fmt(f)
    }
}

/// As few digits as it takes: `150.75`, `3`.
impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / u128::from(UNITS), self.0 % u128::from(UNITS));
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{fraction:04}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_refused_with_the_reason() {
        for (text, expected) in [
            ("150.75", Ok("150.75")),
            ("0", Ok("0")),
            ("-0.0", Ok("0")),
            ("1.5e2", Ok("150")),
            ("1e12", Ok("1000000000000")),
            ("0.0001", Ok("0.0001")),
            ("1.10000", Ok("1.1")),
            ("1000000000000.0001", Err(Reason::AmountInvalid)),
            ("1e13", Err(Reason::AmountInvalid)),
            ("-1", Err(Reason::AmountNegative)),
            ("0.00001", Err(Reason::AmountPrecision)),
            ("-0.00001", Err(Reason::AmountPrecision)),
            ("", Err(Reason::AmountInvalid)),
            ("1,5", Err(Reason::AmountInvalid)),
            (" 1", Err(Reason::AmountInvalid)),
            ("NaN", Err(Reason::AmountInvalid)),
            ("+1", Err(Reason::AmountInvalid)),
        ] {
            let read = Amount::parse(text).map(|amount| amount.to_string());
            assert_eq!(read.as_deref().map_err(|reason| *reason), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_survives_writing_and_reading(units in 0_i64..=10_000_000_000_000_000) {
            let amount = Amount::from_units(units).unwrap();
            prop_assert_eq!(Amount::parse(&amount.to_string()), Ok(amount));
        }

        #[test]
        fn a_float_that_a_client_writes_in_its_shortest_form_is_read_as_meant(units in 0_i64..1_000_000_000_000) {
            let amount = Amount::from_units(units).unwrap();
            prop_assert_eq!(Amount::parse(&amount.to_f64().to_string()), Ok(amount));
        }
    }
}
