//! A shard that lags behind the others: what it has not come to may be what returns in the other shards wait for.

use crate::support::events::event;
use crate::support::pipeline::Pipeline;

const WAITING: &str = "SELECT COUNT(*) FROM pending_return WHERE taken_file IS NULL";

fn bought(order: i64, shop: i64) -> String {
    let terms = r#""good_id":3,"qty":1,"user_id":7,"price_at_order":2.50"#;
    event(1, &format!(r#""order_id":{order},"shop_id":{shop},{terms}"#))
}

/// An event file of these lines, split.
fn import(pipeline: &Pipeline, name: &str, lines: &[String]) {
    let path = pipeline.write(name, format!("{}\n", lines.join("\n")).as_bytes());
    pipeline.run(&["ingest", "--from", path.to_str().unwrap()], 0);
    pipeline.run(&["split", "--once"], 0);
}

/// The time of everything that waits is up.
fn let_time_pass(pipeline: &Pipeline) {
    let cache = rusqlite::Connection::open(pipeline.shared().join("db/cache_db.sqlite")).unwrap();
    cache.execute("UPDATE pending_return SET expires_at = put_at", []).unwrap();
}

#[test]
fn a_return_does_not_expire_while_its_purchase_waits_for_a_worker() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[]);
    // Bought in shard 1; the return names no shop and goes to shard 0, whose worker is ahead.
    import(&pipeline, "first", &[event(3, r#""order_id":4,"good_id":3,"qty":1"#), bought(4, 5)]);
    pipeline.run(&["work", "--shard", "0", "--once"], 0);
    let texts = |query: &str| pipeline.open("cache_db").texts(query)[0][0].clone().unwrap();
    assert_eq!(texts(WAITING), "1");
    let_time_pass(&pipeline);
    import(&pipeline, "second", &[bought(6, 2)]);
    pipeline.run(&["work", "--shard", "0", "--once"], 0);
    assert_eq!(texts(WAITING), "1", "its time is not up while shard 1 has not decided its file");
    pipeline.run(&["work", "--shard", "1", "--once"], 0);
    pipeline.run(&["send", "--once"], 0);
    assert_eq!(texts(WAITING), "0");
    assert!(pipeline.world().rejected.is_empty());
    assert_eq!((pipeline.row_count(0), pipeline.row_count(1)), (1, 2), "the return is where its purchase is");
    pipeline.audit();
}

#[test]
fn a_return_does_not_expire_while_another_shard_has_the_same_file_before_it() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[]);
    let work = |shard| drop(pipeline.run(&["work", "--shard", shard, "--once"], 0));
    import(&pipeline, "first", &[event(3, r#""order_id":4,"good_id":3,"qty":1"#)]);
    work("0");
    work("1");
    let_time_pass(&pipeline);
    import(&pipeline, "second", &[bought(6, 2), bought(4, 5)]);
    work("0");
    let waiting = pipeline.open("cache_db").texts(WAITING);
    assert_eq!(waiting[0][0].as_deref(), Some("1"), "its purchase is in this very file, in shard 1");
    work("1");
    pipeline.run(&["send", "--once"], 0);
    assert!(pipeline.world().rejected.is_empty());
    assert_eq!((pipeline.row_count(0), pipeline.row_count(1)), (1, 2));
}

#[test]
fn a_return_expires_when_every_shard_is_through() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[]);
    let round = |pipeline: &Pipeline, name: &str, line: &str| {
        let path = pipeline.write(name, format!("{line}\n").as_bytes());
        pipeline.run(&["ingest", "--from", path.to_str().unwrap()], 0);
        pipeline.run(&["split", "--once"], 0);
        pipeline.run(&["work", "--shard", "0", "--once"], 0);
        pipeline.run(&["work", "--shard", "1", "--once"], 0);
    };
    round(&pipeline, "first", &event(3, r#""order_id":4,"good_id":3,"qty":1"#));
    let_time_pass(&pipeline);
    round(&pipeline, "second", &event(4, r#""shop_id":2,"active":true"#));
    pipeline.run(&["send", "--once"], 0);
    let reasons: Vec<String> = pipeline.world().rejected.into_iter().map(|rejected| rejected.2).collect();
    assert_eq!(reasons, ["orphan_return"]);
}
