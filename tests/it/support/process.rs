//! One role as a real process: its log is read as it comes, signals go to its own id only.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::PATIENCE;

/// A running shopctl. Dropping it kills it.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: Arc<Lines>,
    out: Arc<Lines>,
}

/// How a process ended and what it said.
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) log: String,
}

/// Lines of a stream, and what waits for more of them.
#[derive(Default)]
struct Lines {
    state: Mutex<State>,
    grew: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let shared = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                shared.change(|state| state.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            shared.change(|state| state.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.grew.notify_all();
    }

    /// Waits until `pick` finds something in a line; `None` at the end of the stream or the deadline.
    fn wait_for<T>(&self, deadline: Duration, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + deadline;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = 0;
        loop {
            if let Some(found) = state.lines[seen..].iter().find_map(|line| pick(line)) {
                return Some(found);
            }
            seen = state.lines.len();
            let rest = until.checked_duration_since(Instant::now())?;
            if state.ended {
                return None;
            }
            state = self.grew.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_end(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.ended {
            let Some(rest) = until.checked_duration_since(Instant::now()) else { return false };
            state = self.grew.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn text(&self) -> String {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }
}

/// What a process runs under: a command before it, such as a tracer, and an environment of its own.
#[derive(Default, Clone)]
pub(crate) struct Under {
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// The program that is tested.
#[expect(clippy::disallowed_methods, reason = "the proving ground at full size tests the release build")]
fn program() -> OsString {
    std::env::var_os("SHOPCTL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_shopctl").into())
}

impl Process {
    /// Starts shopctl in a folder, with nothing of our own environment and these bytes as its standard input.
    pub(crate) fn start(folder: &Path, args: &[String], stdin: Option<Vec<u8>>) -> Self {
        Self::start_under(&Under::default(), folder, args, stdin)
    }

    /// The same under a tracer or with an environment.
    pub(crate) fn start_under(under: &Under, folder: &Path, args: &[String], stdin: Option<Vec<u8>>) -> Self {
        let mut words = under.command.iter().map(OsString::from).chain([program()]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .args(args)
            .current_dir(folder)
            .env_clear()
            .envs(under.env.iter().cloned())
            .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if let (Some(bytes), Some(mut pipe)) = (stdin, child.stdin.take()) {
            // A process that ends without reading all of it is judged by its exit code.
            std::thread::spawn(move || pipe.write_all(&bytes).unwrap_or_default());
        }
        let log = Lines::read(child.stderr.take().unwrap());
        let out = Lines::read(child.stdout.take().unwrap());
        Self { name: args.join(" "), child, log, out }
    }

    /// Waits until it listens; answers its port.
    pub(crate) fn wait_port(&self) -> u16 {
        let addr = self.wait_log("listening", |line| line["addr"].as_str().map(str::to_owned));
        addr.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// The same for a process that may die before; `None` then.
    pub(crate) fn find_port(&self) -> Option<u16> {
        let pick = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["msg"].as_str()?.contains("listening").then(|| line["addr"].as_str().map(str::to_owned))?
        };
        let addr = self.log.wait_for(PATIENCE, pick)?;
        addr.rsplit_once(':')?.1.parse().ok()
    }

    /// Waits until `/ready` says yes.
    pub(crate) fn wait_ready(&self) -> u16 {
        let port = self.wait_port();
        let url = format!("http://127.0.0.1:{port}/ready");
        super::eventually(&format!("{} is ready", self.name), PATIENCE, || ureq::get(&url).call().is_ok());
        port
    }

    /// Waits for a log line with this message from which `pick` takes something.
    pub(crate) fn wait_log<T>(&self, msg: &str, pick: impl Fn(&Value) -> Option<T>) -> T {
        let pick = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            if line["msg"].as_str()?.contains(msg) { pick(&line) } else { None }
        };
        let found = self.log.wait_for(PATIENCE, pick);
        found.unwrap_or_else(|| panic!("{} never logged '{msg}':\n{}", self.name, self.log.text()))
    }

    /// Everything it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Everything it printed so far.
    pub(crate) fn out_so_far(&self) -> String {
        self.out.text()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill9(mut self) -> Ended {
        self.child.kill().unwrap();
        self.wait_exit(PATIENCE)
    }

    /// Asks it to stop and waits for its end.
    pub(crate) fn terminate(self, deadline: Duration) -> Ended {
        self.signal(Signal::TERM);
        self.wait_exit(deadline)
    }

    /// Waits for its end.
    pub(crate) fn wait_exit(mut self, deadline: Duration) -> Ended {
        let ended = self.log.wait_end(deadline) && self.out.wait_end(deadline);
        assert!(ended, "{} did not end within {deadline:?}:\n{}", self.name, self.log.text());
        let status = self.child.wait().unwrap();
        Ended { name: self.name.clone(), status, out: self.out.text(), log: self.log.text() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what they are for.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

impl Ended {
    /// Panics with everything it said unless it ended with this code.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}\n{}\n{}", self.name, self.out, self.log);
        self
    }
}
