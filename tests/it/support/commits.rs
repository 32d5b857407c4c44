//! A proxy before a MySQL server that knows a little of its protocol: which prepared statements a transaction runs, and
//! its COMMIT. It lets some of them through and cuts the connection before the answer.

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The first byte of a packet that carries a statement as text.
const COM_QUERY: u8 = 3;
/// And of those that prepare a statement and run it.
const COM_STMT_PREPARE: u8 = 22;
const COM_STMT_EXECUTE: u8 = 23;
/// With one statement only, it is a look whether the database may be written.
const STATEMENTS_MIN: usize = 2;

/// The proxy; its threads live as long as the test binary.
pub(crate) struct Commits {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    per_mille: AtomicU64,
    seen: AtomicU64,
    cut: AtomicU64,
    rng: Mutex<ChaCha8Rng>,
}

impl Commits {
    /// Cuts so many of a thousand answers of the server on this port to a COMMIT of work: mere looks are left alone.
    pub(crate) fn before(server: u16, per_mille: u64, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: SocketAddr::from(([127, 0, 0, 1], server)),
            per_mille: AtomicU64::new(per_mille),
            seen: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                // A connection that breaks is what the other side has to live with.
                thread::spawn(move || shared.forward(client).unwrap_or_default());
            }
        });
        Self { port, shared }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many commits came by, and how many answers were cut.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.seen.load(Ordering::SeqCst), self.shared.cut.load(Ordering::SeqCst))
    }

    /// Cuts nothing any more.
    pub(crate) fn behave(&self) {
        self.shared.per_mille.store(0, Ordering::SeqCst);
    }
}

impl Shared {
    fn forward(&self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let session = Arc::<Mutex<Session>>::default();
        let (answers, mut to_client, of_thread) = (server.try_clone()?, client.try_clone()?, Arc::clone(&session));
        thread::spawn(move || {
            answer(&mut BufReader::new(answers), &mut to_client, &of_thread).unwrap_or_default();
            to_client.shutdown(Shutdown::Both).unwrap_or_default();
        });
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        loop {
            let packet = read_packet(&mut from_client)?;
            if lock(&session).commits_work(&packet) && self.cuts() {
                // First the client's side is closed, then the server hears of the commit and answers.
                client.shutdown(Shutdown::Both)?;
                to_server.write_all(&packet)?;
                // The server has its commit and no client; a connection that stayed open would count for ever.
                return to_server.shutdown(Shutdown::Write);
            }
            to_server.write_all(&packet)?;
        }
    }

    fn cuts(&self) -> bool {
        self.seen.fetch_add(1, Ordering::SeqCst);
        let chance = lock(&self.rng).random_range(0..1000);
        let cuts = chance < self.per_mille.load(Ordering::SeqCst);
        self.cut.fetch_add(u64::from(cuts), Ordering::SeqCst);
        cuts
    }
}

/// What a connection has prepared, and run since its transaction began.
#[derive(Default)]
struct Session {
    /// Statements that write, by the server's numbers.
    writing: BTreeSet<[u8; 4]>,
    /// Whether the statement writes whose number the server is asked for.
    asked: Option<bool>,
    statements: usize,
    has_written: bool,
}

impl Session {
    /// Takes the next packet in; whether it is the COMMIT of a transaction that has done work.
    fn commits_work(&mut self, packet: &[u8]) -> bool {
        let Some((command, rest)) = packet.get(4..).and_then(<[u8]>::split_first) else { return false };
        match *command {
            COM_STMT_PREPARE => {
                let writes = [&b"INSERT"[..], b"UPDATE", b"DELETE", b"REPLACE"];
                self.asked = Some(writes.iter().any(|word| rest.trim_ascii_start().starts_with(word)));
            }
            COM_STMT_EXECUTE => {
                self.statements += 1;
                self.has_written |= rest.first_chunk().is_some_and(|number| self.writing.contains(number));
            }
            COM_QUERY if rest.starts_with(b"START TRANSACTION") => {
                (self.statements, self.has_written) = (0, false);
            }
            COM_QUERY if rest.trim_ascii().eq_ignore_ascii_case(b"commit") => {
                return self.has_written && self.statements >= STATEMENTS_MIN;
            }
            _ => {}
        }
        false
    }

    /// Takes the server's next packet in: a zero and the number of the statement, if one was prepared.
    fn hears(&mut self, packet: &[u8]) {
        if let (Some(writes), Some([0, number @ ..])) = (self.asked.take(), packet.get(4..9)) {
            let number = number.first_chunk().copied().unwrap_or_default();
            // A connection may have prepared another one under this number, and closed it.
            self.writing.remove(&number);
            self.writing.extend(writes.then_some(number));
        }
    }
}

/// Forwards what the server says.
fn answer(server: &mut impl Read, client: &mut TcpStream, session: &Mutex<Session>) -> io::Result<()> {
    loop {
        let packet = read_packet(server)?;
        lock(session).hears(&packet);
        client.write_all(&packet)?;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A packet with its header: three bytes of length, one of sequence.
fn read_packet(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet)?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    stream.read_exact(&mut packet[4..])?;
    Ok(packet)
}
