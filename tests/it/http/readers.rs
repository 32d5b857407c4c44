//! Clients that stop reading, and streams in which nothing happens: the first are cut, the second are not.

use super::*;

#[tokio::test]
async fn a_reader_of_http1_that_stops_is_cut() {
    let mut served = start(|limits| limits.write_timeout = SHORT).await;
    let _unread = served.send(b"GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(served.next_end().await, "endless");
}

#[tokio::test]
async fn a_reader_of_one_stream_that_stops_loses_this_stream_only() {
    let mut served = start(|limits| limits.write_timeout = SHORT).await;
    let (client, _running) = served.http2().await;
    let mut body = get_http2(&client, "/endless").await.into_body();
    // The window is never opened again.
    assert_eq!(served.next_end().await, "endless");
    let fault = loop {
        if let Err(fault) = piece(&mut body).await.unwrap() {
            break fault;
        }
    };
    assert!(fault.is_reset(), "{fault}");
    assert_eq!(text(get_http2(&client, "/hello").await.into_body()).await, "hello");
}

#[tokio::test]
async fn a_reader_of_http2_that_reads_nothing_at_all_is_cut() {
    let mut served = start(|limits| limits.write_timeout = SHORT).await;
    let stream = TcpStream::connect(served.addr).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let builder = builder.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
    let (mut client, mut connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let (answer, _) = client.send_request(request("/endless"), true).unwrap();
    let answer = within(async {
        tokio::select! {
            answer = answer => answer.unwrap(),
            ended = &mut connection => panic!("the connection must stay: {ended:?}"),
        }
    });
    let _unread = answer.await;
    assert_eq!(served.next_end().await, "endless");
    drop(connection);
}

#[tokio::test]
async fn a_body_that_stalls_on_http2_is_a_408() {
    let served = start(|limits| limits.read_timeout = SHORT).await;
    let (client, _running) = served.http2().await;
    let mut client = within(client.ready()).await.unwrap();
    let request = Request::post("http://localhost/take").body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    let answer = within(answer).await.unwrap();
    assert_eq!(
        (answer.status(), answer.headers()["content-type"].to_str().unwrap()),
        (StatusCode::REQUEST_TIMEOUT, "application/problem+json")
    );
    assert!(text(answer.into_body()).await.contains("body_timeout"));
}

#[tokio::test]
async fn a_silent_stream_of_http2_outlives_the_idle_time() {
    let served = start(|limits| limits.idle_timeout = SHORT).await;
    let (client, _running) = served.http2().await;
    served.feed.send("first").unwrap();
    let mut body = get_http2(&client, "/fed").await.into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "first");
    served.idle_time_passes().await;
    served.feed.send("last").unwrap();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "last");
}

#[tokio::test]
async fn a_silent_stream_of_http1_outlives_the_idle_time() {
    let served = start(|limits| limits.idle_timeout = SHORT).await;
    let mut stream = served.send(b"GET /fed HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    served.feed.send("first").unwrap();
    until(&mut stream, "first\r\n").await;
    served.idle_time_passes().await;
    served.feed.send("last").unwrap();
    until(&mut stream, "last\r\n").await;
}
