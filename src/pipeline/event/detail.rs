//! What is wrong with an event, told apart from the numbers in it.

/// A detail with `#` for every number, so that the same complaint about another order is the same text.
pub fn pattern(detail: &str) -> String {
    let mut text = String::with_capacity(detail.len());
    let mut chars = detail.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_ascii_digit() {
            text.push(c);
            continue;
        }
        text.push('#');
        while let Some(next) = chars.peek() {
            let goes_on = next.is_ascii_digit()
                || *next == '.' && {
                    let mut rest = chars.clone();
                    rest.next();
                    rest.peek().is_some_and(char::is_ascii_digit)
                };
            if !goes_on {
                break;
            }
            chars.next();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_make_no_other_detail() {
        assert_eq!(pattern("order 7 was of user 71, 2.50 too much."), "order # was of user #, # too much.");
        assert_eq!(pattern("ends in 3."), "ends in #.");
        assert_eq!(pattern("qty is missing"), "qty is missing");
    }
}
