//! Connections that change their protocol, and those that may not.

use super::*;

/// The head of a request for another protocol.
fn ask(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: talk\r\n{more}\r\n")
}

async fn upgraded(served: &Served, path: &str) -> TcpStream {
    let mut stream = served.send(ask(path, "").as_bytes()).await;
    let head = until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// Says a byte and hears it again.
async fn hears(stream: &mut TcpStream) {
    stream.write_u8(b'!').await.unwrap();
    assert_eq!(within(stream.read_u8()).await.unwrap(), b'!');
}

async fn refused(served: &Served, request: &str, status: u16, code: &str) {
    let mut stream = served.send(request.as_bytes()).await;
    let answer = until(&mut stream, "}").await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    assert!(answer.contains(&format!(r#""code":"{code}""#)), "{answer}");
}

#[tokio::test]
async fn only_named_routes_change_the_protocol() {
    let served = start(|_| ()).await;
    hears(&mut upgraded(&served, "/live/deaf").await).await;
    // Elsewhere the offer is ignored, as clients make it with ordinary requests.
    for (path, status) in [("/hello", "HTTP/1.1 200 "), ("/nowhere", "HTTP/1.1 404 ")] {
        let mut stream = served.send(ask(path, "").as_bytes()).await;
        let head = until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with(status), "{head}");
    }
    refused(&served, &ask("/live/deaf", "origin: http://evil\r\n"), 403, "cross_origin").await;
    refused(&served, "CONNECT localhost:1 HTTP/1.1\r\nhost: localhost:1\r\n\r\n", 400, "no_upgrade").await;
}

#[tokio::test]
async fn a_request_for_another_protocol_has_no_body() {
    let served = start(|_| ()).await;
    let body = "content-length: 5\r\n";
    refused(&served, &format!("{}hello", ask("/live/deaf", body)), 400, "no_upgrade").await;
    let chunks = "transfer-encoding: chunked\r\n";
    refused(&served, &format!("{}5\r\nhello\r\n0\r\n\r\n", ask("/live/deaf", chunks)), 400, "no_upgrade").await;
}

#[tokio::test]
async fn an_offer_of_http2_is_passed_over() {
    let served = start(|_| ()).await;
    let offer = ask("/hello", "http2-settings: AAMAAABk\r\n").replace("upgrade: talk", "upgrade: h2c");
    let answer = until(&mut served.send(offer.as_bytes()).await, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_silent_conversation_outlives_the_idle_time() {
    let served = start(|limits| limits.idle_timeout = SHORT).await;
    let mut stream = upgraded(&served, "/live/deaf").await;
    served.idle_time_passes().await;
    hears(&mut stream).await;
}

#[tokio::test]
async fn a_reader_that_stops_is_cut_after_an_upgrade_too() {
    let mut served = start(|limits| limits.write_timeout = SHORT).await;
    let _unread = upgraded(&served, "/live/chatter").await;
    assert_eq!(served.next_end().await, "chatter");
}

#[tokio::test]
async fn a_conversation_holds_its_place() {
    let served = start(|limits| limits.max_connections = 1).await;
    let mut stream = upgraded(&served, "/live/deaf").await;
    let mut waiting = served.send(b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    hears(&mut stream).await;
    let mut early = [0];
    assert!(waiting.try_read(&mut early).is_err(), "there is no place for another one");
    drop(stream);
    until(&mut waiting, "hello").await;
}

#[tokio::test]
async fn a_drain_waits_for_a_conversation_that_is_told() {
    let mut served = start(|_| ()).await;
    let mut stream = upgraded(&served, "/live/polite").await;
    hears(&mut stream).await;
    served.stop.request();
    assert_eq!(served.next_end().await, "polite");
    assert_eq!(rest(&mut stream).await, "");
    served.over().await;
}

#[tokio::test]
async fn a_drain_cuts_a_conversation_that_does_not_end() {
    let mut served = start(|limits| limits.drain_timeout = SHORT).await;
    let mut stream = upgraded(&served, "/live/deaf").await;
    hears(&mut stream).await;
    served.stop.request();
    assert_eq!(served.next_end().await, "deaf");
    assert_eq!(rest(&mut stream).await, "");
    served.over().await;
}
