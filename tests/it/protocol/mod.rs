//! Claim, lease and fence, explored exhaustively: every order in which two or three workers, the API and the shard's
//! database can act on one task, with crashes, pauses, lost, late and doubled calls, and a clock that jumps.
//!
//! The API's side is the program's own state machine, so that the model cannot drift from it; that the stores do the
//! same is checked in `store/`. The last tests leave parts of the protocol out and expect a violation: a model that
//! finds nothing there would prove nothing here.

mod explorer;
mod steps;
mod world;

use std::time::Instant;

use explorer::{Explored, explore};
use steps::{End, Protocol, Step};
use world::{Bounds, STAGES, Without};

/// More states than any of these models has; one of them takes some 400 bytes.
const STATES_MAX: usize = 3_000_000;

/// Explores a protocol and says how much that was.
fn run(name: &str, protocol: &Protocol) -> Explored<Protocol> {
    let began = Instant::now();
    let explored = explore(protocol, STATES_MAX);
    let Explored { states, steps, depth, ends, .. } = &explored;
    println!("{name}: {states} states, {steps} steps, depth {depth}, {ends} ends, {:?}", began.elapsed());
    explored
}

fn assert_holds(name: &str, bounds: Bounds, end: End) {
    let explored = run(name, &Protocol { bounds, without: Without::Nothing, end });
    assert!(explored.violation.is_none(), "{name}: {:#?}", explored.violation);
    assert!(explored.ends > 0, "{name}: nothing ever ends");
}

/// The shortest way to the violation that is found without a part of the protocol.
fn violation(without: Without, fault: &str) -> Vec<Step> {
    let bounds = Bounds { workers: 2, flying: 2, attempts: 2, stages: STAGES, operator: false };
    let name = format!("without {without:?}");
    let explored = run(&name, &Protocol { bounds, without, end: End::Settled });
    let (found, way) = explored.violation.unwrap_or_else(|| panic!("{name}: the model notices nothing"));
    println!("  {found}: {way:?}");
    assert!(found.contains(fault), "{name}: {found}");
    way
}

#[test]
fn two_workers_and_late_calls_never_break_the_rules() {
    let bounds = Bounds { workers: 2, flying: 2, attempts: 2, stages: STAGES, operator: false };
    assert_holds("two workers, two late calls", bounds, End::Settled);
}

#[test]
fn three_workers_never_break_the_rules() {
    let bounds = Bounds { workers: 3, flying: 1, attempts: 2, stages: &STAGES[1..], operator: false };
    assert_holds("three workers", bounds, End::Settled);
}

#[test]
fn what_was_given_up_can_always_be_delivered_by_a_person() {
    let bounds = Bounds { workers: 2, flying: 1, attempts: 3, stages: STAGES, operator: true };
    assert_holds("two workers and a person", bounds, End::Delivered);
}

/// The same in wider bounds: minutes, so only when it is asked for.
#[test]
#[ignore = "takes minutes: just model"]
fn wider_bounds_hold_too() {
    for (workers, flying, attempts, stages, operator) in
        [(3, 1, 2, STAGES, false), (2, 2, 3, STAGES, false), (2, 3, 2, &STAGES[1..], false), (2, 2, 2, STAGES, true)]
    {
        let bounds = Bounds { workers, flying, attempts, stages, operator };
        assert_holds(&format!("{bounds:?}"), bounds, if operator { End::Delivered } else { End::Settled });
    }
}

#[test]
fn without_the_fence_a_stale_report_moves_the_task() {
    violation(Without::Fence, "a stale token moved the task");
}

#[test]
fn without_the_marker_the_rows_are_written_twice() {
    violation(Without::Marker, "the rows are written twice");
}

#[test]
fn a_look_at_the_own_clock_is_no_marker() {
    let way = violation(Without::MarkerButClock, "the rows are written twice");
    assert!(way.iter().any(|step| matches!(step, Step::LookAtOwnClock(_))), "it never looked: {way:?}");
}

#[test]
fn without_the_rename_a_late_worker_leaves_half_a_file() {
    violation(Without::Rename, "the file is not what its report says");
}

#[test]
fn if_bytes_depend_on_the_attempt_a_late_rename_breaks_the_report() {
    violation(Without::SameBytes, "the file is not what its report says");
}
