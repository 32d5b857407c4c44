//! Turns numbers as tables write them into the text of a JSON number, without a float in between.

/// The characters between the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// Before the decimals.
    pub(super) decimal: char,
    /// Between groups of three digits, if there is such a character.
    pub(super) thousands: Option<char>,
}

/// A number with decimals: `1.234,50` is 1234.50 where the marks say so. Nothing for any other text.
pub(super) fn decimal(text: &str, marks: Marks) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, decimals) = digits.split_once(marks.decimal).unwrap_or((digits, ""));
    let whole = without_groups(whole, marks.thousands)?;
    let is_number = are_digits(&whole) && are_digits(decimals) && !(whole.is_empty() && decimals.is_empty());
    if !is_number {
        return None;
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Some(if decimals.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{decimals}") })
}

/// A whole number; decimals are taken if all of them are 0, as spreadsheets write `17850.0` for 17850.
pub(super) fn integer(text: &str, marks: Marks) -> Option<String> {
    let number = decimal(text, marks)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((&number, ""));
    let is_whole = decimals.bytes().all(|digit| digit == b'0');
    is_whole.then(|| if whole == "-0" { "0".to_owned() } else { whole.to_owned() })
}

/// The number without its sign.
pub(super) fn abs(number: &str) -> String {
    number.trim_start_matches('-').to_owned()
}

fn are_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Takes the groups apart: one to three digits, then three each. Anything else is a decimal mark that was mistaken.
fn without_groups(whole: &str, mark: Option<char>) -> Option<String> {
    let Some(mark) = mark.filter(|mark| whole.contains(*mark)) else {
        return Some(whole.to_owned());
    };
    let mut groups = whole.split(mark);
    let first = groups.next().filter(|group| (1..=3).contains(&group.len()))?;
    let mut text = first.to_owned();
    for group in groups {
        if group.len() != 3 {
            return None;
        }
        text.push_str(group);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: Marks = Marks { decimal: '.', thousands: None };
    const COMMA: Marks = Marks { decimal: ',', thousands: Some('.') };

    #[test]
    fn numbers_are_read_as_the_marks_say() {
        for (text, marks, expected) in [
            ("2.55", POINT, Some("2.55")),
            ("-0.50", POINT, Some("-0.50")),
            ("+007", POINT, Some("7")),
            (".5", POINT, Some("0.5")),
            ("5.", POINT, Some("5")),
            ("2,55", COMMA, Some("2.55")),
            ("1.234.567,8", COMMA, Some("1234567.8")),
            ("1.5", COMMA, None),
            ("1234.567", COMMA, None),
            ("2,55", POINT, None),
            ("1e3", POINT, None),
            ("", POINT, None),
            ("-", POINT, None),
            (".", POINT, None),
            ("--1", POINT, None),
            ("٣", POINT, None),
        ] {
            assert_eq!(decimal(text, marks).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_have_decimals_that_are_nothing() {
        let read = |text| integer(text, POINT);
        assert_eq!(read("17850.0").as_deref(), Some("17850"));
        assert_eq!(read("-6").as_deref(), Some("-6"));
        assert_eq!(read("-0").as_deref(), Some("0"));
        assert_eq!(read("1.5"), None);
        assert_eq!(abs("-6"), "6");
    }
}
