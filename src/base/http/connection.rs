//! One connection: which protocol it speaks, and how it ends.
//!
//! The protocol is told apart here and not by a library, because the wait for the first bytes needs a time limit. HTTP/1
//! and its upgrades are watched by the socket itself ([`Watched`]), the streams of HTTP/2 also one by one ([`Streams`]).

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::bodies::{InPieces, Received, WhileSent};
use super::progress::{Patient, Progress};
use super::streams::{DELIVERY, Streams};
use super::watched::{Activity, Patience, Place, Watched};
use crate::base::shutdown::Stop;

/// Headers of one request, at the most.
const HEADERS_MAX: usize = 64;
/// Bytes of one request's head, at the most; also what is read ahead.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one request's head on HTTP/2, unpacked, at the most: tokens and metadata need few of them.
const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Streams that a client may have open on one connection: each is a task of ours, and 16 KiB that wait for the reader.
const STREAMS_MAX: u32 = 100;
/// Streams that a client has reset before we looked at them. More are a flood, and end the connection.
const RESETS_PENDING_MAX: usize = 20;
/// Streams that we had to reset for a client's faults. More end the connection: each of them cost us work.
const FAULTS_MAX: usize = 128;
/// Bytes that wait for the reader of one stream.
const SEND_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a client may send on one stream before a handler has read them. A client of gRPC sends a small message as a
/// frame of its own; h2 closes a connection on which small frames that wait cost more than half of the connection's
/// window, some 200 bytes each. These two sizes leave room for five streams full of messages of 60 bytes.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same on a connection.
const CONNECTION_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// What a client says first that speaks HTTP/2 without asking.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A peer that is gone without a word is noticed by the system: the first probe comes after a minute of silence, and
/// what is not confirmed for two minutes ends the connection. This is for streams and upgraded connections, where
/// silence is no fault.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
const UNCONFIRMED_MS_MAX: u32 = 120_000;

/// How long a peer on HTTP/2 may be silent after the goodbye while it has no stream open.
const GOODBYE: Duration = Duration::from_secs(1);

/// What all connections of a server share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) patience: Patience,
    /// Asks for the end of what has begun.
    pub(super) stop: Stop,
    /// Ends what is left, upgraded connections too.
    pub(super) cut: CancellationToken,
}

/// Where bytes come from and go to: a socket, or in tests something like it.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Socket for T {}

/// Serves a connection to its end; if it was upgraded, until it has another owner. The place is given back when the
/// socket is closed.
pub(super) async fn serve(stream: TcpStream, place: Place, shared: Shared) {
    prepare(&stream);
    speak(stream, place, shared).await;
}

/// The same, once the socket is prepared.
pub(super) async fn speak(mut stream: impl Socket, place: Place, shared: Shared) {
    let until = Instant::now() + shared.patience.read;
    let mut ahead = [0; PREFACE.len()];
    let told = tokio::select! {
        biased;
        told = timeout_at(until, tell_apart(&mut stream, &mut ahead)) => told,
        () = shared.stop.requested() => return,
    };
    let served = match told {
        Ok(Ok(Told { is_http2: true, .. })) => serve_http2(stream, place, &ahead, shared).await,
        Ok(Ok(Told { read, .. })) => serve_http1(stream, place, &ahead[..read], until, shared).await,
        Ok(Err(cause)) => Err(cause.to_string()),
        Err(_) => Err("it said nothing in time".to_owned()),
    };
    if let Err(cause) = served {
        log::debug!("a connection broke off: {cause}");
    }
}

/// Sets what finds peers that are gone. A system that lacks an option loses only that: the connection is served.
fn prepare(stream: &TcpStream) {
    static TOLD: Once = Once::new();
    let set = || {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
        sockopt::set_tcp_keepintvl(stream, PROBE_EVERY)?;
        sockopt::set_tcp_keepcnt(stream, PROBES)?;
        sockopt::set_tcp_user_timeout(stream, UNCONFIRMED_MS_MAX)?;
        io::Result::Ok(())
    };
    if let Err(cause) = set() {
        TOLD.call_once(|| {
            log::warn!("peers that are gone are found later: an option of a socket cannot be set: {cause}")
        });
    }
}

