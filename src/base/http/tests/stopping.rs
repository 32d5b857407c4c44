//! A stop answers what is in flight, takes nothing new, and does not wait for ever.

use super::*;

/// A request that is in its handler.
async fn in_flight(served: &Served) -> TcpStream {
    let stream = served.send("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    tokio::time::timeout(FAILED, served.entered.acquire()).await.unwrap().unwrap().forget();
    stream
}

async fn ended(served: Served) {
    tokio::time::timeout(FAILED, served.serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn request_in_flight_is_answered_and_new_ones_are_refused() {
    let served = start(|limits| limits.idle_timeout = 10 * FAILED).await;
    let mut idle = served.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    until(&mut idle, r#"{"status":"ok"}"#).await;
    let mut waiting = in_flight(&served).await;
    served.stop.request();
    assert_eq!(rest(&mut idle).await, "");
    let refused = async {
        while TcpStream::connect(served.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(FAILED, refused).await.expect("new connections must be refused");
    served.go.add_permits(1);
    let answer = rest(&mut waiting).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("waited"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    ended(served).await;
}

#[tokio::test]
async fn drain_has_a_deadline() {
    let served = start(|limits| limits.drain_timeout = SHORT).await;
    let mut waiting = in_flight(&served).await;
    served.stop.request();
    ended(served).await;
    assert_eq!(rest(&mut waiting).await, "");
}

#[tokio::test]
async fn second_signal_ends_the_drain() {
    let served = start(|limits| limits.drain_timeout = 10 * FAILED).await;
    let mut waiting = in_flight(&served).await;
    served.stop.end_now();
    ended(served).await;
    assert_eq!(rest(&mut waiting).await, "");
}
