//! Answers that come after their limit: whichever answer of an operation it is, it is taken for no other's. What was
//! reported as done is there, whole and once.
//!
//! A proxy holds one answer until the client says something else on that connection, which it must not, or closes it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use shopctl::base::db::Server;
use shopctl::pipeline::shard_db::{Delivered, Delivery, EventRow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::served::Served;
use super::*;

/// How long the stores wait for an answer here.
const TIMEOUT: Duration = Duration::from_millis(600);
/// More attempts than a busy machine needs.
const TRIES: u32 = 50;
const ROWS: u64 = 3;

mod on_mariadb {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_late_answer_of_a_delivery_goes_to_no_caller() {
        super::a_late_answer_of_a_delivery_goes_to_no_caller(&super::Served::mariadb()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_late_answer_of_the_tracking_goes_to_no_caller() {
        super::a_late_answer_of_the_tracking_goes_to_no_caller(&super::Served::mariadb()).await;
    }
}

mod on_mysql {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_late_answer_of_a_delivery_goes_to_no_caller() {
        super::a_late_answer_of_a_delivery_goes_to_no_caller(&super::Served::mysql()).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_late_answer_of_the_tracking_goes_to_no_caller() {
        super::a_late_answer_of_the_tracking_goes_to_no_caller(&super::Served::mysql()).await;
    }
}

/// The proxy; its tasks end with the test.
struct Late {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: (String, u16),
    /// Packets of clients until the one whose answer is held; below zero there is none.
    left: AtomicI64,
    held: AtomicU64,
    /// Commands that came on a connection which still owed an answer.
    hasty: AtomicU64,
}

/// The command that says good-bye.
const COM_QUIT: u8 = 1;

impl Late {
    async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = (server.host.clone(), server.port);
        let shared =
            Arc::new(Shared { server, left: AtomicI64::new(-1), held: AtomicU64::new(0), hasty: AtomicU64::new(0) });
        let of_task = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(Arc::clone(&of_task), client));
            }
        });
        Self { port, shared }
    }

    /// This database, through the proxy.
    fn through(&self, url: &StoreUrl) -> StoreUrl {
        let StoreUrl::Mysql(server) = url else { panic!("{url} is no server") };
        let (host, port) = ("127.0.0.1".to_owned(), self.port);
        StoreUrl::Mysql(Server { host, port, timeout: Some(TIMEOUT), ..server.clone() })
    }

    /// Holds the answer to the packet after so many.
    fn hold(&self, packets: i64) {
        self.shared.left.store(packets, Ordering::SeqCst);
    }

    fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// Whatever would be asked there, the late answer would be taken for the answer to it.
    fn assert_no_call_before_the_answer(&self) {
        assert_eq!(self.shared.hasty.load(Ordering::SeqCst), 0, "a connection was used that owed an answer");
    }
}

async fn forward(shared: Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(&shared.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (hold, held) = watch::channel(false);
    tokio::select! {
        ended = ask(&shared, from_client, to_server, hold) => ended,
        ended = answer(from_server, to_client, held) => ended,
    }
}

/// Client to server, a packet at a time: three bytes of length, one of sequence.
async fn ask(
    shared: &Shared,
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    hold: watch::Sender<bool>,
) -> io::Result<()> {
    loop {
        let mut packet = vec![0; 4];
        client.read_exact(&mut packet).await?;
        let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
        packet.resize(4 + length, 0);
        client.read_exact(&mut packet[4..]).await?;
        let is_held = shared.left.fetch_sub(1, Ordering::SeqCst) == 0;
        shared.held.fetch_add(u64::from(is_held), Ordering::SeqCst);
        let owes = hold.send_replace(is_held);
        shared.hasty.fetch_add(u64::from(owes && packet.get(4) != Some(&COM_QUIT)), Ordering::SeqCst);
        server.write_all(&packet).await?;
    }
}

/// Server to client, while nothing is held.
async fn answer(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut held: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 || held.wait_for(|is_held| !is_held).await.is_err() {
            return Ok(());
        }
        client.write_all(&buffer[..length]).await?;
    }
}

