//! Rule 2: keys, and whose they are.

use super::*;
use crate::pipeline::rules::duplicate::key_of;

#[test]
fn the_same_order_at_the_same_moment_is_a_duplicate() {
    let mut memory = Memory::new();
    let order = buys(1, r#","price_at_order":1"#);
    assert!(matches!(memory.feed_at(1, &order, 0, 1).decision, Decision::Accept(_)));
    assert!(matches!(memory.feed_at(1, &order, 0, 2).decision, Decision::Duplicate { line: 1, .. }));
    let other = buys(2, r#","price_at_order":1"#);
    assert!(matches!(memory.feed_at(1, &other, 0, 3).decision, Decision::Accept(_)), "another order");
    let later = memory.feed_at(1, &order, 1, 4).decision;
    assert!(
        matches!(&later, Decision::Reject(Reject { reason: Reason::OrderConflict, .. })),
        "another moment is another key, but the order is bought: {later:?}"
    );
}

#[test]
fn the_same_moment_in_another_spelling_is_the_same_key_with_the_same_content() {
    let mut memory = Memory::new();
    let order = buys(1, r#","price_at_order":1"#);
    let first = memory.feed_when(1, &order, "2025-01-01 00:00:00.007", 1).decision;
    assert!(matches!(first, Decision::Accept(_)));
    for (line, spelling) in [
        (2, "2025-01-01T00:00:00.007Z"),
        (3, "2025-01-01t05:45:00.0079999+05:45"),
        (4, "2024-12-31 23:00:00.007-01:00"),
    ] {
        let again = memory.feed_when(1, &order, spelling, line).decision;
        assert!(matches!(again, Decision::Duplicate { line: 1, .. }), "{spelling}: {again:?}");
    }
    let other = memory.feed_when(1, &buys(1, r#","price_at_order":2"#), "2025-01-01T00:00:00.007Z", 5).decision;
    assert!(matches!(&other, Decision::Reject(Reject { reason: Reason::KeyConflict, .. })), "{other:?}");
}

#[test]
fn the_same_key_with_other_content_is_a_conflict() {
    let mut memory = Memory::new();
    let status = |active: bool, key: &str| format!(r#""shop_id":1,"active":{active},"idempotency_key":"{key}""#);
    memory.effect(4, &status(true, "evt-a"));
    let (reason, detail) = memory.reject(4, &status(false, "evt-a"));
    assert_eq!((reason, detail.contains("20250101000000 line 1")), (Reason::KeyConflict, true), "{detail}");
    assert!(memory.is_open(1).unwrap(), "what is refused changes nothing");
    assert!(matches!(memory.feed(4, &status(true, "evt-a")).decision, Decision::Duplicate { line: 1, .. }));
    memory.effect(4, &status(true, "EVT-A"));
}

#[test]
fn a_rejected_event_gives_its_key_back_and_may_come_again() {
    let mut memory = Memory::new();
    memory.effect(4, r#""shop_id":1,"active":false"#);
    let order = buys(1, r#","price_at_order":1,"idempotency_key":"k""#);
    memory.refuses(1, &order, Reason::ShopClosed);
    memory.effect(4, r#""shop_id":1,"active":true"#);
    memory.effect(1, &order);
    assert!(matches!(memory.feed(1, &order).decision, Decision::Duplicate { line: 4, .. }), "and only once");
}

#[test]
fn a_held_return_gives_its_key_back_until_it_is_decided() {
    let mut memory = Memory::new();
    let back = r#""order_id":1,"good_id":3,"qty":1,"idempotency_key":"r""#;
    assert_eq!(memory.feed(3, back).decision, Decision::Hold);
    assert!(memory.keys.is_empty());
    memory.effect(1, &buys(1, r#","price_at_order":1"#));
    memory.effect(3, back);
    assert!(matches!(memory.feed(3, back).decision, Decision::Duplicate { .. }));
}

#[test]
fn a_given_key_never_meets_a_made_one() {
    let text = r#"{"event_type":1,"payload":{"order_id":1,"shop_id":1,"good_id":1,"qty":1},"timestamp":"2025-01-01 00:00:00.000"}"#;
    let made = key_of(&Event::parse(text.as_bytes()).unwrap()).unwrap();
    assert_eq!((made.first(), made.len()), (Some(&b'o'), 18));
}

#[test]
fn a_copy_has_its_turn_before_later_ones_when_its_original_gave_the_key_back() {
    let (mut memory, mut ahead) = (Memory::new(), LinesInFlight::default());
    let file = memory.file.clone();
    let text = r#"{"event_type":3,"payload":{"order_id":1,"good_id":3,"qty":1},"timestamp":"2025-01-01 00:00:00.000"}"#;
    let event = Event::parse(text.as_bytes()).unwrap();
    let place = |line| LinePlace { file: &file, line };
    let mut plans = Vec::new();
    for line in [1, 2] {
        let Some(Planned::Open(plan)) = plan(&event, place(line), &ahead, &mut memory).unwrap() else {
            panic!("planned")
        };
        ahead.note(&event, line, &plan);
        plans.push(plan);
    }
    let settle_line = |memory: &mut Memory, ahead: &mut LinesInFlight, line: u64, plan: &LinePlan| {
        let verdict = settle(&event, place(line), plan, Funds::NotAsked, TradePolicy::default(), memory).unwrap();
        ahead.settled(&event, line, plan);
        verdict.decision
    };
    assert_eq!(settle_line(&mut memory, &mut ahead, 1, &plans[0]), Decision::Hold);
    assert!(plan(&event, place(3), &ahead, &mut memory).unwrap().is_none());
    assert!(memory.keys.is_empty(), "what was too early has noted nothing");
    assert_eq!(settle_line(&mut memory, &mut ahead, 2, &plans[1]), Decision::Hold, "no copy of a later line");
    assert!(matches!(plan(&event, place(3), &ahead, &mut memory).unwrap(), Some(Planned::Open(_))));
}

#[test]
fn what_depends_on_what_is_ahead_waits_for_it() {
    let mut memory = Memory::new();
    let mut ahead = LinesInFlight::default();
    let parse = |payload: &str, millis: u32| {
        format!(r#"{{"event_type":1,"payload":{{{payload}}},"timestamp":"2025-01-01 00:00:00.{millis:03}"}}"#)
    };
    let plan_line = |memory: &mut Memory, ahead: &mut LinesInFlight, line: u64, text: &str| {
        let event = Event::parse(text.as_bytes()).unwrap();
        let file = memory.file.clone();
        let planned = plan(&event, LinePlace { file: &file, line }, ahead, memory).unwrap();
        if let Some(Planned::Open(plan)) = &planned {
            ahead.note(&event, line, plan);
        }
        planned
    };
    let priced = r#","price_at_order":1"#;
    let first = parse(&buys(1, &format!(r#"{priced},"idempotency_key":"k""#)), 1);
    let Some(Planned::Open(plan)) = plan_line(&mut memory, &mut ahead, 1, &first) else { panic!("planned") };
    assert_eq!(plan.debit.unwrap().amount.money(), minor(200));
    let Some(Planned::Open(copy)) = plan_line(&mut memory, &mut ahead, 2, &first) else { panic!("planned") };
    assert_eq!(copy.debit, None, "a copy pays nothing: the first has asked, for good");
    let other_key = parse(&buys(1, priced), 2);
    assert!(plan_line(&mut memory, &mut ahead, 3, &other_key).is_none());
    let other_content = parse(&buys(2, &format!(r#"{priced},"idempotency_key":"k""#)), 3);
    assert!(plan_line(&mut memory, &mut ahead, 4, &other_content).is_none());
    assert_eq!(memory.keys.len(), 1, "what was too early has noted nothing");
    // A closed shop's order asked for no money; its copy may find the shop open and would need some.
    memory.set_open(1, false);
    let closed = parse(&buys(9, priced), 4);
    assert!(matches!(
        plan_line(&mut memory, &mut ahead, 5, &closed),
        Some(Planned::Open(LinePlan { debit: None, .. }))
    ));
    assert!(
        matches!(plan_line(&mut memory, &mut ahead, 6, &closed), Some(Planned::Open(_))),
        "still closed: no money either"
    );
    memory.set_open(1, true);
    assert!(plan_line(&mut memory, &mut ahead, 7, &closed).is_none());
}
