//! A socket that gives up on a peer that keeps it waiting.
//!
//! Hyper has one timer for a request's head and the silence before it; here the silence between two requests may be
//! long (`idle`), a head that has begun must be complete soon (`read`), and a write must make progress (`write`).
//!
//! On HTTP/2 a frame or a head that has begun must be complete soon (`read`); how long the connection may be idle is
//! decided by its streams. After an upgrade silence is the business of the new protocol, and only writes are watched.
//!
//! Progress is seen in the steps in which the system makes room in its own buffer: up to a third of that at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::frames::Frames;
use super::progress::Progress;

/// How long a client may go on sending a body that is not read to its end: closing on unread bytes would reset the connection, and the reset
/// would overtake the answer that says why.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For a head that has begun, on HTTP/2 for any frame.
    pub(super) read: Duration,
    /// For a write to make progress.
    pub(super) write: Duration,
    /// For another request.
    pub(super) idle: Duration,
}

/// What the requests of one connection are doing, as the socket has to know it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    /// The number of the last request, until its body was read to the end; 0 from then on.
    unread: AtomicU64,
    is_upgraded: AtomicBool,
}

/// A request in flight; dropping it, answered or not, ends it.
pub(super) struct InFlight(Arc<Activity>);

/// A body that was not read to its end yet.
pub(super) struct Unread {
    activity: Arc<Activity>,
    request: u64,
}

impl Activity {
    /// Begins a request, with a body that is not read yet.
    pub(super) fn begin(self: &Arc<Self>) -> (InFlight, Unread) {
        let request = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        self.unread.store(request, Ordering::Relaxed);
        (InFlight(Arc::clone(self)), Unread { activity: Arc::clone(self), request })
    }

    /// Notes that the connection speaks another protocol than HTTP from here on.
    pub(super) fn mark_upgraded(&self) {
        self.is_upgraded.store(true, Ordering::Relaxed);
    }

    fn is_upgraded(&self) -> bool {
        self.is_upgraded.load(Ordering::Relaxed)
    }

    /// Whether the peer may still be sending a body.
    fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) != 0
    }

    fn is_busy(&self) -> bool {
        self.begun.load(Ordering::Relaxed) != self.ended.load(Ordering::Relaxed)
    }
}

