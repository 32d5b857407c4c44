//! What bodies of answers may be: with trailers, and broken.

use std::sync::Once;

use super::*;

/// All lines at the level `error` that this process has logged.
static ERRORS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Errors;

impl log::Log for Errors {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Error
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let route = record.key_values().get("route".into()).map(|route| route.to_string());
            ERRORS.lock().unwrap().push(format!("{} {}", route.unwrap_or_default(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// How many bodies of `/fed` have panicked, as the log says.
fn panics() -> usize {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Errors).unwrap();
        log::set_max_level(log::LevelFilter::Error);
    });
    let line =
        "/fed the body of an answer panicked; this is a bug: assertion `left != right` failed: broken on purpose";
    ERRORS.lock().unwrap().iter().filter(|logged| logged.starts_with(line)).count()
}

#[tokio::test]
async fn a_body_that_panics_is_logged_with_its_route_and_ends_its_answer_only() {
    assert_eq!(panics(), 0);
    let served = start(|_| ()).await;
    let (client, _running) = served.http2().await;
    served.feed.send("first").unwrap();
    let mut body = get_http2(&client, "/fed").await.into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "first");
    served.feed.send(PANIC).unwrap();
    assert!(piece(&mut body).await.unwrap().unwrap_err().is_reset());
    assert_eq!(panics(), 1);
    assert_eq!(text(get_http2(&client, "/hello").await.into_body()).await, "hello");

    let served = start(|_| ()).await;
    let mut stream = served.send(b"GET /fed HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    served.feed.send("first").unwrap();
    until(&mut stream, "first\r\n").await;
    served.feed.send(PANIC).unwrap();
    assert_eq!(rest(&mut stream).await, "", "the answer must not end as if it were whole");
    assert_eq!(panics(), 2);
}

#[tokio::test]
async fn trailers_pass() {
    let served = start(|_| ()).await;
    let (client, _running) = served.http2().await;
    let mut body = get_http2(&client, "/trailers").await.into_body();
    assert_eq!(piece(&mut body).await.unwrap().unwrap(), "message");
    assert!(piece(&mut body).await.is_none());
    let trailers = within(body.trailers()).await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}
