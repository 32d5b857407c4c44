//! Purchases and their returns at the same moment, in different files and shards: whichever comes first, every return
//! finds its purchase, and none is stuck.

use crate::support::events::event;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually};

const PAIRS: i64 = 10_000;
/// Lines per event file: many files of each side are under way at once.
const BATCH: &str = "250";

#[test]
fn every_return_finds_its_purchase_wherever_they_meet() {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.start(Role::Ingest);
    // Shops are odd, so that purchases are shard 1's; orders are even, so that returns without a shop go to shard 0.
    let lines = |kind: u8, more: &str| -> Vec<u8> {
        let line =
            |pair| format!("{}\n", event(kind, &format!(r#""order_id":{},"good_id":3,"qty":1,{more}"#, pair * 2)));
        (1..=PAIRS).flat_map(|pair| line(pair).into_bytes()).collect()
    };
    let sides = [
        ("purchases", lines(1, r#""shop_id":5,"user_id":7,"price_at_order":2.50"#)),
        ("returns", lines(3, r#""refund_amount":2.50"#)),
    ];
    let imports = sides.map(|(name, lines)| {
        let path = pipeline.write(name, &lines);
        pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", BATCH], None)
    });
    imports.into_iter().for_each(|import| drop(import.wait_exit(PATIENCE).expect_code(0)));
    let all = usize::try_from(2 * PAIRS).unwrap();
    let rows = || pipeline.row_count(0) + pipeline.row_count(1);
    eventually("every purchase and every return is a row", PATIENCE * 2, || rows() == all);
    pipeline.wait_settled();
    assert_eq!((pipeline.row_count(0), pipeline.row_count(1)), (0, all), "a return is settled where its purchase is");
    let waiting = "SELECT COUNT(*) FROM pending_return WHERE taken_file IS NULL";
    assert_eq!(pipeline.open("cache_db").texts(waiting), [[Some("0".to_owned())]]);
    assert!(pipeline.world().rejected.is_empty());
    // Everything was given back.
    let opening = i128::from(crate::support::oracle::OPENING) * 100;
    assert_eq!(pipeline.balances().into_iter().collect::<Vec<_>>(), [(7, opening)]);
    pipeline.audit();
}
