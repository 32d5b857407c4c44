//! No client holds a connection by sending nothing, half of a request, or a byte now and then.

use super::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

/// Sends a byte now and then until the server closes.
async fn drip(stream: TcpStream) -> String {
    let (mut reading, mut writing) = stream.into_split();
    let dripping = tokio::spawn(async move {
        let mut pace = tokio::time::interval(SHORT / 10);
        loop {
            pace.tick().await;
            if writing.write_all(b"a").await.is_err() {
                break;
            }
        }
    });
    let mut bytes = Vec::new();
    let read = async {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = reading.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..n]);
        }
    };
    tokio::time::timeout(FAILED, read).await.expect("the server must close this connection");
    dripping.abort();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn silent_and_half_sent_heads_are_closed() {
    let served = start(|_| ()).await;
    assert_eq!(rest(&mut served.connect().await).await, "");
    assert_eq!(rest(&mut served.send("GET /health HTTP/1.1\r\nhost: he").await).await, "");
    assert_eq!(rest(&mut served.send("PRI * HT").await).await, "");
}

#[tokio::test]
async fn dripping_head_is_closed() {
    let served = start(|_| ()).await;
    let begun = Instant::now();
    assert_eq!(drip(served.send("GET /health HTTP/1.1\r\nx-long: ").await).await, "");
    assert!(begun.elapsed() < FAILED / 2);
}

#[tokio::test]
async fn body_that_stalls_or_drips_is_a_408() {
    let served = start(|_| ()).await;
    let head = "POST /sale HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{";
    assert_problem(&rest(&mut served.send(head).await).await, 408, "body_timeout");
    assert_problem(&drip(served.send(head).await).await, 408, "body_timeout");
}

#[tokio::test]
async fn kept_connection_may_be_silent_longer_than_a_head_may_take() {
    let served = start(|limits| limits.idle_timeout = 3 * SHORT).await;
    let begun = Instant::now();
    let mut stream = served.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(until(&mut stream, r#"{"status":"ok"}"#).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(&mut stream).await, "");
    assert!(begun.elapsed() >= 3 * SHORT, "closed after {:?}", begun.elapsed());
}

#[tokio::test]
async fn second_head_that_is_half_sent_is_closed() {
    let served = start(|limits| limits.idle_timeout = 10 * FAILED).await;
    let mut stream = served.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    until(&mut stream, r#"{"status":"ok"}"#).await;
    stream.write_all(b"GET /hea").await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn long_poll_outlives_the_read_and_idle_limits() {
    let served = start(|limits| limits.idle_timeout = SHORT).await;
    let mut stream = served.send("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let early = tokio::time::timeout(3 * SHORT, stream.read_u8()).await;
    assert!(early.is_err(), "the poll must still wait: {early:?}");
    served.go.add_permits(1);
    assert!(until(&mut stream, "waited").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn head_with_too_many_headers_is_refused() {
    let served = start(|_| ()).await;
    let headers: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert!(served.ask("GET /health", &headers, "").await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn half_open_connections_do_not_stop_a_good_request() {
    const HALF_OPEN: usize = 500;
    // Both ends of them are files of this process, and the usual soft limit is 1024.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let served = start(|limits| limits.read_timeout = 10 * FAILED).await;
    let mut held = Vec::new();
    for _ in 0..HALF_OPEN {
        held.push(served.send("POST /sale HTTP/1.1\r\nhost:").await);
    }
    assert!(served.ask("POST /sale", "", r#"{"count":7}"#).await.ends_with("\r\n\r\n7"));
    drop(held);
}

#[tokio::test]
async fn connection_beyond_the_limit_waits_for_a_slot() {
    let served = start(|limits| limits.max_connections = 1).await;
    let silent = served.connect().await;
    // Answered only because the silent one loses its slot in time.
    assert!(served.get("/health").await.starts_with("HTTP/1.1 200"));
    drop(silent);
}
