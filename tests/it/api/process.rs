//! A real `shopctl apid`, or another service, on a free port and a fresh folder, and raw HTTP to talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

/// No answer takes longer; the longest wait of a claim is 25 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process; it is killed when it is dropped.
pub(crate) struct Apid {
    child: Child,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Apid {
    pub(crate) fn start() -> Self {
        Self::start_role("apid")
    }

    /// Another service with an API.
    pub(crate) fn start_role(role: &str) -> Self {
        Self::start_with(role, &[])
    }

    /// The same with more settings.
    pub(crate) fn start_with(role: &str, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shopctl"))
            .args([
                role,
                "--set",
                "server.port=0",
                "--set",
                "hub.grpc_port=0",
                "--set",
                "logging.format=json",
                "--set",
                "logging.level=INFO",
            ])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .env_clear()
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut so_far = String::new();
        let addr = loop {
            let before = so_far.len();
            assert!(log.read_line(&mut so_far).unwrap() > 0, "it ended before it listened: {so_far}");
            let line: Value = serde_json::from_str(&so_far[before..]).unwrap();
            if line["msg"] == "listening" {
                break line["addr"].as_str().unwrap().parse().unwrap();
            }
        };
        // The log has to be read, or the process would wait for it one day.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, addr, _folder: folder }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        call(self.addr, "GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        call(self.addr, "POST", path, &[], body)
    }

    /// Asks it to stop, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Apid {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// One call on a connection of its own.
pub(crate) fn call(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" || !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses a large body may stop reading it; its answer is what counts.
    stream.write_all(body.as_bytes()).ok();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    parse(&String::from_utf8(text).unwrap())
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

fn unchunk(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        body.push_str(&rest[..length]);
        text = rest[length..].trim_start_matches("\r\n");
    }
    body
}
