//! Two lists in the same order, page by page, side by side: memory does not grow with them.

use std::collections::VecDeque;

/// Something that stands in a list by its key.
pub(crate) trait Keyed {
    /// What the list is ordered by.
    type Key: Ord + Copy;

    /// Its key.
    fn key(&self) -> Self::Key;
}

/// What stands under one key: on the left, on the right, or on both sides.
pub(crate) type Pair<T> = (Option<T>, Option<T>);

/// One of the lists, as far as it was read.
struct Side<T: Keyed> {
    page: VecDeque<T>,
    last: Option<T::Key>,
    is_over: bool,
}

/// Both lists.
pub(crate) struct Pairs<T: Keyed> {
    left: Side<T>,
    right: Side<T>,
}

impl<T: Keyed> Side<T> {
    const fn new() -> Self {
        Self { page: VecDeque::new(), last: None, is_over: false }
    }

    fn wants(&self) -> Option<Option<T::Key>> {
        (self.page.is_empty() && !self.is_over).then_some(self.last)
    }

    fn give(&mut self, page: Vec<T>) {
        self.is_over = page.is_empty();
        self.last = page.last().map(Keyed::key).or(self.last);
        self.page = page.into();
    }
}

impl<T: Keyed> Pairs<T> {
    /// Nothing is read yet.
    pub(crate) const fn new() -> Self {
        Self { left: Side::new(), right: Side::new() }
    }

    /// Behind which key the left list has to be read on before [`Pairs::next`] is asked; an empty page ends it.
    pub(crate) fn wants_left(&self) -> Option<Option<T::Key>> {
        self.left.wants()
    }

    /// The same for the right list.
    pub(crate) fn wants_right(&self) -> Option<Option<T::Key>> {
        self.right.wants()
    }

    /// Takes a page of the left list.
    pub(crate) fn give_left(&mut self, page: Vec<T>) {
        self.left.give(page);
    }

    /// Takes a page of the right list.
    pub(crate) fn give_right(&mut self, page: Vec<T>) {
        self.right.give(page);
    }

    /// What stands under the next key; nothing at the end.
    pub(crate) fn next(&mut self) -> Option<Pair<T>> {
        let (left, right) = (self.left.page.front().map(Keyed::key), self.right.page.front().map(Keyed::key));
        let next = match (left, right) {
            (None, None) => return None,
            (Some(left), Some(right)) => left.min(right),
            (Some(one), None) | (None, Some(one)) => one,
        };
        let take = |side: &mut Side<T>, key| if key == Some(next) { side.page.pop_front() } else { None };
        Some((take(&mut self.left, left), take(&mut self.right, right)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keyed for i64 {
        type Key = i64;

        fn key(&self) -> i64 {
            *self
        }
    }

    /// All pairs of two lists that are read in pages of this size.
    fn pairs(left: &[i64], right: &[i64], size: usize) -> Vec<(Option<i64>, Option<i64>)> {
        let page = |list: &[i64], after: Option<i64>| -> Vec<i64> {
            list.iter().copied().filter(|one| after.is_none_or(|after| *one > after)).take(size).collect()
        };
        let (mut pairs, mut all) = (Pairs::new(), Vec::new());
        loop {
            if let Some(after) = pairs.wants_left() {
                pairs.give_left(page(left, after));
            }
            if let Some(after) = pairs.wants_right() {
                pairs.give_right(page(right, after));
            }
            match pairs.next() {
                Some(pair) => all.push(pair),
                None => return all,
            }
        }
    }

    #[test]
    fn every_key_is_met_once_whatever_the_pages() {
        let expected = [
            (Some(1), None),
            (Some(2), Some(2)),
            (None, Some(3)),
            (None, Some(4)),
            (Some(5), Some(5)),
            (Some(9), None),
        ];
        for size in 1..6 {
            assert_eq!(pairs(&[1, 2, 5, 9], &[2, 3, 4, 5], size), expected, "{size}");
            assert_eq!(pairs(&[], &[7], size), [(None, Some(7))]);
            assert_eq!(pairs(&[7], &[], size), [(Some(7), None)]);
            assert_eq!(pairs(&[], &[], size), []);
        }
    }
}
