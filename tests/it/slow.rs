//! Hundreds of clients that are slow, half open or silent, each in its own way, at a real process: others are answered
//! while all of these have their places, and every slow one is dropped by a time-out.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::api::process::call;
use crate::support::events::purchase;
use crate::support::process::{Process, Under};
use crate::support::{PATIENCE, eventually, pause};

/// Seconds, in the settings of these tests.
const READ_TIMEOUT: u64 = 2;
/// Another host would be refused at once, and its body not be read.
const HOST: &str = "127.0.0.1";
/// One in six of each kind.
const SLOW: usize = 504;
/// Longer time-outs, so that slow clients are still there when the good one was answered, however slow the machine.
const LONG: [&str; 3] = ["server.read_timeout=15", "server.write_timeout=15", "server.idle_timeout=15"];
/// Calls of the good client before, meanwhile and afterwards: pairs of one that writes and syncs and one that asks for
/// nothing.
const CALLS: usize = 60;
/// Answers that a client asks for and does not read: some ask for enough to fill all buffers where they are large, the
/// others for one, so that making them is no work to speak of.
const UNREAD: usize = 128;
/// Clients of the first so many, of all kinds, that ask for that much.
const GREEDY: usize = 24;
/// Bytes that so many connections may cost: their read buffers, mostly.
const MEMORY_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A role with short time-outs and a folder of its own.
struct Server {
    process: Process,
    addr: SocketAddr,
    /// Calls so far that did work.
    works: AtomicUsize,
    _temp: tempfile::TempDir,
}

/// A call that does work, by its number: path, body, status of the answer.
type Work = dyn Fn(usize) -> (&'static str, String, u16);

impl Server {
    fn start(role: &str, more: &[&str]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let process = Process::start(temp.path(), &arguments(role, temp.path(), more), None);
        Self::listening(process, temp)
    }

    fn listening(process: Process, temp: tempfile::TempDir) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], process.wait_port()));
        Self { process, addr, works: AtomicUsize::new(0), _temp: temp }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    }

    /// As the system counts them, not as the process says.
    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Calls that do work, each of its own, and calls that ask for nothing: all are answered rightly. Says how many
    /// pairs were answered while at least so many files were open.
    fn answered(&self, work: &Work, files: usize) -> usize {
        let is_answered = |_: &usize| {
            let number = self.works.fetch_add(1, Ordering::Relaxed);
            let (path, body, status) = work(number);
            let answer = call(self.addr, "POST", path, &[("content-type", "application/json")], &body);
            assert_eq!(answer.status, status, "{answer:?}");
            assert_eq!(call(self.addr, "GET", "/health", &[], "").status, 200);
            self.open_files() >= files
        };
        (0..CALLS).filter(is_answered).count()
    }

    fn wait_files(&self, before: usize) {
        let what = format!("of {before} open files before");
        eventually(&what, PATIENCE, || self.open_files() <= before);
    }
}

fn arguments(role: &str, folder: &Path, more: &[&str]) -> Vec<String> {
    let own = [
        "server.port=0".to_owned(),
        "logging.format=json".to_owned(),
        format!("server.read_timeout={READ_TIMEOUT}"),
        "server.write_timeout=2".to_owned(),
        "server.idle_timeout=3".to_owned(),
        "events.generate=false".to_owned(),
        // No API is there; announcing is not what this is about.
        "pipeline.url=http://127.0.0.1:9/api/v1/pipeline".to_owned(),
        format!("shared.dir={}", folder.join("shared").display()),
    ];
    let settings = own.into_iter().chain(more.iter().map(|setting| (*setting).to_owned()));
    std::iter::once(role.to_owned()).chain(settings.flat_map(|setting| ["--set".to_owned(), setting])).collect()
}

/// Both ends of hundreds of connections are files, and the usual soft limit is 1024.
fn allow_many_files() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
}

/// Sends what fits into the buffers of the connection.
fn send(stream: &mut TcpStream, bytes: &[u8]) {
    match stream.write(bytes) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::WouldBlock => {}
        Err(e) => panic!("the connection broke before it was slow: {e}"),
    }
}

/// Slow clients that go on being slow until they are dropped, and a thread that drips for those that drip.
struct Slow {
    silent: Vec<TcpStream>,
    over: Arc<AtomicBool>,
    dripping: Option<JoinHandle<()>>,
}

