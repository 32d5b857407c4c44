//! The books of the pipeline: adds up what the stages reported and names what does not add up (docs/semantics.md, 1).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::StatusCounts;
use super::{Counts, FileName, FileView, Repair, ShardView, Stage, Status, TaskKey};
use crate::pipeline::event::ShardId;

/// Differences that are kept with their words; all are counted.
const DIFFERENCES_KEPT: usize = 100;

/// The sums over all files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// Registered files.
    pub files: u64,
    /// Lines of the event files, as the ingest announced them.
    pub event_lines: u64,
    /// Files whose event file was announced without its number of lines, by a client that reports none.
    pub files_without_lines: u64,
    /// `shard-splitter`.
    pub shard_splitter: StageLedger,
    /// `shard-worker`.
    pub shard_worker: StageLedger,
    /// `mysql-sender`.
    pub mysql_sender: StageLedger,
    /// Tasks of complete event files that are neither delivered nor failed.
    pub open_tasks: u64,
    /// How many differences were found.
    pub difference_count: u64,
    /// The first hundred of them.
    pub differences: Vec<Difference>,
}

/// The sums of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct StageLedger {
    /// Tasks by status.
    pub tasks: StatusCounts,
    /// The counts of the tasks that are done.
    pub counts: Counts,
    /// Done tasks whose client reported no counts.
    pub unreported: u64,
}

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The file.
    #[schema(value_type = Option<String>)]
    pub file: Option<FileName>,
    /// The shard, where it is one shard's.
    #[schema(value_type = Option<u8>)]
    pub shard: Option<ShardId>,
    /// What differs.
    pub what: String,
}

impl Ledger {
    /// Adds a file with its reports.
    pub fn add(&mut self, file: &FileView) {
        self.files += 1;
        let lines = file.announced().map(|output| output.lines);
        match lines {
            Some(lines) => self.event_lines = self.event_lines.saturating_add(lines),
            None => self.files_without_lines += u64::from(file.all_done(Stage::EventIngest)),
        }
        for shard in &file.shards {
            self.add_task(&file.file, shard);
            let complete = shard.status(Stage::EventIngest) == Status::Done;
            let delivered = shard.status(Stage::MysqlSender) == Status::Done;
            self.open_tasks += u64::from(complete && !delivered && !shard.statuses.contains(&Status::Failed));
        }
        let split: Option<Vec<Counts>> =
            file.shards.iter().map(|shard| shard.result(Stage::ShardSplitter)?.counts).collect();
        if let (Some(lines), Some(split)) = (lines, split) {
            let sum = split.iter().fold(Counts::default(), |sum, counts| sum.plus(*counts));
            let kept = sum.written.saturating_add(sum.rejected);
            self.expect(&file.file, None, kept == lines, || {
                format!("the event file has {lines} lines, its shards and rejects add up to {kept}")
            });
        }
    }

    /// Notes something that does not add up.
    pub fn differ(&mut self, file: Option<&FileName>, shard: Option<ShardId>, what: String) {
        self.difference_count += 1;
        if self.differences.len() < DIFFERENCES_KEPT {
            self.differences.push(Difference { file: file.cloned(), shard, what });
        }
    }

    /// Lines that have not ended anywhere yet: neither rows, nor duplicates, rejects or pending.
    pub fn lines_in_flight(&self) -> u64 {
        let (split, work, send) = (self.shard_splitter.counts, self.shard_worker.counts, self.mysql_sender.counts);
        let ended = [send.written, work.duplicate, work.rejected, split.rejected, work.held];
        let ended = ended.into_iter().fold(0, u64::saturating_add);
        self.event_lines.saturating_add(work.released).saturating_sub(ended)
    }

