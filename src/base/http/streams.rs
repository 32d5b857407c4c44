//! The streams of one HTTP/2 connection: how many are open, and whether their readers take what they asked for.
//!
//! A reader may stop taking one stream and go on with the others, which no socket can see. Each stream is a task of its
//! own, so it is watched there: a piece that was handed out and finds no room for too long ends the stream.
//!
//! The last piece of an answer, at most 16 KiB, is not watched to its end: the library takes it as a whole once there is
//! room for its first byte, and the task is over. To wait for the rest an empty frame would have to follow, and a reader
//! that knows the length of its answer need not make room for that. What is left unread goes with the connection, which
//! is closed when it is idle; so a connection holds no more than such a piece for each stream that it may have open.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::panics;
use super::progress::{Progress, Wait};

tokio::task_local! {
    /// The delivery of the stream that the present task serves.
    pub(super) static DELIVERY: Arc<Delivery>;
}

/// What became of the pieces of one response. Even: what was handed out was taken. Odd: a piece waits for room.
#[derive(Debug, Default)]
pub(super) struct Delivery(AtomicU64);

impl Delivery {
    /// A piece is handed out.
    pub(super) fn offered(&self) {
        self.0.fetch_or(1, Ordering::Relaxed);
    }

    /// Another one is asked for, so there was room for the last.
    pub(super) fn taken(&self) {
        let now = self.0.load(Ordering::Relaxed);
        // One task alone changes it.
        self.0.store(now + (now & 1), Ordering::Relaxed);
    }

    /// The number of the piece that waits for room, if one does.
    fn waiting(&self) -> Option<u64> {
        let now = self.0.load(Ordering::Relaxed);
        (now & 1 == 1).then_some(now)
    }
}

/// Runs the streams of a connection, each as a task; cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    open: watch::Sender<usize>,
    progress: Progress,
    patience: Duration,
}

/// A stream that is open; dropping it closes it.
struct Open(watch::Sender<usize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Streams {
    /// No streams yet; a piece may wait for room so long.
    pub(super) fn new(progress: Progress, patience: Duration) -> Self {
        Self { open: watch::Sender::new(0), progress, patience }
    }

    /// Resolves once no stream was open for so long.
    pub(super) async fn idle(&self, patience: Duration) {
        let mut open = self.open.subscribe();
        loop {
            // The sender is ours, so it is never gone.
            let is_none = open.wait_for(|open| *open == 0).await.is_ok();
            if is_none && timeout(patience, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.open.send_modify(|open| *open += 1);
        let (open, progress, patience) = (Open(self.open.clone()), self.progress.clone(), self.patience);
        tokio::spawn(async move {
            while_taken(stream, &progress, patience).await;
            drop(open);
        });
    }
}

/// Runs a stream until it ends, or a piece of it has waited too long; dropping the stream tells the reader. A panic of a
/// handler or of a body is caught before it comes here; any other ends this stream alone, and is logged.
async fn while_taken<F: Future>(stream: F, progress: &Progress, patience: Duration) {
    let delivery = Arc::new(Delivery::default());
    let mut stream = pin!(DELIVERY.scope(Arc::clone(&delivery), stream));
    let mut stalled: Option<(u64, Wait)> = None;
    poll_fn(|cx: &mut Context<'_>| {
        match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll(cx).is_ready())) {
            Ok(false) => {}
            Ok(true) => return Poll::Ready(()),
            Err(cause) => {
                log::error!("the task of a stream failed; this is a bug: {}", panics::text(&*cause));
                return Poll::Ready(());
            }
        }
        let Some(piece) = delivery.waiting() else {
            stalled = None;
            return Poll::Pending;
        };
        let (_, wait) = match stalled.take().filter(|(known, _)| *known == piece) {
            Some(same) => stalled.insert(same),
            None => stalled.insert((piece, progress.room_in_stream(patience))),
        };
        Pin::new(wait).poll(cx)
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far above every limit below; a test that waits this long has failed.
    const FAILED: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_piece_without_room_ends_its_stream_and_silence_does_not() {
        let refused = async {
            DELIVERY.with(|delivery| delivery.offered());
            std::future::pending::<()>().await;
        };
        timeout(FAILED, while_taken(refused, &Progress::new(), SHORT)).await.expect("the limit must end this stream");
        let silent = async {
            DELIVERY.with(|delivery| {
                delivery.offered();
                delivery.taken();
            });
            tokio::time::sleep(4 * SHORT).await;
            true
        };
        let (told, ended) = tokio::sync::oneshot::channel();
        while_taken(async move { told.send(silent.await) }, &Progress::new(), SHORT).await;
        assert_eq!(ended.await, Ok(true));
    }

    #[tokio::test]
    async fn a_panic_ends_its_stream_and_nothing_else() {
        while_taken(async { panic!("on purpose") }, &Progress::new(), FAILED).await;
    }

    #[tokio::test]
    async fn streams_count_from_their_begin_to_their_end() {
        use hyper::rt::Executor as _;
        let streams = Streams::new(Progress::new(), FAILED);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        streams.execute(async move {
            drop(ended.await);
        });
        assert!(timeout(4 * SHORT, streams.idle(SHORT)).await.is_err(), "a stream is open");
        end.send(()).unwrap();
        timeout(FAILED, streams.idle(SHORT)).await.expect("no stream is open any more");
    }
}
