//! The world: which event happens next, so that all events together make sense.

use std::collections::VecDeque;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::sale::{Late, Returnable, Sale};
use super::shop::{Shop, StockedGood};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Money, Payload};

const USERS: i64 = 50;
const QTY_MAX: i64 = 5;
/// Below this an item is filled up before anything else happens; over `QTY_MAX`, so no customer finds too little.
const STOCK_LOW: i64 = 8;
const WRITE_OFF_MAX: i64 = 3;
const PRICE_MIN: i64 = 50;
/// Shops closed at one time; most stay open.
const CLOSED_MAX: usize = 2;
/// Purchases kept back at one time.
pub(super) const LATE_MAX: usize = 4;
/// How many events later at most: well within the 300 s that a worker waits for a purchase, even at one event a tick.
const LATE_STEPS_MAX: u64 = 12;
/// Order ids per millisecond of the origin. With 1000 they stay below 2^53, so that browsers show them unchanged.
const ORDERS_PER_MS: i64 = 1000;
/// The last origin whose ids leave room to count on.
const ORIGIN_MS_MAX: i64 = 9_000_000_000_000_000;

/// The state of the simulation.
pub(super) struct World {
    shops: Vec<Shop>,
    /// What has to happen before anything else.
    todo: VecDeque<Todo>,
    returnable: Returnable,
    late: Vec<Late>,
    last_order_id: i64,
    /// When the newest event happened.
    last: Timestamp,
    /// Events so far.
    steps: u64,
    /// Calls (files) so far.
    calls: u64,
}

/// Shops and items are named by their index.
enum Todo {
    Open(usize),
    SetPrice(usize, usize),
    FillUp(usize, usize),
}

impl World {
    /// A world whose shops are about to open.
    pub(super) fn new(rng: &mut ChaCha8Rng, origin: Timestamp) -> Self {
        let shops = Shop::all(rng);
        let todo = (0..shops.len()).map(Todo::Open).collect();
        let last_order_id = origin.unix_ms().clamp(0, ORIGIN_MS_MAX) * ORDERS_PER_MS;
        let (returnable, late) = (Returnable::default(), Vec::new());
        Self { shops, todo, returnable, late, last_order_id, last: origin, steps: 0, calls: 0 }
    }

    /// Says that what follows goes into the next file.
    pub(super) fn begin_call(&mut self) {
        self.calls += 1;
    }

    /// An order id that was not given out before.
    pub(super) fn next_order_id(&mut self) -> i64 {
        self.last_order_id += 1;
        self.last_order_id
    }

    /// What happens at `at`, and when it happened: only a late purchase is older.
    pub(super) fn step(&mut self, rng: &mut ChaCha8Rng, at: Timestamp) -> (Timestamp, Payload<'static>) {
        self.steps += 1;
        let event = self.next_event(rng, at);
        self.last = at;
        event
    }

    fn next_event(&mut self, rng: &mut ChaCha8Rng, at: Timestamp) -> (Timestamp, Payload<'static>) {
        if let Some(todo) = self.todo.pop_front() {
            return (at, self.carry_out(rng, todo));
        }
        if let Some(sale) = self.take_late() {
            let event = (sale.at, sale.purchase());
            self.returnable.add(sale);
            return event;
        }
        if let Some(payload) = self.reopen_shop() {
            return (at, payload);
        }
        let chosen = match rng.random_range(0..1000) {
            0..80 => self.returnable.bring_back(rng, at),
            80..85 => self.overtake(rng, at),
            85..135 => self.change_price(rng),
            135..160 => self.write_off(rng),
            160..164 => self.close_shop(rng),
            _ => None,
        };
        (at, chosen.unwrap_or_else(|| self.visit(rng, at)))
    }

