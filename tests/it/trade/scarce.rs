//! Little money and few goods: who gets the last of it is decided by the order of the rules, whatever is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::year::outcome;
use crate::support::events::{MISHAPS, plain};
use crate::support::oracle::{Known, Oracle};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually, pause};

/// One shard: no rule says in which order several ask the same account.
const ROLES: [Role; 6] = [Role::Apid, Role::Balance, Role::Cache, Role::Split, Role::Work0, Role::Send];
const VICTIMS: [Role; 3] = [Role::Work0, Role::Balance, Role::Cache];
const KILLS: usize = 12;
/// What every account begins with: a few purchases.
const OPENING: i64 = 2_000;

/// Generated lines, in which every good is delivered only once.
fn input() -> Vec<u8> {
    let (mut lines, mut delivered) = (Vec::new(), BTreeSet::new());
    for line in plain(21, MISHAPS, 4000).split_inclusive(|byte| *byte == b'\n') {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let good = (event["payload"]["shop_id"].as_i64(), event["payload"]["good_id"].as_i64());
        if event["event_type"] != 0 || delivered.insert(good) {
            lines.extend_from_slice(line);
        }
    }
    lines
}

#[test]
fn who_gets_the_last_of_it_does_not_depend_on_kills() {
    let opening = format!("balance.opening_balance={OPENING}");
    let mut pipeline = Pipeline::new(&["pipeline.shards_count=1", "pipeline.attempts_max=1000", &opening]);
    ROLES.into_iter().for_each(|role| pipeline.start(role));
    pipeline.import(&input(), 100);
    let files = pipeline.event_files().len() as u64;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for kill in 0..KILLS as u64 {
        eventually("deliveries go on", PATIENCE, || pipeline.delivered().0 >= files * kill / (KILLS as u64 + 2));
        // Nothing is waited for: the moment of the kill is left to chance.
        pause(std::time::Duration::from_millis(rng.random_range(0..60)));
        let victim = *VICTIMS.choose(&mut rng).unwrap();
        pipeline.kill9(victim);
        pipeline.start(victim);
    }
    eventually("everything is delivered", PATIENCE * 2, || pipeline.delivered() == (files, files));

    let mut oracle = Oracle::with_opening(1, OPENING);
    for (name, content) in pipeline.event_files() {
        oracle.file(&name, &content, &Known::new());
    }
    let rows: BTreeSet<_> = pipeline.rows(0).into_iter().collect();
    assert!(rows == oracle.world.rows[&0], "{} rows, {} expected", rows.len(), oracle.world.rows[&0].len());
    let found = outcome(&pipeline, 1);
    let mut expected = BTreeMap::<&str, u64>::new();
    oracle.world.rejected.iter().for_each(|(_, _, reason, _)| *expected.entry(reason.as_str()).or_default() += 1);
    assert_eq!(found.reasons(), expected);
    println!("{expected:?}");
    assert!(expected["insufficient_funds"] > 50 && expected["insufficient_stock"] > 50, "{expected:?}");
    oracle.assert_balances(&found.balances);
    oracle.assert_stock(&found.stock);
    assert!(found.balances.values().chain(found.stock.values()).all(|left| *left >= 0));
    pipeline.assert_no_panic();
}
