//! A proxy before a service. Its address stays while the service is killed and started again; it can hold one
//! request or one answer back for as long as a test likes, and spoil answers as a bad network does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The proxy; its threads live as long as the test binary.
pub(crate) struct Proxy {
    addr: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    backend: Option<SocketAddr>,
    hold: Option<Hold>,
    spoil: Option<Spoil>,
    /// Requests for work that the backend has and has not answered.
    working: usize,
    /// Requests for work that the backend had and never answered.
    lost: u64,
}

/// What the network does to an answer after the API has given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mischief {
    /// The connection breaks before a byte of it.
    Cut,
    /// The connection is closed for writing in the middle of it.
    Half,
    /// It never comes, and the connection stays.
    Stall,
}

impl Mischief {
    /// Its name in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cut => "reply lost",
            Self::Half => "half a reply",
            Self::Stall => "reply never comes",
        }
    }
}

/// Which answers are spoiled, and how many were.
struct Spoil {
    path: &'static str,
    kind: Mischief,
    per_mille: u64,
    rng: ChaCha8Rng,
    was_struck: bool,
    counter: Arc<Counter>,
}

/// How often a spoiled call was asked, and how often it was struck.
#[derive(Default)]
pub(crate) struct Counter {
    asked: AtomicU64,
    struck: AtomicU64,
}

impl Counter {
    /// Calls that came by.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Answers that were spoiled.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::SeqCst)
    }
}

impl Spoil {
    /// Whether this answer is spoiled. Never two in a row: a call that nothing brings through ends nowhere.
    fn strikes(&mut self) -> bool {
        self.counter.asked.fetch_add(1, Ordering::SeqCst);
        self.was_struck = !self.was_struck && self.rng.random_range(0..1000) < self.per_mille;
        self.counter.struck.fetch_add(u64::from(self.was_struck), Ordering::SeqCst);
        self.was_struck
    }
}

/// What to hold back.
struct Hold {
    /// A part of the request's first line.
    path: &'static str,
    at: HoldAt,
    held: mpsc::Sender<()>,
    release: mpsc::Receiver<()>,
}

/// Which of the two ways is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HoldAt {
    /// The request reaches the API only when it is released.
    Request,
    /// The API has answered that there is work, but the asker hears it only when it is released.
    AnswerWithWork,
}

