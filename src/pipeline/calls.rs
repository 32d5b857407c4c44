//! Calls of our own services, and what can come of one. Blocking: call from blocking threads only.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::unversioned::transport::DefaultConnector;

use crate::base::boot::{Exit, Failure};
use crate::base::config::{Auth, Principal, Secret};
use crate::base::http::resolver::AddressesFirst;
use crate::pipeline::settings::Settings;

/// How long a call may take, unless it waits for work or moves much (docs/contracts.md, 3).
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call about thousands of entries may take: the store gives its transaction up after 30 s.
pub(super) const BATCH_TIMEOUT: Duration = Duration::from_secs(45);
/// Bytes of an answer: a page of 1000 files with 128 shards each stays below.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A service of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// pipeline-apid.
    Status,
    /// balance-daemon.
    Balance,
    /// cache-service.
    Cache,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The service did not answer, or cannot serve the call now: try again later.
    #[error("{service} at {url} does not answer ({why}); is 'shopctl {}' running there?", .service.command())]
    Unavailable {
        /// The service that was called.
        service: Service,
        /// The base that was called.
        url: String,
        /// What happened.
        why: String,
    },
    /// The service is there and cannot help now: try again later.
    #[error("{service} at {url} answers {status}: {}", if .detail.is_empty() { "it says no more; read its log" } else { .detail })]
    Failing {
        /// The service that was called.
        service: Service,
        /// The base that was called.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        detail: String,
    },
    /// The service does not take our token, or wants one. A matter of settings, not of the call: the same call succeeds
    /// when they are right.
    #[error("{service} at {url} refuses {} ({status}): {}", if *.sent { "our token" } else { "calls without a token" }, .advice)]
    Denied {
        /// The service that was called.
        service: Service,
        /// The base that was called.
        url: String,
        /// The HTTP status, 401 or 403.
        status: u16,
        /// Whether a token was sent.
        sent: bool,
        /// What to do about it.
        advice: String,
    },
    /// The service answered no. The call changed nothing, and the same call would be refused again.
    #[error("{service} refused ({status} {code}): {detail}")]
    Refused {
        /// The service that was called.
        service: Service,
        /// The HTTP status.
        status: u16,
        /// The stable code of the problem.
        code: String,
        /// What is wrong.
        detail: String,
        /// The key that the refusal is about, where it is about one.
        key: Option<String>,
    },
}

impl Service {
    /// What it is called in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "pipeline-apid",
            Self::Balance => "balance-daemon",
            Self::Cache => "cache-service",
        }
    }

    /// The subcommand that runs it.
    const fn command(self) -> &'static str {
        match self {
            Self::Status => "apid",
            Self::Balance => "balance",
            Self::Cache => "cache",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "the stage-status API",
            Self::Balance => "the balance-daemon",
            Self::Cache => "the cache-service",
        })
    }
}

impl ClientError {
    /// What it is called in metrics.
    const fn name(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Failing { .. } => "failing",
            Self::Denied { .. } => "denied",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether the same call may succeed later, once the service answers or the token is put right.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Failing { .. } | Self::Denied { .. })
    }

    /// Whether there was no answer, or none that helps: the service may have to be started, or to come back.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Failing { .. })
    }

    /// Whether another worker has the task by now.
    pub fn is_task_taken(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// The key that stands for something else already, where the service says so.
    pub fn conflicting_key(&self) -> Option<&str> {
        match self {
            Self::Refused { code, key, .. } if code == "key_conflict" => key.as_deref(),
            _ => None,
        }
    }

    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A call that is over.
#[derive(Debug, Clone)]
pub struct Call {
    /// The service that was called.
    pub service: Service,
    /// What was called, with `{n}` in place of every number.
    pub route: String,
    /// `ok`, `unavailable`, `denied` or `refused`.
    pub outcome: &'static str,
    /// How long it took, up to the end of the answer.
    pub took: Duration,
}

/// The observer of calls.
pub type CallObserver = Arc<dyn Fn(Call) + Send + Sync>;

/// Calls one service.
#[derive(Clone)]
pub(super) struct Caller {
    agent: ureq::Agent,
    service: Service,
    base: String,
    principal: Option<Principal>,
    /// Where its token is, which may be replaced meanwhile.
    auth: Auth,
    observer: Option<CallObserver>,
}

/// An RFC 9457 document, as far as it is used.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct CallProblem {
    code: String,
    detail: String,
    key: Option<String>,
}

impl Caller {
    /// Calls that speak for a principal, with its first token if there is one.
    pub(super) fn of(service: Service, base: &str, settings: &Settings, principal: Principal) -> Self {
        Self { principal: Some(principal), auth: settings.auth.clone(), ..Self::new(service, base) }
    }

