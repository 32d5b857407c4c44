//! Collects what the stages reported, and compares it with the rows, the rejects files and the event files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::store::{Tracking, for_each_file};
use crate::pipeline::event::ShardId;
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{self, Artifact, Folder};
use crate::pipeline::ops::audit::Findings;
use crate::pipeline::ops::audit::rows::{self, Reported, RowDifference};
use crate::pipeline::shard_db::{Census, SentFile};
use crate::pipeline::task::{Digest, FileName, FileView, Ledger, Stage, Status, TaskKey};

/// What the stages reported, by task, file and shard.
#[derive(Default)]
pub(crate) struct Reports {
    pub(crate) ledger: Ledger,
    pub(crate) shards: BTreeSet<ShardId>,
    /// The number of rows that the sender reported, by task.
    delivered: BTreeMap<TaskKey, u64>,
    /// Tasks that the sender has not reported. Their rows may be in the database already.
    delivering: BTreeSet<TaskKey>,
    /// Shards whose worker decided files out of the order of their names, because one had failed.
    pub(crate) out_of_order: BTreeSet<ShardId>,
    /// When the worker finished the last file that was added, by shard.
    worked: BTreeMap<ShardId, Timestamp>,
    /// The number of early returns that a task released.
    pub(crate) released: BTreeMap<TaskKey, u64>,
    /// The number of early returns that a file's tasks hold; `None` until the workers of all its shards have reported.
    held: BTreeMap<FileName, Option<u64>>,
    /// Complete event files with the announced digest, `None` if they were announced without one.
    announced: BTreeMap<FileName, Option<Digest>>,
    pub(crate) rejects: u64,
}

impl Reports {
    /// Whether a worker has reported since these reports were read.
    pub(crate) async fn have_moved_on(&self, tracking: &dyn Tracking) -> crate::base::db::Result<bool> {
        let mut now = Ledger::default();
        for_each_file(tracking, |file| now.add(file)).await?;
        Ok(now.shard_worker != self.ledger.shard_worker)
    }

    pub(crate) fn add(&mut self, file: &FileView, folder: &Folder) -> io::Result<()> {
        self.ledger.add(file);
        if file.all_done(Stage::EventIngest) {
            let output = file.announced();
            self.announced.insert(file.file.clone(), output.map(|output| output.sha256));
        }
        // The splitter counts its rejects with the lowest shard of a file.
        let first = file.shards.first();
        let split_rejects = first.and_then(|shard| shard.result(Stage::ShardSplitter)?.counts).map(|c| c.rejected);
        for shard in &file.shards {
            self.shards.insert(shard.shard);
            let key = TaskKey { file: file.file.clone(), shard: shard.shard };
            let counts = |stage: Stage| shard.result(stage).and_then(|result| result.counts);
            match (shard.status(Stage::MysqlSender), counts(Stage::MysqlSender)) {
                (Status::Done, Some(counts)) => drop(self.delivered.insert(key.clone(), counts.written)),
                _ => drop(self.delivering.insert(key.clone())),
            }
            let held = self.held.entry(file.file.clone()).or_insert(Some(0));
            *held = held.zip(counts(Stage::ShardWorker)).map(|(held, counts)| held.saturating_add(counts.held));
            if let Some(worked) = shard.result(Stage::ShardWorker).map(|result| result.finished_at) {
                // Files come in the order of their names.
                let before = self.worked.insert(shard.shard, worked);
                if before.is_some_and(|before| before > worked) {
                    self.out_of_order.insert(shard.shard);
                }
            }
            if let Some(counts) = counts(Stage::ShardWorker) {
                self.released.insert(key.clone(), counts.released);
                let rejects = folder.path_of(&Artifact::WorkRejects(file.file.clone(), shard.shard));
                self.compare_rejects(&key, &rejects, counts.rejected)?;
            }
        }
        if let (Some(expected), Some(first)) = (split_rejects, first) {
            let key = TaskKey { file: file.file.clone(), shard: first.shard };
            self.compare_rejects(&key, &folder.path_of(&Artifact::SplitRejects(file.file.clone())), expected)?;
        }
        Ok(())
    }

    /// Adds what a check found to the differences.
    pub(crate) fn note(&mut self, shard: Option<ShardId>, found: &Findings) {
        for what in &found.named {
            self.ledger.differ(None, shard, what.clone());
        }
        self.ledger.difference_count += found.differences - found.named.len() as u64;
    }

