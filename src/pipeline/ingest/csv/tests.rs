//! Whole tables through whole maps.

use std::io::{BufRead, Read};

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::pipeline::event::{Event, Payload};
use crate::pipeline::ingest::accept;

/// A map of the shortest kind.
const SHORT: &str = r#"
[time]
column = "at"
[fields]
order_id = "order"
good_id = "good"
shop_id = 1
qty = "qty"
price_at_order = "price"
[[rule]]
event = "purchase"
"#;

fn map(text: &str) -> Map {
    Map::read(text).unwrap_or_else(|e| panic!("{e}"))
}

fn faults(text: &str) -> Vec<String> {
    match Map::read(text) {
        Err(MapError::Faults(faults)) => faults,
        other => panic!("{other:?}"),
    }
}

/// The same with returns that look for their purchases, among shops of the table.
fn with_returns() -> Map {
    let rule = r#"
[[rule]]
when = { column = "kind", is = "back" }
event = "return"
fields.order_id = { latest_purchase = ["who", "good"] }
[[rule]]
"#;
    map(&SHORT.replacen("[[rule]]", rule, 1))
}

/// What a table becomes by [`with_returns`], and how it is counted.
fn returned(rows: &str) -> (Vec<Value>, String) {
    let table = format!("at,order,good,qty,price,kind,who\n{rows}");
    let mut events = Events::new(table.as_bytes(), with_returns()).unwrap();
    let lines = events.by_ref().lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    (lines, events.tally().to_string())
}

fn lines(map_text: &str, table: &[u8]) -> (Vec<String>, CsvTally) {
    let mut events = Events::new(table, map(map_text)).unwrap();
    let lines = events.by_ref().lines().map(Result::unwrap).collect();
    (lines, events.tally().clone())
}

#[test]
fn a_row_becomes_the_event_that_its_map_says() {
    let table = "at,order,good,qty,price\n2026-01-01T10:00:03+01:00, 7 ,9,6.0,2.50\n";
    let (lines, tally) = lines(SHORT, table.as_bytes());
    let expected = r#"{"event_type":1,"payload":{"order_id":7,"shop_id":1,"good_id":9,"qty":6,"price_at_order":2.50},"timestamp":"2026-01-01 09:00:03.000","row":2}"#;
    assert_eq!((lines, tally.to_string()), (vec![expected.to_owned()], "1 row = 1 purchase".to_owned()));
}

