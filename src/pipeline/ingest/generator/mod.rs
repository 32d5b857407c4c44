//! The event generator: a seeded simulation of a small world of shops, whose events fit together.
//!
//! It is pure: it does no I/O, reads no clock, and has no randomness but the seed's. `world` decides what happens,
//! `line` writes it down, `mishap` holds the lines that go wrong on purpose.

mod line;
mod mishap;
#[cfg(test)]
mod replay;
mod sale;
mod shop;
#[cfg(test)]
mod tests;
mod world;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::base::timestamp::Timestamp;
use crate::pipeline::event::Kind;
use mishap::{HeldLine, Recent};
use world::World;

/// What the first call covers, there being no call before it.
const FIRST_PERIOD_MS: i64 = 1000;
/// How long before its timestamp an event may have been saved.
const SAVED_BEFORE_MS_MAX: i64 = 5;

/// How often the generator misbehaves on purpose: each 0.0 to 1.0, default 0; values outside are clamped.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Chance per line to write an earlier purchase or return again, byte for byte.
    pub duplicates: f64,
    /// Chance per line to write one that no reader can accept.
    pub malformed: f64,
    /// Chance per event to be written up to a few hundred lines late.
    pub out_of_order: f64,
}

/// Writes the events of a simulated chain of shops; the same seed and calls give the same bytes.
pub struct Generator {
    rng: ChaCha8Rng,
    rates: Rates,
    world: World,
    recent: Recent,
    held: HeldLine,
    /// Where the last period ended.
    until: Option<Timestamp>,
    /// Lines written so far.
    written: u64,
}

/// A finished line without its line feed, and what it tells.
struct Line {
    bytes: Vec<u8>,
    kind: Kind,
}

impl Rates {
    /// `random_bool` panics outside 0 to 1, and a setting must not be able to stop the process.
    fn clamped(self) -> Self {
        let clamp = |rate: f64| if rate.is_nan() { 0.0 } else { rate.clamp(0.0, 1.0) };
        Self {
            duplicates: clamp(self.duplicates),
            malformed: clamp(self.malformed),
            out_of_order: clamp(self.out_of_order),
        }
    }
}

impl Generator {
    /// A world that starts at `origin`; order ids grow from it, so that a restart with a later origin repeats none.
    pub fn new(seed: u64, rates: Rates, origin: Timestamp) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let world = World::new(&mut rng, origin);
        let rates = rates.clamped();
        Self { rng, rates, world, recent: Recent::default(), held: HeldLine::default(), until: None, written: 0 }
    }

    /// How many events a tick has: 1 to `most`, as the seed has it.
    pub fn pick_count(&mut self, most: usize) -> usize {
        self.rng.random_range(1..=most.max(1))
    }

    /// Appends `count` event lines, each ending in a line feed, for the period that ends at `now`; answers how many
    /// lines were written, which is `count`.
    ///
    /// The period begins where the last one ended, and a second before `now` at first. When the clock was set back,
    /// new events happen at `now`.
    pub fn write_events(&mut self, now: Timestamp, count: usize, out: &mut Vec<u8>) -> usize {
        let from = self.until.unwrap_or_else(|| now.plus_ms(-FIRST_PERIOD_MS)).min(now);
        self.world.begin_call();
        for index in 0..count {
            let at = self.moment(from, now, index, count);
            self.write_line(at, out);
            out.push(b'\n');
            self.written += 1;
        }
        self.until = Some(now);
        count
    }

    /// A random moment in the `index`-th of `count` equal parts of the period, so that moments never decrease.
    fn moment(&mut self, from: Timestamp, now: Timestamp, index: usize, count: usize) -> Timestamp {
        let span = now.unix_ms().saturating_sub(from.unix_ms());
        if span == 0 {
            return now;
        }
        let part = i128::from(self.rng.random_range(0..span));
        let wide = |number: usize| i128::try_from(number).unwrap_or(i128::MAX);
        let offset = i128::from(span).saturating_mul(wide(index)).saturating_add(part) / wide(count);
        // The offset is below the span: index <= count - 1 and part < span.
        from.plus_ms(i64::try_from(offset).unwrap_or(span))
    }

    fn write_line(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        if self.rng.random_bool(self.rates.malformed) {
            // It gets an order of its own: what goes wrong on purpose must not take an event from the world.
            let order_id = self.world.next_order_id();
            return mishap::write_broken(&mut self.rng, at, order_id, out);
        }
        if self.rng.random_bool(self.rates.duplicates) && self.recent.write_again(&mut self.rng, out) {
            return;
        }
        let line = self.next_line(at);
        out.extend_from_slice(&line.bytes);
        if self.rates.duplicates > 0.0 && matches!(line.kind, Kind::Purchase | Kind::Return) {
            self.recent.remember(&mut self.rng, &line.bytes);
        }
    }

    /// The next line in order, or one that was held back and is due; ends because [`HeldLine`] is bounded.
    fn next_line(&mut self, at: Timestamp) -> Line {
        loop {
            if let Some(line) = self.held.take_due(self.written) {
                return line;
            }
            let (happened, payload) = self.world.step(&mut self.rng, at);
            let saved = happened.plus_ms(-self.rng.random_range(0..=SAVED_BEFORE_MS_MAX));
            let line = Line { bytes: line::event(&payload, saved, happened).into_bytes(), kind: payload.kind() };
            if !self.rng.random_bool(self.rates.out_of_order) {
                return line;
            }
            self.held.put(&mut self.rng, self.written, line);
        }
    }
}
