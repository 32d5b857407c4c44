//! Operations over HTTP, and that GraphQL says what REST says.

use super::*;
use crate::support::{PATIENCE, eventually};

#[test]
fn the_operations_of_the_first_version_are_answered() {
    let hub = Hub::start();
    let metrics = hub.start_metrics();
    let last =
        "query {\n  lastEvents(limit: 5) {\n    id\n    userId\n    eventType\n    amount\n    timestamp\n  }\n}";
    for number in 0..7 {
        hub.send(&json!({"userId": format!("user{number}"), "eventType": "purchase", "amount": 150.75,
            "timestamp": format!("2024-01-15T10:30:0{number}Z")}));
    }
    let events = hub.data(last, Value::Null);
    let first = &events["lastEvents"][0];
    assert_eq!(events["lastEvents"].as_array().unwrap().len(), 5);
    assert_eq!(
        (&first["userId"], &first["eventType"], &first["amount"], &first["timestamp"]),
        (&json!("user6"), &json!("purchase"), &json!(150.75), &json!("2024-01-15T10:30:06Z"))
    );
    // The window has the running minute and the one before, whichever it is when the event is counted.
    let aggregated =
        "query {\n  aggregatedMetrics(minutes: 1) {\n    totalAmount\n    eventCount\n    timeWindow\n  }\n}";
    eventually("the event is counted", PATIENCE, || {
        let to = hub.data("{ aggregatedMetrics { to } }", Value::Null);
        let to = shopctl::base::timestamp::Timestamp::read(to["aggregatedMetrics"]["to"].as_str().unwrap()).unwrap();
        let at = to.minus(std::time::Duration::from_secs(30)).rfc3339_ms();
        hub.send(&json!({"userId": "user123", "eventType": "refund", "amount": "0.1", "timestamp": at}));
        let totals = hub.data(aggregated, Value::Null);
        let totals = &totals["aggregatedMetrics"];
        assert_eq!(totals["timeWindow"], "last_1_minutes");
        totals["eventCount"].as_u64().unwrap() > 0 && totals["totalAmount"].as_f64().unwrap() > 0.0
    });
    drop(metrics);
}

#[test]
fn an_event_gets_the_verdict_that_it_gets_at_rest() {
    let hub = Hub::start();
    let far = "x".repeat(129);
    let cases = [
        json!({}),
        json!({"amount": "150.7501"}),
        json!({"amount": 0.1}),
        json!({"amount": "900719925474.0993"}),
        json!({"timestamp": "2024-01-15T10:30:00"}),
        json!({"attributes": {"a": [1.5, {"b": null}]}}),
        json!({"user_id": ""}),
        json!({"user_id": far}),
        json!({"user_id": "a\u{0}"}),
        json!({"event_type": "sale"}),
        json!({"event_type": "PURCHASE"}),
        json!({"amount": "12,5"}),
        json!({"amount": true}),
        json!({"amount": [1]}),
        json!({"amount": -1}),
        json!({"amount": 10_000_000_000_000_i64}),
        json!({"amount": 0.00001}),
        json!({"timestamp": "1969-12-31T23:59:59Z"}),
        json!({"timestamp": "2024-01-15"}),
        json!({"timestamp": "2999-01-15T10:30:00Z"}),
        json!({"idempotency_key": "a b"}),
        json!({"idempotency_key": ""}),
        json!({"attributes": [1]}),
        json!({"attributes": {"a": "x".repeat(8192)}}),
    ];
    for case in cases {
        let mut rest = json!({"user_id": "user123", "event_type": "purchase", "amount": 150.75, "timestamp": AT});
        rest.as_object_mut().unwrap().extend(case.as_object().unwrap().clone());
        let names = [("user_id", "userId"), ("event_type", "eventType"), ("idempotency_key", "idempotencyKey")];
        let name = |own: &str| names.iter().find(|(rest, _)| *rest == own).map_or(own, |(_, name)| name).to_owned();
        let fields = rest.as_object().unwrap().iter().map(|(own, value)| (name(own), value.clone()));
        let graphql = Value::Object(fields.collect());
        let by_rest = hub.post("/events", &rest, &[]);
        let by_graphql = hub.ask(SEND, json!({"event": graphql}));
        if by_rest.status == 200 {
            assert_eq!(by_graphql["data"]["sendEvent"]["status"], "success", "{case} {by_graphql}");
        } else {
            let error = &by_graphql["errors"][0];
            let problem = by_rest.json();
            assert_eq!(error["extensions"]["reason"], problem["reason"], "{case}");
            // A float has come as its value, not as its text.
            if !case["amount"].is_f64() {
                assert_eq!(error["message"], problem["detail"], "{case}");
            }
            assert_eq!((code(&by_graphql), &by_graphql["data"]), ("EVENT_REJECTED", &Value::Null));
        }
    }
}

