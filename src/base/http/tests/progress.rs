//! Limits that count from the last byte that moved, on a clock that stands still while something can be done.

use axum::body::{Body, Bytes};
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::connection::{Shared, speak};
use super::super::extract::Whole;
use super::super::watched::Patience;
use super::*;

/// For a head, and for a write.
const LIMIT: Duration = Duration::from_secs(10);
/// A little less.
const PACE: Duration = Duration::from_secs(9);
/// Far above every limit, on this clock.
const FOREVER: Duration = Duration::from_secs(3600);
/// Bytes that are under way: what is in the buffers of both systems.
const BUFFER_BYTES: usize = 64 * 1024;
/// More bytes than that, and than the server holds back.
const MANY_BYTES: usize = 1024 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client, and the task that serves it.
struct Peer {
    io: DuplexStream,
    stop: Stop,
    serving: JoinHandle<()>,
}

fn routes() -> Router {
    let refused = axum::http::StatusCode::BAD_REQUEST;
    Router::new()
        .route("/large", get(async || Body::from(Bytes::from_static(&[b'x'; MANY_BYTES]))))
        .route("/tail", get(async || Body::from(Bytes::from_static(&[b'x'; 20_000]))))
        .route("/never", get(std::future::pending::<()>))
        .route("/read", post(async move |_: Whole| refused))
        .route("/unread", post(async move || refused))
}

/// Connects and sends.
async fn connect(first: &[u8]) -> Peer {
    let (socket, mut io) = tokio::io::duplex(BUFFER_BYTES);
    let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    let (router, stop, cut) = (routes(), Stop::new(), CancellationToken::new());
    let patience = Patience { read: LIMIT, write: LIMIT, idle: 10 * LIMIT };
    let serving = tokio::spawn(speak(socket, place, Shared { router, patience, stop: stop.clone(), cut }));
    io.write_all(first).await.unwrap();
    Peer { io, stop, serving }
}

impl Peer {
    /// Waits until the server gives the connection up.
    async fn given_up(self) {
        timeout(FOREVER, self.serving).await.expect("the server must close this connection").unwrap();
    }

    /// Kind, flags and payload of the next frame.
    async fn next_frame(&mut self) -> (u8, u8, Vec<u8>) {
        let mut head = [0; 9];
        let frame = async {
            self.io.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.io.read_exact(&mut payload).await.unwrap();
            (head[3], head[4], payload)
        };
        timeout(FOREVER, frame).await.expect("a frame must come")
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The preface, and windows of this size for streams, and of any size for the connection.
fn hello(window: u32) -> Vec<u8> {
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    [&preface[..], &frame(SETTINGS, 0, 0, &settings), &frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())]
        .concat()
}

/// The packed head of a GET: method and scheme by their numbers, path and host spelled out.
fn head(path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    [&[0x82, 0x86, 0x04, length], path.as_bytes(), &[0x01, 9], b"localhost"].concat()
}

/// A GET on HTTP/2, with a window that is never full.
fn http2(path: &str) -> Vec<u8> {
    [hello(1 << 30), frame(HEADERS, END_STREAM | END_HEADERS, 1, &head(path))].concat()
}

fn http1(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_slow_and_steady_reader_is_not_cut() {
    for request in [http1("/large"), http2("/large")] {
        let mut peer = connect(&request).await;
        let mut piece = vec![0; 8 * 1024];
        // It answers no ping: these stand behind what it still has to read.
        for _ in 0..MANY_BYTES / piece.len() {
            sleep(PACE).await;
            peer.io.read_exact(&mut piece).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_is_cut() {
    for request in [http1("/large"), http2("/large")] {
        let mut peer = connect(&request).await;
        peer.io.read_exact(&mut [0; 8 * 1024]).await.unwrap();
        peer.given_up().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_something_is_there_and_a_silent_one_is_not() {
    let mut peer = connect(&http2("/never")).await;
    for _ in 0..100 {
        sleep(PACE).await;
        peer.io.write_all(&frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())).await.unwrap();
    }
    peer.given_up().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_in_drips_is_closed_although_bytes_move() {
    // A field of 8 KiB: of its length 127 is in the first byte, the rest follows in groups of seven bits.
    let mut block = head("/never");
    block.extend([0x00, 1, b'x', 0x7f, 0x81, 63]);
    block.extend([b'x'; 127 + 1 + 63 * 128]);
    let whole = frame(HEADERS, END_STREAM | END_HEADERS, 3, &block);
    let mut peer = connect(&http2("/never")).await;
    let mut is_closed = false;
    for drip in whole.chunks(1) {
        sleep(LIMIT / 10).await;
        is_closed = peer.io.write_all(drip).await.is_err();
        if is_closed {
            break;
        }
    }
    assert!(is_closed, "the head became whole");
    // Without the drips it is a head like any other.
    let mut peer = connect(&[http2("/never"), whole].concat()).await;
    sleep(PACE).await;
    peer.io.write_all(&frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())).await.unwrap();
    assert!(!peer.serving.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_peer_that_is_silent() {
    for first in [hello(1 << 30), http2("/tail")] {
        let peer = connect(&first).await;
        // The stream, if there is one, is answered.
        sleep(PACE).await;
        let stopped = Instant::now();
        peer.stop.request();
        peer.given_up().await;
        assert!(stopped.elapsed() < LIMIT, "the goodbye has a shorter limit");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_last_bytes_of_a_slow_reader() {
    // Room for the first piece and a part of the second.
    let get = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head("/tail"));
    let mut peer = connect(&[hello(17_000), get].concat()).await;
    let (mut bytes, mut is_last) = (0, false);
    while bytes < 17_000 {
        if let (DATA, _, payload) = peer.next_frame().await {
            bytes += payload.len();
        }
    }
    peer.stop.request();
    while !is_last {
        match peer.next_frame().await {
            (DATA, flags, payload) => {
                bytes += payload.len();
                is_last = flags & END_STREAM != 0;
            }
            (PING, 0, payload) => {
                peer.io.write_all(&frame(PING, ACK, 0, &payload)).await.unwrap();
                sleep(PACE).await;
                peer.io.write_all(&frame(WINDOW_UPDATE, 0, 1, &17_000_u32.to_be_bytes())).await.unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(bytes, 20_000);
    peer.given_up().await;
}

#[tokio::test(start_paused = true)]
async fn only_a_body_that_was_not_read_is_waited_for() {
    for (path, waits) in [("/read", false), ("/unread", true)] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        let body = "content-length: 200000\r\n\r\n";
        let begun = Instant::now();
        let mut peer = connect(format!("{head}{body}").as_bytes()).await;
        // Of the body that is not read only a part is sent.
        let bytes = if waits { 10 } else { 200_000 };
        peer.io.write_all(&vec![b'x'; bytes]).await.unwrap();
        peer.given_up().await;
        assert_eq!(begun.elapsed() > Duration::ZERO, waits, "{path}");
    }
}
