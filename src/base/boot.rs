//! What all roles of all systems share: settings, log, bind, serve, drain, exit code. What a system adds, and what its
//! errors come to as a [`Failure`], is in the system.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::base::clock::Clock;
use crate::base::config::{Loaded, Sections, Server};
use crate::base::http::{self, Bound, Guard, Limits, Metrics, Policy, Readiness, Routes, probes};
use crate::base::shutdown::Stop;

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

/// What a role runs with.
pub struct Context<S> {
    /// The role's name (docs/contracts.md, 8).
    pub name: &'static str,
    /// The settings of its system.
    pub settings: Arc<S>,
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
    /// More listeners of the same routes.
    pub more: Vec<Bound>,
}

impl<S: Sections + Clone> Context<S> {
    /// What a role of this name runs with.
    pub fn new(name: &'static str, settings: Arc<S>, stop: Stop) -> Self {
        Self {
            name,
            settings,
            clock: Clock::System,
            stop,
            metrics: Metrics::new(),
            readiness: Readiness::new(),
            bound: None,
            more: Vec::new(),
        }
    }

    /// The settings of a process as a context; says at debug level what they are.
    pub fn of_process(name: &'static str, loaded: &Loaded<S>, stop: Stop) -> Self {
        log::debug!(role = name; "settings: {}", loaded.show(false));
        for setting in loaded.exposed() {
            log::warn!(setting; "a secret on the command line can be read by everybody on this machine: use the environment or a file");
        }
        Self::new(name, Arc::new(loaded.settings.clone()), stop)
    }

    /// Binds the role's port; the policy says which principal may change what there.
    ///
    /// # Errors
    /// [`Failure`] when the port cannot be bound.
    pub async fn bind(&mut self, default_port: u16, policy: Policy) -> Result<(), Failure> {
        if self.bound.is_none() {
            let guard = Guard::new(self.settings.auth(), policy, &self.metrics);
            self.bound = Some(http::bind(self.settings.server(), guard, default_port).await?);
        }
        Ok(())
    }

    /// Binds one more port for the same routes.
    ///
    /// # Errors
    /// As [`Context::bind`].
    pub async fn bind_more(&mut self, port: u16, policy: Policy) -> Result<SocketAddr, Failure> {
        let server = Server { port: Some(port), ..self.settings.server().clone() };
        let guard = Guard::new(self.settings.auth(), policy, &self.metrics);
        let bound = http::bind(&server, guard, port).await?;
        let addr = bound.addr();
        self.more.push(bound);
        Ok(addr)
    }

    /// Where the role listens, once it is bound.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.bound.as_ref().map(Bound::addr)
    }

    /// Serves `routes` and the probes on the bound port while `work` runs; draining ends with the work, not before it.
    /// `identity` is what `/version` says of the role beside the version.
    ///
    /// # Errors
    /// [`Failure`] of the work, or of the listener.
    pub async fn serve(
        mut self,
        identity: serde_json::Value,
        routes: impl Into<Routes>,
        body_bytes_max: usize,
        work: impl Future<Output = Result<(), Failure>>,
    ) -> Result<Exit, Failure> {
        let Some(bound) = self.bound.take() else {
            return Err(Failure::new("there is no listener"));
        };
        log::info!(role = self.name, addr:% = bound.addr(), version = env!("CARGO_PKG_VERSION"), commit = env!("SHOPCTL_COMMIT"); "listening");
        let probes = probes::routes(self.readiness.clone(), self.metrics.clone(), self.stop.clone(), identity);
        let Routes { calls, streams } = routes.into();
        let calls = probes::with_fallbacks(calls.merge(probes));
        let routes = Routes { calls, streams }.map(|routes| self.metrics.track(routes));
        let limits = Limits::new(self.settings.server(), body_bytes_max);
        let server_stop = Stop::new();
        let serve = |bound: Bound| http::serve(bound, routes.clone(), limits.clone(), server_stop.clone());
        let servers = [bound].into_iter().chain(std::mem::take(&mut self.more)).map(serve);
        let server = futures_util::future::try_join_all(servers);
        tokio::pin!(server);
        tokio::pin!(work);
        let result = tokio::select! {
            result = &mut work => result,
            result = &mut server => return Err(Failure::new(format!("the listener ended: {result:?}"))),
        };
        self.readiness.begin_drain();
        server_stop.request();
        tokio::select! {
            served = &mut server => drop(served?),
            () = self.stop.ended() => {}
        }
        log::info!(role = self.name; "stopped");
        result.map(|()| Exit::Ok)
    }
}
