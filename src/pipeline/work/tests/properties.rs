//! Any events, in files of any size, windows of any size, with failures at any call. The result is what the model says,
//! and no money and no goods are made or lost.

use proptest::prelude::*;

use super::model::Model;
use super::*;

const OPENING: i64 = 1_500;
const USERS: std::ops::RangeInclusive<i64> = 1..=3;

/// A line of an event of few shops, goods, orders and moments, so that they meet often.
fn line() -> impl Strategy<Value = String> {
    let key =
        prop_oneof![4 => Just(String::new()), 1 => (1..5).prop_map(|key| format!(r#","idempotency_key":"k{key}""#))];
    let user = prop_oneof![1 => Just(String::new()), 3 => USERS.prop_map(|user| format!(r#","user_id":{user}"#))];
    let amount = |name: &'static str| {
        let amounts = prop_oneof![Just("1"), Just("2.5"), Just("0"), Just("4"), Just("-1")];
        prop_oneof![1 => Just(String::new()), 3 => amounts.prop_map(move |amount| format!(r#","{name}":{amount}"#))]
    };
    let good = prop_oneof![5 => Just(1), 1 => Just(2)];
    let numbers = (1_i64..9, 1_i64..5, good, 1_i64..4, -4_i64..9, any::<bool>());
    let kind = prop_oneof![2 => Just(0_u8), 6 => Just(1), 1 => Just(2), 5 => Just(3), 1 => Just(4)];
    (kind, numbers, user, amount("price_at_order"), amount("refund_amount"), key, 0_i64..40).prop_map(
        |(kind, (order, shop, good, qty, delta, flag), user, price, refund, key, at)| {
            let refund = if refund.contains('-') { String::new() } else { refund };
            let named = if flag { format!(r#","shop_id":{shop}"#) } else { String::new() };
            let payload = match kind {
                0 => format!(
                    r#""shop_id":{shop},"good_id":{good},"delta_count":{delta},"reason":"x","sub_event_type":"loss"{key}"#
                ),
                1 => format!(r#""order_id":{order}{user},"shop_id":{shop},"good_id":{good},"qty":{qty}{price}{key}"#),
                2 => format!(r#""shop_id":{shop},"good_id":{good},"new_price":{}{key}"#, delta.max(-1)),
                3 => format!(r#""order_id":{order}{user}{named},"good_id":{good},"qty":{qty}{refund}{key}"#),
                _ => format!(r#""shop_id":{shop},"active":{flag}{key}"#),
            };
            event(kind, at, &payload)
        },
    )
}

/// Which shard a line goes to, of two.
fn shard_of(line: &str) -> u64 {
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    let id = |name: &str| event["payload"][name].as_i64();
    id("shop_id").or(id("order_id")).unwrap().rem_euclid(2).unsigned_abs()
}

/// What goes wrong with a file: the call that fails, whether its reply was lost, and the commit that is lost.
type Mishap = (Option<u32>, bool, bool);

fn mishap() -> impl Strategy<Value = Mishap> {
    (proptest::option::of(0_u32..7), any::<bool>(), proptest::bool::weighted(0.2))
}

/// A file: its lines, its mishaps, and the time that passes before it.
fn files() -> impl Strategy<Value = Vec<(Vec<String>, Mishap, i64)>> {
    let pause = prop_oneof![3 => Just(1_000_i64), 1 => Just(200_000)];
    let file = (proptest::collection::vec(line(), 0..25), mishap(), pause);
    proptest::collection::vec(file, 1..6)
}

/// Works on a file with its mishaps; twice at the end, for the report may be lost.
fn work_with(floor: &Floor, task: &FileTask, (calls, reply_is_lost, commit_is_lost): Mishap) -> Left {
    let state = floor.folder().worker_state(task.key.shard);
    drop(floor.worker(task.key.shard.get().into()));
    let before = std::fs::read(&state).unwrap();
    if let Some(calls) = calls {
        floor.world.fail_after(calls, reply_is_lost);
        let first = floor.run(task);
        floor.world.heal();
        assert!(matches!(first, Ok(_) | Err(Fault::Unavailable(_))), "{first:?}");
    }
    if commit_is_lost {
        floor.run(task).unwrap();
        for leftover in ["worker.sqlite-wal", "worker.sqlite-shm"] {
            drop(std::fs::remove_file(state.with_file_name(leftover)));
        }
        std::fs::write(&state, before).unwrap();
    }
    let left = floor.run(task).unwrap();
    assert_eq!(floor.run(task).unwrap(), left);
    left
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_out_is_what_the_model_says(
        files in files(),
        window in prop_oneof![Just(1), Just(2), Just(5), Just(8192)],
        chunk in prop_oneof![Just(1), Just(2), Just(3), Just(1024)],
    ) {
        let mut floor = Floor::new(OPENING);
        (floor.window.lines, floor.window.chunk) = (window, chunk);
        let mut model = Model::new(OPENING);
        for (number, (lines, mishap, pause)) in (1..).zip(files) {
            floor.world.pass(pause);
            model.now += pause;
            for shard in 0..2 {
                let lines: Vec<String> = lines.iter().filter(|line| shard_of(line) == shard).cloned().collect();
                let task = floor.write(number, shard, &lines);
                let left = work_with(&floor, &task, mishap);
                let numbers = 1 + LINES_BEFORE * shard..;
                let events = numbers.zip(lines.iter().map(|line| serde_json::from_str(line).unwrap())).collect();
                let expected = model.file(task.key.file.as_str(), task.key.shard.get(), events);
                let places: Vec<_> = left.places().iter().map(|(file, line)| ((*file).to_owned(), *line)).collect();
                prop_assert_eq!(places, expected.accepted);
                let mut rejects = left.rejects.clone();
                rejects.sort();
                prop_assert_eq!(rejects, expected.rejected);
                let counts = left.counts;
                prop_assert_eq!((counts.duplicate, counts.held, counts.released), (expected.duplicates, expected.held, expected.released));
                for user in USERS {
                    prop_assert_eq!(i128::from(floor.world.balance(user)), model.balance(user), "user {}", user);
                    prop_assert!(floor.world.balance(user) >= 0);
                }
            }
        }
        let moved: i64 = floor.world.applied().values().sum();
        let held: i64 = floor.world.balances().values().map(|balance| balance - OPENING).sum();
        prop_assert_eq!(moved, held, "no money is made or lost");
        for ((shop, good), count) in &model.stock {
            let mut state = crate::pipeline::work::state::open_worker_state(&floor.folder().worker_state(shard_id(shop.rem_euclid(2).unsigned_abs()))).unwrap();
            prop_assert!(*count >= 0);
            prop_assert_eq!(state.find_stock(*shop, *good).unwrap().map(i128::from), Some(*count));
        }
    }

    /// Where nothing is scarce and every event has a key of its own, neither their order nor copies nor cuts matter.
    #[test]
    fn without_scarcity_any_order_and_any_cuts_accept_the_same(
        order in Just((0..30_usize).flat_map(|index| [index, index]).collect::<Vec<_>>()).prop_shuffle(),
        cuts in proptest::collection::vec(1_usize..12, 1..8),
    ) {
        let floor = Floor::new(1_000_000);
        let all: Vec<String> = (0..10_i64)
            .flat_map(|number| {
                let (order, at) = (number + 1, number * 3);
                [buy(order, Some(7), order % 3 + 1, 2, at), give_back(order, 1, at + 50), give_back(order, 1, at + 51)]
            })
            .collect();
        let (mut accepted, mut duplicates, mut number) = (std::collections::BTreeSet::new(), 0, 0);
        let mut rest: Vec<usize> = order;
        let mut sizes = cuts.iter().cycle();
        let mut names = BTreeMap::new();
        while !rest.is_empty() {
            number += 1;
            let taken: Vec<usize> = rest.drain(..(*sizes.next().unwrap()).min(rest.len())).collect();
            for shard in 0..2 {
                let mine: Vec<usize> = taken.iter().copied().filter(|index| shard_of(&all[*index]) == shard).collect();
                for (line, index) in (1..).zip(&mine) {
                    names.insert((file(number).to_string(), shard, line), *index);
                }
                let left = floor.work(number, shard, &mine.iter().map(|index| all[*index].clone()).collect::<Vec<_>>());
                prop_assert_eq!(&left.rejects, &[]);
                duplicates += left.counts.duplicate;
                accepted.extend(left.prepared.iter().map(|line| (line["payload"].to_string(), line["timestamp"].to_string())));
            }
        }
        for shard in 0..2 {
            let left = floor.work(number + 1, shard, &[]);
            duplicates += left.counts.duplicate;
            accepted.extend(left.prepared.iter().map(|line| (line["payload"].to_string(), line["timestamp"].to_string())));
        }
        prop_assert_eq!((accepted.len(), duplicates, floor.world.waiting()), (30, 30, 0));
        prop_assert_eq!(floor.world.balance(7), 1_000_000);
    }
}