#[test]
fn an_event_is_shown_exactly_with_what_else_was_said() {
    let hub = Hub::start();
    let id = hub.send(&json!({"userId": "u", "eventType": "refund", "amount": "900719925474.0993", "timestamp": AT,
        "attributes": {"b": 1, "a": "x"}}));
    let query = "query($user: String) { lastEvents(userId: $user, eventType: \"refund\") { id amount amountExact position attributes } }";
    eventually("it is on the bus", PATIENCE, || {
        hub.data(query, json!({"user": "u"}))["lastEvents"][0]["position"].is_string()
    });
    let mut event = hub.data(query, json!({"user": "u"}))["lastEvents"][0].take();
    event.as_object_mut().unwrap().remove("position");
    let expected = json!({"id": id, "amount": 900_719_925_474.099_3, "amountExact": "900719925474.0993",
        "attributes": {"b": 1, "a": "x"}});
    assert_eq!(event, expected);
    assert_eq!(hub.data(query, json!({"user": "v"})), json!({"lastEvents": []}));
}

#[test]
fn a_key_stands_for_one_event_at_all_doors() {
    let hub = Hub::start();
    let mut keyed = event("a", "1.50");
    keyed["idempotencyKey"] = json!("k");
    let id = hub.send(&keyed);
    let again = hub.data(SEND, json!({"event": keyed}));
    assert_eq!(again["sendEvent"], json!({"id": id, "duplicate": true, "status": "success"}));
    let rest =
        json!({"user_id": "a", "event_type": "purchase", "amount": 1.5, "timestamp": AT, "idempotency_key": "k"});
    let by_rest = hub.post("/events", &rest, &[]).json();
    assert_eq!((&by_rest["id"], &by_rest["duplicate"]), (&json!(id), &json!(true)));
    keyed["amount"] = json!(2);
    let other = hub.ask(SEND, json!({"event": keyed}));
    assert_eq!(other["errors"][0]["extensions"]["reason"], "idempotency_key_reused");
}

#[test]
fn a_batch_has_a_verdict_for_each_event() {
    let hub = Hub::start();
    let mut keyed = event("a", 1);
    keyed["idempotencyKey"] = json!("k");
    let events = json!([keyed, event("", 1), keyed, event("b", -1), event("c", 0.1)]);
    let batch = "mutation($events: [EventInput!]!) { sendEvents(events: $events) { accepted duplicates ids rejected { index reason } } }";
    let mut answer = hub.data(batch, json!({"events": events}));
    let ids: Vec<String> = serde_json::from_value(answer["sendEvents"]["ids"].take()).unwrap();
    assert!(ids.len() == 3 && ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");
    let rejected = json!([{"index": 1, "reason": "user_id_invalid"}, {"index": 3, "reason": "amount_negative"}]);
    assert_eq!(answer["sendEvents"], json!({"accepted": 2, "duplicates": 1, "ids": null, "rejected": rejected}));
    assert_eq!(code(&hub.ask(batch, json!({"events": []}))), "BAD_USER_INPUT");
    let many = vec![event("a", 1); 10_001];
    assert_eq!(code(&hub.ask(batch, json!({"events": many}))), "BATCH_TOO_LARGE");
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let hub = Hub::start();
    for number in 0..5 {
        hub.send(&json!({"userId": "a", "eventType": "purchase", "amount": number, "timestamp": format!("2024-01-15T10:30:0{number}Z")}));
    }
    hub.send(&event("b", 9));
    let page = "query($after: String, $filter: EventFilter) { events(after: $after, first: 2, filter: $filter) {
        edges { node { amountExact } cursor } pageInfo { hasNextPage endCursor } } }";
    let (mut after, mut amounts) = (Value::Null, Vec::new());
    loop {
        let answer = hub.data(page, json!({"after": after, "filter": {"userId": "a"}}));
        let edges = answer["events"]["edges"].as_array().unwrap();
        amounts.extend(edges.iter().map(|edge| edge["node"]["amountExact"].as_str().unwrap().to_owned()));
        after = answer["events"]["pageInfo"]["endCursor"].clone();
        assert_eq!(after, edges.last().unwrap()["cursor"]);
        if answer["events"]["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(amounts, ["4", "3", "2", "1", "0"]);
    let range = json!({"filter": {"userId": "a", "from": "2024-01-15T10:30:01Z", "to": "2024-01-15T10:30:02Z"}});
    assert_eq!(hub.data(page, range)["events"]["edges"].as_array().unwrap().len(), 1);
    for (wrong, what) in [(json!({"after": "x"}), "cursor"), (json!({"filter": {"from": "x"}}), "from")] {
        let answer = hub.ask(page, wrong);
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains(what), "{answer}");
        assert_eq!(code(&answer), "BAD_USER_INPUT");
    }
}

