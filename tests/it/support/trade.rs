//! The rules of trade once more, as plainly as can be: one event after the other, maps, money as i128. It shares no code
//! with the program; the worker's own tests compare it with this too.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// A line with its place: moment, file, line.
pub(crate) type Turn = (String, String, u64);

#[derive(Clone)]
struct Bought {
    user: Option<i64>,
    shop: i64,
    good: i64,
    qty: i128,
    price: i128,
    returned: i128,
    /// None: accepted; else why not, and whether for good.
    refused: Option<(&'static str, bool)>,
}

/// What must come out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) accepted: Vec<(String, u64)>,
    pub(crate) rejected: Vec<(String, u64, String)>,
    pub(crate) duplicates: u64,
    pub(crate) held: u64,
    pub(crate) released: u64,
}

/// Everything, of all shards.
pub(crate) struct Model {
    pub(crate) opening: i128,
    pub(crate) balances: BTreeMap<i64, i128>,
    pub(crate) stock: BTreeMap<(i64, i64), i128>,
    prices: HashMap<(i64, i64), i128>,
    closed: HashMap<i64, bool>,
    keys: HashMap<(u8, String), Value>,
    orders: HashMap<(u8, i64), Bought>,
    directory: HashMap<i64, u8>,
    /// Turn, line, shard that brought it, when its time is up.
    pub(crate) pending: Vec<(Turn, Value, u8, i64)>,
    pub(crate) now: i64,
    owed: Vec<(i64, i128)>,
}

enum Verdict {
    Accept,
    Duplicate,
    Reject(&'static str),
    Hold,
}

impl Model {
    pub(crate) fn new(opening: i64) -> Self {
        Self {
            opening: opening.into(),
            balances: BTreeMap::new(),
            stock: BTreeMap::new(),
            prices: HashMap::new(),
            closed: HashMap::new(),
            keys: HashMap::new(),
            orders: HashMap::new(),
            directory: HashMap::new(),
            pending: Vec::new(),
            now: 0,
            owed: Vec::new(),
        }
    }

    pub(crate) fn balance(&self, user: i64) -> i128 {
        self.balances.get(&user).copied().unwrap_or(self.opening)
    }

    /// Decides one shard's lines of an event file, each with its number.
    pub(crate) fn file(&mut self, file: &str, shard: u8, lines: Vec<(u64, Value)>) -> Expected {
        let turn = |(line, event): (u64, Value)| {
            ((event["timestamp"].as_str().unwrap().to_owned(), file.to_owned(), line), event)
        };
        let mut events: Vec<(Turn, Value)> = lines.into_iter().map(turn).collect();
        events.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut expected, mut held) = (Expected::default(), Vec::new());
        for (turn, event) in events {
            let verdict = self.decide(shard, &event);
            if event["event_type"] == 1 && !matches!(verdict, Verdict::Duplicate | Verdict::Reject("key_conflict")) {
                self.directory.entry(id(&event, "order_id").unwrap()).or_insert(shard);
            }
            match verdict {
                Verdict::Hold => held.push((turn, event)),
                verdict => expected.note(&turn, verdict),
            }
        }
        let mut due = Vec::new();
        for (turn, event) in held {
            if self.directory.get(&id(&event, "order_id").unwrap()) == Some(&shard) {
                due.push((turn, event));
            } else {
                expected.held += 1;
                self.pending.push((turn, event, shard, self.now + 300_000));
            }
        }
        for (turn, event, by, until) in std::mem::take(&mut self.pending) {
            let is_due = match self.directory.get(&id(&event, "order_id").unwrap()) {
                Some(owner) => *owner == shard,
                None => by == shard && until <= self.now,
            };
            if is_due {
                expected.released += 1;
                due.push((turn, event));
            } else {
                self.pending.push((turn, event, by, until));
            }
        }
        due.sort_by(|a, b| a.0.cmp(&b.0));
        for (turn, event) in due {
            match self.decide(shard, &event) {
                Verdict::Hold => expected.note(&turn, Verdict::Reject("orphan_return")),
                verdict => expected.note(&turn, verdict),
            }
        }
        for (user, amount) in std::mem::take(&mut self.owed) {
            let balance = self.balance(user) + amount;
            self.balances.insert(user, balance);
        }
        expected.rejected.sort();
        expected
    }

    fn decide(&mut self, shard: u8, event: &Value) -> Verdict {
        let payload = &event["payload"];
        let kind = event["event_type"].as_i64().unwrap();
        let key = match payload["idempotency_key"].as_str() {
            Some(own) => Some(format!("own {own}")),
            None if kind == 1 || kind == 3 => Some(format!("{kind} {} {}", payload["order_id"], event["timestamp"])),
            None => None,
        };
        let mut said = payload.clone();
        said.as_object_mut().unwrap().retain(|name, value| name != "idempotency_key" && !value.is_null());
        said["event_type"] = kind.into();
        if let Some(before) = key.as_ref().and_then(|key| self.keys.get(&(shard, key.clone()))) {
            return if *before == said { Verdict::Duplicate } else { Verdict::Reject("key_conflict") };
        }
        let verdict = match kind {
            0 => self.restock(event),
            1 => self.purchase(shard, event),
            2 => self.reprice(event),
            3 => self.give_back(shard, event),
            _ => {
                self.closed.insert(id(event, "shop_id").unwrap(), payload["active"] == false);
                Verdict::Accept
            }
        };
        if let (Verdict::Accept, Some(key)) = (&verdict, key) {
            self.keys.insert((shard, key), said);
        }
        verdict
    }

