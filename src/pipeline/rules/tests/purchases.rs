//! Rule 3: purchases.

use super::*;
use crate::pipeline::trade::OperationKind;

#[test]
fn a_purchase_takes_money_and_stock() {
    let mut memory = Memory::new();
    memory.effect(0, r#""shop_id":1,"good_id":3,"delta_count":5,"reason":"x","sub_event_type":"restock""#);
    let effect = memory.effect(1, &buys(1, r#","price_at_order":12.50"#));
    assert_eq!(effect, Effect { price: Some(minor(1250)), stock: Some(-2), ..Effect::default() });
    assert_eq!(memory.stock[&(1, 3)], 3);
    let order = memory.orders[&1];
    assert_eq!((order.standing, order.price, order.returned), (OrderStatus::Accepted, minor(1250), 0));
}

#[test]
fn the_price_is_that_of_the_order_else_that_of_the_shop() {
    let mut memory = Memory::new();
    memory.refuses(1, &buys(1, ""), Reason::UnknownPrice);
    memory.effect(2, r#""shop_id":1,"good_id":3,"new_price":4.00"#);
    assert_eq!(memory.effect(1, &buys(2, "")).price, Some(minor(400)));
    assert_eq!(memory.effect(1, &buys(3, r#","price_at_order":3"#)).price, Some(minor(300)));
    assert_eq!(memory.effect(1, &buys(1, "")).price, Some(minor(400)), "it may come again");
    memory.refuses(1, &buys(4, r#","price_at_order":-0.01"#), Reason::InvalidPrice);
    memory.refuses(2, r#""shop_id":1,"good_id":3,"new_price":-0.01"#, Reason::InvalidPrice);
    assert_eq!(memory.prices[&(1, 3)], minor(400));
    memory.effect(2, r#""shop_id":1,"good_id":3,"new_price":0"#);
    assert_eq!(memory.effect(1, &buys(5, "")).price, Some(minor(0)));
}

#[test]
fn what_no_account_can_hold_is_an_invalid_price() {
    let mut memory = Memory::new();
    let buys = |order: i64, qty: i64, price: &str| {
        format!(r#""order_id":{order},"user_id":7,"shop_id":1,"good_id":3,"qty":{qty},"price_at_order":{price}"#)
    };
    memory.refuses(1, &buys(1, i64::MAX, "0.02"), Reason::InvalidPrice);
    memory.refuses(1, &buys(2, 2, "9999999999999999.99"), Reason::InvalidPrice);
    memory.effect(1, &buys(3, 1, "9999999999999999.99"));
    memory.effect(1, &buys(4, i64::MAX, "0"));
}

#[test]
fn a_closed_shop_sells_nothing_until_it_opens() {
    let mut memory = Memory::new();
    memory.effect(1, &buys(1, r#","price_at_order":1"#));
    memory.effect(4, r#""shop_id":1,"active":false"#);
    memory.refuses(1, &buys(2, r#","price_at_order":1"#), Reason::ShopClosed);
    memory.effect(4, r#""shop_id":1,"active":true"#);
    memory.effect(1, &buys(2, r#","price_at_order":1"#));
}

#[test]
fn money_is_asked_under_the_key_of_order_and_shop() {
    let mut memory = Memory::new();
    let ask = |memory: &mut Memory, payload: &str| {
        let text = format!(r#"{{"event_type":1,"payload":{{{payload}}},"timestamp":"2025-01-01 00:00:00.000"}}"#);
        let event = Event::parse(text.as_bytes()).unwrap();
        let file = memory.file.clone();
        match plan(&event, LinePlace { file: &file, line: 1 }, &LinesInFlight::default(), memory).unwrap() {
            Some(Planned::Open(plan)) => plan.debit,
            other => panic!("{other:?}"),
        }
    };
    let debit = ask(&mut memory, &buys(5, r#","price_at_order":99.99"#)).unwrap();
    assert_eq!((debit.key.as_str(), debit.user.get(), debit.amount.money()), ("purchase:5:1", 7, minor(19_998)));
    assert_eq!(debit.kind, OperationKind::Debit);
    assert_eq!(ask(&mut memory, &buys(6, r#","price_at_order":0"#)), None, "a gift");
    let cash = r#""order_id":7,"shop_id":1,"good_id":3,"qty":2,"price_at_order":5"#;
    assert_eq!(ask(&mut memory, cash), None, "a cash sale");
}

#[test]
fn without_money_an_order_is_refused_for_good() {
    let mut memory = Memory::new();
    memory.funds = Funds::Answered(Outcome::InsufficientFunds);
    let (reason, detail) = memory.reject(1, &buys(1, r#","price_at_order":5"#));
    assert_eq!((reason, detail.as_str()), (Reason::InsufficientFunds, "user 7 has not the 10.00 that order 1 costs"));
    memory.funds = Funds::Answered(Outcome::Applied);
    memory.refuses(1, &buys(1, r#","price_at_order":5"#), Reason::InsufficientFunds);
    memory.refuses(1, &buys(1, r#","price_at_order":1,"idempotency_key":"other""#), Reason::InsufficientFunds);
}

#[test]
fn a_paid_order_without_stock_is_paid_back_and_never_taken_for_paid() {
    let mut memory = Memory::new();
    memory.effect(0, r#""shop_id":1,"good_id":3,"delta_count":1,"reason":"x","sub_event_type":"restock""#);
    let verdict = memory.feed(1, &buys(1, r#","price_at_order":5"#));
    assert!(matches!(verdict.decision, Decision::Reject(Reject { reason: Reason::InsufficientStock, .. })));
    let credit = verdict.credit.unwrap();
    assert_eq!((credit.key.as_str(), credit.user.get(), credit.amount.money()), ("reversal:1:1", 7, minor(1000)));
    assert_eq!((credit.kind, memory.stock[&(1, 3)]), (OperationKind::Credit, 1));
    memory.effect(0, r#""shop_id":1,"good_id":3,"delta_count":1,"reason":"x","sub_event_type":"restock""#);
    memory.refuses(1, &buys(1, r#","price_at_order":5"#), Reason::InsufficientStock);
    memory.effect(1, &buys(2, r#","price_at_order":5"#));
    assert_eq!(memory.stock[&(1, 3)], 0, "the last piece is sold");
}

#[test]
fn a_cash_sale_without_stock_may_come_again_and_funds_come_before_stock() {
    let mut memory = Memory::new();
    memory.effect(0, r#""shop_id":1,"good_id":3,"delta_count":0,"reason":"x","sub_event_type":"restock""#);
    let cash = r#""order_id":1,"shop_id":1,"good_id":3,"qty":1,"price_at_order":5"#;
    let verdict = memory.feed(1, cash);
    assert!(matches!(verdict.decision, Decision::Reject(Reject { reason: Reason::InsufficientStock, .. })));
    assert_eq!(verdict.credit, None);
    memory.funds = Funds::Answered(Outcome::InsufficientFunds);
    memory.refuses(1, &buys(2, r#","price_at_order":5"#), Reason::InsufficientFunds);
    memory.effect(0, r#""shop_id":1,"good_id":3,"delta_count":1,"reason":"x","sub_event_type":"restock""#);
    memory.effect(1, cash);
}

#[test]
fn an_order_is_bought_once() {
    let mut memory = Memory::new();
    memory.effect(1, &buys(1, r#","price_at_order":1"#));
    memory.refuses(1, &buys(1, r#","price_at_order":2,"idempotency_key":"x""#), Reason::OrderConflict);
    memory.funds = Funds::Conflict;
    memory.refuses(1, &buys(2, r#","price_at_order":1"#), Reason::OrderConflict);
}

#[test]
fn goods_that_are_not_counted_are_sold_unless_the_settings_say_no() {
    let mut memory = Memory::new();
    assert_eq!(memory.effect(1, &buys(1, r#","price_at_order":1"#)).stock, None);
    assert!(memory.stock.is_empty());
    memory.policy.untracked_is_none = true;
    let verdict = memory.feed(1, &buys(2, r#","price_at_order":1"#));
    assert!(matches!(verdict.decision, Decision::Reject(Reject { reason: Reason::InsufficientStock, .. })));
    assert_eq!(verdict.credit.unwrap().key.as_str(), "reversal:2:1");
}

#[test]
fn a_purchase_that_was_not_paid_for_is_not_settled() {
    let mut memory = Memory::new();
    memory.funds = Funds::NotAsked;
    let text = format!(
        r#"{{"event_type":1,"payload":{{{}}},"timestamp":"2025-01-01 00:00:00.000"}}"#,
        buys(1, r#","price_at_order":1"#)
    );
    let event = Event::parse(text.as_bytes()).unwrap();
    let file = memory.file.clone();
    let result = decide(&event, LinePlace { file: &file, line: 1 }, TradePolicy::default(), &mut memory);
    assert!(matches!(result, Err(RuleError::Logic(_))), "{result:?}");
}
