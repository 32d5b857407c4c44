//! Whether bytes move on an HTTP/2 connection, and a keep-alive that waits while they do.
//!
//! The library's keep-alive sends a ping after some silence, and gives up when the answer takes too long. The ping stands
//! behind all bytes of answers that are on their way, so the time to its answer tells nothing of a peer that reads slowly.
//! With [`Patient`] as its timer these waits begin anew whenever the peer has read or sent something.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// When something moved on a connection. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<Moves>);

#[derive(Debug)]
struct Moves {
    begun: Instant,
    /// How often bytes came.
    heard: AtomicU64,
    /// Milliseconds from the begin to the last bytes that came.
    heard_ms: AtomicU64,
    /// Milliseconds from the begin to the last time that the peer made room for bytes that were waiting.
    taken_ms: AtomicU64,
    /// Whether bytes wait for room.
    is_stalled: AtomicBool,
}

impl Progress {
    /// A connection that begins now.
    pub(super) fn new() -> Self {
        let (heard, heard_ms, taken_ms, is_stalled) = Default::default();
        Self(Arc::new(Moves { begun: Instant::now(), heard, heard_ms, taken_ms, is_stalled }))
    }

    /// Bytes came.
    pub(super) fn heard(&self) {
        self.0.heard.fetch_add(1, Ordering::Relaxed);
        self.0.heard_ms.store(self.now(), Ordering::Relaxed);
    }

    /// Bytes cannot be written: the peer has to make room first.
    pub(super) fn stalled(&self) {
        self.0.is_stalled.store(true, Ordering::Relaxed);
    }

    /// Bytes were written. This tells something of the peer only where they had to wait: others just went into a buffer.
    pub(super) fn written(&self) {
        if self.0.is_stalled.swap(false, Ordering::Relaxed) {
            self.0.taken_ms.store(self.now(), Ordering::Relaxed);
        }
    }

    /// How often bytes came until now.
    pub(super) fn times_heard(&self) -> u64 {
        self.0.heard.load(Ordering::Relaxed)
    }

    /// Whether nothing moved for so long, and nothing waits for room: that is the business of the socket's own limit.
    pub(super) fn is_quiet(&self, patience: Duration) -> bool {
        !self.0.is_stalled.load(Ordering::Relaxed) && self.last() + patience <= Instant::now()
    }

    /// A wait for the peer to make room in one stream. It does not count while bytes of the connection wait for room: these
    /// may be those of the stream.
    pub(super) fn room_in_stream(&self, patience: Duration) -> Wait {
        let last = |progress: &Self| {
            let is_stalled = progress.0.is_stalled.load(Ordering::Relaxed);
            if is_stalled { Instant::now() } else { progress.at(&progress.0.taken_ms) }
        };
        Wait::new(self.clone(), patience, last)
    }

    /// When something moved last.
    fn last(&self) -> Instant {
        self.at(&self.0.heard_ms).max(self.at(&self.0.taken_ms))
    }

    fn at(&self, moved: &AtomicU64) -> Instant {
        self.0.begun + Duration::from_millis(moved.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A timer of which every wait begins anew when something moves.
#[derive(Debug)]
pub(super) struct Patient(pub(super) Progress);

/// A wait that begins anew with what it depends on.
pub(super) struct Wait {
    progress: Progress,
    begun: Instant,
    patience: Duration,
    /// When it began anew last.
    last: fn(&Progress) -> Instant,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Wait {
    fn new(progress: Progress, patience: Duration, last: fn(&Progress) -> Instant) -> Self {
        Self { progress, begun: Instant::now(), patience, last, sleep: Box::pin(sleep(patience)) }
    }
}

impl hyper::rt::Timer for Patient {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Wait::new(self.0.clone(), duration, Progress::last))
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

impl hyper::rt::Sleep for Wait {}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            let until = (this.last)(&this.progress).max(this.begun) + this.patience;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            this.sleep.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Timer as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_wait_begins_anew_with_what_moves() {
        let progress = Progress::new();
        let begun = Instant::now();
        let wait = Patient(progress.clone()).sleep(2 * SECOND);
        let moves = async {
            sleep(SECOND).await;
            progress.heard();
            sleep(SECOND).await;
            progress.stalled();
            progress.written();
            sleep(SECOND).await;
            // It did not wait for room.
            progress.written();
        };
        tokio::join!(wait, moves);
        assert_eq!(begun.elapsed(), 4 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_room_is_not_quiet() {
        let progress = Progress::new();
        assert!(!progress.is_quiet(SECOND));
        sleep(SECOND).await;
        assert!(progress.is_quiet(SECOND) && progress.times_heard() == 0);
        progress.stalled();
        assert!(!progress.is_quiet(SECOND));
        progress.written();
        sleep(SECOND).await;
        assert!(progress.is_quiet(SECOND));
    }
}
