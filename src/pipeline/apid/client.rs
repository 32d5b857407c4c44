//! The stage-status API as the roles call it. Calls block: make them from blocking threads only.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use crate::base::config::Principal;
pub use crate::pipeline::calls::ClientError;
use crate::pipeline::calls::{CALL_TIMEOUT, CallObserver, Caller, Service};
use crate::pipeline::event::ShardId;
use crate::pipeline::settings::Settings;
use crate::pipeline::task::wire::{
    ClaimRequest, ClaimResponse, FileResponse, FilesResponse, HeartbeatResponse, IngestDoneRequest, IngestDoneResponse,
    OldestResponse, ProgressResponse, RegisterRequest, RegisterResponse, SummaryResponse, TaskRequest, TaskResponse,
};
use crate::pipeline::task::{FileName, Output, Stage, Status};

/// Files per page when all are listed.
const PAGE: u32 = 500;

/// A call that ends a claim, or makes a failed task ready again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The stage has finished the task.
    Done,
    /// The attempt failed.
    Fail,
    /// The task is given back.
    Release,
    /// A failed task is to be tried again.
    Retry,
}

impl Transition {
    /// What it is called in the path of the call.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Fail => "fail",
            Self::Release => "release",
            Self::Retry => "retry",
        }
    }
}

/// A client of one API.
#[derive(Clone)]
pub struct Client(Caller);

impl Client {
    /// The same client with an observer of its calls.
    pub(crate) fn observed(self, observer: CallObserver) -> Self {
        Self(self.0.observed(observer))
    }

    /// A client that speaks for a principal, with that principal's first token if there is one.
    pub fn of(settings: &Settings, principal: Principal) -> Self {
        Self(Caller::of(Service::Status, &settings.pipeline.url, settings, principal))
    }

    /// A client of the API at this base URL, for calls that change nothing: those need no token.
    pub fn new(base: &str) -> Self {
        Self(Caller::new(Service::Status, base))
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        self.0.base()
    }

    /// Creates the tasks of a file.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn register(&self, file: &FileName, shards: Vec<ShardId>) -> Result<RegisterResponse, ClientError> {
        self.0.post("/files/register", &RegisterRequest { filename: file.clone(), shards }, CALL_TIMEOUT)
    }

    /// Marks an event file as complete.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn ingest_done(&self, file: &FileName, output: Option<Output>) -> Result<IngestDoneResponse, ClientError> {
        let body = IngestDoneRequest { filename: file.clone(), output };
        self.0.post("/stages/event-ingest/done", &body, CALL_TIMEOUT)
    }

    /// Asks for work, waiting as long as the request says.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn claim(&self, stage: Stage, request: &ClaimRequest) -> Result<ClaimResponse, ClientError> {
        let wait = Duration::from_millis(request.wait_ms.unwrap_or(0));
        self.0.post(&format!("/queues/{stage}/claim"), request, CALL_TIMEOUT + wait)
    }

    /// Extends a lease.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn heartbeat(&self, stage: Stage, request: &TaskRequest) -> Result<HeartbeatResponse, ClientError> {
        self.0.post(&format!("/stages/{stage}/heartbeat"), request, CALL_TIMEOUT)
    }

    /// Moves a task.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn transition(
        &self,
        stage: Stage,
        transition: Transition,
        request: &TaskRequest,
    ) -> Result<TaskResponse, ClientError> {
        self.0.post(&format!("/stages/{stage}/{}", transition.name()), request, CALL_TIMEOUT)
    }

    /// One file; `None` if it is not registered.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn find_file(&self, file: &FileName) -> Result<Option<FileResponse>, ClientError> {
        match self.0.get(&format!("/files/{file}")) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The oldest event file that this stage has neither done nor given up in some shard, beside that one.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn oldest_unfinished(&self, stage: Stage, besides: &FileName) -> Result<Option<FileName>, ClientError> {
        let found: OldestResponse = self.0.get(&format!("/queues/{stage}/oldest?besides={besides}"))?;
        Ok(found.filename)
    }

    /// A page of files with a task in this status, in any stage or in that one, after a file.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub(crate) fn files_page(
        &self,
        status: Option<(Status, Option<Stage>)>,
        after: Option<&FileName>,
        limit: u32,
    ) -> Result<FilesResponse, ClientError> {
        let of_stage = |stage: Stage| format!("&stage={stage}");
        let of_status = |(status, stage): (Status, Option<Stage>)| {
            format!("&status={status}{}", stage.map_or_else(String::new, of_stage))
        };
        let status = status.map_or_else(String::new, of_status);
        let cursor = after.map_or_else(String::new, |file| format!("&cursor={file}"));
        self.0.get(&format!("/files?limit={limit}{status}{cursor}"))
    }

    /// Hands every file to `visit` that has a task of this stage in this status, page by page.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub(crate) fn for_each_in(
        &self,
        stage: Stage,
        status: Status,
        mut visit: impl FnMut(FileResponse),
    ) -> Result<(), ClientError> {
        let mut after = None;
        loop {
            let page = self.files_page(Some((status, Some(stage))), after.as_ref(), PAGE)?;
            page.items.into_iter().for_each(&mut visit);
            match page.next_cursor {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Hands those of these files that are registered to `visit`, page by page, until it answers false. What lies
    /// between them is passed over: what this costs does not grow with all that ever was registered.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn for_each_of(
        &self,
        files: &BTreeSet<FileName>,
        mut visit: impl FnMut(FileResponse) -> bool,
    ) -> Result<(), ClientError> {
        let mut next = files.first();
        while let Some(first) = next {
            let left = u32::try_from(files.range(first..).take(PAGE as usize).count()).unwrap_or(PAGE);
            let page = self.files_page(None, first.previous_second().as_ref(), left)?;
            for file in page.items.into_iter().filter(|file| files.contains(&file.filename)) {
                if !visit(file) {
                    return Ok(());
                }
            }
            next = page.next_cursor.and_then(|last| files.range((Bound::Excluded(last), Bound::Unbounded)).next());
        }
        Ok(())
    }

    /// How the stages get on, by stage and shard.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn progress(&self) -> Result<ProgressResponse, ClientError> {
        self.0.get("/status")
    }

    /// The state of everything in numbers.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn summary(&self) -> Result<SummaryResponse, ClientError> {
        self.0.get("/metrics/summary")
    }
}
