//! The rules one by one: every reason, every border.

mod keys;
mod purchases;
mod returns;
mod sliding;
mod stock_items;

use std::collections::HashMap;

use super::*;
use crate::pipeline::event::{Reason, Reject};
use crate::pipeline::trade::Outcome;

/// All state in plain maps.
pub(super) struct Memory {
    file: FileName,
    line: u64,
    keys: HashMap<Vec<u8>, (FileName, u64, [u8; 16])>,
    orders: HashMap<i64, TradeOrder>,
    stock: HashMap<(i64, i64), i64>,
    prices: HashMap<(i64, i64), Money>,
    shops: HashMap<i64, bool>,
    policy: TradePolicy,
    /// What the bank says next.
    funds: Funds,
}

impl TradeState for Memory {
    fn remember(&mut self, key: &[u8], place: LinePlace<'_>, fingerprint: &[u8; 16]) -> db::Result<Remembered> {
        let Some((file, line, print)) = self.keys.get(key).cloned() else {
            self.keys.insert(key.to_vec(), (place.file.clone(), place.line, *fingerprint));
            return Ok(Remembered::New);
        };
        Ok(match (file == *place.file && line == place.line, print == *fingerprint) {
            (true, _) => Remembered::Here,
            (false, true) => Remembered::Elsewhere { file, line },
            (false, false) => Remembered::OtherContent { file, line },
        })
    }

    fn forget(&mut self, key: &[u8]) -> db::Result<()> {
        self.keys.remove(key);
        Ok(())
    }

    fn order(&mut self, order_id: i64) -> db::Result<Option<TradeOrder>> {
        Ok(self.orders.get(&order_id).copied())
    }

    fn set_order(&mut self, order_id: i64, order: TradeOrder) {
        self.orders.insert(order_id, order);
    }

    fn stock(&mut self, shop_id: i64, good_id: i64) -> db::Result<Option<i64>> {
        Ok(self.stock.get(&(shop_id, good_id)).copied())
    }

    fn set_stock(&mut self, shop_id: i64, good_id: i64, count: i64) {
        self.stock.insert((shop_id, good_id), count);
    }

    fn price(&mut self, shop_id: i64, good_id: i64) -> db::Result<Option<Money>> {
        Ok(self.prices.get(&(shop_id, good_id)).copied())
    }

    fn set_price(&mut self, shop_id: i64, good_id: i64, price: Money) {
        self.prices.insert((shop_id, good_id), price);
    }

    fn is_open(&mut self, shop_id: i64) -> db::Result<bool> {
        Ok(self.shops.get(&shop_id).copied().unwrap_or(true))
    }

    fn set_open(&mut self, shop_id: i64, open: bool) {
        self.shops.insert(shop_id, open);
    }
}

impl Memory {
    fn new() -> Self {
        Self {
            file: "20250101000000".parse().unwrap(),
            line: 0,
            keys: HashMap::new(),
            orders: HashMap::new(),
            stock: HashMap::new(),
            prices: HashMap::new(),
            shops: HashMap::new(),
            policy: TradePolicy::default(),
            funds: Funds::Answered(Outcome::Applied),
        }
    }

    /// Decides the next line, with the bank answering as it was told.
    fn feed(&mut self, kind: u8, payload: &str) -> LineVerdict {
        self.line += 1;
        self.feed_at(kind, payload, u32::try_from(self.line).unwrap(), self.line)
    }

    fn feed_at(&mut self, kind: u8, payload: &str, millis: u32, line: u64) -> LineVerdict {
        self.feed_when(kind, payload, &format!("2025-01-01 00:00:00.{millis:03}"), line)
    }

    fn feed_when(&mut self, kind: u8, payload: &str, timestamp: &str, line: u64) -> LineVerdict {
        let text = format!(r#"{{"event_type":{kind},"payload":{{{payload}}},"timestamp":"{timestamp}"}}"#);
        let event = Event::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let file = self.file.clone();
        let place = LinePlace { file: &file, line };
        match plan(&event, place, &LinesInFlight::default(), self).unwrap() {
            None => panic!("nothing is ahead of it"),
            Some(Planned::Decided(decision)) => decision.into(),
            Some(Planned::Open(plan)) => {
                let funds = if plan.debit.is_some() { self.funds } else { Funds::NotAsked };
                settle(&event, place, &plan, funds, self.policy, self).unwrap()
            }
        }
    }

    fn effect(&mut self, kind: u8, payload: &str) -> Effect {
        let verdict = self.feed(kind, payload);
        match verdict.decision {
            Decision::Accept(effect) => effect,
            other => panic!("{payload}: {other:?}"),
        }
    }

    fn reject(&mut self, kind: u8, payload: &str) -> (Reason, String) {
        let verdict = self.feed(kind, payload);
        match verdict.decision {
            Decision::Reject(Reject { reason, detail }) => (reason, detail),
            other => panic!("{payload}: {other:?}"),
        }
    }

    fn refuses(&mut self, kind: u8, payload: &str, expected: Reason) {
        let (reason, detail) = self.reject(kind, payload);
        assert_eq!(reason, expected, "{payload}: {detail}");
    }
}

/// A purchase by user 7 of 2 pieces of good 3 in shop 1.
fn buys(order_id: i64, more: &str) -> String {
    format!(r#""order_id":{order_id},"user_id":7,"shop_id":1,"good_id":3,"qty":2{more}"#)
}

const fn minor(minor: i64) -> Money {
    Money::from_minor(minor)
}
