//! A worker that may have to wait for its state.
//!
//! A state that is missing is either that of a new shard or was lost; only the API knows which. A worker that began
//! with an empty state in place of a lost one would accept orders twice.

use super::Worker;
use crate::pipeline::apid::client::{Client, ClientError};
use crate::pipeline::claim::driver::{Finished, Job};
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::claim::lease::Lease;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::{Claimed, Class, FileName, Stage, TaskKey};

/// Files per page.
const PAGE: u32 = 100;

/// A worker that is opened once it is known that it may be.
pub struct LazyWorker {
    open: Box<dyn FnMut() -> Result<Worker, Fault> + Send>,
    worker: Option<Worker>,
}

impl LazyWorker {
    /// A worker that is opened by this, with the first task at the latest.
    pub fn new(open: impl FnMut() -> Result<Worker, Fault> + Send + 'static) -> Self {
        Self { open: Box::new(open), worker: None }
    }

    /// The worker.
    ///
    /// # Errors
    /// Why it cannot be opened now.
    pub fn worker(&mut self) -> Result<&mut Worker, Fault> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => (self.open)()?,
        };
        Ok(self.worker.insert(worker))
    }
}

impl Job for LazyWorker {
    fn stage(&self) -> Stage {
        Stage::ShardWorker
    }

    fn work(&mut self, claimed: &[Claimed], lease: &Lease) -> Result<Vec<Finished>, Fault> {
        let result = self.worker()?.work(claimed, lease);
        // A connection stays read-only when the file may be written again: the state is opened anew with the next task.
        if let Err(Fault::Unavailable(why)) = &result
            && Class::find(why) == Some(Class::DatabaseReadOnly)
        {
            self.worker = None;
        }
        result
    }

    fn reported(&mut self, key: &TaskKey) {
        if let Some(worker) = &mut self.worker {
            worker.reported(key);
        }
    }
}

/// A file that the shard's worker has decided, by its report.
///
/// # Errors
/// [`ClientError`] when the API does not answer.
pub(crate) fn find_decided(client: &Client, shard: ShardId) -> Result<Option<FileName>, ClientError> {
    // A shard that is new to a long history is found out at once.
    if !client.summary()?.by_shard.iter().any(|of| of.shard == shard && of.total > 0) {
        return Ok(None);
    }
    let mut after = None;
    loop {
        let page = client.files_page(None, after.as_ref(), PAGE)?;
        let decided = page.items.iter().find(|file| {
            let reported = |result: &crate::pipeline::task::wire::ResultItem| result.counts.is_some();
            file.shards.iter().any(|own| own.shard == shard && own.result(Stage::ShardWorker).is_some_and(reported))
        });
        match (decided, page.next_cursor) {
            (Some(file), _) => return Ok(Some(file.filename.clone())),
            (None, Some(next)) => after = Some(next),
            (None, None) => return Ok(None),
        }
    }
}
