//! A proxy before a MySQL server that knows one thing of its protocol: a COMMIT. It lets some of them through and cuts
//! the connection before the answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The first byte of a packet that carries a statement as text.
const COM_QUERY: u8 = 3;

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
    /// Cuts so many of a thousand answers to COMMIT of the server on this port.
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
        let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
        thread::spawn(move || {
            io::copy(&mut answers, &mut to_client).unwrap_or_default();
            to_client.shutdown(Shutdown::Both).unwrap_or_default();
        });
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        loop {
            let packet = read_packet(&mut from_client)?;
            if is_commit(&packet) && self.cuts() {
                // First nobody listens any more, then the server hears of the commit and answers.
                client.shutdown(Shutdown::Both)?;
                to_server.write_all(&packet)?;
                // It has its commit and then nobody any more; a connection that stayed open would count for ever.
                return to_server.shutdown(Shutdown::Write);
            }
            to_server.write_all(&packet)?;
        }
    }

    fn cuts(&self) -> bool {
        self.seen.fetch_add(1, Ordering::SeqCst);
        let chance = self.rng.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..1000);
        let cuts = chance < self.per_mille.load(Ordering::SeqCst);
        self.cut.fetch_add(u64::from(cuts), Ordering::SeqCst);
        cuts
    }
}

/// A packet with its header: three bytes of length, one of sequence.
fn read_packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet)?;
    let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
    packet.resize(4 + length, 0);
    stream.read_exact(&mut packet[4..])?;
    Ok(packet)
}

fn is_commit(packet: &[u8]) -> bool {
    packet.get(4) == Some(&COM_QUERY) && packet[5..].trim_ascii().eq_ignore_ascii_case(b"commit")
}