/// What a role does: again, as long as the database is not to be had.
async fn until_done<T: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T>) -> T {
    for _ in 0..TRIES {
        match attempt().await {
            Ok(done) => return done,
            Err(Error::Busy(_) | Error::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    panic!("not done in {TRIES} attempts");
}

fn delivery(number: u32) -> Delivery {
    let source = (1..=ROWS).map(move |line| {
        Ok(EventRow {
            event_type: 4,
            shop_id: Some(1),
            user_id: None,
            timestamp: Timestamp::from_unix_ms(START_MS),
            source_file: file(number),
            source_line: line,
            entry: None,
        })
    });
    Delivery { key: key(number, 0), sha256: Digest::new([1; 32]), rows: ROWS, source: Box::new(source) }
}

async fn a_late_answer_of_a_delivery_goes_to_no_caller(backend: &Served) {
    let url = backend.shard(shard(0));
    migrate(&url, &schemas::SHARD).await.unwrap();
    let StoreUrl::Mysql(server) = &url else { panic!("{url} is no server") };
    let late = Late::before(server).await;
    let store = open_shard(&late.through(&url), Clock::System).await.unwrap();
    until_done(|| store.deliver(delivery(0))).await;
    let mut number = 0;
    loop {
        number += 1;
        let before = late.held();
        late.hold(i64::from(number) - 1);
        until_done(|| store.deliver(delivery(number))).await;
        // What was reported is there now, and not only at a later look.
        let count = format!("SELECT CAST(COUNT(*) AS CHAR) FROM events WHERE source_file = '{}'", file(number));
        assert_eq!(backend.texts(&url, &count).await, [ROWS.to_string()], "answer {number} was held");
        assert_eq!(until_done(|| store.deliver(delivery(number))).await, Delivered::Before, "answer {number} was held");
        if late.held() == before {
            break;
        }
    }
    assert!(number > 4, "only {number} answers were held");
    late.assert_no_call_before_the_answer();
    late.hold(-1);
    let census = until_done(|| store.census(shard(0))).await;
    assert_eq!((census.rows, census.sent.len() as u64), (u64::from(number + 1) * ROWS, u64::from(number + 1)));
    store.close().await;
}

async fn a_late_answer_of_the_tracking_goes_to_no_caller(backend: &Served) {
    let url = backend.tracking();
    migrate(&url, &schemas::TRACKING).await.unwrap();
    let StoreUrl::Mysql(server) = &url else { panic!("{url} is no server") };
    let late = Late::before(server).await;
    let long = RetryPolicy { lease_ms: 3_600_000, ..policy().moves };
    let (place, policy) = (late.through(&url), TrackingPolicy { moves: long, ..policy() });
    let tracking = open_tracking(&place, Clock::System, policy).await.unwrap();
    let mut number = 0;
    loop {
        let before = late.held();
        late.hold(i64::from(number));
        let (file, shards) = (file(number), all(2));
        until_done(|| tracking.register(&file, &shards)).await;
        until_done(|| tracking.ingest_done(&file, None)).await;
        let (worker, claim_id) = ("w".to_owned(), format!("c{number}"));
        let claim = Claim { stage: SPLIT, worker, limit: 9, shard: None, claim_id, takes_over: true };
        let claimed = until_done(|| tracking.claim(&claim)).await;
        assert_eq!(names(&claimed), [key(number, 0), key(number, 1)], "answer {number} was held");
        for task in &claimed {
            let done = || tracking.apply(&task.key, SPLIT, Call::Done(Some(task.token)), StageReport::default());
            assert_eq!(until_done(done).await, Status::Done);
        }
        number += 1;
        if late.held() == before {
            break;
        }
    }
    assert!(number > 12, "only {number} answers were held");
    late.assert_no_call_before_the_answer();
    let done = "SELECT CAST(COUNT(*) AS CHAR) FROM pipeline_tracking WHERE shard_splitter_status = 'done'";
    assert_eq!(backend.texts(&url, done).await, [(number * 2).to_string()]);
    tracking.close().await;
}