impl Slow {
    /// One sixth each: no byte; half a head; a head in drips; a body in drips; answers that are not read; a kept
    /// connection without a further request.
    fn attach(server: &Server, path: &str, large: &str) -> Self {
        let (mut silent, mut drips) = (Vec::new(), Vec::new());
        for number in 0..SLOW {
            let mut stream = server.connect();
            match number % 6 {
                0 => silent.push(stream),
                1 => {
                    send(&mut stream, b"GET /health HTTP/1.1\r\nhost: 127");
                    silent.push(stream);
                }
                2 => {
                    send(&mut stream, b"GET /health HTTP/1.1\r\nx-long: ");
                    drips.push(stream);
                }
                3 => {
                    let head = format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 100000\r\n\r\n{{");
                    send(&mut stream, head.as_bytes());
                    drips.push(stream);
                }
                4 => {
                    let request = format!("GET {large} HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
                    send(&mut stream, request.repeat(if number < GREEDY { UNREAD } else { 1 }).as_bytes());
                    silent.push(stream);
                }
                _ => {
                    send(&mut stream, format!("GET /health HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes());
                    silent.push(stream);
                }
            }
        }
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let dripping = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                // A connection that was dropped takes no more drips.
                drips.retain_mut(|stream| match stream.write(b"a") {
                    Ok(_) => true,
                    Err(e) => e.kind() == ErrorKind::WouldBlock,
                });
                pause(Duration::from_millis(50));
            }
        });
        Self { silent, over, dripping: Some(dripping) }
    }

    /// How many of the silent ones were dropped by the server: an end or a reset after whatever was answered.
    fn dropped(&mut self) -> usize {
        let mut scratch = vec![0; 64 * 1024];
        let mut is_dropped = |stream: &mut TcpStream| loop {
            match stream.read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return e.kind() != ErrorKind::WouldBlock,
            }
        };
        self.silent.iter_mut().filter_map(|stream| is_dropped(stream).then_some(())).count()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(dripping) = self.dripping.take() {
            dripping.join().unwrap();
        }
    }
}

fn slow_clients_do_not_disturb(role: &str, path: &str, large: &str, work: &Work) {
    allow_many_files();
    let server = Server::start(role, &LONG);
    server.answered(work, 0);
    let (files, memory) = (server.open_files(), server.memory_bytes());

    let mut slow = Slow::attach(&server, path, large);
    // Of the calls before, one or two may have been closed only now.
    eventually("all slow clients have a place", PATIENCE, || server.open_files() + 2 >= files + SLOW);
    // Were the good client kept waiting by the slow ones, it would be answered when their time-outs are over, and then
    // some of them have lost their places.
    let (among, most) = (server.answered(work, files + SLOW - 2), server.memory_bytes());
    println!("{role}: {among} of {CALLS} pairs of calls were answered while all slow clients were there");
    assert!(among > 0, "no call was answered before the slow ones were dropped");

    // None of them ever closes; the server has to.
    server.wait_files(files);
    eventually("all are dropped, none is forgotten", PATIENCE, || slow.dropped() == slow.silent.len());
    assert!(most.max(server.memory_bytes()) < memory + MEMORY_BYTES_MAX, "{memory} bytes before, {most} meanwhile");
    server.answered(work, 0);
    server.process.terminate(PATIENCE).expect_code(0);
}

#[test]
fn the_api_is_not_disturbed_by_500_slow_clients() {
    let register = "/api/v1/pipeline/files/register";
    slow_clients_do_not_disturb("apid", register, "/openapi.json", &|number| {
        let (minute, second) = (number / 60, number % 60);
        (register, format!(r#"{{"filename":"2025010100{minute:02}{second:02}","shards":[0,1]}}"#), 200)
    });
}

#[test]
fn the_ingest_is_not_disturbed_by_500_slow_clients() {
    let events = "/api/v1/events";
    let order = |number: usize| purchase(number as i64 + 1, 1);
    slow_clients_do_not_disturb("ingest", events, "/metrics", &move |number| (events, order(number), 202));
}

/// Fills every place with silent clients, and more of them wait; then a good one comes, and waits its turn.
fn is_answered_when_all_places_are_taken(server: &Server, places: usize) {
    let before = server.open_files();
    let silent: Vec<TcpStream> = (0..places + 50).map(|_| server.connect()).collect();
    // Its turn comes when the first ones are dropped.
    let answer = call(server.addr, "GET", "/health", &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    server.wait_files(before);
    drop(silent);
}

#[test]
fn a_good_client_gets_a_place_when_silent_ones_lose_theirs() {
    allow_many_files();
    let server = Server::start("apid", &[]);
    is_answered_when_all_places_are_taken(&server, 1024);
    server.process.terminate(PATIENCE).expect_code(0);
}

#[test]
fn connections_leave_files_for_the_rest_where_the_system_allows_few() {
    allow_many_files();
    let temp = tempfile::tempdir().unwrap();
    let command = ["sh", "-c", "ulimit -n 300 && exec \"$0\" \"$@\""].map(str::to_owned).to_vec();
    let under = Under { command, ..Under::default() };
    let process = Process::start_under(&under, temp.path(), &arguments("apid", temp.path(), &[]), None);
    let server = Server::listening(process, temp);
    let silent: Vec<TcpStream> = (0..400).map(|_| server.connect()).collect();
    eventually("all places are taken", PATIENCE, || server.open_files() > 150);
    assert!(server.open_files() < 250, "{} of 300 files are open", server.open_files());
    is_answered_when_all_places_are_taken(&server, 172);
    drop(silent);
    let log = server.process.terminate(PATIENCE).expect_code(0).log;
    assert!(log.contains("fewer connections"), "{log}");
    assert!(!log.contains("cannot accept connections"), "{log}");
}
