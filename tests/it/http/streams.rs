//! Connections of HTTP/2 from their begin to their end.

use super::*;

#[tokio::test]
async fn both_protocols_are_answered_on_one_port() {
    let served = start(|_| ()).await;
    let (client, _running) = served.http2().await;
    let answer = get_http2(&client, "/hello").await;
    assert!(answer.status() == 200 && answer.headers().contains_key("x-request-id"), "{answer:?}");
    assert_eq!(text(answer.into_body()).await, "hello");
    let mut one = served.send(b"GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(rest(&mut one).await.ends_with("hello"));
}

#[tokio::test]
async fn a_large_body_comes_whole_both_ways() {
    let served = start(|_| ()).await;
    let (client, _running) = served.http2().await;
    let mut client = within(client.ready()).await.unwrap();
    let request = Request::post("http://localhost/take").body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data(Bytes::from(vec![b'x'; 1_000_000]), true).unwrap();
    assert_eq!(text(within(answer).await.unwrap().into_body()).await, "1000000");
}

#[tokio::test]
async fn a_drain_lets_an_open_stream_end_and_opens_no_other() {
    let served = start(|_| ()).await;
    let (client, running) = served.http2().await;
    served.feed.send("first").unwrap();
    let mut body = get_http2(&client, "/fed").await.into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "first");
    served.stop.request();
    // The goodbye arrives some time after the stop; until then requests are answered.
    let refused = async {
        while let Ok(mut client) = client.clone().ready().await {
            let Ok((answer, _)) = client.send_request(request("/hello"), true) else { break };
            if answer.await.is_err() {
                break;
            }
        }
    };
    within(refused).await;
    served.feed.send("last").unwrap();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "last");
    let Served { feed, serving, .. } = served;
    drop(feed);
    assert_eq!(text(body).await, "");
    within(running).await.unwrap().unwrap();
    within(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever_for_a_stream() {
    let served = start(|limits| limits.drain_timeout = SHORT).await;
    let (client, _running) = served.http2().await;
    served.feed.send("first").unwrap();
    let mut body = get_http2(&client, "/fed").await.into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "first");
    served.stop.request();
    let Served { serving, feed: _feed, .. } = served;
    within(serving).await.unwrap().unwrap();
    assert!(piece(&mut body).await.is_none_or(|piece| piece.is_err()));
}
