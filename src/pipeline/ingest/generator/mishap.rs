//! Lines that go wrong on purpose: written twice, written late, or unreadable.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Line;
use super::line::envelope;
use crate::base::timestamp::Timestamp;

/// Earlier lines that may be written again.
const RECENT_MAX: usize = 256;
/// Lines held back at one time, so that even at a rate of 1.0 the next line comes.
const HELD_MAX: usize = 300;
/// How many lines later at most.
const DELAY_MAX: u64 = 300;

/// Earlier purchase and return lines.
#[derive(Default)]
pub(super) struct Recent(Vec<Vec<u8>>);

/// Lines that wait for their turn, by the line count at which it comes.
#[derive(Default)]
pub(super) struct HeldLine {
    lines: BTreeMap<(u64, u64), Line>,
    /// Keeps lines apart that are due together.
    taken_in: u64,
}

impl Recent {
    /// Keeps the line, in the place of a random one when there are enough.
    pub(super) fn remember(&mut self, rng: &mut ChaCha8Rng, line: &[u8]) {
        if self.0.len() < RECENT_MAX {
            return self.0.push(line.to_vec());
        }
        let place = rng.random_range(0..RECENT_MAX);
        self.0[place].clear();
        self.0[place].extend_from_slice(line);
    }

    /// Writes one of the lines again; false when there is none yet.
    pub(super) fn write_again(&self, rng: &mut ChaCha8Rng, out: &mut Vec<u8>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        out.extend_from_slice(&self.0[rng.random_range(0..self.0.len())]);
        true
    }
}

impl HeldLine {
    /// Holds the line back for some hundred lines at most.
    pub(super) fn put(&mut self, rng: &mut ChaCha8Rng, written: u64, line: Line) {
        self.taken_in += 1;
        let due = written + rng.random_range(1..=DELAY_MAX);
        self.lines.insert((due, self.taken_in), line);
    }

    /// A line whose turn has come, or the next one when too many wait.
    pub(super) fn take_due(&mut self, written: u64) -> Option<Line> {
        let first = self.lines.first_entry()?.key().0;
        if first > written && self.lines.len() < HELD_MAX {
            return None;
        }
        self.lines.pop_first().map(|(_, line)| line)
    }
}

/// A good purchase, told as the parts that can be broken.
struct Parts {
    event_type: &'static str,
    order: String,
    shop: &'static str,
    qty: &'static str,
    timestamp: String,
}

impl Parts {
    fn write(&self) -> Vec<u8> {
        let payload = format!(r#"{}{}"good_id":7{},"price_at_order":12.5"#, self.order, self.shop, self.qty);
        envelope(self.event_type, &payload, &self.timestamp, &self.timestamp).into_bytes()
    }
}

/// Writes a line that `Event::parse` refuses, for one of many reasons; it never contains a line feed.
pub(super) fn write_broken(rng: &mut ChaCha8Rng, at: Timestamp, order_id: i64, out: &mut Vec<u8>) {
    let timestamp = at.to_string();
    let mut parts = Parts {
        event_type: "1",
        order: format!(r#""order_id":{order_id},"#),
        shop: r#""shop_id":1,"#,
        qty: r#","qty":2"#,
        timestamp,
    };
    let way = rng.random_range(0..13);
    match way {
        0 => parts.event_type = "9",
        1 => parts.event_type = r#""purchase""#,
        2 => parts.order.clear(),
        3 => parts.order = format!(r#""order_id":"{order_id}","#),
        4 => parts.shop = "",
        5 => parts.qty = "",
        6 => parts.qty = r#","qty":0"#,
        7 => parts.qty = r#","qty":1,"qty":2"#,
        8 => parts.timestamp.replace_range(4..10, "-02-30"),
        9 => parts.timestamp.truncate(10),
        _ => {}
    }
    let mut line = parts.write();
    match way {
        10 => line.truncate(rng.random_range(1..line.len())),
        11 => line.insert(rng.random_range(0..line.len()), 0xff),
        12 => line.push(b'\r'),
        _ => {}
    }
    out.append(&mut line);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;

    use super::*;
    use crate::pipeline::event::Event;

    #[test]
    fn broken_lines_are_refused_for_many_reasons_and_have_no_line_feed() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut reasons = BTreeSet::new();
        for order_id in 1..=2000 {
            let mut line = Vec::new();
            write_broken(&mut rng, Timestamp::from_unix_ms(1_760_000_000_000), order_id, &mut line);
            assert!(!line.is_empty() && !line.contains(&b'\n'));
            let reject = Event::parse(&line).unwrap_err();
            reasons.insert((reject.reason.to_string(), reject.detail));
        }
        let kinds: BTreeSet<_> = reasons.iter().map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["bad_json", "bad_line_end", "bad_utf8", "malformed"]);
        let fields: BTreeSet<_> = reasons.iter().filter(|(reason, _)| reason == "malformed").collect();
        assert!(fields.len() >= 10, "{fields:?}");
    }

    #[test]
    fn a_good_purchase_is_where_broken_lines_start_from() {
        let parts = Parts {
            event_type: "1",
            order: r#""order_id":5,"#.to_owned(),
            shop: r#""shop_id":1,"#,
            qty: r#","qty":2"#,
            timestamp: "2025-10-15 17:41:40.021".to_owned(),
        };
        assert!(Event::parse(&parts.write()).is_ok());
    }
}