/// What the first bytes tell, and how many were read for it.
struct Told {
    is_http2: bool,
    read: usize,
}

async fn tell_apart(stream: &mut impl Socket, ahead: &mut [u8; PREFACE.len()]) -> io::Result<Told> {
    let mut read = 0;
    while read < PREFACE.len() {
        let more = stream.read(&mut ahead[read..]).await?;
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read += more;
        if ahead[..read] != PREFACE[..read] {
            return Ok(Told { is_http2: false, read });
        }
    }
    Ok(Told { is_http2: true, read })
}

async fn serve_http1(
    stream: impl Socket,
    place: Place,
    ahead: &[u8],
    until: Instant,
    shared: Shared,
) -> Result<(), String> {
    let Shared { router, patience, stop, cut } = shared;
    let activity = Arc::new(Activity::default());
    let io = Watched::new(stream, Arc::clone(&activity), patience).begun(ahead, until).kept(place, cut);
    let service = service_fn(move |request| answer_http1(request, router.clone(), Arc::clone(&activity)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // The socket's own watch is stricter and is told apart; this one is the net below it.
        .header_read_timeout(patience.idle + patience.read)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut served = pin!(served);
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(|cause| cause.to_string()),
        () = stop.requested() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(|cause| cause.to_string())
}

async fn answer_http1(
    request: Request<Incoming>,
    router: Router,
    activity: Arc<Activity>,
) -> Result<Response<Body>, Infallible> {
    let (in_flight, unread) = activity.begin();
    let request = request.map(|body| Received::new(body, unread));
    let is_connect = request.method() == Method::CONNECT;
    let response = router.oneshot(request).await?;
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS || (is_connect && status.is_success()) {
        activity.mark_upgraded();
    }
    Ok(response.map(|body| Body::new(WhileSent::new(body, in_flight))))
}

async fn serve_http2(stream: impl Socket, place: Place, ahead: &[u8], shared: Shared) -> Result<(), String> {
    let Shared { router, patience, stop, cut } = shared;
    let progress = Progress::new();
    let io = Watched::new(stream, Arc::default(), patience).begun(ahead, Instant::now()).kept(place, cut);
    let io = io.framed(progress.clone());
    let streams = Streams::new(progress.clone(), patience.write);
    let service = service_fn(move |request| answer_http2(request, router.clone()));
    let served = http2::Builder::new(streams.clone())
        .timer(Patient(progress.clone()))
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(FAULTS_MAX)
        .max_send_buf_size(SEND_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        // For a peer that is gone while a stream is silent.
        .keep_alive_interval(patience.read)
        .keep_alive_timeout(patience.write)
        .serve_connection(TokioIo::new(io), service);
    let mut served = pin!(served);
    tokio::select! {
        ended = served.as_mut() => return ended.map_err(|cause| cause.to_string()),
        () = stop.requested() => {}
        () = streams.idle(patience.idle) => {}
    }
    // Says goodbye, answers what has begun, and closes once the peer confirms.
    served.as_mut().graceful_shutdown();
    tokio::select! {
        ended = served => ended.map_err(|cause| cause.to_string()),
        () = silent(&streams, &progress, patience.write) => Ok(()),
    }
}

/// Resolves when a peer that was told goodbye is not worth waiting for: it has no stream open, and nothing moves. One that
/// says something after the goodbye is there, and gets the time of a slow reader for the last bytes of its answers.
async fn silent(streams: &Streams, progress: &Progress, patience: Duration) {
    let told = progress.times_heard();
    loop {
        streams.idle(GOODBYE).await;
        let patience = if progress.times_heard() > told { patience.max(GOODBYE) } else { GOODBYE };
        if progress.is_quiet(patience) {
            return;
        }
    }
}

async fn answer_http2(request: Request<Incoming>, router: Router) -> Result<Response<Body>, Infallible> {
    let response = router.oneshot(request).await?;
    // Every call of ours runs in a stream.
    let Ok(delivery) = DELIVERY.try_with(Arc::clone) else {
        return Ok(response);
    };
    Ok(response.map(|body| Body::new(InPieces::new(body, delivery))))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_notices_a_peer_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream);
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), PROBE_AFTER);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), UNCONFIRMED_MS_MAX);
    }
}
