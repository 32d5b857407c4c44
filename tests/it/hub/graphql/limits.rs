//! What costs too much is refused before anything is done.

use super::*;

/// The code of the refusal of a document.
fn refused(hub: &Hub, query: &str) -> String {
    let answer = hub.ask(query, Value::Null);
    assert_eq!(answer["data"], Value::Null, "{answer}");
    code(&answer).to_owned()
}

#[test]
fn large_deep_and_complex_documents_are_refused() {
    let hub = Hub::start();
    let nested = |depth: usize| format!("{}{}", "{a".repeat(depth), "}".repeat(depth));
    assert_eq!(refused(&hub, &nested(10_000)), "QUERY_TOO_LARGE");
    for bomb in [nested(5_000), "{a".repeat(8_000), format!("{{a(b:{}", "[".repeat(16_000)), nested(9)] {
        assert_eq!(refused(&hub, &bomb), "QUERY_TOO_DEEP");
    }
    let fields = |count: usize| format!("{{ lastEvents {{ {} }} }}", "id ".repeat(count));
    assert_eq!(refused(&hub, &fields(1_000)), "QUERY_TOO_COMPLEX", "with the field around them");
    assert_eq!(hub.ask(&fields(999), Value::Null)["data"], json!({"lastEvents": []}));
    let aliases = |count: usize| (0..count).map(|number| format!("a{number}: lastEvents {{ id }}")).collect::<String>();
    assert_eq!(refused(&hub, &format!("{{ {} }}", aliases(31))), "QUERY_TOO_COMPLEX");
    assert_eq!(hub.data(&format!("{{ {} }}", aliases(30)), Value::Null).as_object().unwrap().len(), 30);
    let long = format!("{{ lastEvents {{ id }} }} # {}", "x".repeat(17 * 1024));
    assert_eq!(refused(&hub, &long), "QUERY_TOO_LARGE");
    let link = |number: usize| format!("fragment f{number} on Query {{ ...f{0} ...f{0} }} ", number + 1);
    let doubling: String = (0..40).map(link).collect();
    assert_eq!(
        refused(&hub, &format!("{{ ...f0 }} {doubling} fragment f40 on Query {{ lastEvents {{ id }} }}")),
        "QUERY_TOO_COMPLEX"
    );
    // Variables are no part of the document.
    let batch = "mutation($events: [EventInput!]!) { sendEvents(events: $events) { accepted } }";
    let events = vec![event("a", 1); 1_000];
    assert_eq!(hub.data(batch, json!({"events": events})), json!({"sendEvents": {"accepted": 1_000}}));
    let huge = json!({"query": "{ lastEvents { id } }", "variables": {"a": "x".repeat(9 * 1024 * 1024)}});
    assert_eq!(hub.post("/graphql", &huge, &[]).status, 413);
}

#[test]
fn the_schema_is_told_unless_a_setting_says_no() {
    let told = Hub::start();
    let query = "{ __schema { queryType { fields { name } } subscriptionType { name } } }";
    let names = told.data(query, Value::Null)["__schema"]["queryType"]["fields"].to_string();
    for name in ["lastEvents", "aggregatedMetrics", "events", "minutes"] {
        assert!(names.contains(name), "{names}");
    }
    let quiet = Hub::start_with(&["hub.introspection=false"]);
    for query in [
        query,
        "{ __type(name: \"Event\") { name } }",
        "{ ...a } fragment a on Query { __schema { queryType { name } } }",
    ] {
        assert_eq!(refused(&quiet, query), "INTROSPECTION_DISABLED");
    }
    let misspelt = quiet.ask("{ lastEvent { id } }", Value::Null);
    assert!(!misspelt.to_string().contains("lastEvents"), "names are not suggested: {misspelt}");
    assert_eq!(quiet.data("{ __typename }", Value::Null), json!({"__typename": "Query"}));
}
