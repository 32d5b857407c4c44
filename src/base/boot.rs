//! What all roles share: settings, log, bind, serve, drain, exit code.

use std::future::Future;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use serde::Serialize;

use crate::base::clock::Clock;
use crate::base::db::StoreUrl;
use crate::base::http::{self, Bound, Guard, Limits, Metrics, Policy, Readiness, probes};
use crate::base::shutdown::Stop;
use crate::pipeline::addresses::{self, Identity, Published};
use crate::pipeline::apid::client::ClientError;
use crate::pipeline::calls::{Call, CallObserver};
use crate::pipeline::claim::driver::{Finished, Watch};
use crate::pipeline::claim::fault::Fault;
use crate::pipeline::event::ShardId;
use crate::pipeline::files::hold::{self, Held};
use crate::pipeline::ingest::csv::InputError;
use crate::pipeline::ingest::once::OnceError;
use crate::pipeline::ingest::settle::SettleError;
use crate::pipeline::settings::{Loaded, Settings};
use crate::pipeline::task::Stage;

/// Bytes of a request's body where a role has no other limit: probes need none.
const PROBE_BODY_BYTES_MAX: usize = 1024;
/// How long a role that has nothing to do counts as not ready because of its last failure: longer than the longest
/// default wait between two attempts.
const TROUBLE_HOLDS: Duration = Duration::from_secs(120);

/// Writes to the standard output. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// [`Failure`] when the output cannot be written.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Writes much to the standard output, in blocks. A reader that has seen enough ends it, and is no failure.
///
/// # Errors
/// [`Failure`] when the output cannot be written, and whatever `write` fails with.
pub fn say_much(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Writes something as JSON to the standard output, for programs.
///
/// # Errors
/// As [`say`].
pub fn say_json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).map_err(|e| Failure::new(e.to_string()))?;
    say(&format!("{json}\n"))
}

/// A duration of the settings as the stores take it.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or stopped on request.
    Ok = 0,
    /// Something failed; the last message says what.
    Failed = 1,
    /// `status`: something waits and nothing moves.
    Stuck = 2,
    /// Bad usage or settings; nothing was touched.
    Usage = 64,
    /// Something that is needed does not answer: try again later.
    TryLater = 75,
}

/// Why a role ended, in one sentence for a person.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with exit code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into() }
    }

    /// A failure of usage or settings.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Io(e) => e.into(),
            wrong => Self::usage(wrong.to_string()),
        }
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::new(format!("a part of the process ended abnormally: {error}"))
    }
}

