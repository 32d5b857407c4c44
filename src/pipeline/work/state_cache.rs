//! The state cache: the rules' state while one file is decided. Rows that are needed again and again are kept in
//! memory, and are written back before the file's transaction ends.

use std::collections::HashMap;
use std::hash::Hash;

use crate::base::db::Result;
use crate::pipeline::event::Money;
use crate::pipeline::rules::{LinePlace, Remembered, TradeOrder, TradeState};
use crate::pipeline::work::state::WorkerState;

/// Rows kept of each kind. They are written back and dropped when there are more: memory must not grow with the file.
const ROWS_MAX: usize = 50_000;

/// The state of a shard, as far as it was looked at.
pub(super) struct StateCache<'a> {
    state: &'a mut dyn WorkerState,
    day: i64,
    orders: Rows<i64, TradeOrder>,
    stock: Rows<(i64, i64), i64>,
    prices: Rows<(i64, i64), Money>,
    shops: Rows<i64, bool>,
}

/// Rows of one kind: what stands there, and which of them were changed.
struct Rows<K, V> {
    known: HashMap<K, Option<V>>,
    changed: Vec<K>,
}

impl<K: Copy + Eq + Hash + Ord, V: Copy> Rows<K, V> {
    fn new() -> Self {
        Self { known: HashMap::new(), changed: Vec::new() }
    }

    fn get(&mut self, key: K, load: impl FnOnce() -> Result<Option<V>>) -> Result<Option<V>> {
        if let Some(value) = self.known.get(&key) {
            return Ok(*value);
        }
        let value = load()?;
        self.known.insert(key, value);
        Ok(value)
    }

    fn set(&mut self, key: K, value: V) {
        self.known.insert(key, Some(value));
        self.changed.push(key);
    }

    fn write_back(&mut self, mut put: impl FnMut(K, &V) -> Result<()>) -> Result<()> {
        // In the order of the table, which is what a tree of pages likes best.
        self.changed.sort_unstable();
        self.changed.dedup();
        for key in self.changed.drain(..) {
            if let Some(Some(value)) = self.known.get(&key) {
                put(key, value)?;
            }
        }
        if self.known.len() > ROWS_MAX {
            self.known.clear();
        }
        Ok(())
    }
}

impl<'a> StateCache<'a> {
    /// The books of a file that is worked on on this day.
    pub(super) fn new(state: &'a mut dyn WorkerState, day: i64) -> Self {
        Self { state, day, orders: Rows::new(), stock: Rows::new(), prices: Rows::new(), shops: Rows::new() }
    }

    /// Writes back the orders, of which few change twice: there is time for it while others work.
    ///
    /// # Errors
    /// Whatever the store fails with.
    pub(super) fn write_orders(&mut self) -> Result<()> {
        let state = &mut *self.state;
        self.orders.write_back(|id, order| state.put_order(id, order))
    }

    /// Writes back what was changed.
    ///
    /// # Errors
    /// Whatever the store fails with.
    pub(super) fn write_back(&mut self) -> Result<()> {
        self.write_orders()?;
        let state = &mut *self.state;
        self.stock.write_back(|(shop, good), count| state.put_stock(shop, good, *count))?;
        self.prices.write_back(|(shop, good), price| state.put_price(shop, good, *price))?;
        self.shops.write_back(|shop, open| state.put_shop(shop, *open))
    }
}

impl TradeState for StateCache<'_> {
    fn remember(&mut self, key: &[u8], place: LinePlace<'_>, fingerprint: &[u8; 16]) -> Result<Remembered> {
        self.state.remember(key, place.file, place.line, fingerprint, self.day)
    }

    fn forget(&mut self, key: &[u8]) -> Result<()> {
        self.state.forget(key)
    }

    fn order(&mut self, order_id: i64) -> Result<Option<TradeOrder>> {
        self.orders.get(order_id, || self.state.find_order(order_id))
    }

    fn set_order(&mut self, order_id: i64, order: TradeOrder) {
        self.orders.set(order_id, order);
    }

    fn stock(&mut self, shop_id: i64, good_id: i64) -> Result<Option<i64>> {
        self.stock.get((shop_id, good_id), || self.state.find_stock(shop_id, good_id))
    }

    fn set_stock(&mut self, shop_id: i64, good_id: i64, count: i64) {
        self.stock.set((shop_id, good_id), count);
    }

    fn price(&mut self, shop_id: i64, good_id: i64) -> Result<Option<Money>> {
        self.prices.get((shop_id, good_id), || self.state.find_price(shop_id, good_id))
    }

    fn set_price(&mut self, shop_id: i64, good_id: i64, price: Money) {
        self.prices.set((shop_id, good_id), price);
    }

    fn is_open(&mut self, shop_id: i64) -> Result<bool> {
        Ok(self.shops.get(shop_id, || self.state.find_shop(shop_id))?.unwrap_or(true))
    }

    fn set_open(&mut self, shop_id: i64, open: bool) {
        self.shops.set(shop_id, open);
    }
}