impl Unread {
    /// Notes that the body was read to its end.
    pub(super) fn ended(&self) {
        // Another request may have begun meanwhile: its body is none of ours.
        let own = self.request;
        let _is_own = self.activity.unread.compare_exchange(own, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// One of the connections that are served at once; dropping it lets another one in.
pub(super) type Place = OwnedSemaphorePermit;

/// What ends a connection from outside: after an upgrade no task of ours holds it.
struct Cut {
    token: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// A socket with patience.
pub(super) struct Watched<T> {
    io: T,
    /// What was read already, and is still to be handed out.
    ahead: Vec<u8>,
    cut: Option<Cut>,
    _place: Option<Place>,
    activity: Arc<Activity>,
    /// The frames that come, and what moves, on HTTP/2.
    framed: Option<(Frames, Progress)>,
    patience: Patience,
    /// The requests already accounted for.
    seen: u64,
    /// Whether nothing of the next request has come yet.
    is_idle: bool,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<T> Watched<T> {
    /// A new connection counts as a head that has begun: a client that connects has a request to send.
    pub(super) fn new(io: T, activity: Arc<Activity>, patience: Patience) -> Self {
        let deadline = Instant::now() + patience.read;
        let timer = Box::pin(sleep_until(deadline));
        Self {
            io,
            ahead: Vec::new(),
            cut: None,
            _place: None,
            activity,
            framed: None,
            patience,
            seen: 0,
            is_idle: false,
            deadline,
            timer,
            stalled: None,
            lingering: None,
        }
    }

    /// The same socket of which so much was read ahead; the first head must be complete at this time.
    pub(super) fn begun(self, ahead: &[u8], deadline: Instant) -> Self {
        Self { ahead: ahead.to_vec(), deadline, ..self }
    }

    /// The same socket, which holds a place until it is closed, and fails as soon as it is cut.
    pub(super) fn kept(self, place: Place, token: CancellationToken) -> Self {
        let cut = Box::pin(token.clone().cancelled_owned());
        Self { _place: Some(place), cut: Some(Cut { token, cut }), ..self }
    }

    /// The same socket, on which frames of HTTP/2 come from the next byte on that was not read ahead.
    pub(super) fn framed(self, progress: Progress) -> Self {
        Self { framed: Some((Frames::default(), progress)), ..self }
    }

    /// Whether a connection that has another protocol is cut; otherwise the task learns when it is.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.cut {
            Some(Cut { cut, .. }) => cut.as_mut().poll(cx).map(|()| Err(io::ErrorKind::ConnectionAborted.into())),
            None => Poll::Pending,
        }
    }

    fn is_cut(&self) -> bool {
        self.activity.is_upgraded() && self.cut.as_ref().is_some_and(|cut| cut.token.is_cancelled())
    }

    /// Once a request has begun, whatever is awaited next is another request.
    fn catch_up(&mut self) {
        let begun = self.activity.begun.load(Ordering::Relaxed);
        if begun != self.seen {
            self.seen = begun;
            self.is_idle = true;
            self.deadline = Instant::now() + self.patience.idle;
        }
    }

    fn arrived(&mut self, bytes: &[u8]) {
        if let Some((frames, progress)) = &mut self.framed {
            progress.heard();
            let was_whole = frames.is_whole();
            if frames.arrived(bytes) || was_whole {
                self.deadline = Instant::now() + self.patience.read;
            }
            return;
        }
        self.catch_up();
        if self.is_idle && !self.activity.is_busy() {
            self.is_idle = false;
            self.deadline = Instant::now() + self.patience.read;
        }
    }

    fn sent(&mut self) {
        self.stalled = None;
        if let Some((_, progress)) = &self.framed {
            progress.written();
        }
        self.catch_up();
        if self.is_idle {
            self.deadline = Instant::now() + self.patience.idle;
        }
    }

    /// Nothing to read: fine while a request is in flight, or between two frames, and until the deadline otherwise.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.is_upgraded() {
            return self.poll_cut(cx);
        }
        self.catch_up();
        let may_be_silent = match &self.framed {
            Some((frames, _)) => frames.is_whole(),
            None => self.activity.is_busy(),
        };
        if may_be_silent {
            return Poll::Pending;
        }
        loop {
            // The deadline moves with every write and every frame; the timer follows only when it matters.
            if self.timer.deadline() > self.deadline {
                self.timer.as_mut().reset(self.deadline);
            }
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }

    fn watch_write(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if polled.is_ready() {
            self.sent();
            return polled;
        }
        if let Some((_, progress)) = &self.framed {
            progress.stalled();
        }
        let patience = self.patience.write;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if !this.ahead.is_empty() {
            let count = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..count]);
            this.ahead.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending => this.poll_silence(cx),
            Poll::Ready(read) => {
                if let Some(bytes) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
                    this.arrived(bytes);
                }
                Poll::Ready(read)
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        this.watch_write(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if !this.activity.is_unread() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        loop {
            if lingering.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut scratch = [0; 4096];
            let mut unread = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut unread));
            if read.is_err() || unread.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Far above every limit below: a read that waits so long waits for ever.
    const FAILED: Duration = Duration::from_secs(60);

    /// The next byte, or why there is none.
    async fn next_byte(io: &mut Watched<tokio::io::DuplexStream>) -> io::Result<u8> {
        tokio::time::timeout(FAILED, io.read_u8()).await.expect("the limits must end this read")
    }

    fn watched(io: tokio::io::DuplexStream, activity: &Arc<Activity>) -> Watched<tokio::io::DuplexStream> {
        let patience = Patience {
            read: Duration::from_millis(50),
            write: Duration::from_millis(50),
            idle: Duration::from_secs(60),
        };
        Watched::new(io, Arc::clone(activity), patience)
    }

    #[tokio::test]
    async fn write_without_progress_is_given_up() {
        let (io, _reader_that_never_reads) = tokio::io::duplex(64);
        let mut io = watched(io, &Arc::default());
        let written = tokio::time::timeout(FAILED, io.write_all(&[0; 1024])).await;
        let fault = written.expect("the limits must end this write").unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_upgraded_connection_may_be_silent_until_it_is_cut() {
        let (io, _silent_peer) = tokio::io::duplex(64);
        let activity = Arc::new(Activity::default());
        let (token, places) = (CancellationToken::new(), Arc::new(tokio::sync::Semaphore::new(1)));
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let mut io = watched(io, &activity).begun(b"ab", Instant::now()).kept(place, token.clone());
        assert_eq!((next_byte(&mut io).await.unwrap(), next_byte(&mut io).await.unwrap()), (b'a', b'b'));
        activity.mark_upgraded();
        let patient = tokio::time::timeout(Duration::from_millis(200), io.read_u8()).await;
        assert!(patient.is_err(), "the read must still be waiting: {patient:?}");
        token.cancel();
        assert_eq!(next_byte(&mut io).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(io.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(places.available_permits(), 0);
        drop(io);
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn silence_is_fine_while_a_request_is_in_flight() {
        let (io, mut peer) = tokio::io::duplex(64);
        let activity = Arc::new(Activity::default());
        let (in_flight, _unread) = activity.begin();
        let mut io = watched(io, &activity);
        let patient = tokio::time::timeout(Duration::from_millis(200), io.read_u8()).await;
        assert!(patient.is_err(), "the read must still be waiting: {patient:?}");
        drop(in_flight);
        peer.write_all(b"G").await.unwrap();
        assert_eq!(next_byte(&mut io).await.unwrap(), b'G');
        assert_eq!(next_byte(&mut io).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
