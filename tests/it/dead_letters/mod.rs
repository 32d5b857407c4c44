//! The operator's commands: rejected lines listed, shown and redriven; orders and files followed.

mod kills;
mod redrives;
mod traces;

use serde_json::Value;

use crate::support::events::event;
use crate::support::pipeline::Pipeline;

/// A line that opens or closes a shop.
fn status(shop: i64, active: bool) -> String {
    event(4, &format!(r#""shop_id":{shop},"active":{active}"#)) + "\n"
}

/// What most sales cost.
const PRICED: &str = r#","price_at_order":5"#;

/// A purchase; `more` says what it costs.
fn sale(order: i64, shop: i64, more: &str) -> String {
    event(1, &format!(r#""order_id":{order},"shop_id":{shop},"good_id":3,"qty":2{more}"#)) + "\n"
}

/// What a command prints as JSON, one object a line.
fn ndjson(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The rejected lines as the program lists them.
fn rejects(pipeline: &Pipeline, filter: &[&str]) -> Vec<Value> {
    let args: Vec<&str> = ["rejects", "list", "--lines", "--json"].iter().chain(filter).copied().collect();
    ndjson(&pipeline.run(&args, 0).out)
}

/// Redrives and answers the report.
fn redrive(pipeline: &Pipeline, filter: &[&str]) -> Value {
    let args: Vec<&str> = ["rejects", "redrive", "--json"].iter().chain(filter).copied().collect();
    ndjson(&pipeline.run(&args, 0).out).remove(0)
}

/// Where a rejected line stands, as a person names it.
fn at(line: &Value) -> String {
    format!("{}:{}", line["file"].as_str().unwrap(), line["line"])
}
