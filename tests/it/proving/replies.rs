//! A network that loses replies: the service has done what it was asked, but the asker never hears of it, hears half of it,
//! or waits for nothing. Every call is repeated safely.

use std::time::Instant;

use super::{Class, Size, assert_imported};
use crate::support::events::{MISHAPS, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::proxy::Mischief;
use crate::support::{PATIENCE, eventually};

/// A call, by whom it asks and a part of its path.
type Call = (Role, &'static str);

const CALLS: [Call; 8] = [
    (Role::Apid, "/claim"),
    (Role::Apid, "/done"),
    (Role::Balance, "/operations"),
    (Role::Cache, "/orders"),
    (Role::Cache, "/pending/take"),
    (Role::Cache, "/pending/confirm"),
    (Role::Apid, "/files/register"),
    (Role::Apid, "/event-ingest/done"),
];
/// Calls whose answers take long to be given up.
const FEW: [Call; 4] = [CALLS[0], CALLS[1], CALLS[2], CALLS[3]];

/// Runs files through a network with this fault until it has struck often enough.
fn through(size: Size, kind: Mischief, calls: &[Call], per_mille: u64, strikes: u64) {
    let pipeline = Pipeline::running(&["pipeline.lease_ms=1500", "pipeline.attempts_max=1000"]);
    let mut input = Vec::new();
    for call in calls {
        input.append(&mut strike(&pipeline, size, kind, *call, per_mille, strikes, (1000, 100)));
    }
    pipeline.assert_all_is_well(&Known::new());
    assert_imported(&pipeline, &input);
}

/// Imports lines in batches until answers to one call were spoiled so often; answers the lines.
fn strike(
    pipeline: &Pipeline,
    size: Size,
    kind: Mischief,
    (service, call): Call,
    per_mille: u64,
    strikes: u64,
    lines: (usize, usize),
) -> Vec<u8> {
    let mut class = Class::new(size, format!("{}: {call}", kind.name()));
    let counter = pipeline.proxy_of(service).spoil(call, kind, per_mille, size.seed);
    let batch = lines.1.to_string();
    let (mut input, mut before) = (Vec::new(), 0);
    while counter.struck() < strikes {
        let began = Instant::now();
        let files = pipeline.list("events").len() as u64;
        let mut part = generated(size.seed + files, MISHAPS, lines.0);
        let path = pipeline.write("input.ndjson", &part);
        input.append(&mut part);
        eventually("the import is through", PATIENCE, || {
            let import = pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", &batch], None);
            import.wait_exit(PATIENCE).status.code() == Some(0)
        });
        pipeline.wait_settled();
        class.recovered(began.elapsed());
        // Every call is part of every round, so the rounds are bounded by their number.
        assert!(files < 2000, "{call}: struck {} of {}", counter.struck(), counter.asked());
        (before..counter.struck()).for_each(|_| class.struck(true));
        before = counter.struck();
    }
    pipeline.proxy_of(service).behave();
    class.finish();
    input
}

#[test]
fn a_lost_reply_of_any_call_doubles_nothing() {
    let size = Size::asked();
    size.chances("replies");
    through(size, Mischief::Cut, &CALLS, 300, size.pick(3, 40));
}

#[test]
fn half_a_reply_of_any_call_doubles_nothing() {
    let size = Size::asked();
    size.chances("halves");
    through(size, Mischief::Half, &FEW, 300, size.pick(3, 40));
}

#[test]
fn a_reply_that_never_comes_is_not_waited_for_for_ever() {
    let size = Size::asked();
    size.chances("stalls");
    through(size, Mischief::Stall, &CALLS[..2], 30, size.pick(1, 25));
}

#[test]
fn lost_replies_of_heartbeats_end_no_work() {
    let size = Size::asked();
    size.chances("heartbeats");
    // Files so large that the work on them outlasts a third of the lease, many times.
    let pipeline = Pipeline::running(&["pipeline.lease_ms=600", "pipeline.attempts_max=1000"]);
    let (call, strikes, lines) = ((Role::Apid, "/heartbeat"), size.pick(2, 40), (20_000, 20_000));
    let input = strike(&pipeline, size, Mischief::Cut, call, 500, strikes, lines);
    pipeline.assert_all_is_well(&Known::new());
    assert_imported(&pipeline, &input);
}