    /// Calls that change nothing: those need no token.
    pub(super) fn new(service: Service, base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CALL_TIMEOUT))
            .max_idle_connections_per_host(8)
            .user_agent(concat!("shopctl/", env!("CARGO_PKG_VERSION")))
            // The service is inside the house: a proxy of the environment is not for it.
            .proxy(None)
            // Nor does it send us elsewhere, and our token goes nowhere else.
            .max_redirects(0)
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), AddressesFirst::default());
        Self { agent, service, base: base.to_owned(), principal: None, auth: Auth::default(), observer: None }
    }

    /// The same calls with an observer.
    pub(super) fn observed(self, observer: CallObserver) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The base URL.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.get(&url).config().timeout_global(Some(CALL_TIMEOUT)).build();
        self.told(path, || self.answer(request.call()))
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let url = format!("{}{path}", self.base);
        let mut request = self.agent.post(&url).config().timeout_global(Some(timeout)).build();
        if let Some(token) = self.token() {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        // ureq's own send_json indents: half as many bytes again for a batch of operations.
        let body = serde_json::to_vec(body).map_err(|e| self.unavailable(format!("cannot write the call: {e}")))?;
        self.told(path, || self.answer(request.content_type("application/json").send(body)))
    }

    fn told<T>(&self, path: &str, call: impl FnOnce() -> Result<T, ClientError>) -> Result<T, ClientError> {
        let began = Instant::now();
        let result = call();
        if let Some(observer) = &self.observer {
            let outcome = result.as_ref().map_or_else(ClientError::name, |_| "ok");
            observer(Call { service: self.service, route: route_of(path), outcome, took: began.elapsed() });
        }
        result
    }

    /// The token that is sent at this moment.
    fn token(&self) -> Option<Secret> {
        self.principal.and_then(|principal| self.auth.token(principal))
    }

    /// An answer that does not fit what was asked: as good as none.
    pub(super) fn unavailable(&self, why: impl Into<String>) -> ClientError {
        ClientError::Unavailable { service: self.service, url: self.base.clone(), why: why.into() }
    }

    fn answer<T: DeserializeOwned>(
        &self,
        result: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, ClientError> {
        let mut response = result.map_err(|e| self.unavailable(e.to_string()))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        if (200..300).contains(&status) {
            return body.read_json().map_err(|e| self.unavailable(format!("its answer cannot be read: {e}")));
        }
        let problem: CallProblem = body.read_json().unwrap_or_default();
        // 408, 429 and everything from 500: the request is not at fault.
        if status >= 500 || matches!(status, 408 | 429) {
            let (service, url) = (self.service, self.base.clone());
            return Err(ClientError::Failing { service, url, status, detail: problem.detail });
        }
        if matches!(problem.code.as_str(), "unauthorized" | "forbidden") || status == 401 {
            return Err(self.denied(status));
        }
        let CallProblem { code, detail, key } = problem;
        Err(ClientError::Refused { service: self.service, status, code, detail, key })
    }

    fn denied(&self, status: u16) -> ClientError {
        let sent = self.token().is_some();
        let advice = self.principal.map_or_else(
            || "this call was not expected to need one".to_owned(),
            |principal| {
                let (name, service) = (principal.name(), self.service);
                let token = format!("set auth.{name} (or auth.{name}_file) to");
                if sent {
                    format!("{token} one that {service} knows as that of {name}")
                } else {
                    format!("{token} the token that {service} has for {name}")
                }
            },
        );
        ClientError::Denied { service: self.service, url: self.base.clone(), status, sent, advice }
    }
}

/// The path without what differs from call to call: its query, and the numbers of files, orders and users.
fn route_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = path.split('/').map(|part| if is_number(part) { "{n}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = if error.is_away() { Exit::TryLater } else { Exit::Failed };
        Self { exit, message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::settings::principal;

    #[test]
    fn a_route_names_no_file_and_no_order() {
        for (path, route) in [
            ("/files/20250101000000", "/files/{n}"),
            ("/files?limit=10&status=failed", "/files"),
            ("/queues/shard-worker/claim", "/queues/shard-worker/claim"),
            ("/api/v1/pending/4711?limit=1", "/api/v1/pending/{n}"),
        ] {
            assert_eq!(route_of(path), route);
        }
    }

    #[test]
    fn advice_about_a_token_names_the_service_that_refused() {
        for (service, name) in [
            (Service::Status, "stage-status API"),
            (Service::Balance, "balance-daemon"),
            (Service::Cache, "cache-service"),
        ] {
            let silent =
                Caller { principal: Some(principal::SHARD_WORKER), ..Caller::new(service, "http://127.0.0.1:1") };
            let auth = Auth::new(false, vec![(principal::SHARD_WORKER, Secret::new("canary"))]);
            let known = Caller { auth, ..silent.clone() };
            let text = |caller: &Caller| caller.denied(401).to_string();
            assert!(text(&known).ends_with(&format!("to one that the {name} knows as that of shard_worker")), "{name}");
            assert!(text(&silent).ends_with(&format!("to the token that the {name} has for shard_worker")), "{name}");
            assert!(text(&known).contains("auth.shard_worker_file") && !text(&known).contains("canary"), "{name}");
        }
    }
}
