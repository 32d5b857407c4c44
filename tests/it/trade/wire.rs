//! The bytes between a worker and the services of trade: every call of the clients, and every answer, as they have
//! always been. Other versions of worker and service meet here while roles are replaced one by one.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use shopctl::base::clock::Clock;
use shopctl::base::db::StoreUrl;
use shopctl::base::http::Metrics;
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::balance::client::BalanceClient;
use shopctl::pipeline::balance::open::open_balance;
use shopctl::pipeline::balance::{self, Balance};
use shopctl::pipeline::cache::client::CacheClient;
use shopctl::pipeline::cache::open::open_cache;
use shopctl::pipeline::cache::store::CachePolicy;
use shopctl::pipeline::cache::{self, Cache};
use shopctl::pipeline::event::{Money, ShardId};
use shopctl::pipeline::settings::principal;
use shopctl::pipeline::task::TaskKey;
use shopctl::pipeline::trade::{
    Amount, EarlyReturn, NewOrder, Operation, OperationKey, OperationKind, OrderId, OrderState, UserId,
};
use tower::ServiceExt;

use crate::api::process::call;
use crate::support::pipeline::settings_of;

/// What was said on the way, one line for a question and one for its answer.
type Said = Arc<Mutex<String>>;

/// Serves a router on a port of its own, and notes what is asked and answered.
struct Recorded {
    runtime: tokio::runtime::Runtime,
    addr: SocketAddr,
    said: Said,
}

impl Recorded {
    fn serve(runtime: tokio::runtime::Runtime, router: Router) -> Self {
        let said = Said::default();
        let note = Arc::clone(&said);
        let service = Router::new().fallback(move |request: Request| recorded(router.clone(), request, note.clone()));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self { runtime, addr, said }
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What was said, and the end of it.
    fn end(self) -> String {
        self.runtime.shutdown_background();
        self.said.lock().unwrap().clone()
    }
}

async fn recorded(router: Router, request: Request, said: Said) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let asked = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
    let answer = router.oneshot(Request::from_parts(head, Body::from(body))).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut said = said.lock().unwrap();
    writeln!(said, "{}\n  {} {}", asked.trim_end(), head.status.as_u16(), String::from_utf8_lossy(&body)).unwrap();
    Response::from_parts(head, Body::from(body))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The first second of 2025, which does not pass.
fn clock() -> Clock {
    Clock::manual(Timestamp::parse("2025-01-01 00:00:05.000").unwrap())
}

fn operation(key: &str, user: i64, kind: OperationKind, minor: i64) -> Operation {
    Operation {
        key: OperationKey::new(key).unwrap(),
        user: UserId::new(user).unwrap(),
        kind,
        amount: Amount::from_minor(minor).unwrap(),
        reason: format!("\"{key}\" \u{e9}"),
    }
}

/// Compares line by line, for a message that can be read.
fn assert_said(said: &str, expected: &str) {
    for (said, expected) in said.lines().zip(expected.lines()) {
        assert_eq!(said, expected);
    }
    assert_eq!(said.lines().count(), expected.lines().count(), "{said}");
}

const BALANCE: &str = r#"POST /api/v1/operations {"operations":[{"key":"purchase:4711:3","user_id":7,"type":"debit","amount":"12.50","reason":"\"purchase:4711:3\" é"},{"key":"purchase:4712:3","user_id":7,"type":"debit","amount":"900.00","reason":"\"purchase:4712:3\" é"},{"key":"return:1","user_id":8,"type":"credit","amount":"0.01","reason":"\"return:1\" é"}]}
  200 {"outcomes":[{"key":"purchase:4711:3","outcome":"applied"},{"key":"purchase:4712:3","outcome":"insufficient_funds"},{"key":"return:1","outcome":"applied"}]}
POST /api/v1/operations {"operations":[{"key":"purchase:4713:3","user_id":7,"type":"debit","amount":"0.01","reason":"\"purchase:4713:3\" é"},{"key":"purchase:4711:3","user_id":8,"type":"debit","amount":"12.50","reason":"\"purchase:4711:3\" é"}]}
  422 {"type":"urn:shopctl:problem:key_conflict","title":"Unprocessable Entity","status":422,"code":"key_conflict","detail":"the key 'purchase:4711:3' was used before for another user, type or amount; nothing of this call was done","key":"purchase:4711:3"}
POST /api/v1/operations {"operations":[{"key":"over","user_id":7,"type":"credit","amount":"9999999999999999.99","reason":"\"over\" é"}]}
  422 {"type":"urn:shopctl:problem:balance_limit","title":"Unprocessable Entity","status":422,"code":"balance_limit","detail":"the operation 'over' would take the balance of user 7 over 9999999999999999.99; nothing of this call was done","key":"over"}
GET /api/v1/balances/7
  200 {"user_id":7,"balance":"87.50","opening_balance":"100.00","role":"customer","created_at":"2025-01-01 00:00:05.000"}
GET /api/v1/balances/9
  404 {"type":"urn:shopctl:problem:not_found","title":"Not Found","status":404,"code":"not_found","detail":"user 9 is unknown"}
GET /api/v1/balances/7/transactions?limit=1000
  200 {"user_id":7,"items":[{"id":1,"type":"debit","amount":"12.50","reason":"\"purchase:4711:3\" é","idempotency_key":"purchase:4711:3","created_at":"2025-01-01 00:00:05.000"}]}
POST /api/v1/balances/7/credit {"amount":"1.5","reason":"goodwill","idempotency_key":"goodwill"}
  200 {"user_id":7,"outcome":"applied","balance":"89.00"}
GET /api/v1/balances/7/transactions?limit=1
  200 {"user_id":7,"items":[{"id":3,"type":"credit","amount":"1.50","reason":"goodwill","idempotency_key":"goodwill","created_at":"2025-01-01 00:00:05.000"}],"next_cursor":3}
"#;

#[test]
fn calls_about_money_are_what_they_were() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let url = StoreUrl::Sqlite(folder.path().join("balance.sqlite"));
    let store = runtime.block_on(open_balance(&url, clock(), Money::from_minor(10_000))).unwrap();
    let served = Recorded::serve(runtime, balance::router(Balance::new(store, &Metrics::new())));
    let client =
        BalanceClient::of(&settings_of(vec![("balance.url".to_owned(), served.url())]), principal::SHARD_WORKER);

