//! Tests: what the generator promises.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::replay::replay;
use super::{Generator, Rates};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::{Event, Payload};

const ORIGIN: Timestamp = Timestamp::from_unix_ms(1_760_000_000_000);

/// The lines without their line feeds; each must have one.
fn split(out: &[u8]) -> Vec<Vec<u8>> {
    out.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap().to_vec()).collect()
}

/// Runs the calls, ten seconds apart, and answers each call's lines.
fn files(seed: u64, rates: Rates, counts: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let mut generator = Generator::new(seed, rates, ORIGIN);
    let mut now = ORIGIN;
    let mut write = |count: usize| {
        now = now.plus_ms(10_000);
        let mut out = Vec::new();
        assert_eq!(generator.write_events(now, count, &mut out), count);
        let lines = split(&out);
        assert_eq!(lines.len(), count);
        lines
    };
    counts.iter().map(|count| write(*count)).collect()
}

fn lines(seed: u64, rates: Rates, counts: &[usize]) -> Vec<Vec<u8>> {
    files(seed, rates, counts).concat()
}

fn parsed(lines: &[Vec<u8>]) -> Vec<Event<'_>> {
    lines.iter().map(|line| Event::parse(line).unwrap()).collect()
}

/// How many times each kind occurs, by its number.
fn kinds(events: &[Event<'_>]) -> BTreeMap<u8, usize> {
    let mut kinds = BTreeMap::new();
    for event in events {
        *kinds.entry(event.payload.kind().number()).or_default() += 1;
    }
    kinds
}

/// The order that the event starts, if it is a purchase.
fn bought(event: &Event<'_>) -> Option<i64> {
    match event.payload {
        Payload::Purchase { order_id, .. } => Some(order_id),
        _ => None,
    }
}

fn rates() -> impl Strategy<Value = Rates> {
    let rate = || prop_oneof![Just(0.0), Just(0.05), Just(1.0), Just(f64::NAN), -1.0..2.0];
    (rate(), rate(), rate()).prop_map(|(duplicates, malformed, out_of_order)| Rates {
        duplicates,
        malformed,
        out_of_order,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_seed_and_calls_give_the_same_bytes(
        seed in any::<u64>(),
        rates in rates(),
        counts in proptest::collection::vec(0_usize..200, 0..6),
    ) {
        prop_assert_eq!(files(seed, rates, &counts), files(seed, rates, &counts));
    }

    #[test]
    fn a_well_behaved_world_breaks_no_rule(
        seed in any::<u64>(),
        counts in proptest::collection::vec(prop_oneof![0_usize..6, 0_usize..800], 1..30),
    ) {
        let files = files(seed, Rates::default(), &counts);
        let lines = files.concat();
        let events = parsed(&lines);
        // What is still to come: at most the purchases that are kept back.
        prop_assert!(replay(&events).early.len() <= super::world::LATE_MAX);

        let mut by_time: Vec<&Event<'_>> = events.iter().collect();
        by_time.sort_by_key(|event| event.at);
        replay(by_time);

        // As a worker applies them: file after file, each by time.
        let mut each: Vec<Vec<Event<'_>>> = files.iter().map(|lines| parsed(lines)).collect();
        each.iter_mut().for_each(|file| file.sort_by_key(|event| event.at));
        replay(each.iter().flatten());
    }

    #[test]
    fn moments_never_decrease_but_for_overtaken_purchases_and_stay_in_their_period(
        seed in any::<u64>(),
        counts in proptest::collection::vec(0_usize..300, 1..8),
    ) {
        let (mut from, mut last) = (ORIGIN.plus_ms(9000), ORIGIN);
        let (mut seen, mut awaited) = (HashSet::new(), HashSet::new());
        for (lines, number) in files(seed, Rates::default(), &counts).iter().zip(1..) {
            let now = ORIGIN.plus_ms(10_000 * number);
            for event in parsed(lines) {
                if let Payload::Return { order_id, .. } = event.payload && !seen.contains(&order_id) {
                    awaited.insert(order_id);
                }
                seen.extend(bought(&event));
                if bought(&event).is_some_and(|order_id| awaited.contains(&order_id)) {
                    prop_assert!(event.at <= last);
                    continue;
                }
                prop_assert!(last <= event.at && from <= event.at && event.at <= now);
                last = event.at;
            }
            from = now;
        }
    }
}

#[test]
fn the_mix_is_mostly_purchases_and_everything_occurs() {
    let lines = lines(7, Rates::default(), &[1000; 20]);
    let events = parsed(&lines);
    let kinds = kinds(&events);
    assert!(kinds[&1] * 10 > events.len() * 6, "{kinds:?}");
    assert!(kinds.values().all(|count| *count >= 50), "{kinds:?}");

    let model = replay(&events);
    assert!((10..kinds[&3] / 5).contains(&model.overtakes), "{} of {kinds:?}", model.overtakes);
    let cash = model.bought.values().filter(|bought| bought.user.is_none()).count();
    assert!((kinds[&1] / 5..kinds[&1] / 3).contains(&cash), "{cash} of {kinds:?}");

    let mut visits: BTreeMap<i64, usize> = BTreeMap::new();
    for bought in model.bought.values() {
        *visits.entry(bought.shop).or_default() += 1;
    }
    assert_eq!(visits.keys().copied().collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert!(visits[&1] > visits[&8] * 3, "{visits:?}");
    let closings = events.iter().filter(|event| matches!(event.payload, Payload::ShopStatus { active: false, .. }));
    assert!(closings.count() > 20);
}

#[test]
fn a_small_first_batch_already_sells() {
    let lines = lines(1, Rates::default(), &[5; 12]);
    let kinds = kinds(&parsed(&lines));
    assert!(kinds[&1] >= 15, "{kinds:?}");
}

#[test]
fn returns_overtake_their_purchases_across_small_and_large_files() {
    for counts in [vec![3; 2000], vec![1000; 20]] {
        let files = files(3, Rates::default(), &counts);
        let mut file_of = HashMap::new();
        let mut across = 0;
        for (number, lines) in files.iter().enumerate() {
            for event in parsed(lines) {
                match event.payload {
                    Payload::Return { order_id, .. } => {
                        file_of.entry(order_id).or_insert(number);
                    }
                    Payload::Purchase { order_id, .. } => {
                        across += usize::from(file_of.get(&order_id).is_some_and(|file| *file < number))
                    }
                    _ => {}
                }
            }
        }
        assert!(across >= 5, "{across}");
    }
}

#[test]
fn a_restart_with_a_later_origin_repeats_no_order() {
    let orders = |origin: Timestamp| {
        let mut out = Vec::new();
        Generator::new(5, Rates::default(), origin).write_events(origin.plus_ms(1000), 2000, &mut out);
        let lines = split(&out);
        replay(&parsed(&lines)).bought.into_keys().collect::<BTreeSet<_>>()
    };
    let (first, second) = (orders(ORIGIN), orders(ORIGIN.plus_ms(1000)));
    assert!(first.last() < second.first() && *first.first().unwrap() > 0);
    assert!(*second.last().unwrap() < 1 << 53);
    // From the year 1019 to the end of 9999.
    for extreme in [-30_000_000_000_000, -1, 0, 253_402_300_700_000] {
        assert!(*orders(Timestamp::from_unix_ms(extreme)).first().unwrap() > 0);
    }
}

#[test]
fn a_clock_set_back_does_not_break_the_world() {
    let mut generator = Generator::new(11, Rates::default(), ORIGIN);
    let mut out = Vec::new();
    for step in [1000, 500_000, 2000, 2000, 700_000] {
        generator.write_events(ORIGIN.plus_ms(step), 400, &mut out);
    }
    let lines = split(&out);
    replay(&parsed(&lines));
}

#[test]
fn duplicates_are_earlier_purchases_and_returns_byte_for_byte() {
    let rates = Rates { duplicates: 0.2, ..Rates::default() };
    let mut seen = HashSet::new();
    let (first, again): (Vec<_>, Vec<_>) =
        lines(2, rates, &[5000]).into_iter().partition(|line| seen.insert(line.clone()));
    assert!((800..1200).contains(&again.len()), "{}", again.len());
    assert_eq!(kinds(&parsed(&again)).into_keys().collect::<Vec<_>>(), [1, 3]);
    replay(&parsed(&first));
}

#[test]
fn malformed_lines_take_no_event_from_the_world() {
    let lines = lines(2, Rates { malformed: 0.1, ..Rates::default() }, &[5000]);
    let good: Vec<Event<'_>> = lines.iter().filter_map(|line| Event::parse(line).ok()).collect();
    assert!((400..600).contains(&(lines.len() - good.len())), "{}", good.len());
    replay(&good);
}

#[test]
fn held_back_lines_come_some_hundred_lines_late_and_none_is_lost() {
    let lines = lines(2, Rates { out_of_order: 0.1, ..Rates::default() }, &[6000]);
    let events = parsed(&lines);
    let mut newest = ORIGIN;
    let (mut late, mut late_most) = (0, 0);
    for (index, event) in events.iter().enumerate() {
        if event.at < newest {
            late += 1;
            let before = events[..index].iter().filter(|other| other.at > event.at).count();
            late_most = late_most.max(before);
        }
        newest = newest.max(event.at);
    }
    assert!((400..900).contains(&late), "{late}");
    assert!((100..700).contains(&late_most), "{late_most}");

    // By time, what was written long enough ago is whole again.
    let mut by_time: Vec<&Event<'_>> = events.iter().collect();
    by_time.sort_by_key(|event| event.at);
    let orders: BTreeSet<i64> = by_time[..5000].iter().filter_map(|event| bought(event)).collect();
    let (first, last) = (orders.first().unwrap(), orders.last().unwrap());
    assert!(i64::try_from(orders.len()).unwrap() + 5 >= last - first, "{} of {}", orders.len(), last - first);
}
