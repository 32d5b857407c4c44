//! The stage-status API as the roles call it. Blocking: call it from blocking threads only.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Party, Secret, Settings};
use crate::event::ShardId;
use crate::task::wire::{
    ClaimRequest, ClaimResponse, FileResponse, FilesResponse, HeartbeatResponse, IngestDoneRequest, IngestDoneResponse,
    RegisterRequest, RegisterResponse, SummaryResponse, TaskRequest, TaskResponse,
};
use crate::task::{FileName, Ledger, Output, Stage, Status};

/// How long a call may take, beside the time that a claim waits (contracts 3: 5 s).
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a page of 1000 files with 128 shards each stays below.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Files per page when all are listed.
const PAGE: u32 = 500;

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered, or somebody who cannot help now: try again later.
    #[error("the stage-status API at {url} does not answer ({why}); is 'shopctl apid' running there?")]
    Unavailable {
        /// The base that was called.
        url: String,
        /// What happened.
        why: String,
    },
    /// The API does not take our token, or wants one. A matter of settings, not of the call: the same call succeeds when
    /// they are right.
    #[error("the stage-status API at {url} refuses {} ({status}): {}", if *.sent { "our token" } else { "calls without a token" }, .advice)]
    Denied {
        /// The base that was called.
        url: String,
        /// The HTTP status, 401 or 403.
        status: u16,
        /// Whether a token was sent.
        sent: bool,
        /// What to do about it.
        advice: String,
    },
    /// The API answered no. The call changed nothing, and the same call would be refused again.
    #[error("the stage-status API refused ({status} {code}): {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code of the problem.
        code: String,
        /// What is wrong.
        detail: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed later, when what is around it works again.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Denied { .. })
    }

    /// Whether another worker has the task by now.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A client of one API.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    party: Option<Party>,
    /// What goes into the header.
    authorization: Option<Secret>,
}

/// An RFC 9457 document, as far as it is used.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Problem {
    code: String,
    detail: String,
}

impl Client {
    /// A client that speaks for a party, with that party's first token if there is one.
    pub fn of(settings: &Settings, party: Party) -> Self {
        let token = settings.auth.token(party);
        let authorization = token.map(|token| Secret::new(format!("Bearer {}", token.expose())));
        Self { party: Some(party), authorization, ..Self::new(&settings.pipeline.url) }
    }

    /// A client of the API at this base URL, for calls that change nothing: those need no token.
    pub fn new(base: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CALL_TIMEOUT))
            .max_idle_connections_per_host(8)
            .user_agent(concat!("shopctl/", env!("CARGO_PKG_VERSION")))
            // The API is inside the house: a proxy of the environment is not for it.
            .proxy(None)
            // Nor does it send us elsewhere, and our token goes nowhere else.
            .max_redirects(0)
            .build();
        Self { agent: agent.into(), base: base.to_owned(), party: None, authorization: None }
    }

    /// The base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Creates the tasks of a file.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn register(&self, file: &FileName, shards: Vec<ShardId>) -> Result<RegisterResponse, ClientError> {
        self.post("/files/register", &RegisterRequest { filename: file.clone(), shards }, CALL_TIMEOUT)
    }

    /// Marks an event file as complete.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn ingest_done(&self, file: &FileName, output: Option<Output>) -> Result<IngestDoneResponse, ClientError> {
        let body = IngestDoneRequest { filename: file.clone(), output };
        self.post("/stages/event-ingest/done", &body, CALL_TIMEOUT)
    }

    /// Asks for work, waiting as long as the request says.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn claim(&self, stage: Stage, request: &ClaimRequest) -> Result<ClaimResponse, ClientError> {
        let wait = Duration::from_millis(request.wait_ms.unwrap_or(0));
        self.post(&format!("/queues/{stage}/claim"), request, CALL_TIMEOUT + wait)
    }

    /// Extends a lease.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn heartbeat(&self, stage: Stage, request: &TaskRequest) -> Result<HeartbeatResponse, ClientError> {
        self.post(&format!("/stages/{stage}/heartbeat"), request, CALL_TIMEOUT)
    }

    /// Moves a task: `transition` is `done`, `fail`, `release` or `retry`.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn transition(
        &self,
        stage: Stage,
        transition: &str,
        request: &TaskRequest,
    ) -> Result<TaskResponse, ClientError> {
        self.post(&format!("/stages/{stage}/{transition}"), request, CALL_TIMEOUT)
    }

    /// One file; `None` if it is not registered.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn find_file(&self, file: &FileName) -> Result<Option<FileResponse>, ClientError> {
        match self.get(&format!("/files/{file}")) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A page of files with a task in this status, after a file.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn files_page(
        &self,
        status: Option<Status>,
        after: Option<&FileName>,
        limit: u32,
    ) -> Result<FilesResponse, ClientError> {
        let status = status.map_or_else(String::new, |status| format!("&status={status}"));
        let cursor = after.map_or_else(String::new, |file| format!("&cursor={file}"));
        self.get(&format!("/files?limit={limit}{status}{cursor}"))
    }

    /// Hands every registered file to `visit`, page by page.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn for_each_file(&self, mut visit: impl FnMut(FileResponse)) -> Result<(), ClientError> {
        let mut after = None;
        loop {
            let page = self.files_page(None, after.as_ref(), PAGE)?;
            page.items.into_iter().for_each(&mut visit);
            match page.next_cursor {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The state of everything in numbers.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn summary(&self) -> Result<SummaryResponse, ClientError> {
        self.get("/metrics/summary")
    }

    /// The books, as they were added up last.
    ///
    /// # Errors
    /// [`ClientError`], as for all calls.
    pub fn audit(&self) -> Result<Ledger, ClientError> {
        self.get("/audit")
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.get(&url).config().timeout_global(Some(CALL_TIMEOUT)).build();
        self.answer(request.call())
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.post(&url).config().timeout_global(Some(timeout)).build();
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.expose());
        }
        self.answer(request.send_json(body))
    }

    fn answer<T: DeserializeOwned>(
        &self,
        result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let unavailable = |why: String| ClientError::Unavailable { url: self.base.clone(), why };
        let mut response = result.map_err(|e| unavailable(e.to_string()))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        if (200..300).contains(&status) {
            return body.read_json().map_err(|e| unavailable(format!("its answer cannot be read: {e}")));
        }
        let problem: Problem = body.read_json().unwrap_or_default();
        // 408, 429 and everything from 500: the request is not at fault.
        if status >= 500 || matches!(status, 408 | 429) {
            return Err(unavailable(format!("status {status} {}", problem.detail)));
        }
        if matches!(problem.code.as_str(), "unauthorized" | "forbidden") || status == 401 {
            return Err(self.denied(status));
        }
        Err(ClientError::Refused { status, code: problem.code, detail: problem.detail })
    }

    fn denied(&self, status: u16) -> ClientError {
        let sent = self.authorization.is_some();
        let advice = self.party.map_or_else(
            || "this call was not expected to need one".to_owned(),
            |party| {
                let name = party.name();
                let there =
                    if sent { "to one that the API knows as that of" } else { "to the token that the API has for" };
                format!("set auth.{name} (or auth.{name}_file) {there} {name}")
            },
        );
        ClientError::Denied { url: self.base.clone(), status, sent, advice }
    }
}
