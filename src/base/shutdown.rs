//! Two-phase stop: the first signal drains, the second one or the deadline ends at once. Shortly before the deadline
//! work that is still going on is given back, so that the drain ends in time and nothing waits for a lease.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Work that is not finished after this part of the deadline is given back.
const GIVE_BACK_AT: f64 = 0.6;

/// Shared by everything that runs; cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    drain: CancellationToken,
    give_back: CancellationToken,
    end: CancellationToken,
}

impl Stop {
    /// A stop that is not requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop of a part: it is asked for with this one, or alone.
    pub fn child(&self) -> Self {
        let Self { drain, give_back, end } = self;
        Self { drain: drain.child_token(), give_back: give_back.child_token(), end: end.child_token() }
    }

    /// Asks everything to finish what it has begun and to begin nothing new.
    pub fn request(&self) {
        self.drain.cancel();
    }

    /// Asks for unfinished work to be given back: the deadline is near.
    pub fn give_back(&self) {
        self.drain.cancel();
        self.give_back.cancel();
    }

    /// Ends everything now; what is unfinished is as safe as after kill -9.
    pub fn end_now(&self) {
        self.drain.cancel();
        self.give_back.cancel();
        self.end.cancel();
    }

    /// Whether draining has begun.
    pub fn is_requested(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether work that goes on has to be given back.
    pub fn is_giving_back(&self) -> bool {
        self.give_back.is_cancelled()
    }

    /// Whether the drain is over, finished or not.
    pub fn is_ended(&self) -> bool {
        self.end.is_cancelled()
    }

    /// Resolves when draining begins.
    pub async fn requested(&self) {
        self.drain.cancelled().await;
    }

    /// Resolves when everything has to end now.
    pub async fn ended(&self) {
        self.end.cancelled().await;
    }

    /// Waits on a blocking thread of the runtime; true if the wait was cut short by the stop.
    pub fn wait(&self, duration: Duration) -> bool {
        tokio::runtime::Handle::current()
            .block_on(async { tokio::time::timeout(duration, self.requested()).await.is_ok() })
    }

    /// Listens for SIGTERM and SIGINT: the first drains for at most `deadline`, the second ends.
    ///
    /// # Errors
    /// Whatever the system says when the handlers cannot be installed.
    pub fn on_signals(&self, deadline: Duration) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! { _ = terminate.recv() => "SIGTERM", _ = interrupt.recv() => "SIGINT" };
            log::info!(signal = name, deadline_secs = deadline.as_secs(); "draining: finishing what has begun");
            stop.request();
            let near = async {
                tokio::time::sleep(deadline.mul_f64(GIVE_BACK_AT)).await;
                stop.give_back();
                tokio::time::sleep(deadline.mul_f64(1.0 - GIVE_BACK_AT)).await;
            };
            let why = tokio::select! {
                _ = terminate.recv() => "a second signal",
                _ = interrupt.recv() => "a second signal",
                () = near => "the drain deadline",
                () = stop.ended() => return,
            };
            log::warn!("ending now: {why}");
            stop.end_now();
        });
        Ok(())
    }
}
