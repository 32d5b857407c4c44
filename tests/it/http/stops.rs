//! A stop of a real process with peers that do not take part in it.

use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;

use super::raw::{get, hello};
use crate::support::PATIENCE;
use crate::support::process::Process;

#[test]
fn a_stop_does_not_wait_for_a_silent_peer() {
    let temp = tempfile::tempdir().unwrap();
    let shared = format!("shared.dir={}", temp.path().join("shared").display());
    let settings = ["server.port=0".to_owned(), "logging.format=json".to_owned(), shared];
    let settings = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]);
    let arguments: Vec<String> = std::iter::once("apid".to_owned()).chain(settings).collect();
    let process = Process::start(temp.path(), &arguments, None);
    let port = process.wait_ready();
    // One without a request, one whose answer is not read. Neither reads a byte, nor confirms the goodbye.
    let peers = [hello(), [hello(), get("/health", 1)].concat()].map(|first| {
        let mut peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.write_all(&first).unwrap();
        assert_eq!(peer.peek(&mut [0]).unwrap(), 1, "the server speaks HTTP/2 with it");
        peer
    });
    process.signal(Signal::TERM);
    let log = process.wait_exit(PATIENCE).expect_code(0).log;
    // The drain's deadline would end it as well, and say so.
    assert!(!log.contains("closing connections") && !log.contains("ending now"), "{log}");
    drop(peers);
}
