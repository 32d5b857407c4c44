//! What became of a line, from all that is known of it. Pure.

use serde::Serialize;

use crate::pipeline::event::ShardId;
use crate::pipeline::task::{FileView, ShardView, Stage, Status};

/// What is known of a line beside its rejection, which speaks for itself.
#[derive(Debug, Default)]
pub struct KnownFacts<'a> {
    /// A shard's database has its row.
    pub has_row: bool,
    /// A prepared file has it.
    pub is_prepared: bool,
    /// The cache-service keeps it; nothing if it was not asked.
    pub is_held: Option<bool>,
    /// It is a return.
    pub is_return: bool,
    /// Its shard, where it is known.
    pub shard: Option<ShardId>,
    /// What the tracking database says of its file.
    pub file: Option<&'a FileView>,
}

/// What became of a line that was not rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "decision", content = "at")]
pub enum TraceVerdict {
    /// It is a row, or will be one when the sender is done.
    Accepted,
    /// It says what an earlier line said.
    Duplicate,
    /// It waits for its purchase.
    Held,
    /// It is one or the other; the cache-service was not asked.
    DuplicateOrHeld,
    /// This stage has not done it yet.
    Waits(Stage),
    /// This stage has failed at it.
    Failed(Stage),
    /// Its file is not announced yet.
    NotAnnounced,
    /// What is known does not fit together.
    Unknown,
}

/// What became of the line.
pub fn verdict(known: &KnownFacts<'_>) -> TraceVerdict {
    if known.has_row || known.is_prepared {
        return TraceVerdict::Accepted;
    }
    if known.is_held == Some(true) {
        return TraceVerdict::Held;
    }
    let Some(file) = known.file else {
        return TraceVerdict::NotAnnounced;
    };
    let of_shard = |task: &&ShardView| known.shard.is_none_or(|shard| task.shard == shard);
    let tasks: Vec<&ShardView> = file.shards.iter().filter(of_shard).collect();
    for stage in [Stage::EventIngest, Stage::ShardSplitter, Stage::ShardWorker] {
        for task in &tasks {
            match task.status(stage) {
                Status::Done => {}
                Status::Failed => return TraceVerdict::Failed(stage),
                Status::New | Status::Started => return TraceVerdict::Waits(stage),
            }
        }
    }
    // Its worker is done, it is in no rejects file and has no row: what is left is what leaves no trace of its own.
    let counts = tasks.iter().map(|task| task.result(Stage::ShardWorker).and_then(|result| result.counts));
    let may_be = |count: fn(crate::pipeline::task::Counts) -> u64| {
        counts.clone().any(|own| own.is_none_or(|own| count(own) > 0))
    };
    let is_duplicate = may_be(|counts| counts.duplicate);
    let is_held = known.is_return && known.is_held.is_none() && may_be(|counts| counts.held);
    match (tasks.is_empty(), is_duplicate, is_held) {
        (false, true, true) => TraceVerdict::DuplicateOrHeld,
        (false, true, false) => TraceVerdict::Duplicate,
        (false, false, true) => TraceVerdict::Held,
        _ => TraceVerdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::ShardCount;
    use crate::pipeline::task::{Counts, StageResult};

    fn file(worker: Status, counts: Counts) -> FileView {
        let task = |number: u64, worker| {
            let result = StageResult { counts: Some(counts), ..StageResult::of(Stage::ShardWorker) };
            let results = if worker == Status::Done { vec![result] } else { Vec::new() };
            ShardView::of(ShardId::new(number).unwrap(), [Status::Done, Status::Done, worker, Status::New], results)
        };
        let shards = vec![task(0, worker), task(1, Status::New)];
        FileView { file: "20250101000000".parse().unwrap(), shards_count: ShardCount::new(2).unwrap(), shards }
    }

    #[test]
    fn what_leaves_a_trace_needs_no_report() {
        let waiting = file(Status::New, Counts::default());
        for (known, expected) in [
            (KnownFacts { has_row: true, ..KnownFacts::default() }, TraceVerdict::Accepted),
            (KnownFacts { is_prepared: true, file: Some(&waiting), ..KnownFacts::default() }, TraceVerdict::Accepted),
            (KnownFacts { is_held: Some(true), ..KnownFacts::default() }, TraceVerdict::Held),
            (KnownFacts::default(), TraceVerdict::NotAnnounced),
        ] {
            assert_eq!(verdict(&known), expected, "{known:?}");
        }
    }

    #[test]
    fn what_leaves_none_is_told_by_the_reports() {
        let none = Counts::default();
        let (twice, both) = (Counts { duplicate: 1, ..none }, Counts { duplicate: 1, held: 1, ..none });
        let held = Counts { held: 1, ..none };
        let of = |view: &FileView, shard, is_return, is_held| {
            let shard = ShardId::new(shard);
            verdict(&KnownFacts { shard, is_return, is_held, file: Some(view), ..KnownFacts::default() })
        };
        let done = |counts| file(Status::Done, counts);
        assert_eq!(of(&file(Status::Started, none), 0, false, None), TraceVerdict::Waits(Stage::ShardWorker));
        assert_eq!(of(&file(Status::Failed, none), 0, false, None), TraceVerdict::Failed(Stage::ShardWorker));
        assert_eq!(
            of(&done(twice), 1, false, None),
            TraceVerdict::Waits(Stage::ShardWorker),
            "the other shard is not done"
        );
        assert_eq!(of(&done(twice), 0, false, None), TraceVerdict::Duplicate);
        assert_eq!(of(&done(both), 0, true, None), TraceVerdict::DuplicateOrHeld);
        assert_eq!(of(&done(both), 0, true, Some(false)), TraceVerdict::Duplicate);
        assert_eq!(of(&done(held), 0, true, None), TraceVerdict::Held);
        assert_eq!(of(&done(none), 0, false, None), TraceVerdict::Unknown, "the row is gone");
        assert_eq!(of(&done(twice), 9, false, None), TraceVerdict::Unknown, "there is no such shard");
    }
}
