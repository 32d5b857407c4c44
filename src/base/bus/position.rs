//! Positions: where a message stands, written as an opaque text that sorts.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::str::FromStr;

/// Where a message stands: its partition, and its offset there. Offsets grow; what they count is the bus's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: u32,
    /// The offset. A bus with ids of two numbers has the first in the upper half.
    pub offset: u128,
}

/// Where a reader is: the last position that it read in each partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(BTreeMap<u32, u128>);

/// The text is no position of this hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no position that the bus gave")]
pub struct NoPosition;

/// Between the positions of a cursor.
const SEPARATOR: char = '_';
/// Between an offset and a partition other than 0.
const PARTITION: char = '.';

impl Cursor {
    /// The place before all messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves on to this position. A position that was passed changes nothing: a cursor never goes back.
    pub fn advance(&mut self, position: Position) {
        let offset = self.0.entry(position.partition).or_insert(position.offset);
        *offset = (*offset).max(position.offset);
    }

    /// The last offset that was read in a partition.
    pub fn offset(&self, partition: u32) -> Option<u128> {
        self.0.get(&partition).copied()
    }

    /// Whether the reader has passed this position.
    pub fn has_passed(&self, position: Position) -> bool {
        self.offset(position.partition).is_some_and(|offset| offset >= position.offset)
    }

    /// The positions, one per partition that was read.
    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        self.0.iter().map(|(partition, offset)| Position { partition: *partition, offset: *offset })
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Position> for Cursor {
    fn from(position: Position) -> Self {
        let mut cursor = Self::new();
        cursor.advance(position);
        cursor
    }
}

impl FromIterator<Position> for Cursor {
    fn from_iter<I: IntoIterator<Item = Position>>(positions: I) -> Self {
        let mut cursor = Self::new();
        positions.into_iter().for_each(|position| cursor.advance(position));
        cursor
    }
}

/// The offset in hexadecimal behind one character that says how long it is, so that a larger offset sorts behind a
/// smaller one; then the partition, if it is not 0.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:x}", self.offset);
        let length = u32::try_from(digits.len()).ok().and_then(|length| char::from_digit(length, 36));
        write!(f, "{}{digits}", length.ok_or(fmt::Error)?)?;
        if self.partition > 0 {
            write!(f, "{PARTITION}{}", self.partition)?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (digits, partition) = match text.split_once(PARTITION) {
            Some((digits, partition)) => (digits, partition.parse().map_err(|_| NoPosition)?),
            None => (text, 0),
        };
        let (length, digits) = digits.split_at_checked(1).ok_or(NoPosition)?;
        let length = length.chars().next().and_then(|length| length.to_digit(36)).ok_or(NoPosition)?;
        let offset = u128::from_str_radix(digits, 16).map_err(|_| NoPosition)?;
        let position = Self { partition, offset };
        // One position has one text: leading zeros, signs and upper case are none.
        if usize::try_from(length) == Ok(digits.len()) && position.to_string() == text {
            Ok(position)
        } else {
            Err(NoPosition)
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, position) in self.positions().enumerate() {
            if index > 0 {
                f.write_char(SEPARATOR)?;
            }
            position.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        if text.is_empty() {
            return Ok(Self::new());
        }
        let cursor: Self = text.split(SEPARATOR).map(str::parse::<Position>).collect::<Result<_, _>>()?;
        if cursor.to_string() == text { Ok(cursor) } else { Err(NoPosition) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_sort_as_positions_do_and_are_read_again(one in any::<u128>(), other in any::<u128>(), shift in 0_u32..128) {
            let at = |offset| Position { partition: 0, offset };
            let (one, other) = (at(one >> shift), at(other));
            prop_assert_eq!(one.to_string().cmp(&other.to_string()), one.cmp(&other));
            prop_assert_eq!(one.to_string().parse(), Ok(one));
        }

        #[test]
        fn a_cursor_is_read_again(positions in proptest::collection::vec((0_u32..9, any::<u128>()), 0..9)) {
            let cursor: Cursor = positions.into_iter().map(|(partition, offset)| Position { partition, offset }).collect();
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn a_cursor_never_goes_back() {
        let at = |partition, offset| Position { partition, offset };
        let mut cursor = Cursor::from(at(1, 7));
        cursor.advance(at(1, 3));
        cursor.advance(at(0, 31));
        assert_eq!(cursor.to_string(), "21f_17.1");
        assert!(cursor.has_passed(at(1, 7)) && !cursor.has_passed(at(1, 8)) && !cursor.has_passed(at(2, 0)));
    }

    #[test]
    fn texts_that_no_bus_gave_are_refused() {
        for text in ["0", "1", "2f", "11 ", "10x", "201", "1A", "11.0", "11.01", "11_11", "11.2_11.1", "_", "-", "11_"]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NoPosition), "{text}");
        }
    }
}