impl From<crate::base::db::Error> for Failure {
    fn from(error: crate::base::db::Error) -> Self {
        let exit = if error.is_temporary() { Exit::TryLater } else { Exit::Failed };
        Self { exit, message: error.to_string() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = if error.is_away() { Exit::TryLater } else { Exit::Failed };
        Self { exit, message: error.to_string() }
    }
}

impl From<OnceError> for Failure {
    fn from(error: OnceError) -> Self {
        match error {
            OnceError::Call(e) => e.into(),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<SettleError> for Failure {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Once(e) => e.into(),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let exit = if matches!(fault, Fault::Unavailable(_)) { Exit::TryLater } else { Exit::Failed };
        Self { exit, message: fault.to_string() }
    }
}

/// What a role runs with.
pub struct Context {
    /// The role's name (docs/contracts.md, 8).
    pub name: &'static str,
    /// The only shard that it works for.
    pub shard: Option<ShardId>,
    /// The settings.
    pub settings: Arc<Settings>,
    /// The clock.
    pub clock: Clock,
    /// When to stop.
    pub stop: Stop,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its readiness.
    pub readiness: Readiness,
    /// Its listener, if the caller has bound it already.
    pub bound: Option<Bound>,
}

impl Context {
    /// What a role of this name runs with.
    pub fn new(name: &'static str, settings: Arc<Settings>, stop: Stop) -> Self {
        Self {
            name,
            shard: None,
            settings,
            clock: Clock::System,
            stop,
            metrics: Metrics::new(),
            readiness: Readiness::new(),
            bound: None,
        }
    }

    /// The settings of a process as a context; says at debug level what they are.
    pub fn of_process(name: &'static str, loaded: &Loaded, stop: Stop) -> Self {
        log::debug!(role = name; "settings: {}", loaded.show(false));
        for setting in loaded.exposed() {
            log::warn!(setting; "a secret on the command line can be read by everybody on this machine: use the environment or a file");
        }
        Self::new(name, Arc::new(loaded.settings.clone()), stop)
    }

    /// The shard's database, if it is there. On a server those of the settings are, and those that are named.
    ///
    /// # Errors
    /// [`Failure`] when the settings have no place for it.
    pub fn find_shard_database(&self, shard: ShardId, is_named: bool) -> Result<Option<StoreUrl>, Failure> {
        let url = self.settings.database.shard(shard).map_err(Failure::usage)?;
        let is_expected = is_named || shard.get() < self.settings.pipeline.shards_count.get();
        Ok(url.embedded_exists().unwrap_or(is_expected).then_some(url))
    }

    /// Binds the role's port; the policy says which principal may change what there.
    ///
    /// # Errors
    /// [`Failure`] when the port cannot be bound.
    pub async fn bind(&mut self, default_port: u16, policy: Policy) -> Result<(), Failure> {
        if self.bound.is_none() {
            let guard = Guard::new(&self.settings.auth, policy, &self.metrics);
            self.bound = Some(http::bind(&self.settings.server, guard, default_port).await?);
        }
        Ok(())
    }

    /// Keeps `shopctl restore` off the shared folder until what is answered is dropped.
    ///
    /// # Errors
    /// [`Failure`] while a restore is at work.
    pub fn hold_shared(&self) -> Result<Held, Failure> {
        hold::while_running(&self.settings.shared.dir).ok_or_else(|| {
            let shared = self.settings.shared.dir.display();
            let message = format!("'shopctl restore' is at work on {shared}; try again when it has ended");
            Failure { exit: Exit::TryLater, message }
        })
    }

    /// Serves the probes while `work` runs; draining ends with the work, not before it.
    ///
    /// # Errors
    /// [`Failure`] of the work, or of the listener.
    pub async fn serve_probes(self, work: impl Future<Output = Result<(), Failure>>) -> Result<Exit, Failure> {
        self.serve(Router::new(), PROBE_BODY_BYTES_MAX, work).await
    }

    /// Serves `routes` and the probes on the bound port while `work` runs.
    ///
    /// # Errors
    /// [`Failure`] of the work, or of the listener.
    pub async fn serve(
        mut self,
        routes: Router,
        body_bytes_max: usize,
        work: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Exit, Failure> {
        let Some(bound) = self.bound.take() else {
            return Err(Failure::new("there is no listener"));
        };
        let _held = self.hold_shared()?;
        let identity = Identity::new(self.name, self.shard);
        let _noted = self.note_address(identity.clone(), &bound).await;
        log::info!(role = self.name, addr:% = bound.addr(), version = env!("CARGO_PKG_VERSION"), commit = env!("SHOPCTL_COMMIT"); "listening");
        let probes = probes::routes(
            self.readiness.clone(),
            self.metrics.clone(),
            self.stop.clone(),
            serde_json::json!(identity),
        );
        let router = self.metrics.track(probes::with_fallbacks(routes.merge(probes)));
        let limits = Limits::new(&self.settings.server, body_bytes_max);
        let server_stop = Stop::new();
        let server = http::serve(bound, router, limits, server_stop.clone());
        tokio::pin!(server);
        tokio::pin!(work);
        let result = tokio::select! {
            result = &mut work => result,
            result = &mut server => return Err(Failure::new(format!("the listener ended: {result:?}"))),
        };
        self.readiness.begin_drain();
        server_stop.request();
        tokio::select! {
            served = &mut server => served?,
            () = self.stop.ended() => {}
        }
        log::info!(role = self.name; "stopped");
        result.map(|()| Exit::Ok)
    }

    /// Notes the role's address in the shared folder until the note is dropped. Without it the role works as well.
    async fn note_address(&self, identity: Identity, bound: &Bound) -> Option<Published> {
        let (settings, clock, addr) = (Arc::clone(&self.settings), self.clock.clone(), bound.addr());
        let publish = move || addresses::publish(&settings.shared.dir, identity, addr, &clock);
        match tokio::task::spawn_blocking(publish).await.map_err(std::io::Error::other).flatten() {
            Ok(published) => Some(published),
            Err(e) => {
                log::warn!(role = self.name; "commands on this folder cannot find this role by themselves: {e}");
                None
            }
        }
    }

    /// The observer that measures the calls to other roles.
    pub fn call_observer(&self) -> CallObserver {
        let metrics = self.metrics.clone();
        Arc::new(move |call: Call| metrics.observe_call(call.service.name(), call.route, call.outcome, call.took))
    }

    /// The observer that counts what a driver does.
    pub fn watch(&self) -> RoleWatch {
        RoleWatch {
            metrics: self.metrics.clone(),
            readiness: self.readiness.clone(),
            clock: self.clock.clone(),
            troubled: Arc::default(),
        }
    }
}

/// Turns what a driver tells into metrics and readiness.
#[derive(Clone)]
pub struct RoleWatch {
    metrics: Metrics,
    readiness: Readiness,
    clock: Clock,
    /// When work was last given back as unavailable.
    troubled: Arc<Mutex<Option<Instant>>>,
}

impl Watch for RoleWatch {
    fn task_over(&self, stage: Stage, outcome: &'static str, took: Duration, finished: Option<&Finished>) {
        self.metrics.observe_task(stage.name(), outcome, took.as_secs_f64());
        let Some(finished) = finished else {
            return;
        };
        let counts = finished.counts;
        for (outcome, lines) in
            [("written", counts.written), ("duplicate", counts.duplicate), ("rejected", counts.rejected)]
        {
            self.metrics.add_lines(stage.name(), outcome, lines);
        }
        for (reason, lines) in finished.reasons.iter() {
            self.metrics.add_rejected(stage.name(), reason, lines);
        }
        if let Some(output) = finished.output {
            self.metrics.add_bytes(stage.name(), output.bytes);
        }
        self.metrics.processed(stage.name(), self.clock.now().unix_ms() as f64 / 1000.0);
    }

    fn api_answers(&self, problem: Option<String>) {
        self.readiness.set("apid", problem);
    }

    fn unavailable(&self, problem: Option<String>) {
        *self.troubled.lock().unwrap_or_else(PoisonError::into_inner) = problem.as_ref().map(|_| Instant::now());
        self.readiness.set("work", problem);
    }

    fn idle(&self) {
        // Another worker may have done what failed here; between two attempts there is nothing to do either.
        let troubled = *self.troubled.lock().unwrap_or_else(PoisonError::into_inner);
        if troubled.is_some_and(|since| since.elapsed() > TROUBLE_HOLDS) {
            self.unavailable(None);
        }
    }
}

/// A name for a worker that no other has: host, process and a random part.
pub fn worker_name() -> String {
    format!("{}-{}-{}", addresses::host_name(), std::process::id(), crate::pipeline::claim::driver::random_id())
}