#[test]
fn a_get_asks_and_changes_nothing() {
    let hub = Hub::start();
    let get = |path: &str, accept: &str| call(hub.addr, "GET", path, &[("accept", accept)], "");
    let asked =
        get("/graphql?query=query(%24n:Int)%7BlastEvents(limit:%24n)%7Bid%7D%7D&variables=%7B%22n%22:1%7D", "*/*");
    assert_eq!((asked.status, asked.json()), (200, json!({"data": {"lastEvents": []}})));
    let sent = format!(
        "mutation{{sendEvent(event:{{userId:\"a\",eventType:\"purchase\",amount:1,timestamp:\"{AT}\"}}){{id}}}}"
    );
    let sent = sent.replace(' ', "%20").replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let refused = get(&format!("/graphql?query={sent}"), "text/event-stream");
    assert_eq!((refused.status, refused.header("allow")), (405, "POST"), "{refused:?}");
    assert_eq!(hub.data("{ lastEvents { id } }", Value::Null), json!({"lastEvents": []}));
    let page = get("/graphql", "text/html,application/xhtml+xml");
    assert!(page.status == 200 && page.body.contains("GraphiQL-style console"), "{page:?}");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"), "it needs no other host");
    for (path, media) in [("/graphql/page.js", "text/javascript"), ("/graphql/page.css", "text/css")] {
        let file = get(path, "*/*");
        assert!(file.status == 200 && file.header("content-type").starts_with(media), "{file:?}");
    }
}

#[test]
fn what_a_form_can_send_is_not_taken() {
    let hub = Hub::start();
    let body = json!({"query": "{ lastEvents { id } }"}).to_string();
    for media in
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/graphql"]
    {
        let answer = call(hub.addr, "POST", "/graphql", &[("content-type", media)], &body);
        assert_eq!(answer.status, 415, "{media} {answer:?}");
    }
    assert_eq!(call(hub.addr, "POST", "/graphql", &[], &body).status, 415);
    let foreign = hub.post("/graphql", &json!({"query": "{ lastEvents { id } }"}), &[("origin", "http://evil")]);
    assert_eq!(foreign.status, 403);
    let charset = call(hub.addr, "POST", "/graphql", &[("content-type", "Application/JSON; charset=utf-8")], &body);
    assert_eq!(charset.status, 200);
}

#[test]
fn the_status_says_what_the_answer_is_to_those_who_ask_for_it() {
    let hub = Hub::start();
    let accept = [("accept", "application/graphql-response+json, application/json;q=0.9")];
    for (query, status, code) in [
        ("{ lastEvents { id } }", 200, None),
        ("{ lastEvents(limit: 0) { id } }", 200, Some("BAD_USER_INPUT")),
        ("{ lastEvent { id } }", 400, Some("GRAPHQL_VALIDATION_FAILED")),
        ("{ lastEvents { id }", 400, Some("GRAPHQL_PARSE_FAILED")),
        ("subscription { eventStream { id } }", 400, Some("BAD_REQUEST")),
        ("", 400, Some("BAD_REQUEST")),
    ] {
        let answer = hub.post("/graphql", &json!({"query": query}), &accept);
        assert_eq!((answer.status, answer.header("content-type")), (status, "application/graphql-response+json"));
        assert_eq!(answer.json()["errors"][0]["extensions"]["code"].as_str(), code, "{query} {answer:?}");
    }
    for body in ["", "{", "[]", "[{\"query\":\"{ lastEvents { id } }\"}]", "1"] {
        let answer = call(hub.addr, "POST", "/graphql", &[JSON], body);
        assert_eq!((answer.status, answer.header("content-type")), (400, "application/problem+json"), "{body}");
    }
}
