//! Frames of HTTP/2 that no library would send.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;
/// As many streams as the server allows on one connection.
const STREAMS_MAX: u32 = 100;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The preface and the settings, which every client sends.
pub(super) fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])[..]].concat()
}

/// The packed head of a GET.
fn head(path: &str) -> Vec<u8> {
    // GET and http are in the static table, the path and the host are spelled out.
    let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    head.extend(path.as_bytes());
    head.extend([0x01, 9]);
    head.extend(b"localhost");
    head
}

/// The same with a value of 8 KiB.
fn large_head() -> Vec<u8> {
    const BYTES: usize = 8 * 1024;
    let mut head = head("/hello");
    // A length above 126 is what is left of it, in groups of seven bits.
    let left = BYTES - 127;
    head.extend([0x00, 1, b'x', 0x7f, 0x80 + u8::try_from(left % 128).unwrap(), u8::try_from(left / 128).unwrap()]);
    head.extend([b'x'; BYTES]);
    head
}

pub(super) fn get(path: &str, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &head(path))
}

/// Kind, stream and payload of the next frame; none once the connection is closed.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    within(stream.read_exact(&mut head)).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    within(stream.read_exact(&mut payload)).await.ok()?;
    Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// Passes over frames up to one of this kind.
async fn find(stream: &mut TcpStream, kind: u8) -> Option<(u32, Vec<u8>)> {
    loop {
        let (found, number, payload) = next_frame(stream).await?;
        if found == kind {
            return Some((number, payload));
        }
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// Sends these one by one, now and then, until the server closes; there must be more of them than there is time for.
async fn drip(stream: TcpStream, drops: impl Iterator<Item = &[u8]>) {
    let (mut reading, mut writing) = stream.into_split();
    let mut scratch = [0; 4096];
    let reads = async { while let Ok(1..) = reading.read(&mut scratch).await {} };
    let writes = async {
        let mut pace = tokio::time::interval(SHORT / 10);
        for drop in drops {
            if writing.write_all(drop).await.is_err() {
                return;
            }
            pace.tick().await;
        }
        panic!("all of it was taken");
    };
    within(async { tokio::join!(reads, writes) }).await;
}

#[tokio::test]
async fn half_a_preface_is_closed() {
    let served = start(|limits| limits.read_timeout = SHORT).await;
    for half in [&PREFACE[..1], &PREFACE[..23]] {
        assert_eq!(rest(&mut served.send(half).await).await, "");
    }
}

#[tokio::test]
async fn half_a_frame_is_closed() {
    let served = start(|limits| limits.read_timeout = SHORT).await;
    let whole = get("/hello", 1);
    for half in [&whole[..5], &whole[..whole.len() - 1]] {
        let mut stream = served.send(&[&hello()[..], half].concat()).await;
        assert!(find(&mut stream, HEADERS).await.is_none());
    }
}

#[tokio::test]
async fn headers_in_drips_are_closed() {
    let served = start(|limits| limits.read_timeout = SHORT).await;
    // One frame that is valid, and answered when it comes at once.
    let whole = frame(HEADERS, END_STREAM | END_HEADERS, 1, &large_head());
    let mut stream = served.send(&[hello(), whole.clone()].concat()).await;
    assert!(find(&mut stream, HEADERS).await.is_some());
    drip(served.send(&hello()).await, whole.chunks(1)).await;
    // Frames that are whole, of a head that is not.
    let mut stream = served.send(&hello()).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, &head("/hello"))).await.unwrap();
    let field = frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 0]);
    drip(stream, std::iter::repeat(&field[..])).await;
}

#[tokio::test]
async fn an_idle_connection_is_told_and_closed() {
    let served = start(|limits| limits.idle_timeout = SHORT).await;
    for first in [hello(), [hello(), get("/hello", 1)].concat()] {
        let mut stream = served.send(&first).await;
        let (_, goodbye) = find(&mut stream, GOAWAY).await.expect("the peer must be told");
        assert_eq!(number(&goodbye[4..]), NO_ERROR);
        let (_, confirm) = find(&mut stream, PING).await.unwrap();
        stream.write_all(&frame(PING, ACK, 0, &confirm)).await.unwrap();
        while next_frame(&mut stream).await.is_some() {}
    }
}

#[tokio::test]
async fn a_peer_that_is_gone_is_noticed_by_a_ping() {
    let served = start(|limits| (limits.read_timeout, limits.write_timeout) = (SHORT, SHORT)).await;
    let mut stream = served.send(&[hello(), get("/never", 1)].concat()).await;
    assert!(find(&mut stream, GOAWAY).await.is_some());
    rest(&mut stream).await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let served = start(|_| ()).await;
    let mut stream = served.send(&hello()).await;
    for stream_number in 0..=STREAMS_MAX {
        stream.write_all(&get("/never", 2 * stream_number + 1)).await.unwrap();
    }
    let (refused, reason) = find(&mut stream, RST_STREAM).await.unwrap();
    assert_eq!((refused, number(&reason)), (2 * STREAMS_MAX + 1, REFUSED_STREAM));
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection_and_disturbs_no_other() {
    let served = start(|_| ()).await;
    let (client, _running) = served.http2().await;
    let mut flood = hello();
    for stream_number in 0..1000 {
        flood.extend(get("/never", 2 * stream_number + 1));
        flood.extend(frame(RST_STREAM, 0, 2 * stream_number + 1, &8_u32.to_be_bytes()));
    }
    let mut stream = served.send(&flood).await;
    let (_, reason) = find(&mut stream, GOAWAY).await.unwrap();
    assert_eq!(number(&reason[4..]), ENHANCE_YOUR_CALM);
    assert_eq!(text(get_http2(&client, "/hello").await.into_body()).await, "hello");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_no_other() {
    let served = start(|_| ()).await;
    let (client, _running) = served.http2().await;
    let mut large = request("/hello");
    large.headers_mut().insert("x-large", "x".repeat(17 * 1024).parse().unwrap());
    let mut sending = within(client.clone().ready()).await.unwrap();
    // A client that keeps to the server's settings does not even send it.
    if let Ok((answer, _)) = sending.send_request(large, true) {
        let answer = within(answer).await;
        assert!(answer.as_ref().is_err() || answer.as_ref().is_ok_and(|answer| answer.status() == 431), "{answer:?}");
    }
    assert_eq!(text(get_http2(&client, "/hello").await.into_body()).await, "hello");
}

#[tokio::test]
async fn a_page_of_another_name_is_not_answered_without_tokens() {
    let served = start(|_| ()).await;
    let mut head = head("/hello");
    let named = head.len() - "localhost".len();
    head[named..].copy_from_slice(b"evil.test");
    let mut stream = served.send(&[hello(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)].concat()).await;
    let (_, body) = find(&mut stream, DATA).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("foreign_host"));
}
