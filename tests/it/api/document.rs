//! The OpenAPI document is the router: every path it names is there, and every path that is there is named.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// The services that have a document, and the least number of calls in it.
const SERVICES: [(&str, usize); 4] = [("apid", 10), ("balance", 4), ("cache", 8), ("hub", 6)];

fn document(apid: &Apid) -> Value {
    let answer = apid.get("/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// Every (method, path) of the document.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

/// Whether the answer goes on without an end.
fn is_stream(operation: &Value) -> bool {
    operation["responses"]["200"]["content"]["text/event-stream"].is_object()
}

fn filled(path: &str) -> String {
    let named = [
        ("{stage}", "shard-worker"),
        ("{transition}", "start"),
        ("{filename}", "20250101000000"),
        ("{user_id}", "7"),
        ("{order_id}", "7"),
        ("{id}", "01a22430-be3c-7794-a9e2-1709fe7527ad"),
    ];
    let path = named.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!path.contains('{'), "{path} has a parameter that the test does not know");
    path
}

#[test]
fn every_path_of_the_document_has_a_route() {
    for (role, least) in SERVICES {
        let apid = Apid::start_role(role);
        let document = document(&apid);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let operations = operations(&document);
        assert!(operations.len() >= least, "{operations:?}");
        for (method, path, operation) in operations {
            if is_stream(&operation) {
                // It has no end; what comes out of it is looked at where the hub is tested.
                continue;
            }
            let answer = call(apid.addr(), &method, &filled(&path), &[], "");
            let no_route = answer.status == 404 && answer.body.contains("this path does not exist");
            assert!(!no_route && answer.status != 405, "{method} {path}: {answer:?}");
            assert!(answer.status < 500, "{method} {path}: {answer:?}");
        }
    }
}

#[test]
fn every_route_is_in_the_document() {
    let apid = Apid::start();
    let document = document(&apid);
    let documented: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    let mut routed: BTreeSet<(String, String)> = BTreeSet::new();
    for (method, path) in [
        ("POST", "/files/register"),
        ("POST", "/stages/event-ingest/done"),
        ("POST", "/stages/{stage}/{transition}"),
        ("POST", "/stages/{stage}/heartbeat"),
        ("POST", "/queues/{stage}/claim"),
        ("GET", "/queues/{stage}"),
        ("GET", "/queues/{stage}/oldest"),
        ("GET", "/files"),
        ("GET", "/files/{filename}"),
        ("GET", "/metrics/summary"),
        ("GET", "/audit"),
        ("GET", "/status"),
    ] {
        routed.insert((method.to_owned(), format!("{BASE}{path}")));
    }
    assert_eq!(documented, routed);
}

#[test]
fn every_answer_is_described() {
    for (role, _) in SERVICES {
        assert_described(&document(&Apid::start_role(role)));
    }
}

fn assert_described(document: &Value) {
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (method, path, operation) in operations(document) {
        let what = format!("{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{what}");
        let answers = operation["responses"].as_object().unwrap();
        assert!(answers.contains_key("200"), "{what}");
        for (status, answer) in answers {
            let described = answer["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(described, "{what}: {status} has no description");
            let problem = &answer["content"]["application/problem+json"];
            let media = match status.as_str() {
                "200" if is_stream(&operation) => "text/event-stream",
                "200" => "application/json",
                // A batch of which nothing is kept says why for each event.
                "422" if problem.is_null() => "application/json",
                _ => "application/problem+json",
            };
            let schema = answer["content"][media]["schema"]["$ref"].as_str();
            let name = schema.and_then(|schema| schema.strip_prefix("#/components/schemas/"));
            assert!(name.is_some_and(|name| schemas.contains_key(name)), "{what}: {status} has no schema: {answer}");
        }
    }
    for (name, schema) in schemas {
        let described = schema["description"].is_string() || schema.get("$ref").is_some();
        assert!(described, "the schema {name} has no description");
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let described = property["description"].is_string() || property["oneOf"][0]["description"].is_string();
            assert!(described, "{name}.{field} has no description: {property}");
        }
    }
}

/// The bodies that a client of the document may send are those that the server takes.
#[test]
fn required_fields_are_those_of_the_server() {
    let apid = Apid::start();
    let document = document(&apid);
    let required = |name: &str| {
        let fields = document["components"]["schemas"][name]["required"].as_array().unwrap();
        fields.iter().map(|field| field.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(required("RegisterRequest"), ["filename", "shards"]);
    assert_eq!(required("IngestDoneRequest"), ["filename"]);
    assert_eq!(required("TaskRequest"), ["filename", "shard"]);
    assert_eq!(required("ClaimRequest"), ["worker", "limit", "claim_id"]);
}
