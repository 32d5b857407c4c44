//! What the two APIs answer, and what they refuse.

use serde_json::{Value, json};

use crate::api::process::{Answer, Apid, call};

fn operations(service: &Apid, operations: &Value) -> Answer {
    service.post("/api/v1/operations", &json!({ "operations": operations }).to_string())
}

fn balance(service: &Apid, user: u64) -> Value {
    service.get(&format!("/api/v1/balances/{user}")).json()["balance"].clone()
}

fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
}

#[test]
fn amounts_are_strings_or_digits_and_never_floats() {
    let service = Apid::start_role("balance");
    let of = |amount: &str| {
        let body = format!(r#"{{"amount":{amount},"reason":"r","idempotency_key":"k {}"}}"#, amount.replace('"', ""));
        service.post("/api/v1/balances/7/credit", &body)
    };
    // 0.1 + 0.2 in floats is not 0.30; the third has more digits than a float holds.
    for (amount, total) in [("0.1", "0.10"), ("\"0.20\"", "0.30"), ("9007199254740993.17", "9007199254740993.47")] {
        assert_eq!(of(amount).json(), json!({"user_id": 7, "outcome": "applied", "balance": total}));
    }
    for amount in ["0", "-1", "\"-1\"", "1.001", "1e2", "\"1,5\"", "\"\"", "null", "true", "[1]", "99999999999999999"] {
        assert_refused(&of(amount), 422, "invalid");
    }
    assert_eq!(balance(&service, 7), "9007199254740993.47");
}

#[test]
fn bad_calls_of_the_balance_are_problems_and_change_nothing() {
    let service = Apid::start_role("balance");
    let one = |key: &str, user: Value, kind: &str, amount: &str| json!([{"key": key, "user_id": user, "type": kind, "amount": amount, "reason": "r"}]);
    assert_eq!(operations(&service, &one("seen", json!(7), "credit", "5.00")).status, 200);
    for bad in [
        one("", json!(7), "credit", "1"),
        one(&"x".repeat(256), json!(7), "credit", "1"),
        one("k", json!(0), "credit", "1"),
        one("k", json!(-7), "credit", "1"),
        one("k", json!("7"), "credit", "1"),
        one("k", json!(7.5), "credit", "1"),
        one("k", json!(7), "steal", "1"),
        json!([{"key": "k", "user_id": 7, "type": "credit", "amount": "1"}]),
        json!([{"key": "k", "user_id": 7, "type": "credit", "amount": "1", "reason": "x".repeat(256)}]),
        json!([{"key": "k", "user_id": 7, "type": "credit", "amount": "1", "reason": "r", "more": 1}]),
        json!({}),
    ] {
        assert_refused(&operations(&service, &bad), 422, "invalid");
    }
    let both = json!([one("new", json!(7), "credit", "1")[0], one("seen", json!(7), "credit", "6.00")[0]]);
    let refused = operations(&service, &both);
    assert_refused(&refused, 422, "key_conflict");
    assert!(refused.json()["detail"].as_str().unwrap().contains("'seen'"), "{refused:?}");
    let most = "9999999999999999.99";
    assert_refused(&operations(&service, &one("k", json!(7), "credit", most)), 422, "balance_limit");
    let many: Vec<Value> = (0..10_001).map(|n| one(&format!("k{n}"), json!(7), "credit", "1")[0].clone()).collect();
    assert_refused(&operations(&service, &Value::from(many)), 422, "invalid");
    assert_refused(&service.post("/api/v1/operations", "{\"operations\":"), 400, "bad_json");
    let huge = format!("{{\"operations\":[]{}}}", " ".repeat(8 * 1024 * 1024));
    assert_refused(&service.post("/api/v1/operations", &huge), 413, "too_large");
    assert_refused(&service.get("/api/v1/balances/8"), 404, "not_found");
    assert_refused(&service.get("/api/v1/balances/8/transactions"), 404, "not_found");
    for path in [
        "/balances/x",
        "/balances/0",
        "/balances/7/transactions?limit=0",
        "/balances/7/transactions?limit=1001",
        "/balances/7/transactions?cursor=x",
        "/balances/7/transactions?page=1",
        "/balances/9223372036854775808",
    ] {
        assert_refused(&service.get(&format!("/api/v1{path}")), 422, "invalid");
    }
    assert_refused(&call(service.addr(), "DELETE", "/api/v1/balances/7", &[], ""), 405, "method_not_allowed");
    assert_eq!(balance(&service, 7), "5.00");
}

#[test]
fn operations_are_counted_by_what_came_of_them() {
    let service = Apid::start_role("balance");
    let batch = json!([
        {"key": "a", "user_id": 7, "type": "credit", "amount": "5", "reason": ""},
        {"key": "b", "user_id": 7, "type": "debit", "amount": "9", "reason": ""},
    ]);
    let first = operations(&service, &batch).body;
    assert_eq!(operations(&service, &batch).body, first, "to the letter");
    let metrics = service.get("/metrics").body;
    for line in [
        "shopctl_operations_total{outcome=\"applied\"} 1\n",
        "shopctl_operations_total{outcome=\"insufficient_funds\"} 1\n",
        "shopctl_operations_total{outcome=\"repeated\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[test]
fn bad_calls_of_the_cache_are_problems_and_change_nothing() {
    let service = Apid::start_role("cache");
    let post = |path: &str, body: Value| service.post(&format!("/api/v1{path}"), &body.to_string());
    let entry = json!({"line": 1, "order_id": 7, "happened_at": "2025-01-01 00:00:00.000", "raw": "{}"});
    let put = |change: (&str, Value)| {
        let mut entry = entry.clone();
        entry[change.0] = change.1;
        post("/pending/put", json!({"filename": "20250101000000", "shard": 0, "returns": [entry]}))
    };
    for change in [
        ("line", json!(0)),
        ("line", json!(-1)),
        ("line", json!(u64::MAX)),
        ("order_id", json!(0)),
        ("order_id", json!("7")),
        ("happened_at", json!("2025-02-30 00:00:00.000")),
        ("happened_at", json!("2025-01-01T00:00:00Z")),
        ("raw", json!({})),
        ("raw", json!("x".repeat(4 * 1024 * 1024 + 1))),
        ("more", json!(1)),
    ] {
        assert_refused(&put(change), 422, "invalid");
    }
    for (path, body) in [
        ("/pending/put", json!({"filename": "../../etc/passwd", "shard": 0, "returns": []})),
        ("/pending/put", json!({"filename": "20250101000000", "shard": 128, "returns": []})),
        ("/pending/take", json!({"filename": "20250101000000", "shard": 0, "limit": 0})),
        ("/pending/take", json!({"filename": "20250101000000", "shard": 0, "limit": 10_001})),
        ("/pending/expired", json!({"filename": "20250101000000", "shard": 0, "order_ids": [1]})),
        ("/pending/confirm", json!({"filename": "20250101000000"})),
        ("/orders", json!({"filename": "20250101000000", "shard": 0, "orders": [{"order_id": 1, "shop_id": 1}]})),
        (
            "/orders",
            json!({"filename": "20250101000000", "shard": 0, "orders": [{"order_id": 1, "shop_id": 1, "state": "awaited"}]}),
        ),
        ("/orders/lookup", json!({"order_ids": (1..=10_001).collect::<Vec<u32>>()})),
    ] {
        assert_refused(&post(path, body), 422, "invalid");
    }
    assert_eq!(put(("line", json!(1))).status, 200);
    assert_refused(&put(("raw", json!("other"))), 422, "line_conflict");
    assert_refused(&service.get("/api/v1/orders/7"), 404, "not_found");
    assert_refused(&service.get("/api/v1/orders/x"), 422, "invalid");
    assert_eq!(service.get("/api/v1/pending/7").json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(service.get("/api/v1/pending/8").json()["items"], json!([]));
}
