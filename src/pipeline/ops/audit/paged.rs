//! A list that is read page by page, one entry after the other: memory does not grow with it.

use std::collections::VecDeque;
use std::future::Future;

/// Such a list, as far as it was read. Its entries have rising keys.
pub(super) struct Paged<T, K> {
    page: VecDeque<T>,
    key_of: fn(&T) -> K,
    last: Option<K>,
    is_over: bool,
}

impl<T, K: Copy + Ord> Paged<T, K> {
    /// Nothing is read yet.
    pub(super) const fn new(key_of: fn(&T) -> K) -> Self {
        Self { page: VecDeque::new(), key_of, last: None, is_over: false }
    }

    /// The key of the next entry. Where the page is used up, `read` gets the next one: what stands behind a key, or all
    /// from the beginning; an empty page ends the list.
    pub(super) async fn next_key<F>(&mut self, read: impl FnOnce(Option<K>) -> F) -> crate::base::db::Result<Option<K>>
    where
        F: Future<Output = crate::base::db::Result<Vec<T>>>,
    {
        if self.page.is_empty() && !self.is_over {
            self.page = read(self.last).await?.into();
            self.is_over = self.page.is_empty();
            self.last = self.page.back().map(self.key_of).or(self.last);
        }
        Ok(self.page.front().map(self.key_of))
    }

    /// Takes the next entry if it has this key.
    pub(super) fn take(&mut self, key: K) -> Option<T> {
        self.page.pop_front_if(|entry| (self.key_of)(entry) == key)
    }
}