    let debit = |key: &str, user, minor| operation(key, user, OperationKind::Debit, minor);
    let credit = |key: &str, user, minor| operation(key, user, OperationKind::Credit, minor);
    let three = [debit("purchase:4711:3", 7, 1250), debit("purchase:4712:3", 7, 90_000), credit("return:1", 8, 1)];
    client.apply(&three).unwrap();
    let refused = client.apply(&[debit("purchase:4713:3", 7, 1), debit("purchase:4711:3", 8, 1250)]).unwrap_err();
    assert_eq!(refused.conflicting_key(), Some("purchase:4711:3"));
    let refused = client.apply(&[credit("over", 7, Money::MAX.minor())]).unwrap_err();
    assert_eq!(refused.conflicting_key(), None, "it stands for nothing else");
    let user = |number| UserId::new(number).unwrap();
    assert!(client.find_balance(user(7)).unwrap().is_some() && client.find_balance(user(9)).unwrap().is_none());
    assert_eq!(client.transactions(user(7), None).unwrap().unwrap().items.len(), 1);
    let body = r#"{"amount":"1.5","reason":"goodwill","idempotency_key":"goodwill"}"#;
    call(served.addr, "POST", "/api/v1/balances/7/credit", &[], body);
    call(served.addr, "GET", "/api/v1/balances/7/transactions?limit=1", &[], "");
    assert_said(&served.end(), BALANCE);
}

const CACHE: &str = r#"POST /api/v1/pending/put {"filename":"20250101000000","shard":0,"returns":[{"line":17,"order_id":4711,"happened_at":"2025-01-01 00:00:00.000","raw":"{\"a\":\"\\\"é\"}"},{"line":18,"order_id":4712,"happened_at":"2025-01-01 00:00:00.000","raw":"{\"a\":\"\\\"é\"}"}]}
  200 {"outcomes":[{"line":17,"outcome":"held"},{"line":18,"outcome":"held"}]}