/// A request that is or will be held back.
pub(crate) struct Held {
    held: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl Held {
    /// Waits until it is held.
    pub(crate) fn wait(&self) {
        self.held.recv_timeout(super::PATIENCE).expect("the call that is to be held back never came");
    }

    /// Lets it go.
    pub(crate) fn release(self) {
        self.release.send(()).unwrap();
    }
}

impl Proxy {
    /// A proxy without a server behind it yet.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, shared) = (listener.local_addr().unwrap(), Arc::<Mutex<Shared>>::default());
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_thread);
                // A connection that breaks is what the other side has to live with.
                thread::spawn(move || forward(client, &shared).unwrap_or_default());
            }
        });
        Self { addr, shared }
    }

    /// The base URL of the API.
    pub(crate) fn url(&self) -> String {
        format!("{}/api/v1/pipeline", self.root())
    }

    /// The URL of whatever is behind it.
    pub(crate) fn root(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on this port is behind it.
    pub(crate) fn set_backend(&self, port: u16) {
        lock(&self.shared).backend = Some(SocketAddr::from(([127, 0, 0, 1], port)));
    }

    /// Whether whatever is behind it has work to answer: a POST that is no claim, since claims wait for hours if need be.
    pub(crate) fn is_working(&self) -> bool {
        lock(&self.shared).working > 0
    }

    /// How much work was never answered by the server that had it.
    pub(crate) fn lost_so_far(&self) -> u64 {
        lock(&self.shared).lost
    }

    /// The same right after the end of the server behind it, before another one has its place.
    pub(crate) fn lost(&self) -> u64 {
        super::eventually("calls to the dead have ended", super::PATIENCE, || !self.is_working());
        self.lost_so_far()
    }

    /// Holds the next call back that has this in its path.
    pub(crate) fn hold_next(&self, path: &'static str, at: HoldAt) -> Held {
        let ((tell, held), (release, released)) = (mpsc::channel(), mpsc::channel());
        lock(&self.shared).hold = Some(Hold { path, at, held: tell, release: released });
        Held { held, release }
    }

    /// From now on spoils so many of a thousand answers to calls that have this in their path.
    pub(crate) fn spoil(&self, path: &'static str, kind: Mischief, per_mille: u64, seed: u64) -> Arc<Counter> {
        let (rng, counter) = (ChaCha8Rng::seed_from_u64(seed), Arc::<Counter>::default());
        let spoil = Spoil { path, kind, per_mille, rng, was_struck: false, counter: Arc::clone(&counter) };
        lock(&self.shared).spoil = Some(spoil);
        counter
    }

    /// Spoils nothing any more.
    pub(crate) fn behave(&self) {
        lock(&self.shared).spoil = None;
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forward(client: TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    let mut server: Option<(SocketAddr, BufReader<TcpStream>)> = None;
    while let Some(request) = read_message(&mut client)? {
        let first_line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let path = String::from_utf8_lossy(first_line).into_owned();
        hold(shared, |hold| hold.at == HoldAt::Request && path.contains(hold.path));
        let backend = lock(shared).backend.ok_or(io::ErrorKind::ConnectionRefused)?;
        if server.as_ref().is_none_or(|(addr, stream)| *addr != backend || is_over(stream.get_ref())) {
            let stream = TcpStream::connect(backend)?;
            stream.set_nodelay(true)?;
            server = Some((backend, BufReader::new(stream)));
        }
        let Some((_, stream)) = &mut server else { return Ok(()) };
        let is_work = path.starts_with("POST ") && !path.contains("/claim ");
        lock(shared).working += usize::from(is_work);
        let answered = stream.get_mut().write_all(&request).and_then(|()| read_message(stream));
        let is_lost = is_work && !matches!(answered, Ok(Some(_)));
        {
            let mut shared = lock(shared);
            shared.working -= usize::from(is_work);
            shared.lost += u64::from(is_lost);
        }
        let Some(answer) = answered? else { return Ok(()) };
        let has_work = memchr::memmem::find(&answer, b"\"token\":").is_some();
        hold(shared, |hold| hold.at == HoldAt::AnswerWithWork && has_work && path.contains(hold.path));
        let struck = lock(shared).spoil.as_mut().filter(|spoil| path.contains(spoil.path)).and_then(|spoil| {
            let kind = spoil.kind;
            spoil.strikes().then_some(kind)
        });
        match struck {
            None => client.get_mut().write_all(&answer)?,
            Some(Mischief::Cut) => return Ok(()),
            Some(Mischief::Half) => {
                client.get_mut().write_all(&answer[..answer.len() / 2])?;
                return client.get_mut().shutdown(Shutdown::Write);
            }
            // Until the asker has had enough.
            Some(Mischief::Stall) => return io::copy(&mut client, &mut io::sink()).map(drop),
        }
    }
    Ok(())
}

/// Whether the other end has closed it: nothing that is sent there now is read.
fn is_over(stream: &TcpStream) -> bool {
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let is_as_before = stream.set_nonblocking(false).is_ok();
    !is_as_before || looked.is_ok() || looked.is_err_and(|e| e.kind() != io::ErrorKind::WouldBlock)
}

/// Holds this call back if it is the one.
fn hold(shared: &Mutex<Shared>, is_it: impl Fn(&Hold) -> bool) {
    let taken = lock(shared).hold.take_if(|hold| is_it(hold));
    if let Some(hold) = taken {
        // Both fail only when the test is over.
        hold.held.send(()).unwrap_or_default();
        hold.release.recv().unwrap_or_default();
    }
}

/// One HTTP message with a length; `None` at the end of the connection.
fn read_message(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let (mut message, mut body_bytes) = (Vec::new(), 0);
    loop {
        let before = message.len();
        if stream.read_until(b'\n', &mut message)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&message[before..]).to_ascii_lowercase();
        assert!(!line.starts_with("transfer-encoding:"), "this proxy knows messages with a length only");
        if let Some(length) = line.strip_prefix("content-length:") {
            body_bytes = length.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; body_bytes];
    stream.read_exact(&mut body)?;
    message.append(&mut body);
    Ok(Some(message))
}
