//! Tables of one's own: CSV and a map, from the command line to rows.

use std::io::Write;

use rustix::process::Signal;

use crate::support::PATIENCE;
use crate::support::events::event;
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::Ended;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/online-retail.csv");

/// Writes the example's map beside the shared folder; answers its path.
fn example_map(pipeline: &Pipeline) -> String {
    let map = pipeline.run(&["ingest", "--map-example"], 0).out;
    pipeline.write("map.toml", map.as_bytes()).to_str().unwrap().to_owned()
}

fn up(pipeline: &Pipeline, args: &[&str]) -> Ended {
    let args: Vec<&str> = ["up", "--any-port"].iter().chain(args).copied().collect();
    pipeline.spawn(&args, None).wait_exit(PATIENCE)
}

fn assert_nothing_was_written(pipeline: &Pipeline) {
    assert!(!pipeline.shared().join("events").exists(), "{:?}", pipeline.list("events"));
    assert!(!pipeline.shared().join("db").exists());
}

/// The first words of docs/csv.md: its three commands, as they stand there.
#[test]
fn the_three_commands_of_the_document_end_in_rows() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/csv.md")).unwrap();
    let block = text.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let commands: Vec<&str> = block.lines().collect();
    assert_eq!(commands.len(), 3, "{block}");
    let pipeline = Pipeline::new(&[]);
    let map = pipeline.beside("map.toml");
    for command in commands {
        let (command, target) = command.split_once(" > ").map_or((command, None), |(c, file)| (c, Some(file)));
        let words = command.strip_prefix("shopctl ").unwrap().replace("map.toml", map.to_str().unwrap());
        let words = words.replace("tests/data/online-retail.csv", TABLE);
        let args: Vec<&str> = words.split(' ').collect();
        let ended = match args.split_first() {
            Some((&"up", [any_port, rest @ ..])) if *any_port == "--any-port" => up(&pipeline, rest).expect_code(0),
            _ => pipeline.run(&args, 0),
        };
        match target {
            Some(_) => std::fs::write(&map, &ended.out).unwrap(),
            None => assert!(ended.out.contains("299 rows = 284 purchase + 4 return"), "{}", ended.out),
        }
        if !words.starts_with("up") {
            assert_nothing_was_written(&pipeline);
        }
    }
    let rows = |shard| pipeline.row_count(shard);
    assert_eq!(rows(0) + rows(1), 287, "all but the bad debt and three returns without a sale");
    pipeline.assert_all_is_well(&Known::new());

    let again = up(&pipeline, &["--from", TABLE, "--map", map.to_str().unwrap()]).expect_code(0);
    assert!(again.out.contains("291 lines in 1 file, 1 of them imported before"), "{}", again.out);
    let other_cut = up(&pipeline, &["--from", TABLE, "--map", map.to_str().unwrap(), "--batch", "50"]).expect_code(0);
    assert!(other_cut.out.contains("0 of them imported before"), "{}", other_cut.out);
    assert_eq!(rows(0) + rows(1), 287, "the same sales in other files are duplicates");
}

#[test]
fn a_dry_run_says_what_would_be_rejected_and_writes_nothing() {
    let pipeline = Pipeline::new(&[]);
    let map = example_map(&pipeline);
    let said = pipeline.run(&["ingest", "--from", TABLE, "--map", &map, "--dry-run"], 0).out;
    let shown: Vec<&str> = said.lines().take_while(|line| line.starts_with('{')).collect();
    assert_eq!(shown.len(), 5, "{said}");
    assert!(said.contains("288 events would be taken, 3 rejected"), "{said}");
    assert!(said.contains("3  malformed: order_id is missing\n"), "{said}");
    assert!(said.contains("for example row ") && said.contains("no purchase above has the same"), "{said}");
    assert_nothing_was_written(&pipeline);
    let nothing = pipeline.write(
        "bad.csv",
        b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\nx,y,z,q,1,1,1,1\n",
    );
    pipeline.run(&["ingest", "--from", nothing.to_str().unwrap(), "--map", &map, "--dry-run"], 1);
}

#[test]
fn a_dry_run_that_is_stopped_does_not_say_that_it_would_go_on() {
    let pipeline = Pipeline::new(&[]);
    let path = pipeline.beside("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let running = pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--dry-run"], None);
    // More than a pipe holds: once it is written, the run is at it. It stays open, so the run waits for more.
    let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let line = event(4, r#""shop_id":1,"active":true"#) + "\n";
    pipe.write_all(line.repeat(3000).as_bytes()).unwrap();
    running.signal(Signal::TERM);
    let ended = running.wait_exit(PATIENCE).expect_code(75);
    assert!(ended.log.contains("nothing was written") && !ended.log.contains("goes on"), "{}", ended.log);
    drop(pipe);
    assert_nothing_was_written(&pipeline);
}

#[test]
fn a_table_that_ends_within_a_quote_is_no_success() {
    let pipeline = Pipeline::new(&[]);
    let map = example_map(&pipeline);
    let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
    let row = "1,A,good,1,12/1/2010 8:26,1.5,7,";
    let table = format!("{header}{row}France\n{row}\"France\n{row}France\n{row}France\n");
    let table = pipeline.write("open.csv", table.as_bytes());
    let from = ["ingest", "--from", table.to_str().unwrap(), "--map", &map, "--dry-run"];
    let ended = pipeline.run(&from, 1);
    assert!(ended.log.contains("row 3 of the table (line 3) is not complete"), "{}", ended.log);
}

