//! Events that are planned ahead, as far as may be, come to what they come to one by one.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// What became of a file: decisions with their credits, and the debits in the order in which the bank was asked.
type Outcomes = (Vec<LineVerdict>, Vec<(Operation, Funds)>);

/// Accounts, and what came of every debit.
#[derive(Default)]
struct Accounts {
    balances: HashMap<i64, i64>,
    asked: Vec<(Operation, Funds)>,
}

impl Accounts {
    fn debit(&mut self, debit: &Operation) -> Funds {
        let balance = self.balances.entry(debit.user.get()).or_insert(600);
        let amount = debit.amount.money().minor();
        let funds = if debit.key.as_str().starts_with("purchase:3:") {
            Funds::Conflict
        } else if *balance < amount {
            Funds::Answered(Outcome::InsufficientFunds)
        } else {
            *balance -= amount;
            Funds::Answered(Outcome::Applied)
        };
        self.asked.push((debit.clone(), funds));
        funds
    }
}

fn line() -> impl Strategy<Value = String> {
    let key =
        prop_oneof![3 => Just(String::new()), 2 => (1..3).prop_map(|key| format!(r#","idempotency_key":"k{key}""#))];
    let user = prop_oneof![1 => Just(""), 2 => Just(r#","user_id":1"#)];
    let price = prop_oneof![2 => Just(""), 1 => Just(r#","price_at_order":0"#), 2 => Just(r#","price_at_order":2"#)];
    let kind = prop_oneof![2 => Just(0_u8), 8 => Just(1), 2 => Just(2), 4 => Just(3), 3 => Just(4)];
    (kind, 1_i64..4, 1_i64..3, key, user, price, 0..3, any::<bool>()).prop_map(
        |(kind, order, few, key, user, price, at, flag)| {
            let payload = match kind {
                0 => format!(
                    r#""shop_id":1,"good_id":1,"delta_count":{},"reason":"x","sub_event_type":"loss"{key}"#,
                    few * 3 - 4
                ),
                1 => format!(r#""order_id":{order}{user},"shop_id":1,"good_id":1,"qty":{few}{price}{key}"#),
                2 => format!(r#""shop_id":1,"good_id":1,"new_price":{}{key}"#, order - 2),
                3 => format!(r#""order_id":{order}{user},"good_id":1,"qty":1{key}"#),
                _ => format!(r#""shop_id":1,"active":{flag}{key}"#),
            };
            format!(r#"{{"event_type":{kind},"payload":{{{payload}}},"timestamp":"2025-01-01 00:00:00.00{at}"}}"#)
        },
    )
}

/// Lines of which many repeat an earlier one.
fn lines() -> impl Strategy<Value = Vec<String>> {
    (proptest::collection::vec(line(), 1..8), proptest::collection::vec(any::<prop::sample::Index>(), 1..24))
        .prop_map(|(pool, picks)| picks.iter().map(|pick| pick.get(&pool).clone()).collect())
}

/// Decides lines of a file, planning ahead as many as the steps say before each settlement.
fn decide_ahead(
    memory: &mut Memory,
    accounts: &mut Accounts,
    file: &FileName,
    lines: &[String],
    steps: &[usize],
) -> Vec<LineVerdict> {
    let events: Vec<_> = lines.iter().map(|line| Event::parse(line.as_bytes()).unwrap()).collect();
    let (mut ahead, mut waiting, mut verdicts) = (LinesInFlight::default(), VecDeque::new(), Vec::new());
    let (mut next, mut steps) = (0, steps.iter().cycle());
    while next < events.len() || !waiting.is_empty() {
        let until = (next + steps.next().unwrap()).min(events.len());
        while next < until {
            let (event, place) = (&events[next], LinePlace { file, line: next as u64 + 1 });
            let before = memory.keys.clone();
            let Some(planned) = plan(event, place, &ahead, memory).unwrap() else {
                assert_eq!(memory.keys, before, "what was too early has noted nothing");
                assert!(!waiting.is_empty(), "line {} can never be decided", next + 1);
                break;
            };
            let mut funds = Funds::NotAsked;
            if let Planned::Open(plan) = &planned {
                ahead.note(event, place.line, plan);
                funds = plan.debit.as_ref().map_or(funds, |debit| accounts.debit(debit));
            }
            waiting.push_back((next, planned, funds));
            next += 1;
        }
        let Some((index, planned, funds)) = waiting.pop_front() else { continue };
        let (event, place) = (&events[index], LinePlace { file, line: index as u64 + 1 });
        verdicts.push(match planned {
            Planned::Decided(decision) => decision.into(),
            Planned::Open(plan) => {
                let verdict = settle(event, place, &plan, funds, TradePolicy::default(), memory).unwrap();
                ahead.settled(event, place.line, &plan);
                verdict
            }
        });
    }
    assert!(ahead.lines.is_empty() && ahead.orders.is_empty() && ahead.copies.is_empty());
    verdicts
}

fn outcomes(files: &[Vec<String>], steps: &[usize]) -> (Outcomes, Memory) {
    let (mut memory, mut accounts, mut verdicts) = (Memory::new(), Accounts::default(), Vec::new());
    for (number, lines) in files.iter().enumerate() {
        let file: FileName = format!("2025010100000{number}").parse().unwrap();
        verdicts.extend(decide_ahead(&mut memory, &mut accounts, &file, lines, steps));
    }
    ((verdicts, accounts.asked), memory)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn planned_ahead_or_one_by_one_all_is_decided_the_same(
        files in proptest::collection::vec(lines(), 1..3),
        steps in proptest::collection::vec(0_usize..7, 1..12).prop_map(|mut steps| { steps.push(3); steps }),
    ) {
        let (one_by_one, alone) = outcomes(&files, &[1]);
        let (sliding, memory) = outcomes(&files, &steps);
        prop_assert_eq!(sliding, one_by_one);
        prop_assert_eq!(memory.keys, alone.keys);
        prop_assert_eq!(memory.orders, alone.orders);
        prop_assert_eq!(memory.stock, alone.stock);
    }
}