#[test]
fn every_fault_of_a_map_is_said_at_once_and_the_right_spelling_with_it() {
    let text = r#"
file = { delimeter = ";", decimal = "1", encoding = "utf-16" }
[time]
colum = "at"
format = "%E"
zone = "Europe/Atlantis"
[fields]
ordr_id = "order"
shop_id = "1x"
qty = { column = "qty", hash = "yes" }
good_id = { columns = ["a", "b"] }
[[rule]]
event = "purchas"
[[rule]]
event = "purchase"
when = { column = "qty", is_nought = "0" }
fields.new_price = "price"
[[rules]]
"#;
    let said = faults(text).join("\n");
    for part in [
        "file.delimeter is no key of a map; did you mean delimiter?",
        "file.decimal is the text \"1\", not one character that is no digit",
        "file.encoding \"utf-16\" is not taken",
        "time.column is missing",
        "time.colum is no key of a map; did you mean column?",
        "time.format \"%E\" cannot be used",
        "time.zone \"Europe/Atlantis\" is not known",
        "fields.ordr_id is no key of a map; did you mean order_id?",
        "fields.qty.hash is the text \"yes\", not true or false",
        "fields.good_id.columns: several columns make one number only with hash = true",
        "rule 1.event \"purchas\" is no event; did you mean purchase?",
        "rule 2.fields: a purchase needs order_id",
        "rule 2.fields: a purchase has no new_price",
        "rule 2.when.is_nought is no key of a map; did you mean is_not?",
        "rules is no key of a map; did you mean rule?",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    assert!(matches!(Map::read("a = "), Err(MapError::Syntax(_))));
}

#[test]
fn columns_that_are_not_there_are_named_with_what_was_meant() {
    let table = "At,order,good,good,qty,prise\n";
    let Err(TableError::Map(MapError::Faults(faults))) = Events::new(table.as_bytes(), map(SHORT)) else {
        panic!("it has no such columns");
    };
    assert_eq!(
        faults,
        [
            "the column 'good' stands twice in the header",
            "there is no column 'at' in the table; did you mean At?",
            "there is no column 'price' in the table; did you mean prise?",
        ]
    );
}

#[test]
fn a_row_that_cannot_be_mapped_is_kept_whole_in_a_line_that_is_refused() {
    let table =
        b"at,order,good,qty,price\nyesterday,7,9,six,2.50\n2026-01-01T10:00:03Z,1,2\n2026-01-01T10:00:03Z,\xff,9,1,1\n";
    let (lines, tally) = lines(SHORT, table);
    assert_eq!((tally.rows, tally.unmapped), (3, 3));
    let said: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said[0]["cells"], serde_json::json!(["yesterday", "7", "9", "six", "2.50"]));
    assert_eq!(said[0]["unmapped"][0], "qty: 'six' is no whole number");
    assert!(said[0]["unmapped"][1].as_str().unwrap().starts_with("time 'yesterday': it is no time of the form"));
    assert_eq!(said[1]["unmapped"], serde_json::json!(["the row has 3 cells, the first one 5"]));
    assert_eq!((&said[2]["row"], &said[2]["cells"][1]), (&4.into(), &serde_json::json!({"base64": "/w=="})));
    assert!(said[2]["unmapped"][0].as_str().unwrap().contains("the column 'order' is not UTF-8; say file.encoding"));
    let reasons = lines.iter().map(|line| accept::check(line.as_bytes()).unwrap_err().detail);
    let said: Vec<String> = reasons.map(|detail| detail.split(',').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(said[1..], ["payload is missing", "order_id is a string"]);
    assert!(said[0].starts_with("timestamp is no time of the form"), "{said:?}");
}

#[test]
fn what_no_check_asks_for_cannot_slip_through() {
    // The time does not fit the format, but it is one that the event line knows.
    let text = SHORT.replace("[fields]", "format = \"%d.%m.%Y\"\n[fields]");
    let (lines, tally) = lines(&text, b"at,order,good,qty,price\n2026-01-01T10:00:03Z,1,2,3,4\n");
    assert_eq!(tally.unmapped, 1);
    assert!(accept::check(lines[0].as_bytes()).is_err(), "{}", lines[0]);
}

#[test]
fn the_public_table_is_mapped_by_the_example() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/online-retail.csv");
    let table = std::fs::read(path).unwrap();
    let (lines, tally) = lines(EXAMPLE, &table);
    let shown = "299 rows = 284 purchase + 4 return + 3 that cannot be mapped + 8 left out (postage and fees 6, stock corrections 2)";
    assert_eq!(tally.to_string(), shown);
    let first = Event::parse(lines[0].as_bytes()).unwrap();
    assert_eq!(first.at.to_string(), "2010-12-01 08:26:00.000");
    let Payload::Purchase { order_id, user_id, shop_id, qty, .. } = first.payload else { panic!("{first:?}") };
    assert_eq!((user_id, shop_id, qty), (Some(17850), 1, 6));
    let returned = lines.iter().find(|line| line.contains("C536606")).unwrap();
    let Payload::Return { order_id: bought, user_id, qty, .. } = Event::parse(returned.as_bytes()).unwrap().payload
    else {
        panic!("{returned}")
    };
    assert_eq!((user_id, qty), (Some(17850), 2));
    let purchase = lines
        .iter()
        .rfind(|line| line.contains(&format!(r#""order_id":{bought},"#)) && line.contains(r#""event_type":1"#));
    assert!(purchase.unwrap().contains("85123A") && bought != order_id, "the latest of that customer and good");
    let lost = lines.iter().find(|line| line.contains("35004C")).unwrap();
    assert!(lost.contains("order_id: no purchase above has the same CustomerID and StockCode"), "{lost}");
}

#[test]
fn values_constants_defaults_and_other_spellings_of_tables() {
    let text = r#"
[file]
delimiter = ";"
header = false
decimal = ","
thousands = "."
encoding = "latin1"
[time]
columns = ["1", "2"]
format = "%d.%m.%Y %H:%M"
zone = "+01:00"
[fields]
shop_id = { column = "3", values = { "Café" = 7 }, default = -1 }
good_id = { column = "4", hash = true }
new_price = { column = "5", abs = true }
active = { column = "5", values = { "open" = true, "closed" = false } }
[extra]
shop = "3"
[[rule]]
when = [{ column = "4", empty = true }, { column = "5", is = ["open", "closed"] }]
event = "shop_status"
[[rule]]
when = { column = "5", above = 1000 }
skip = "too dear"
[[rule]]
event = "price_change"
"#;
    let table = b"31.12.2025;23:30;Caf\xe9;A;-1.234,50\n01.01.2026;00:30;Bar;;open\n1.1.2026;0:30;x;B;2.000\n";
    let (lines, tally) = lines(text, table);
    assert!(
        lines[0].contains(r#""shop_id":7,"good_id":"#) && lines[0].contains(r#""new_price":1234.50,"shop":"Café"}"#),
        "{}",
        lines[0]
    );
    assert!(lines[0].contains(r#""timestamp":"2025-12-31 22:30:00.000","row":1"#), "{}", lines[0]);
    assert!(
        lines[1].contains(r#"{"event_type":4,"payload":{"shop_id":-1,"active":true,"shop":"Bar"}"#),
        "{}",
        lines[1]
    );
    assert_eq!(tally.to_string(), "3 rows = 1 price_change + 1 shop_status + 1 left out (too dear 1)");
}

const AT: &str = "2026-01-01T10:00:03Z";

#[test]
fn a_return_is_of_no_unknown_persons_sale() {
    let (lines, tally) = returned(&format!("{AT},7,9,1,2,sale,\n{AT},,9,1,2,back,\n{AT},,9,1,2,back,Ann\n"));
    assert_eq!(tally, "3 rows = 1 purchase + 2 that cannot be mapped");
    assert_eq!(lines[1]["unmapped"][0], "order_id: who is empty, so no purchase can be found by it");
    assert_eq!(lines[2]["unmapped"][0], "order_id: no purchase above has the same who and good");
    assert!(lines[1]["payload"].get("order_id").is_none(), "{}", lines[1]);
}

#[test]
fn a_return_is_of_no_purchase_that_is_refused_for_its_shape() {
    let rows = format!("{AT},7,9,1,2,sale,Ann\n{AT},8,9,0,2,sale,Ann\n{AT},,9,1,2,back,Ann\n");
    let (lines, _) = returned(&rows);
    assert!(accept::check(lines[1].to_string().as_bytes()).is_err(), "{}", lines[1]);
    assert_eq!(lines[2]["payload"]["order_id"], 7, "{}", lines[2]);
}

#[test]
fn rows_that_span_lines_are_counted_and_lines_are_told_where_they_are_not_the_rows() {
    let said = |table: &str| {
        let (lines, tally) = lines(SHORT, format!("at,order,good,qty,price\n{table}").as_bytes());
        (lines, tally.to_string())
    };
    let (lines, tally) = said(&format!("{AT},1,2,3,\"4\n{AT},1,2,3,4\n{AT},1,2,3,\"\n{AT},x,2,3,4\n"));
    assert_eq!(tally, "2 rows = 2 that cannot be mapped; 1 row spans 3 lines (row 2): is a quote not closed?");
    assert!(lines[0].contains(r#""row":2,"unmapped""#), "{}", lines[0]);
    assert!(lines[1].contains(r#""row":3,"line":5,"unmapped""#), "{}", lines[1]);
    let (_, tally) = said(&format!("{AT},1,2,3,\"4\n\"\n{AT},1,2,3,\"\n\n4\"\n{AT},1,2,3,4\n"));
    assert_eq!(tally, "3 rows = 3 purchase; 2 rows span several lines, row 3 3 of them: is a quote not closed?");
}

#[test]
fn what_has_no_effect_is_a_fault() {
    let text = r#"
file = { delimiter = ";", quote = ";" }
[time]
column = "at"
[fields]
order_id = { latest_purchase = ["who"], hash = true }
shop_id = { value = 1, default = 2 }
qty = { column = "qty", abs = true, values = { " one" = 1 } }
good_id = "good"
user_id = { value = 1, values = { "x" = 2 }, abs = true }
[[rule]]
when = { column = "kind", is = "sale " }
event = "purchase"
"#;
    let said = faults(text).join("\n");
    for part in [
        "file.quote is the same character as delimiter",
        "fields.order_id.hash: this is for column and columns, and does nothing here",
        "fields.shop_id.default: this is for column and columns",
        "fields.qty.abs: abs does nothing to what stands in values",
        "fields.qty.values: ' one' stands in no cell",
        "fields.user_id.values: this is for",
        "fields.user_id.abs: this is for",
        "rule 1.when.column: 'sale ' stands in no cell",
        "rule 1.fields: only a return has the order_id of a purchase above",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
    let said = faults("[file]\ndelimiter = \"\\n\"\nquote = \"\\r\"\n").join("\n");
    assert!(said.contains("file.delimiter is the text \"\\n\", not one ASCII character that ends no line"), "{said}");
    assert!(said.contains("file.quote is the text \"\\r\""), "{said}");
}

#[test]
fn names_that_are_empty_or_short_are_no_suggestions() {
    for (header, hint) in
        [("at,order,good,qty,,pricing", "the columns are at, order, good, qty, pricing"), ("x,,", "the columns are x")]
    {
        let text = SHORT.replace("\"price\"", "\"p\"");
        let Err(TableError::Map(MapError::Faults(faults))) = Events::new(header.as_bytes(), map(&text)) else {
            panic!("it has no such columns");
        };
        let said = format!("there is no column 'p' in the table; {hint}");
        assert!(faults.contains(&said), "{said}\nis not in\n{faults:?}");
    }
}

#[test]
fn the_marks_and_forms_that_are_mistaken_most_are_hinted_at() {
    let Err(TableError::Map(MapError::Faults(found))) = Events::new("at;order;good;qty;price".as_bytes(), map(SHORT))
    else {
        panic!("it has one column");
    };
    assert_eq!(found, ["the header is one column, 'at;order;good;qty;price'; is file.delimiter right?"]);
    let (line, _) = lines(SHORT, b"at,order,good,qty,price\n2025-01-01T00:00:00Z,1,2,3,\"3,20\"\n");
    assert!(line[0].contains("file.decimal is '.'; is ',' file.decimal or file.thousands?"), "{line:?}");
    let found = faults("[time]\ncolumn = 'at'\nformat = 'dd.mm.yyyy'\n");
    assert!(found.iter().any(|fault| fault.contains("as in %d.%m.%Y %H:%M")), "{found:?}");
}

proptest! {
    #[test]
    fn every_row_is_counted_once_and_becomes_one_line_or_none(
        rows in proptest::collection::vec(proptest::collection::vec("[ -~é\"\n,0-9.]{0,8}", 1..7), 0..12),
    ) {
        let mut table = ::csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        table.write_record(["at", "order", "good", "qty", "price"]).unwrap();
        for row in &rows {
            table.write_record(row).unwrap();
        }
        let table = table.into_inner().unwrap();
        let (lines, tally) = lines(SHORT, &table);
        prop_assert_eq!(tally.rows, rows.len() as u64);
        prop_assert_eq!(lines.len() as u64, tally.events.iter().sum::<u64>() + tally.unmapped);
        for line in lines {
            let is_unmapped = line.contains(r#""unmapped":"#);
            prop_assert!(!is_unmapped || accept::check(line.as_bytes()).is_err(), "{}", line);
        }
    }
}
