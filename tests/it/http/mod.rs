//! The server against clients of HTTP/2 and of other protocols that are slow or mean harm, over real sockets. Clients of
//! HTTP/1 are in `src/base/http/tests`.

mod bodies;
mod raw;
mod readers;
mod stops;
mod streams;
mod upgrades;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::routing::{get, post};
use h2::client::SendRequest;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use shopctl::base::config;
use shopctl::base::http::{Guard, Limits, Metrics, Permit, Policy, Principal, Readiness, bind, extract, probes, serve};
use shopctl::base::shutdown::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Far above every limit below; a test that waits this long has failed.
const FAILED: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(300);
/// A piece at which a body panics.
const PANIC: &str = "panic";

/// A server whose routes tell the test what becomes of them.
struct Served {
    addr: SocketAddr,
    stop: Stop,
    /// What `/fed` answers with, piece by piece.
    feed: UnboundedSender<&'static str>,
    /// What ended in the server, in the order in which it did.
    ended: UnboundedReceiver<&'static str>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// A body that the test feeds; it panics at [`PANIC`].
struct Fed(UnboundedReceiver<&'static str>);

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let piece = self.0.poll_recv(cx);
        assert_ne!(piece, Poll::Ready(Some(PANIC)), "broken on purpose");
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

/// A body with trailers, as gRPC has them.
fn with_trailers() -> Body {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    Body::new(Full::new(Bytes::from_static(b"message")).with_trailers(std::future::ready(Some(Ok(trailers)))))
}

/// A body without an end, which tells when it is dropped.
struct Endless(UnboundedSender<&'static str>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 64 * 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        let _is_heard = self.0.send("endless").is_ok();
    }
}

type Conversation = TokioIo<hyper::upgrade::Upgraded>;

/// Gives the connection to this conversation, which is told of the stop.
async fn upgrade<F>(mut request: Request<Body>, talk: impl FnOnce(Conversation) -> F + Send + 'static) -> Response<Body>
where
    F: Future<Output = ()> + Send,
{
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move { talk(TokioIo::new(upgraded.await.unwrap())).await });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    response.header("connection", "upgrade").header("upgrade", "talk").body(Body::empty()).unwrap()
}

/// Says back whatever is said, until the peer leaves or the connection fails.
async fn echo(mut io: Conversation) {
    while let Ok(byte) = io.read_u8().await {
        if io.write_u8(byte).await.is_err() {
            break;
        }
    }
}

fn routes(stop: &Stop, fed: Fed, ended: &UnboundedSender<&'static str>) -> Router {
    let fed = Arc::new(Mutex::new(Some(fed)));
    let (endless, deaf, polite, chatter, stop) =
        (ended.clone(), ended.clone(), ended.clone(), ended.clone(), stop.clone());
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/take", post(async |extract::Whole(body): extract::Whole| body.len().to_string()))
        .route("/fed", get(async move || Body::new(fed.lock().unwrap().take().unwrap())))
        .route("/endless", get(async move || Body::new(Endless(endless))))
        .route("/trailers", get(async || with_trailers()))
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/live/deaf",
            get(async move |request: Request<Body>| {
                upgrade(request, async move |io| {
                    echo(io).await;
                    let _is_heard = deaf.send("deaf").is_ok();
                })
                .await
            }),
        )
        .route(
            "/live/polite",
            get(async move |request: Request<Body>| {
                upgrade(request, async move |io| {
                    tokio::select! { () = echo(io) => {}, () = stop.requested() => {} }
                    let _is_heard = polite.send("polite").is_ok();
                })
                .await
            }),
        )
        .route(
            "/live/chatter",
            get(async move |request: Request<Body>| {
                upgrade(request, async move |mut io| {
                    while io.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
                    let _is_heard = chatter.send("chatter").is_ok();
                })
                .await
            }),
        )
}

/// Serves with these limits; all waits are long but those that the test makes short.
async fn start(change: impl FnOnce(&mut Limits)) -> Served {
    let settings = config::Server {
        host: "127.0.0.1".to_owned(),
        port: Some(0),
        read_timeout: FAILED,
        write_timeout: FAILED,
        idle_timeout: FAILED,
        max_connections: 1024,
        drain_timeout: FAILED,
    };
    let policy = Policy {
        serves: &[Principal::OPERATOR],
        permit: |_| Permit::OPERATOR,
        read: Policy::OPEN_READS,
        upgrade: |call| call.route().starts_with("/live/").then_some(Permit::OPERATOR),
    };
    let metrics = Metrics::new();
    let guard = Guard::new(&config::Auth::new(false, Vec::new()), policy, &metrics);
    let bound = bind(&settings, guard, 1).await.unwrap();
    let mut limits = Limits::new(&settings, 1 << 20);
    change(&mut limits);
    let (stop, (feed, fed), (ends, ended)) = (Stop::new(), unbounded_channel(), unbounded_channel());
    let probes = probes::routes(Readiness::new(), metrics.clone(), stop.clone(), serde_json::json!({}));
    let router = metrics.track(probes::with_fallbacks(routes(&stop, Fed(fed), &ends).merge(probes)));
    let addr = bound.addr();
    let serving = tokio::spawn(serve(bound, router, limits, stop.clone()));
    Served { addr, stop, feed, ended, serving }
}

impl Served {
    /// Connects and sends.
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// A client of HTTP/2, and its connection, which runs until it ends.
    async fn http2(&self) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        (client, tokio::spawn(connection))
    }

    /// What ends next in the server.
    async fn next_end(&mut self) -> &'static str {
        within(self.ended.recv()).await.unwrap()
    }

    /// Waits until a client that asked for nothing more has lost its connection: the idle time is over, also for all
    /// that were silent before.
    async fn idle_time_passes(&self) {
        let mut idle = self.send(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(rest(&mut idle).await.ends_with("hello"));
    }

    async fn over(self) {
        within(self.serving).await.unwrap().unwrap();
    }
}

/// What must happen.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(FAILED, what).await.expect("this must happen in time")
}

/// What still comes until the server closes; a reset is a close, too.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..n]);
        }
    };
    within(read).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until this has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(within(stream.read_u8()).await.unwrap()));
    }
    text
}

/// A request without a body.
fn request(path: &str) -> Request<()> {
    Request::get(format!("http://localhost{path}")).body(()).unwrap()
}

/// The head of the answer to a GET.
async fn get_http2(client: &SendRequest<Bytes>, path: &str) -> Response<h2::RecvStream> {
    let mut client = within(client.clone().ready()).await.unwrap();
    within(client.send_request(request(path), true).unwrap().0).await.unwrap()
}

/// The next piece of a body; none at its end.
async fn piece(body: &mut h2::RecvStream) -> Option<Result<String, h2::Error>> {
    let piece = within(body.data()).await?;
    Some(piece.map(|piece| {
        body.flow_control().release_capacity(piece.len()).unwrap();
        String::from_utf8_lossy(&piece).into_owned()
    }))
}

/// A whole body.
async fn text(mut body: h2::RecvStream) -> String {
    let mut text = String::new();
    while let Some(more) = piece(&mut body).await {
        text.push_str(&more.unwrap());
    }
    text
}
