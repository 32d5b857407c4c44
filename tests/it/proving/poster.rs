//! A client that posts events until it is told to stop and repeats what was not acknowledged, with the same keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::events::event;
use crate::support::oracle::Row;
use crate::support::pipeline::{Pipeline, SHARDS};
use crate::support::{PATIENCE, eventually, pause};

/// Users of posted events start here, so that each row tells which post it was.
const USERS: i64 = 1_000_000;
const POST_LINES: i64 = 4;

/// The client.
pub(super) struct Poster {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

/// What the client and its test tell each other.
#[derive(Default)]
pub(super) struct State {
    port: AtomicU16,
    /// A post was sent and is not answered.
    open: AtomicBool,
    stop: AtomicBool,
    acknowledged: AtomicI64,
    repeated: AtomicU64,
    /// Posts that were sent and never answered.
    lost: AtomicU64,
    /// Answers that were no 202, by their number.
    full: AtomicU64,
}

impl Poster {
    /// Posts to no server yet.
    pub(super) fn start() -> Self {
        let state = Arc::<State>::default();
        let own = Arc::clone(&state);
        let thread = std::thread::spawn(move || own.run());
        Self { state, thread }
    }

    /// What it is at.
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Ends it; answers how many events were acknowledged.
    pub(super) fn finish(self) -> i64 {
        self.state.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        let (acknowledged, repeated) = (self.state.acknowledged(), self.state.repeated.load(Ordering::SeqCst));
        println!("{acknowledged} posted events acknowledged, {repeated} posts repeated");
        acknowledged
    }
}

impl State {
    /// From now on it posts to this port; 0 for none.
    pub(super) fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Whether a post is not answered yet.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// How many posts were never answered by the server that had them.
    pub(super) fn lost_so_far(&self) -> u64 {
        self.lost.load(Ordering::SeqCst)
    }

    /// The same right after the end of the server that it posted to.
    pub(super) fn lost(&self) -> u64 {
        eventually("a post to the dead has ended", PATIENCE, || !self.is_open());
        self.lost_so_far()
    }

    /// How many events were acknowledged so far.
    pub(super) fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// How often the answer was that there is no room.
    pub(super) fn full(&self) -> u64 {
        self.full.load(Ordering::SeqCst)
    }

    fn run(&self) {
        while !self.stop.load(Ordering::SeqCst) {
            let first = self.acknowledged();
            let body: String = (first..first + POST_LINES).map(line).collect();
            while !self.post(&body) {
                self.repeated.fetch_add(1, Ordering::SeqCst);
                pause(Duration::from_millis(5));
            }
            self.acknowledged.store(first + POST_LINES, Ordering::SeqCst);
            pause(Duration::from_millis(10));
        }
    }

    /// Whether the lines were acknowledged.
    fn post(&self, body: &str) -> bool {
        let port = self.port.load(Ordering::SeqCst);
        if port == 0 {
            return false;
        }
        self.open.store(true, Ordering::SeqCst);
        let answered = ask(port, body);
        let is_lost = answered.as_ref().is_err_and(|e| !is_refused(e));
        self.lost.fetch_add(u64::from(is_lost), Ordering::SeqCst);
        self.open.store(false, Ordering::SeqCst);
        let Ok((status, answer)) = answered else { return false };
        match status {
            202 => {}
            507 => {
                self.full.fetch_add(1, Ordering::SeqCst);
                return false;
            }
            // It stops, or has no place for it just now: nothing was acknowledged.
            503 => return false,
            // Its port is another process's by now: it died between the look at the port and the connection.
            404 => return false,
            other => panic!("a good post was answered {other}: {answer}"),
        }
        let taken: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(taken["accepted"], POST_LINES, "{taken}");
        true
    }
}

/// Status and body of the whole answer.
fn ask(port: u16, body: &str) -> Result<(u16, String), ureq::Error> {
    let url = format!("http://127.0.0.1:{port}/api/v1/events");
    let request = ureq::post(url).config().timeout_global(Some(Duration::from_secs(10))).http_status_as_error(false);
    let mut answer = request.build().header("content-type", "application/x-ndjson").send(body)?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

/// No process listened: nothing was sent.
fn is_refused(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused)
        || matches!(error, ureq::Error::ConnectionFailed)
}

fn line(number: i64) -> String {
    // Shops of their own, which never run out.
    let (order, user, shop) = (9_000_000 + number, USERS + number, number % 5 - 1_000);
    let payload = format!(
        r#""order_id":{order},"user_id":{user},"shop_id":{shop},"good_id":1,"qty":1,"price_at_order":2.5,"idempotency_key":"post-{number}""#
    );
    event(1, &payload) + "\n"
}

/// Whether these are posted events.
pub(super) fn is_posted(content: &[u8]) -> bool {
    memchr::memmem::find(content, b"\"idempotency_key\":\"post-").is_some()
}

/// One row for every acknowledged event. Every post was repeated until it was acknowledged, so there are no others.
pub(super) fn assert_posts_are_there_once(pipeline: &Pipeline, acknowledged: i64) {
    let user = |row: &Row| row.4.filter(|user| *user >= USERS);
    let mut users: Vec<i64> = (0..SHARDS).flat_map(|shard| pipeline.rows(shard)).filter_map(|row| user(&row)).collect();
    users.sort_unstable();
    let expected: Vec<i64> = (USERS..USERS + acknowledged).collect();
    assert!(users == expected, "{} rows of {acknowledged} acknowledged events", users.len());
}