    fn add_task(&mut self, file: &FileName, shard: &ShardView) {
        for stage in [Stage::ShardSplitter, Stage::ShardWorker, Stage::MysqlSender] {
            let status = shard.status(stage);
            let counts = shard.result(stage).and_then(|result| result.counts);
            let sums = match stage {
                Stage::ShardSplitter | Stage::EventIngest => &mut self.shard_splitter,
                Stage::ShardWorker => &mut self.shard_worker,
                Stage::MysqlSender => &mut self.mysql_sender,
            };
            sums.tasks.add(status, 1);
            sums.unreported += u64::from(status == Status::Done && counts.is_none());
            if let Some(counts) = counts {
                sums.counts = sums.counts.plus(counts);
                self.expect(file, Some(shard.shard), counts.balanced(), || {
                    format!("{stage}: {counts:?} do not balance")
                });
            }
            if status == Status::Failed {
                let key = TaskKey { file: file.clone(), shard: shard.shard };
                let advice = Repair::of(&key, stage, shard.last_error.as_deref()).advice();
                let why = shard.last_error.as_deref().unwrap_or("no reason given");
                self.differ(Some(file), Some(shard.shard), format!("{stage} failed: {why}; {advice}"));
            }
            self.check_hand_over(file, shard, stage, counts);
        }
    }

    /// What a stage wrote is what the next one read.
    fn check_hand_over(&mut self, file: &FileName, shard: &ShardView, stage: Stage, counts: Option<Counts>) {
        let before = stage.previous().and_then(|previous| Some((previous, shard.result(previous)?.counts?)));
        if let (Some(counts), Some((previous, before))) = (counts, before) {
            self.expect(file, Some(shard.shard), counts.read == before.written, || {
                format!("{previous} wrote {} lines, {stage} read {}", before.written, counts.read)
            });
        }
    }

    fn expect(&mut self, file: &FileName, shard: Option<ShardId>, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.differ(Some(file), shard, what());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::ShardCount;
    use crate::pipeline::task::{Digest, Output, StageResult};

    fn result(stage: Stage, counts: Counts, lines: u64) -> StageResult {
        let output = Output { lines, bytes: 0, sha256: Digest::new([0; 32]), index_sha256: None };
        let counts = (stage != Stage::EventIngest).then_some(counts);
        StageResult { counts, output: Some(output), ..StageResult::of(stage) }
    }

    fn file(worker_read: u64) -> FileView {
        let split = Counts { read: 10, written: 9, rejected: 1, ..Counts::default() };
        let work = Counts { read: worker_read, written: worker_read - 2, duplicate: 2, ..Counts::default() };
        let send = Counts { read: work.written, written: work.written, ..Counts::default() };
        let results = vec![
            result(Stage::EventIngest, Counts::default(), 10),
            result(Stage::ShardSplitter, split, 9),
            result(Stage::ShardWorker, work, work.written),
            result(Stage::MysqlSender, send, 0),
        ];
        FileView {
            file: "20250101000000".parse().unwrap(),
            shards_count: ShardCount::new(1).unwrap(),
            shards: vec![ShardView::of(ShardId::new(0).unwrap(), [Status::Done; 4], results)],
        }
    }

    #[test]
    fn a_sound_file_has_no_difference_and_nothing_in_flight() {
        let mut ledger = Ledger::default();
        ledger.add(&file(9));
        assert_eq!((ledger.difference_count, ledger.lines_in_flight(), ledger.open_tasks), (0, 0, 0));
        assert_eq!((ledger.event_lines, ledger.mysql_sender.counts.written), (10, 7));
    }

    #[test]
    fn a_lost_line_is_named() {
        let mut ledger = Ledger::default();
        ledger.add(&file(8));
        assert_eq!(ledger.difference_count, 1);
        assert_eq!(ledger.differences[0].what, "shard-splitter wrote 9 lines, shard-worker read 8");
        let mut other = file(9);
        if let Some(output) = other.shards[0].results[0].output.as_mut() {
            output.lines = 11;
        }
        ledger.add(&other);
        assert!(ledger.differences[1].what.contains("has 11 lines, its shards and rejects add up to 10"));
    }

    #[test]
    fn a_failed_task_is_a_difference() {
        let mut failed = file(9);
        failed.shards[0].statuses[3] = Status::Failed;
        failed.shards[0].last_error = Some("disk on fire".to_owned());
        failed.shards[0].results.pop();
        let mut ledger = Ledger::default();
        ledger.add(&failed);
        let what = &ledger.differences[0].what;
        assert!(what.starts_with("mysql-sender failed: disk on fire; shopctl retry "), "{what}");
        assert_eq!(ledger.lines_in_flight(), 7);
    }
}
