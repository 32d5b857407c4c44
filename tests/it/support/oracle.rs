//! Decides from the contracts alone what must become of every line. It shares no code with the program.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::trade::Model;

/// A row of `events`, as far as the contracts fix it: file, line, type, shop, user, timestamp.
pub(crate) type Row = (String, u64, u8, Option<i64>, Option<i64>, String);

/// A rejected line: file, line, reason, its bytes.
pub(crate) type Rejected = (String, u64, String, Vec<u8>);

/// What must be, or what is, at the end.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) rows: BTreeMap<u8, BTreeSet<Row>>,
    pub(crate) rejected: BTreeSet<Rejected>,
    /// Returns that wait for their purchase, by file and line.
    pub(crate) pending: BTreeSet<(String, u64)>,
}

/// Reasons for lines that a test itself broke, by file and line.
pub(crate) type Known = BTreeMap<(String, u64), &'static str>;

/// What the tests' users have in their accounts: more than they can spend, because no rule says in which order the
/// shards ask for money.
pub(crate) const OPENING: i64 = 1_000_000_000;

/// The oracle.
pub(crate) struct Oracle {
    shards: u8,
    trade: Model,
    /// What a line becomes if it is accepted, or rejected.
    lines: HashMap<(String, u64), (Row, Vec<u8>)>,
    pub(crate) duplicates: u64,
    pub(crate) world: World,
}

impl Oracle {
    pub(crate) fn new(shards: u8) -> Self {
        Self::with_opening(shards, OPENING)
    }

    /// An oracle for accounts that begin with so much.
    pub(crate) fn with_opening(shards: u8, opening: i64) -> Self {
        let rows = (0..shards).map(|shard| (shard, BTreeSet::new())).collect();
        let world = World { rows, ..World::default() };
        Self { shards, trade: Model::new(opening * 100), lines: HashMap::new(), duplicates: 0, world }
    }

    /// Decides one event file; files come in their order.
    pub(crate) fn file(&mut self, name: &str, content: &[u8], known: &Known) {
        let mut sound: BTreeMap<u8, Vec<(u64, Value)>> = BTreeMap::new();
        for (line, raw) in (1..).zip(content.split_inclusive(|byte| *byte == b'\n')) {
            let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
            let judged = match known.get(&(name.to_owned(), line)) {
                Some(reason) => Err(*reason),
                None => judge(raw, self.shards),
            };
            match judged {
                Ok((shard, kind, event)) => {
                    let id = |key: &str| event["payload"][key].as_i64();
                    let timestamp = event["timestamp"].as_str().unwrap().to_owned();
                    let row = (name.to_owned(), line, kind, id("shop_id"), id("user_id"), timestamp);
                    self.lines.insert((name.to_owned(), line), (row, raw.to_vec()));
                    sound.entry(shard).or_default().push((line, event));
                }
                Err(reason) => self.reject(name, line, reason, raw),
            }
        }
        for shard in 0..self.shards {
            let expected = self.trade.file(name, shard, sound.remove(&shard).unwrap_or_default());
            self.duplicates += expected.duplicates;
            for place in expected.accepted {
                let row = self.lines[&place].0.clone();
                self.world.rows.get_mut(&shard).unwrap().insert(row);
            }
            for (file, line, reason) in expected.rejected {
                let raw = self.lines[&(file.clone(), line)].1.clone();
                self.world.rejected.insert((file, line, reason, raw));
            }
        }
        self.world.pending = self.trade.pending.iter().map(|((_, file, line), ..)| (file.clone(), *line)).collect();
    }

    /// What waits longer than it may is given up by the next file.
    pub(crate) fn time_passes(&mut self, ms: i64) {
        self.trade.now += ms;
    }

    /// Every counted good, by (shop, good), has what the accepted events come to.
    pub(crate) fn assert_stock(&self, found: &BTreeMap<(i64, i64), i128>) {
        assert!(*found == self.trade.stock, "{} goods are counted, {} expected", found.len(), self.trade.stock.len());
    }

    /// Every account has what the accepted events come to, whether or not anything ever moved in it.
    pub(crate) fn assert_balances(&self, found: &BTreeMap<i64, i128>) {
        let users: BTreeSet<i64> = found.keys().chain(self.trade.balances.keys()).copied().collect();
        let balance = |user: &i64| (found.get(user).copied().unwrap_or(self.trade.opening), self.trade.balance(*user));
        let wrong = users.iter().map(|user| (user, balance(user))).filter(|(_, (found, expected))| found != expected);
        let wrong: Vec<_> = wrong.take(3).collect();
        assert!(wrong.is_empty(), "balances found and expected, by user: {wrong:?}");
    }

