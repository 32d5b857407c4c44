//! Words of printed texts that depend on numbers.

/// A number with its noun: `1 file`, `2 files`. The noun gets an `s`, or `es` where English wants it.
pub fn count(number: u64, noun: &str) -> String {
    let ending = match noun {
        _ if number == 1 => "",
        _ if noun.ends_with('s') || noun.ends_with('x') => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_is_singular_and_all_else_is_plural() {
        assert_eq!([count(0, "file"), count(1, "file"), count(2, "file")], ["0 files", "1 file", "2 files"]);
        assert_eq!([count(1, "address"), count(2, "address")], ["1 address", "2 addresses"]);
    }
}