    fn carry_out(&mut self, rng: &mut ChaCha8Rng, todo: Todo) -> Payload<'static> {
        match todo {
            Todo::Open(shop) => self.shops[shop].status(true),
            Todo::FillUp(shop, item) => self.deliver(shop, item, rng.random_range(20..=60), "delivery"),
            Todo::SetPrice(shop, item) => {
                let shop = &mut self.shops[shop];
                shop.in_use += 1;
                let StockedGood { good_id, price, .. } = shop.items[item];
                Payload::PriceChange { shop_id: shop.id, good_id, new_price: price, old_price: None }
            }
        }
    }

    /// A customer comes: mostly to buy; now and then the shop finds that it needs one more item.
    fn visit(&mut self, rng: &mut ChaCha8Rng, at: Timestamp) -> Payload<'static> {
        let index = Shop::visited(&self.shops, rng);
        let shop = &self.shops[index];
        let new = shop.in_use;
        let grows = new < shop.items.len() && rng.random_ratio(1, 6);
        match shop.some_item(rng) {
            Some(item) if !grows => {
                let sale = self.sell(rng, index, item, at);
                let payload = sale.purchase();
                self.returnable.add(sale);
                payload
            }
            _ => {
                self.todo.push_back(Todo::SetPrice(index, new));
                self.deliver(index, new, rng.random_range(30..=90), "opening_stock")
            }
        }
    }

    fn sell(&mut self, rng: &mut ChaCha8Rng, shop: usize, item: usize, at: Timestamp) -> Sale {
        let order_id = self.next_order_id();
        let user_id = rng.random_ratio(3, 4).then(|| rng.random_range(1..=USERS));
        let qty = rng.random_range(1..=QTY_MAX).min(rng.random_range(1..=QTY_MAX));
        self.take_off(shop, item, qty);
        let shop_id = self.shops[shop].id;
        let StockedGood { good_id, price, .. } = self.shops[shop].items[item];
        Sale { order_id, user_id, shop_id, good_id, qty, price, at, returned: 0, last_return: None }
    }

    /// A return whose purchase, made just before, is written only later: half the time in the next file at the
    /// earliest, but one such at a time, for its shop and price must not change until then.
    fn overtake(&mut self, rng: &mut ChaCha8Rng, at: Timestamp) -> Option<Payload<'static>> {
        let shop = Shop::visited(&self.shops, rng);
        let item = self.shops[shop].some_item(rng)?;
        if self.late.len() == LATE_MAX {
            return None;
        }
        let mut sale = self.sell(rng, shop, item, self.last.min(at));
        let payload = sale.bring_back(rng, at);
        let next_file = self.late.iter().all(|late| late.due_call <= self.calls) && rng.random_bool(0.5);
        let due_call = self.calls + u64::from(next_file);
        let due_step = self.steps + rng.random_range(1..=LATE_STEPS_MAX);
        self.late.push(Late { sale, due_step, due_call });
        payload
    }

    fn take_late(&mut self) -> Option<Sale> {
        let is_due = |late: &Late| late.due_step <= self.steps && late.due_call <= self.calls;
        let index = self.late.iter().position(is_due)?;
        Some(self.late.remove(index).sale)
    }

    /// Whether a purchase of this shop is still to come, and would meet a closed shop or another price.
    fn awaits_purchase(&self, shop: usize) -> bool {
        self.late.iter().any(|late| late.sale.shop_id == self.shops[shop].id)
    }

    fn change_price(&mut self, rng: &mut ChaCha8Rng) -> Option<Payload<'static>> {
        let index = rng.random_range(0..self.shops.len());
        let item = self.shops[index].some_item(rng)?;
        if self.awaits_purchase(index) {
            return None;
        }
        let shop = &mut self.shops[index];
        let item = &mut shop.items[item];
        let old = item.price;
        let tenth = old.minor() / 10 + 1;
        let moved = (old.minor() + rng.random_range(-tenth..=tenth)).max(PRICE_MIN);
        let minor = if moved == old.minor() { moved + tenth } else { moved };
        item.price = Money::from_minor(minor);
        let (shop_id, good_id) = (shop.id, item.good_id);
        Some(Payload::PriceChange { shop_id, good_id, new_price: item.price, old_price: Some(old) })
    }

    /// Some of the stock turns out to be broken or gone.
    fn write_off(&mut self, rng: &mut ChaCha8Rng) -> Option<Payload<'static>> {
        let index = rng.random_range(0..self.shops.len());
        let item = self.shops[index].some_item(rng)?;
        let count = rng.random_range(1..=WRITE_OFF_MAX);
        let (reason, what) = if rng.random_bool(0.5) { ("damaged", "defect") } else { ("stocktake", "loss") };
        self.take_off(index, item, count);
        Some(self.shops[index].restock(item, -count, reason, what))
    }

    fn close_shop(&mut self, rng: &mut ChaCha8Rng) -> Option<Payload<'static>> {
        let index = rng.random_range(0..self.shops.len());
        let closed = self.shops.iter().filter(|shop| shop.reopens.is_some()).count();
        if self.shops[index].reopens.is_some() || closed == CLOSED_MAX || self.awaits_purchase(index) {
            return None;
        }
        self.shops[index].reopens = Some(self.steps + rng.random_range(20..=120));
        Some(self.shops[index].status(false))
    }

    fn reopen_shop(&mut self) -> Option<Payload<'static>> {
        let steps = self.steps;
        let shop = self.shops.iter_mut().find(|shop| shop.reopens.is_some_and(|step| step <= steps))?;
        shop.reopens = None;
        Some(shop.status(true))
    }

    fn take_off(&mut self, shop: usize, item: usize, count: i64) {
        let stock = &mut self.shops[shop].items[item].stock;
        *stock -= count;
        if *stock < STOCK_LOW {
            self.todo.push_back(Todo::FillUp(shop, item));
        }
    }

    fn deliver(&mut self, shop: usize, item: usize, count: i64, reason: &'static str) -> Payload<'static> {
        self.shops[shop].items[item].stock += count;
        self.shops[shop].restock(item, count, reason, "restock")
    }
}