    fn compare_rejects(&mut self, key: &TaskKey, path: &Path, expected: u64) -> io::Result<()> {
        let found = count_lines(path)?;
        self.rejects += found;
        if found != expected {
            let what = format!("{expected} lines were rejected, {} has {found}", path.display());
            self.ledger.differ(Some(&key.file), Some(key.shard), what);
        }
        Ok(())
    }

    /// Compares the rows of a shard with its markers and the reports.
    pub(crate) async fn compare_rows(
        &mut self,
        shard: ShardId,
        census: &Census,
        tracking: &dyn Tracking,
    ) -> crate::base::db::Result<()> {
        let Self { delivered, released, held, .. } = self;
        let found = rows::compare(census, &Reported { shard, delivered, released, held });
        for RowDifference { file, what } in found {
            self.ledger.differ(file.as_ref(), Some(shard), what);
        }
        for SentFile { file, .. } in &census.sent {
            let key = TaskKey { file: file.clone(), shard };
            let is_known = self.delivered.contains_key(&key) || self.delivering.contains(&key);
            // The file may have been registered after the tracking database was read.
            if !is_known && tracking.find_file(file).await?.is_none() {
                let what = "its rows are in the database, but its task is unknown".to_owned();
                self.ledger.differ(Some(file), Some(shard), what);
            }
        }
        Ok(())
    }

    /// Whether the worker had finished a task when the reports were read. A task that a known file does not have counts as
    /// finished.
    pub(crate) fn is_worked(&self, key: &TaskKey) -> bool {
        let is_task = || self.delivered.contains_key(key) || self.delivering.contains(key);
        self.released.contains_key(key) || (self.held.contains_key(&key.file) && !is_task())
    }

    /// Counts the event files that were not announced, also those in `undelivered/`. A file whose digest is not the
    /// announced one is a difference: it is damaged, or its lines are in no task.
    pub(crate) fn check_event_files(&mut self, folder: &Folder) -> io::Result<u64> {
        let mut unannounced = 0;
        for found in folder::artifacts(folder.events()) {
            let (Artifact::Events(file), path) = found? else {
                continue;
            };
            match self.announced.get(&file) {
                None => unannounced += 1,
                Some(None) => {}
                Some(Some(announced)) => {
                    let found = artifact::open(&path).and_then(|mut f| artifact::digest(&mut f));
                    let what = match found {
                        Ok(found) if found.sha256 == *announced => continue,
                        Ok(found) => format!("its event file has SHA-256 {}, announced was {announced}", found.sha256),
                        // It was cleared after the folder was listed.
                        Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                        Err(e) => e.to_string(),
                    };
                    self.ledger.differ(Some(&file), None, what);
                }
            }
        }
        Ok(unannounced)
    }
}

fn count_lines(path: &Path) -> io::Result<u64> {
    match artifact::open(path) {
        Ok(mut file) => Ok(artifact::digest(&mut file)?.lines),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::ShardCount;
    use crate::pipeline::task::{ShardView, StageResult};

    fn file(second: i64, worked: [i64; 2]) -> FileView {
        let shard = |(number, at): (u64, i64)| {
            let finished_at = Timestamp::from_unix_ms(at);
            let worked = StageResult { finished_at, ..StageResult::of(Stage::ShardWorker) };
            ShardView::of(ShardId::new(number).unwrap(), [Status::Done; 4], vec![worked])
        };
        FileView {
            file: FileName::of(Timestamp::from_unix_ms(second * 1000)),
            shards_count: ShardCount::new(2).unwrap(),
            shards: (0..).zip(worked).map(shard).collect(),
        }
    }

    #[test]
    fn a_shard_whose_worker_left_the_order_of_files_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let mut reports = Reports::default();
        for file in [file(1, [10, 10]), file(2, [20, 40]), file(3, [20, 30])] {
            reports.add(&file, &Folder::new(folder.path())).unwrap();
        }
        assert_eq!(reports.out_of_order, BTreeSet::from([ShardId::new(1).unwrap()]));
    }

    #[test]
    fn differences_beyond_the_named_ones_are_counted() {
        let mut reports = Reports::default();
        let mut found = Findings::default();
        (0..1000).for_each(|number| found.differ(number.to_string()));
        reports.note(None, &found);
        assert_eq!(reports.ledger.difference_count, 1000);
        assert_eq!(reports.ledger.differences[0].what, "0");
    }
}
