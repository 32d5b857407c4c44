//! Rule 4: returns.

use super::*;

const BACK: &str = r#""order_id":1,"user_id":7,"shop_id":1,"good_id":3,"qty":1"#;

/// Order 1: user 7 bought 2 of good 3 in shop 1 for 5.00 each.
fn bought() -> Memory {
    let mut memory = Memory::new();
    memory.effect(0, r#""shop_id":1,"good_id":3,"delta_count":10,"reason":"x","sub_event_type":"restock""#);
    memory.effect(1, &buys(1, r#","price_at_order":5"#));
    memory
}

fn back(qty: i64, more: &str) -> String {
    format!(r#""order_id":1,"good_id":3,"qty":{qty}{more}"#)
}

#[test]
fn a_return_gives_back_goods_and_money() {
    let mut memory = bought();
    let verdict = memory.feed(3, BACK);
    let effect = Effect { price: None, stock: Some(1), refund: Some(minor(500)), shop: Some(1) };
    assert_eq!(verdict.decision, Decision::Accept(effect));
    let credit = verdict.credit.unwrap();
    assert_eq!(credit.key.as_str(), "return:1:2025-01-01 00:00:00.003:20250101000000:3");
    assert_eq!((credit.user.get(), credit.amount.money()), (7, minor(500)));
    assert_eq!((memory.stock[&(1, 3)], memory.orders[&1].returned), (9, 1));
}

#[test]
fn no_more_comes_back_than_was_bought() {
    let mut memory = bought();
    memory.refuses(3, &back(3, ""), Reason::ReturnExceedsPurchase);
    memory.effect(3, &back(1, ""));
    memory.refuses(3, &back(2, ""), Reason::ReturnExceedsPurchase);
    memory.refuses(3, &back(i64::MAX, ""), Reason::ReturnExceedsPurchase);
    memory.effect(3, &back(1, ""));
    memory.refuses(3, &back(1, ""), Reason::ReturnExceedsPurchase);
    assert_eq!(memory.stock[&(1, 3)], 10);
}

#[test]
fn no_more_is_given_back_than_was_paid() {
    let mut memory = bought();
    memory.refuses(3, &back(1, r#","refund_amount":5.01"#), Reason::RefundExceedsPayment);
    assert_eq!(memory.effect(3, &back(1, r#","refund_amount":5.00"#)).refund, Some(minor(500)));
    let none = memory.feed(3, &back(1, r#","refund_amount":0"#));
    assert_eq!(none.credit, None, "nothing is moved");
    assert!(matches!(none.decision, Decision::Accept(Effect { refund: Some(refund), .. }) if refund == minor(0)));
}

#[test]
fn a_negative_refund_is_malformed() {
    let text = format!(
        r#"{{"event_type":3,"payload":{{{}}},"timestamp":"2025-01-01 00:00:00.000"}}"#,
        back(1, r#","refund_amount":-0.01"#)
    );
    let reject = Event::parse(text.as_bytes()).unwrap_err();
    assert_eq!((reject.reason, reject.detail.as_str()), (Reason::Malformed, "refund_amount is -0.01, the least is 0"));
}

#[test]
fn good_and_user_must_be_those_of_the_purchase() {
    let mut memory = bought();
    memory.refuses(3, r#""order_id":1,"good_id":4,"qty":1"#, Reason::ReturnMismatch);
    let (reason, detail) = memory.reject(3, &back(1, r#","user_id":8"#));
    assert_eq!((reason, detail.as_str()), (Reason::ReturnMismatch, "order 1 was of user 7, the return is of user 8"));
    memory.effect(3, &back(1, r#","user_id":7,"shop_id":99"#));
    assert_eq!(memory.stock[&(1, 3)], 9, "on the stock item it came from, whatever shop the return names");
}

#[test]
fn a_cash_sale_is_paid_back_to_whom_the_return_names() {
    let mut memory = Memory::new();
    let cash = r#""order_id":1,"shop_id":1,"good_id":3,"qty":2,"price_at_order":5"#;
    memory.effect(1, cash);
    assert_eq!(memory.feed(3, &back(1, "")).credit, None);
    let named = memory.feed(3, &back(1, r#","user_id":8"#));
    assert_eq!(named.credit.unwrap().user.get(), 8);
    assert!(memory.stock.is_empty(), "what was never counted is not counted now");
}

#[test]
fn the_purchase_must_be_known_and_must_have_been_made() {
    let mut memory = Memory::new();
    assert_eq!(memory.feed(3, BACK).decision, Decision::Hold);
    memory.refuses(1, &buys(1, ""), Reason::UnknownPrice);
    memory.refuses(3, BACK, Reason::PurchaseRejected);
    memory.effect(1, &buys(1, r#","price_at_order":1"#));
    memory.effect(3, BACK);
    memory.funds = Funds::Answered(Outcome::InsufficientFunds);
    memory.refuses(1, &buys(2, r#","price_at_order":1"#), Reason::InsufficientFunds);
    memory.refuses(3, r#""order_id":2,"good_id":3,"qty":1"#, Reason::PurchaseRejected);
}

#[test]
fn two_returns_at_one_moment_have_keys_of_money_of_their_own() {
    let mut memory = bought();
    let first = memory.feed_at(3, &back(1, r#","idempotency_key":"a""#), 9, 10);
    let second = memory.feed_at(3, &back(1, r#","idempotency_key":"b""#), 9, 11);
    assert_ne!(first.credit.unwrap().key, second.credit.unwrap().key);
}

#[test]
fn stock_does_not_wrap() {
    let mut memory = bought();
    memory.stock.insert((1, 3), i64::MAX);
    memory.refuses(3, BACK, Reason::Malformed);
    assert_eq!(memory.orders[&1].returned, 0);
}