    fn reject(&mut self, name: &str, line: u64, reason: &str, raw: &[u8]) {
        self.world.rejected.insert((name.to_owned(), line, reason.to_owned(), raw.to_vec()));
    }
}

type Judged = Result<(u8, u8, Value), &'static str>;

/// Shard, type and event of a line, or the reason why it has none.
fn judge(raw: &[u8], shards: u8) -> Judged {
    let text = std::str::from_utf8(raw).map_err(|_| "bad_utf8")?;
    if text.ends_with('\r') {
        return Err("bad_line_end");
    }
    let value: Value = serde_json::from_str(text).map_err(|_| "bad_json")?;
    let top = value.as_object().ok_or("malformed")?;
    serde_json::from_str::<NoTwins>(text).map_err(|_| "malformed")?;
    let kind = top.get("event_type").and_then(Value::as_u64).filter(|kind| *kind <= 4).ok_or("no_event_type")?;
    let payload = top.get("payload").filter(|payload| payload.is_object()).ok_or("no_shard_key")?;
    let by = if kind == 3 && payload["shop_id"].is_null() { "order_id" } else { "shop_id" };
    let key = payload[by].as_i64().ok_or("no_shard_key")?;
    let shard = u8::try_from(key.rem_euclid(shards.into())).unwrap();
    let kind = u8::try_from(kind).unwrap();
    top.get("timestamp").and_then(Value::as_str).filter(|at| is_moment(at)).ok_or("malformed")?;
    if !is_shaped(kind, payload) {
        return Err("malformed");
    }
    Ok((shard, kind, value))
}

fn is_shaped(kind: u8, payload: &Value) -> bool {
    let is_id = |key: &str| payload[key].as_i64().is_some_and(|id| id >= 1);
    let is_optional_id = |key: &str| payload[key].is_null() || is_id(key);
    let is_money = |key: &str| payload[key].is_number();
    let is_optional_money = |key: &str| payload[key].is_null() || is_money(key);
    let is_sub_type = || matches!(payload["sub_event_type"].as_str(), Some("restock" | "defect" | "loss"));
    match kind {
        0 => is_id("good_id") && payload["delta_count"].is_i64() && payload["reason"].is_string() && is_sub_type(),
        1 => {
            ["order_id", "good_id", "qty"].into_iter().all(is_id)
                && is_optional_id("user_id")
                && is_optional_money("price_at_order")
        }
        2 => is_id("good_id") && is_money("new_price") && is_optional_money("old_price"),
        3 => {
            ["order_id", "good_id", "qty"].into_iter().all(is_id)
                && is_optional_id("user_id")
                && is_optional_money("refund_amount")
                && payload["refund_amount"].as_f64().is_none_or(|amount| amount > -0.005)
        }
        _ => payload["active"].is_boolean(),
    }
}

/// `YYYY-MM-DD HH:MM:SS.mmm` on a day that the calendar has.
fn is_moment(text: &str) -> bool {
    let form = b"dddd-dd-dd dd:dd:dd.ddd";
    let fits = |(byte, form): (u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form };
    if text.len() != form.len() || !text.bytes().zip(form).all(fits) {
        return false;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().unwrap();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day) && number(11..13) < 24 && number(14..16) < 60 && number(17..19) < 60
}

/// JSON in which no object names a key twice.
struct NoTwins;

impl<'de> Deserialize<'de> for NoTwins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for NoTwins {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without twins")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some((key, Self)) = map.next_entry::<String, Self>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("a twin"));
            }
        }
        Ok(Self)
    }
}

impl World {
    /// All rows of all shards.
    pub(crate) fn row_count(&self) -> usize {
        self.rows.values().map(BTreeSet::len).sum()
    }

    /// Panics with the first few differences, if there are any.
    pub(crate) fn assert_is(&self, expected: &Self) {
        for (shard, rows) in &expected.rows {
            assert_same(&format!("rows of shard {shard}"), &self.rows[shard], rows);
        }
        assert_same("rejected lines", &self.rejected, &expected.rejected);
        assert_same("returns that wait", &self.pending, &expected.pending);
        assert!(self == expected);
    }
}

fn assert_same<T: Ord + std::fmt::Debug>(what: &str, found: &BTreeSet<T>, expected: &BTreeSet<T>) {
    let short = |item: &T| format!("{item:?}").chars().take(400).collect::<String>();
    let missing: Vec<_> = expected.difference(found).take(3).map(short).collect();
    let surplus: Vec<_> = found.difference(expected).take(3).map(short).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "{what}: missing {missing:#?}, surplus {surplus:#?}");
}