#[test]
fn a_table_without_a_map_is_told_so_before_anything_is_written() {
    let pipeline = Pipeline::new(&[]);
    let table = pipeline.write("sales.csv", b"order_id,sku\n1,A\n");
    let table = table.to_str().unwrap();
    for args in [&["ingest", "--from", table][..], &["up", "--any-port", "--from", table]] {
        let ended = pipeline.run(args, 64);
        assert!(ended.log.contains("this looks like CSV; give --map FILE"), "{}", ended.log);
        assert_nothing_was_written(&pipeline);
    }
    let map = pipeline.write("map.toml", b"[time]\ncolumn = 'at'\n[[rul]]\n");
    let ended = pipeline.run(&["up", "--any-port", "--from", table, "--map", map.to_str().unwrap()], 64);
    assert!(ended.log.contains("rul is no key of a map; did you mean rule?"), "{}", ended.log);
    assert_nothing_was_written(&pipeline);
}

#[test]
fn rows_that_cannot_be_mapped_are_rejected_lines_with_their_cells_and_the_audit_adds_up() {
    let pipeline = Pipeline::running(&["shared.cleanup=none"]);
    let map = example_map(&pipeline);
    let imported = pipeline.run(&["ingest", "--from", TABLE, "--map", &map], 0).out;
    assert!(
        imported.contains("3 that cannot be mapped + 8 left out (postage and fees 6, stock corrections 2)"),
        "{imported}"
    );
    pipeline.wait_settled();
    let list = pipeline.run(&["rejects", "list", "--reason", "malformed", "--by", "detail"], 0).out;
    assert!(list.contains("order_id is missing"), "{list}");
    let example = list.split_whitespace().find(|word| word.contains(':')).unwrap();
    let shown = pipeline.run(&["rejects", "show", example, "--raw"], 0).out;
    assert!(
        shown.contains(r#""unmapped":["order_id: no purchase above"#) && shown.contains(r#""cells":["C5363"#),
        "{shown}"
    );
    pipeline.audit();
}

#[test]
fn a_body_of_which_nothing_is_taken_is_answered_422_with_the_same_document() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Ingest);
    let url = format!("http://127.0.0.1:{}/api/v1/events", pipeline.role(Role::Ingest).wait_port());
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |body: &str| {
        let mut answer = agent.post(&url).content_type("application/x-ndjson").send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let good = event(4, r#""shop_id":1,"active":true"#);
    let refused = r#""rejected":[{"line":1,"reason":"bad_json","detail":"expected ident at line 1 column 2"}]}"#;
    assert_eq!(post("nope\n"), (422, format!("{{\"accepted\":0,{refused}")));
    assert_eq!(post(&format!("nope\n{good}\n")), (202, format!("{{\"accepted\":1,{refused}")));
    assert_eq!(post(""), (202, r#"{"accepted":0,"rejected":[]}"#.to_owned()));
    let one = agent.post(&url).content_type("application/json").send("").unwrap();
    assert_eq!(one.status(), 422, "nothing is no event");
    pipeline.terminate(Role::Ingest);
}

#[test]
fn one_moment_in_two_spellings_is_one_sale_and_its_row_is_written_in_the_old_form() {
    let pipeline = Pipeline::running(&[]);
    let sale = event(1, r#""order_id":5,"shop_id":1,"good_id":3,"qty":1,"price_at_order":5"#);
    let spelled = |at: &str| sale.replace("2025-03-01 08:00:00.001", at) + "\n";
    let lines = [
        spelled("2025-03-01T09:00:00.0019+01:00"),
        spelled("2025-03-01 08:00:00.001"),
        spelled("2025-03-01T08:00:60Z"),
    ];
    pipeline.import(lines.concat().as_bytes(), 100);
    pipeline.import(spelled("2025-03-01t08:00:00.001z").as_bytes(), 100);
    pipeline.wait_settled();
    assert_eq!((pipeline.row_count(0), pipeline.row_count(1)), (0, 1));
    let database = pipeline.database("shop_shard_1");
    let written: String = database.query_row("SELECT timestamp FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(written, "2025-03-01 08:00:00.001");
    let list = pipeline.run(&["rejects", "list", "--by", "detail"], 0).out;
    assert!(list.contains("timestamp is a leap second") && list.contains("\n1 rejected line;"), "{list}");
    pipeline.audit();
}

#[test]
fn the_help_keeps_its_call_in_one_piece() {
    let folder = tempfile::tempdir().unwrap();
    let help = Pipeline::on(folder.path(), &[]).run(&["ingest", "--help"], 0).out;
    let call = help.lines().skip_while(|line| !line.contains("curl")).take(2).collect::<Vec<_>>();
    assert!(call[0].ends_with(r"-d \") && call[1].ends_with(r#""timestamp":"2025-01-01T10:00:03Z"}'"#), "{help}");
}
