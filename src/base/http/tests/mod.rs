//! The server against clients that behave well and badly, over real sockets.

mod answers;
mod patience;
mod progress;
mod stopping;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::extract::{Json, Path, Query};
use super::{Guard, Limits, Metrics, Policy, Principal, Readiness, bind, probes, serve};
use crate::base::config;
use crate::base::shutdown::Stop;

/// Far above every limit below; a test that waits this long has failed.
const FAILED: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(200);

/// A server with a handler that waits for the test.
struct Served {
    addr: SocketAddr,
    stop: Stop,
    readiness: Readiness,
    entered: Arc<Semaphore>,
    go: Arc<Semaphore>,
    serving: JoinHandle<std::io::Result<()>>,
}

#[derive(Deserialize)]
struct Sale {
    count: u32,
}

fn settings(port: u16) -> config::Server {
    config::Server {
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        read_timeout: SHORT,
        write_timeout: SHORT,
        idle_timeout: SHORT,
        max_connections: 1024,
        drain_timeout: FAILED,
    }
}

/// A guard without tokens.
fn guard(insecure: bool) -> Guard {
    let auth = config::Auth::new(insecure, Vec::new());
    Guard::new(&auth, Policy::probes(&[Principal::OPERATOR]), &Metrics::new())
}

async fn start(change: impl FnOnce(&mut Limits)) -> Served {
    let bound = bind(&settings(0), guard(false), 1).await.unwrap();
    let mut limits = Limits::new(&settings(0), 1024);
    change(&mut limits);
    let (entered, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gates = (Arc::clone(&entered), Arc::clone(&go));
    let wait = async move || {
        gates.0.add_permits(1);
        gates.1.acquire().await.unwrap().forget();
        "waited"
    };
    let (addr, stop, readiness, metrics) = (bound.addr(), Stop::new(), Readiness::new(), Metrics::new());
    let router = Router::new()
        .route("/sale", post(async |Json(sale): Json<Sale>| sale.count.to_string()))
        .route("/shop/{id}", get(async |Path(id): Path<u32>, Query(sale): Query<Sale>| (id + sale.count).to_string()))
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route("/wait", get(wait))
        .merge(probes::routes(readiness.clone(), metrics.clone(), stop.clone(), serde_json::json!({"role": "test"})));
    let router = metrics.track(probes::with_fallbacks(router));
    let serving = tokio::spawn(serve(bound, router, limits, stop.clone()));
    Served { addr, stop, readiness, entered, go, serving }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Connects and sends.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer to one request with these additional header lines.
    async fn ask(&self, request: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let head =
            format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n");
        rest(&mut self.send(&format!("{head}{headers}\r\n{body}")).await).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path}"), "", "").await
    }
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
    tokio::time::timeout(FAILED, read).await.expect("the server must close this connection");
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer of a connection that stays open; `end` is how its body ends.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(tokio::time::timeout(FAILED, stream.read_u8()).await.unwrap().unwrap()));
    }
    text
}

fn assert_problem(answer: &str, status: u16, code: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["code"], code);
    assert_eq!(body["type"], format!("urn:shopctl:problem:{code}"));
    assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    let id = body["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("x-request-id: {id}")), "{answer}");
}

#[tokio::test]
async fn without_insecure_only_loopback_is_bound() {
    let mut settings = settings(0);
    settings.host = "0.0.0.0".to_owned();
    assert_eq!(bind(&settings, guard(false), 1).await.unwrap().addr().ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    assert_eq!(bind(&settings, guard(true), 1).await.unwrap().addr().ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
}

#[tokio::test]
async fn port_in_use_is_named_with_the_way_out() {
    let bound = bind(&settings(0), guard(false), 1).await.unwrap();
    let fault = bind(&settings(bound.addr().port()), guard(false), 1).await.unwrap_err().to_string();
    assert!(fault.contains(&bound.addr().to_string()) && fault.contains("--set server.port="), "{fault}");
}