GET /api/v1/pending/4711
  200 {"order_id":4711,"items":[{"filename":"20250101000000","line":17,"shard":0,"state":"waiting","happened_at":"2025-01-01 00:00:00.000","held_at":"2025-01-01 00:00:05.000","expires_at":"2025-01-01 00:00:06.000"}]}
POST /api/v1/orders {"filename":"20250101000010","shard":1,"orders":[{"order_id":4711,"shop_id":3,"state":"accepted"},{"order_id":4713,"shop_id":-3,"state":"rejected"}],"take":true}
  200 {"outcomes":[{"outcome":"recorded","order":{"order_id":4711,"shop_id":3,"shard":1,"state":"accepted","filename":"20250101000010"}},{"outcome":"recorded","order":{"order_id":4713,"shop_id":-3,"shard":1,"state":"rejected","filename":"20250101000010"}}],"taken":[{"filename":"20250101000000","line":17,"order_id":4711,"happened_at":"2025-01-01 00:00:00.000","raw":"{\"a\":\"\\\"é\"}"}]}
POST /api/v1/orders {"filename":"20250101000010","shard":0,"orders":[{"order_id":4711,"shop_id":2,"state":"accepted"}],"take":true}
  200 {"outcomes":[{"outcome":"conflict","order":{"order_id":4711,"shop_id":3,"shard":1,"state":"accepted","filename":"20250101000010"}}],"taken":[]}
POST /api/v1/pending/put {"filename":"20250101000010","shard":1,"returns":[{"line":19,"order_id":4711,"happened_at":"2025-01-01 00:00:00.000","raw":"{\"a\":\"\\\"é\"}"}]}
  200 {"outcomes":[{"line":19,"outcome":"known","order":{"order_id":4711,"shop_id":3,"shard":1,"state":"accepted","filename":"20250101000010"}}]}
POST /api/v1/pending/take {"filename":"20250101000010","shard":1,"limit":10000}
  200 {"taken":[]}
POST /api/v1/pending/expired {"filename":"20250101000010","shard":0,"undecided":"20250101000000","limit":10000}
  200 {"taken":[]}
POST /api/v1/pending/expired {"filename":"20250101000011","shard":0,"limit":10000}
  200 {"taken":[{"filename":"20250101000000","line":18,"order_id":4712,"happened_at":"2025-01-01 00:00:00.000","raw":"{\"a\":\"\\\"é\"}"}]}
POST /api/v1/pending/confirm {"filename":"20250101000010","shard":1}
  200 {"confirmed":1}
GET /api/v1/pending/4711
  200 {"order_id":4711,"items":[{"filename":"20250101000000","line":17,"shard":0,"state":"released","taken_filename":"20250101000010","taken_shard":1,"happened_at":"2025-01-01 00:00:00.000","held_at":"2025-01-01 00:00:05.000","expires_at":"2025-01-01 00:00:06.000","done_at":"2025-01-01 00:00:07.000"}]}
GET /api/v1/pending/4712
  200 {"order_id":4712,"items":[{"filename":"20250101000000","line":18,"shard":0,"state":"expired","taken_filename":"20250101000011","taken_shard":0,"happened_at":"2025-01-01 00:00:00.000","held_at":"2025-01-01 00:00:05.000","expires_at":"2025-01-01 00:00:06.000"}]}
GET /api/v1/pending
  200 {"pending":1,"waiting":0,"due":0,"overdue":0}
POST /api/v1/pending/put {"filename":"20250101000000","shard":0,"returns":[{"line":17,"order_id":1,"happened_at":"2025-01-01 00:00:00.000","raw":"{\"a\":\"\\\"é\"}"}]}
  422 {"type":"urn:shopctl:problem:line_conflict","title":"Unprocessable Entity","status":422,"code":"line_conflict","detail":"line 17 of 20250101000000 was handed in before with other content; nothing of this call was done"}
POST /api/v1/orders/lookup {"order_ids":[4713,9]}
  200 {"orders":[{"order_id":4713,"shop_id":-3,"shard":1,"state":"rejected","filename":"20250101000010"}]}
