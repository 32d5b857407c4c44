//! The tracking store with an observer of its calls. Every method of the trait stands here once, also those that have a default: a
//! method that is added to the trait is added here.

use std::sync::Arc;

use super::lease_end::LeaseEnd;
use super::store::{FilePage, FileQuery, Registered, StageReport, TaskTally, Tracking};
use crate::base::timestamp::Timestamp;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::view::Queued;
use crate::pipeline::task::{
    Call, Claim, Claimed, FileName, FileView, Output, Stage, Status, Summary, TaskKey, TaskProgress,
};
use crate::pipeline::timed::{Observer, Timed, timed};

/// The tracking store with an observer.
pub fn tracking(inner: Arc<dyn Tracking>, observer: Observer) -> Arc<dyn Tracking> {
    Arc::new(Timed::new("tracking", inner, observer))
}

timed! {
    Tracking {
        fn lease_ms(&self) -> u64 {
            self.inner.lease_ms()
        }

        fn take_lease_ends(&self) -> Vec<LeaseEnd> {
            self.inner.take_lease_ends()
        }
    }
    fn ping(&self) -> ();
    fn register(&self, file: &FileName, shards: &[ShardId]) -> Registered;
    fn ingest_done(&self, file: &FileName, output: Option<Output>) -> u64;
    fn apply(&self, key: &TaskKey, stage: Stage, call: Call, report: StageReport) -> Status;
    fn claim(&self, claim: &Claim) -> Vec<Claimed>;
    fn queue(&self, stage: Stage, limit: u32, offset: u32) -> Vec<Queued>;
    fn find_file(&self, file: &FileName) -> Option<FileView>;
    fn list_files(&self, query: &FileQuery) -> FilePage;
    fn summary(&self) -> Summary;
    fn oldest_unfinished(&self, stage: Stage, besides: &FileName) -> Option<FileName>;
    fn oldest_open(&self) -> Option<Timestamp>;
    fn tally(&self, mark: u64) -> TaskTally;
    fn progress(&self) -> TaskProgress;
    fn note_asker(&self, stage: Stage, shard: Option<ShardId>, worker: &str) -> ();
}
