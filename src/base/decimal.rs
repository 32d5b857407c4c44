//! Decimal numbers, read from the digits of a JSON number without a float in between.

/// A JSON number taken apart: `-12.50e1` is negative, with the digits `12` and `50` and the exponent 1.
#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    /// Whether it begins with a minus.
    pub is_negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Number<'a> {
    /// Takes the text of a JSON number apart; nothing for every other text.
    pub fn split(text: &'a str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], exponent(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if all_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        (all_digits(whole) && !leading_zero).then_some(Self { is_negative, whole, fraction, exponent })
    }

    /// The magnitude in units of 10^-`decimals`, rounded half away from zero; nothing where it is over `max`.
    pub fn scaled(&self, decimals: u32, max: u64) -> Option<u64> {
        let kept = self.digits_kept(decimals);
        let total = i64::try_from(self.whole.len() + self.fraction.len()).unwrap_or(i64::MAX);
        let mut scaled = 0_u64;
        for (index, digit) in (0_i64..).zip(self.digits()) {
            if index >= kept {
                break;
            }
            scaled = scaled.checked_mul(10)?.checked_add(digit).filter(|scaled| *scaled <= max)?;
        }
        for _ in total..kept {
            if scaled == 0 {
                break;
            }
            scaled = scaled.checked_mul(10).filter(|scaled| *scaled <= max)?;
        }
        let half = usize::try_from(kept).ok().and_then(|kept| self.digits().nth(kept)).is_some_and(|digit| digit >= 5);
        Some(scaled.saturating_add(u64::from(half))).filter(|scaled| *scaled <= max)
    }

    /// Whether the number has at most so many decimals: digits beyond them are zeros.
    pub fn is_exact(&self, decimals: u32) -> bool {
        let kept = self.digits_kept(decimals);
        (0_i64..).zip(self.digits()).all(|(index, digit)| index < kept || digit == 0)
    }

    fn digits(&self) -> impl Iterator<Item = u64> + '_ {
        self.whole.bytes().chain(self.fraction.bytes()).map(|digit| u64::from(digit - b'0'))
    }

    /// How many of the digits stand before the point once the number is in units of 10^-`decimals`.
    fn digits_kept(&self, decimals: u32) -> i64 {
        let whole = i64::try_from(self.whole.len()).unwrap_or(i64::MAX);
        whole.saturating_add(self.exponent).saturating_add(i64::from(decimals))
    }
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

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(text: &str) -> Option<u64> {
        Number::split(text).unwrap().scaled(4, 10_000_000_000_000_000)
    }

    #[test]
    fn digits_are_scaled_without_a_float() {
        assert_eq!(scaled("150.75"), Some(1_507_500));
        assert_eq!(scaled("1e12"), Some(10_000_000_000_000_000));
        assert_eq!(scaled("1000000000000.0001"), None, "over the largest");
        assert_eq!(scaled("0.00005"), Some(1));
        assert_eq!(scaled("9007199254740.9931"), None);
        assert_eq!(scaled("900719925474.0993"), Some(9_007_199_254_740_993), "a float would say ..992");
    }

    #[test]
    fn zeros_beyond_the_decimals_are_exact_and_digits_are_not() {
        for (text, is_exact) in [
            ("1.2345", true),
            ("1.23450", true),
            ("1.23451", false),
            ("12345e-4", true),
            ("12345e-5", false),
            ("1e9", true),
        ] {
            assert_eq!(Number::split(text).unwrap().is_exact(4), is_exact, "{text}");
        }
    }
}
