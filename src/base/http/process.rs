//! The process as its metrics show it: start, memory, open files; read from /proc at every scrape. And how many
//! files it may open.

use std::fmt;
use std::fs;
use std::sync::Once;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::base::clock::Clock;

/// Files that a role needs beside its connections: databases, artifacts, its own calls.
const FILES_RESERVED: u64 = 128;

/// As many connections as are wanted, or as the open files that the system allows leave room for. The soft limit, 1024
/// in many places, is there for programs that cannot deal with more; it is raised to the hard one first.
pub(super) fn connections_max(wanted: usize) -> usize {
    static RAISE: Once = Once::new();
    RAISE.call_once(|| {
        let files = getrlimit(Resource::Nofile);
        if let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }) {
            log::debug!("the limit of open files stays as it is: {e}");
        }
    });
    let room =
        getrlimit(Resource::Nofile).current.map_or(u64::MAX, |files| files.saturating_sub(FILES_RESERVED).max(1));
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < wanted {
        log::warn!(wanted, room; "fewer connections are served at once: the system allows few open files (ulimit -n)");
    }
    wanted.min(room)
}

/// Collects the metrics of this process; what the system does not tell is left out.
#[derive(Debug)]
pub(super) struct Process {
    started_unix_seconds: f64,
}

impl Process {
    /// The process, taken as started now.
    pub(super) fn new() -> Self {
        Self { started_unix_seconds: Clock::System.now().unix_ms() as f64 / 1000.0 }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let started = Some(self.started_unix_seconds);
        gauge(&mut encoder, "process_start_time", "Unix time of the start", Some(&Unit::Seconds), started)?;
        let memory = resident_bytes();
        gauge(&mut encoder, "process_resident_memory", "Memory in RAM", Some(&Unit::Bytes), memory)?;
        gauge(&mut encoder, "process_open_fds", "Open file descriptors", None, open_fds())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: Option<f64>,
) -> Result<(), fmt::Error> {
    let Some(value) = value else { return Ok(()) };
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kib) * 1024.0)
}

fn open_fds() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the folder that was just read.
    u32::try_from(open.saturating_sub(1)).ok().map(f64::from)
}
