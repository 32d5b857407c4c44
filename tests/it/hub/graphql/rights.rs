//! Who may ask, send and watch.

use super::socket::Socket;
use super::*;

/// The status of an operation, and its code if it is an answer of GraphQL.
fn ask(hub: &Hub, query: &str, principal: Option<&str>) -> (u16, String) {
    let bearer = principal.map(bearer);
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    let answer = hub.post("/graphql", &json!({"query": query}), &headers);
    assert_eq!(answer.header("www-authenticate"), if answer.status == 401 { "Bearer" } else { "" });
    let code = answer.json()["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

#[test]
fn an_operation_needs_the_token_of_what_it_does() {
    let hub = Hub::start_with_tokens();
    let query = "{ lastEvents { id } }";
    let mutation = format!(
        "mutation {{ sendEvent(event: {{userId: \"a\", eventType: \"purchase\", amount: 1, timestamp: \"{AT}\"}}) {{ id }} }}"
    );
    for (operation, principal, status, code) in [
        (query, None, 401, ""),
        (query, Some("hub_reader"), 200, ""),
        (query, Some("operator"), 200, ""),
        (query, Some("hub_writer"), 403, "FORBIDDEN"),
        (&mutation, None, 401, ""),
        (&mutation, Some("hub_reader"), 403, "FORBIDDEN"),
        (&mutation, Some("hub_writer"), 200, ""),
        (&mutation, Some("operator"), 200, ""),
    ] {
        assert_eq!(ask(&hub, operation, principal), (status, code.to_owned()), "{operation} {principal:?}");
    }
    let get = call(hub.addr, "GET", "/graphql?query=%7BlastEvents%7Bid%7D%7D", &[], "");
    assert_eq!((get.status, code(&get.json())), (401, "UNAUTHENTICATED"));
    let page = call(hub.addr, "GET", "/graphql", &[("accept", "text/html")], "");
    assert_eq!(page.status, 200, "the page is open");
}

#[test]
fn a_websocket_gets_its_token_by_header_or_first_message() {
    let hub = Hub::start_with_tokens();
    let last = "{ lastEvents { id } }";
    // By the first message.
    let mut reader = Socket::open(&hub, "graphql-transport-ws");
    reader.say(&json!({"type": "connection_init", "payload": {"Authorization": bearer("hub_reader")}}));
    assert_eq!(reader.hear(), json!({"type": "connection_ack"}));
    assert_eq!(reader.run("1", last)["payload"]["data"], json!({"lastEvents": []}));
    // By the header.
    let mut writer = Socket::open_with(&hub, "graphql-transport-ws", Some(&bearer("hub_writer")));
    writer.init();
    let refused = writer.run("1", last);
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("FORBIDDEN"))
    );
    // Not at all, with an unknown one, and with one that is no bearer's.
    for payload in [
        json!(null),
        json!({"authorization": "Bearer unknown-0123456789abcdef"}),
        json!({"authorization": token("hub_reader")}),
    ] {
        let mut unknown = Socket::open_with(&hub, "graphql-transport-ws", None);
        unknown.say(&json!({"type": "connection_init", "payload": payload}));
        assert_eq!(unknown.closed(), 4403, "{payload}");
    }
    let mut legacy = Socket::open(&hub, "graphql-ws");
    legacy.say(&json!({"type": "connection_init"}));
    assert_eq!(legacy.hear()["type"], "connection_error");
    assert_eq!(legacy.closed(), 4403);
}
