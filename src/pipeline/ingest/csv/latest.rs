//! Remembers the latest purchase with the same texts in some columns, for returns of tables that do not name the sale.
//! Memory is bounded: old purchases are forgotten.

use std::collections::HashMap;

use super::column::Column;
use super::hash::hash63;
use super::rows::CsvRow;

/// Purchases of one generation. Two of them are kept: at least the latest so many, in about 50 MB together.
const GENERATION: usize = 500_000;

/// What was bought so far, for each list of columns that is asked for.
#[derive(Debug, Default)]
pub(super) struct Latest(Vec<Memory>);

#[derive(Debug)]
struct Memory {
    columns: Vec<Column>,
    young: HashMap<i64, i64>,
    old: HashMap<i64, i64>,
    generation: usize,
}

impl Latest {
    /// A memory for each list of columns; the columns know their places by now.
    pub(super) fn new<'a>(lists: impl Iterator<Item = &'a [Column]>) -> Self {
        let mut memories: Vec<Memory> = Vec::new();
        for columns in lists {
            if !memories.iter().any(|memory| memory.columns == columns) {
                let (young, old) = (HashMap::new(), HashMap::new());
                memories.push(Memory { columns: columns.to_vec(), young, old, generation: GENERATION });
            }
        }
        Self(memories)
    }

    /// Whether any return looks for a purchase.
    pub(super) fn is_used(&self) -> bool {
        !self.0.is_empty()
    }

    /// Notes a purchase.
    pub(super) fn note(&mut self, row: &CsvRow<'_>, order: i64) {
        for memory in &mut self.0 {
            // A purchase whose cells are empty or cannot be read is found by no return.
            let Ok(key) = key_of(&memory.columns, row) else { continue };
            memory.note(key, order);
        }
    }

    /// The order of the latest purchase with the same texts.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn find(&self, columns: &[Column], row: &CsvRow<'_>) -> Result<i64, String> {
        let key = key_of(columns, row)?;
        let found = self.0.iter().find(|memory| memory.columns == columns).and_then(|memory| memory.find(key));
        let names = || columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(" and ");
        found.ok_or_else(|| format!("no purchase above has the same {}", names()))
    }
}

impl Memory {
    fn note(&mut self, key: i64, order: i64) {
        if self.young.len() >= self.generation && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, order);
    }

    fn find(&self, key: i64) -> Option<i64> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }
}

/// Texts that are not there are not the same as others that are not: two cash sales are not of one customer.
fn key_of(columns: &[Column], row: &CsvRow<'_>) -> Result<i64, String> {
    let texts: Vec<_> = columns.iter().map(|column| row.text(column)).collect::<Result<_, _>>()?;
    if let Some((column, _)) = columns.iter().zip(&texts).find(|(_, text)| text.is_empty()) {
        return Err(format!("{} is empty, so no purchase can be found by it", column.name));
    }
    Ok(hash63(texts.iter().map(AsRef::as_ref)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_is_found_and_only_the_oldest_are_forgotten() {
        let mut memory = Memory { columns: Vec::new(), young: HashMap::new(), old: HashMap::new(), generation: 2 };
        for (key, order) in [(1, 10), (2, 20), (1, 11), (3, 30), (4, 40), (5, 50)] {
            memory.note(key, order);
        }
        assert_eq!([1, 2, 3, 4, 5].map(|key| memory.find(key)), [None, None, Some(30), Some(40), Some(50)]);
        memory.note(5, 51);
        assert_eq!(memory.find(5), Some(51));
        assert!(memory.young.len() + memory.old.len() <= 4);
    }
}