    fn restock(&mut self, event: &Value) -> Verdict {
        let good = (id(event, "shop_id").unwrap(), id(event, "good_id").unwrap());
        let count = self.stock.get(&good).copied().unwrap_or(0) + i128::from(id(event, "delta_count").unwrap());
        if count < 0 {
            return Verdict::Reject("negative_stock");
        }
        self.stock.insert(good, count);
        Verdict::Accept
    }

    fn reprice(&mut self, event: &Value) -> Verdict {
        let price = money(event, "new_price").unwrap();
        if price < 0 {
            return Verdict::Reject("invalid_price");
        }
        self.prices.insert((id(event, "shop_id").unwrap(), id(event, "good_id").unwrap()), price);
        Verdict::Accept
    }

    fn purchase(&mut self, shard: u8, event: &Value) -> Verdict {
        let (order, user) = (id(event, "order_id").unwrap(), id(event, "user_id"));
        let (shop, good) = (id(event, "shop_id").unwrap(), id(event, "good_id").unwrap());
        let qty = i128::from(id(event, "qty").unwrap());
        match self.orders.get(&(shard, order)).map(|bought| bought.refused) {
            Some(None) => return Verdict::Reject("order_conflict"),
            Some(Some((reason, true))) => return Verdict::Reject(reason),
            _ => {}
        }
        let mut bought = Bought { user, shop, good, qty, price: 0, returned: 0, refused: None };
        let mut refuse = |model: &mut Self, reason, for_good| {
            bought.refused = Some((reason, for_good));
            model.orders.insert((shard, order), bought.clone());
            Verdict::Reject(reason)
        };
        if self.closed.get(&shop) == Some(&true) {
            return refuse(self, "shop_closed", false);
        }
        let Some(price) = money(event, "price_at_order").or(self.prices.get(&(shop, good)).copied()) else {
            return refuse(self, "unknown_price", false);
        };
        if price < 0 {
            return refuse(self, "invalid_price", false);
        }
        let total = price * qty;
        if total > 999_999_999_999_999_999 {
            return refuse(self, "invalid_price", false);
        }
        let mut paid = None;
        if let Some(user) = user.filter(|_| total > 0) {
            if self.balance(user) < total {
                return refuse(self, "insufficient_funds", true);
            }
            let balance = self.balance(user) - total;
            self.balances.insert(user, balance);
            paid = Some(user);
        }
        if let Some(count) = self.stock.get(&(shop, good)).copied() {
            if count < qty {
                self.owed.extend(paid.map(|user| (user, total)));
                return refuse(self, "insufficient_stock", paid.is_some());
            }
            self.stock.insert((shop, good), count - qty);
        }
        bought.price = price;
        self.orders.insert((shard, order), bought);
        Verdict::Accept
    }

    fn give_back(&mut self, shard: u8, event: &Value) -> Verdict {
        let (order, user) = (id(event, "order_id").unwrap(), id(event, "user_id"));
        let qty = i128::from(id(event, "qty").unwrap());
        let Some(bought) = self.orders.get_mut(&(shard, order)) else {
            return Verdict::Hold;
        };
        if bought.refused.is_some() {
            return Verdict::Reject("purchase_rejected");
        }
        if Some(bought.good) != id(event, "good_id") || (bought.user.is_some() && user.is_some() && bought.user != user)
        {
            return Verdict::Reject("return_mismatch");
        }
        if bought.returned + qty > bought.qty {
            return Verdict::Reject("return_exceeds_purchase");
        }
        let refund = money(event, "refund_amount").unwrap_or(bought.price * qty);
        if refund > bought.price * qty {
            return Verdict::Reject("refund_exceeds_payment");
        }
        bought.returned += qty;
        let (item, payee) = ((bought.shop, bought.good), bought.user.or(user));
        if let Some(count) = self.stock.get_mut(&item) {
            *count += qty;
        }
        self.owed.extend(payee.map(|payee| (payee, refund)));
        Verdict::Accept
    }
}

impl Expected {
    fn note(&mut self, turn: &Turn, verdict: Verdict) {
        match verdict {
            Verdict::Accept => self.accepted.push((turn.1.clone(), turn.2)),
            Verdict::Duplicate => self.duplicates += 1,
            Verdict::Reject(reason) => self.rejected.push((turn.1.clone(), turn.2, reason.to_owned())),
            Verdict::Hold => {}
        }
    }
}

fn id(event: &Value, name: &str) -> Option<i64> {
    event["payload"][name].as_i64()
}

/// The tests' prices have at most one decimal.
fn money(event: &Value, name: &str) -> Option<i128> {
    event["payload"][name].as_f64().map(|amount| (amount * 100.0).round() as i128)
}