GET /api/v1/orders/4711
  200 {"order_id":4711,"shop_id":3,"shard":1,"state":"accepted","filename":"20250101000010"}
POST /api/v1/pending/put {"filename":"20250101000000","shard":0,"returns":[{"line":0,"order_id":1,"happened_at":"2025-01-01 00:00:00.000","raw":""}]}
  422 {"type":"urn:shopctl:problem:invalid","title":"Unprocessable Entity","status":422,"code":"invalid","detail":"lines are counted from 1 at line 1 column 59"}
POST /api/v1/pending/put {"filename":"20250101000000","shard":0,"returns":[{"line":1,"order_id":1,"happened_at":"2025-01-01 00:00:00.000","raw":"","more":1}]}
  422 {"type":"urn:shopctl:problem:invalid","title":"Unprocessable Entity","status":422,"code":"invalid","detail":"unknown field `more`, expected one of `line`, `order_id`, `happened_at`, `raw` at line 1 column 128"}
"#;

#[test]
fn calls_about_orders_and_early_returns_are_what_they_were() {
    let (runtime, folder, clock) = (runtime(), tempfile::tempdir().unwrap(), clock());
    let url = StoreUrl::Sqlite(folder.path().join("cache.sqlite"));
    let policy = CachePolicy { ttl_ms: 1_000, pending_max: 9, retention_ms: 1_000_000 };
    let store = runtime.block_on(open_cache(&url, clock.clone(), policy)).unwrap();
    let served = Recorded::serve(runtime, cache::router(Cache::new(store, &Metrics::new())));
    let client = CacheClient::of(&settings_of(vec![("cache.url".to_owned(), served.url())]), principal::SHARD_WORKER);

    let order = |number| OrderId::new(number).unwrap();
    let task = |file: &str, shard| TaskKey { file: file.parse().unwrap(), shard: ShardId::new(shard).unwrap() };
    let early = |line, number| EarlyReturn {
        line,
        order: order(number),
        happened_at: Timestamp::parse("2025-01-01 00:00:00.000").unwrap(),
        raw: "{\"a\":\"\\\"\u{e9}\"}".to_owned(),
    };
    let sold = |number, shop_id, state| NewOrder { order: order(number), shop_id, state };
    let (first, second) = (task("20250101000000", 0), task("20250101000010", 1));
    client.put(&first, &[early(17, 4711), early(18, 4712)]).unwrap();
    client.list_held(order(4711)).unwrap();
    let both = [sold(4711, 3, OrderState::Accepted), sold(4713, -3, OrderState::Rejected)];
    let (_, taken) = client.record_and_take(&second, &both).unwrap();
    assert_eq!(taken[0].entry, early(17, 4711));
    client.record_and_take(&task("20250101000010", 0), &[sold(4711, 2, OrderState::Accepted)]).unwrap();
    client.put(&second, &[early(19, 4711)]).unwrap();
    clock.advance_ms(2_000);
    client.take(&second, 10_000).unwrap();
    let undecided = Some("20250101000000".parse().unwrap());
    client.expired(&task("20250101000010", 0), undecided, 10_000).unwrap();
    assert_eq!(client.expired(&task("20250101000011", 0), None, 10_000).unwrap()[0].entry, early(18, 4712));
    client.confirm(&second).unwrap();
    client.list_held(order(4711)).unwrap();
    client.list_held(order(4712)).unwrap();
    client.backlog().unwrap();
    client.put(&first, &[early(17, 1)]).unwrap_err();
    call(served.addr, "POST", "/api/v1/orders/lookup", &[], r#"{"order_ids":[4713,9]}"#);
    call(served.addr, "GET", "/api/v1/orders/4711", &[], "");
    for item in [
        r#"{"line":0,"order_id":1,"happened_at":"2025-01-01 00:00:00.000","raw":""}"#,
        r#"{"line":1,"order_id":1,"happened_at":"2025-01-01 00:00:00.000","raw":"","more":1}"#,
    ] {
        let body = format!(r#"{{"filename":"20250101000000","shard":0,"returns":[{item}]}}"#);
        call(served.addr, "POST", "/api/v1/pending/put", &[], &body);
    }
    assert_said(&served.end(), CACHE);
}
