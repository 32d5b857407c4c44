//! The shops, and the goods in their stock.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::pipeline::event::{Money, Payload};

/// How many of a hundred customers go to each shop; ids count from 1, so both parities (shards) are visited.
const POPULARITY: [u32; 8] = [26, 20, 15, 12, 10, 8, 5, 4];
const GOODS: i64 = 30;
const ITEMS_PER_SHOP: usize = 12;
/// What the minor units of a price end in.
const PRICE_ENDS: [i64; 5] = [0, 49, 50, 95, 99];

/// A shop.
pub(super) struct Shop {
    pub(super) id: i64,
    /// The first `in_use` of them have stock and a price, the others wait.
    pub(super) items: Vec<StockedGood>,
    pub(super) in_use: usize,
    /// While the shop is closed: the step at which it opens again.
    pub(super) reopens: Option<u64>,
}

/// One good in one shop.
pub(super) struct StockedGood {
    pub(super) good_id: i64,
    pub(super) price: Money,
    /// What can still be sold. Returned goods are not counted: it is unknown when the return will have arrived.
    pub(super) stock: i64,
}

impl Shop {
    /// All shops, with nothing in stock yet.
    pub(super) fn all(rng: &mut ChaCha8Rng) -> Vec<Self> {
        let goods: Vec<(i64, i64)> = (1..=GOODS).map(|id| (id, base_price(rng))).collect();
        (1_i64..).zip(POPULARITY).map(|(id, _)| Self::new(rng, id, goods.clone())).collect()
    }

    fn new(rng: &mut ChaCha8Rng, id: i64, mut goods: Vec<(i64, i64)>) -> Self {
        goods.shuffle(rng);
        goods.truncate(ITEMS_PER_SHOP);
        let items = goods
            .into_iter()
            .map(|(good_id, base)| {
                let surcharge = base * rng.random_range(0..=10) / 100;
                StockedGood { good_id, price: Money::from_minor(base + surcharge), stock: 0 }
            })
            .collect();
        Self { id, items, in_use: 0, reopens: None }
    }

    /// Where the next customer goes: the popular shops more often, a closed one never.
    ///
    /// The world closes only a few at a time, so an open one is found.
    pub(super) fn visited(shops: &[Self], rng: &mut ChaCha8Rng) -> usize {
        loop {
            let mut ticket = rng.random_range(0..POPULARITY.iter().sum());
            for (index, share) in POPULARITY.iter().enumerate() {
                if ticket < *share && shops[index].reopens.is_none() {
                    return index;
                }
                ticket = ticket.saturating_sub(*share);
            }
        }
    }

    /// One of the items in use, the first ones more often; `None` where there are none.
    pub(super) fn some_item(&self, rng: &mut ChaCha8Rng) -> Option<usize> {
        if self.in_use == 0 {
            return None;
        }
        Some(rng.random_range(0..self.in_use).min(rng.random_range(0..self.in_use)))
    }

    /// The event that changes the stock of an item.
    pub(super) fn restock(&self, item: usize, count: i64, why: &'static str, what: &'static str) -> Payload<'static> {
        Payload::Restock {
            shop_id: self.id,
            good_id: self.items[item].good_id,
            delta_count: count,
            reason: why.into(),
            sub_event_type: what.into(),
        }
    }

    /// The event that opens or closes the shop.
    pub(super) fn status(&self, active: bool) -> Payload<'static> {
        Payload::ShopStatus { shop_id: self.id, active }
    }
}

fn base_price(rng: &mut ChaCha8Rng) -> i64 {
    rng.random_range(1..120) * 100 + PRICE_ENDS[rng.random_range(0..PRICE_ENDS.len())]
}
