//! Posts events to a running shopctl from eight threads and measures how long the durable acknowledgement takes.
//!
//! Starts `shopctl up` on free ports of 127.0.0.1 with the generator off, posts, waits for the rows, stops it and prints
//! the audit's verdict; the reference, measured in the same run, is one thread that appends and fsyncs the same events one
//! by one. Run: `cargo bench --bench load`, or `cargo bench --bench load -- --events 50000 --secs 60`.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Threads that post.
const THREADS: u64 = 8;
/// Events, unless `--events` says otherwise.
const EVENTS: u64 = 20_000;
/// The longest time of posting in seconds, unless `--secs` says otherwise.
const SECS: u64 = 20;
/// The longest time of the reference.
const REFERENCE_MAX: Duration = Duration::from_secs(5);
/// The longest wait for the rows after the last acknowledgement.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Between two looks at what is delivered.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// The longest that one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let (events, time_max) = arguments()?;
    // On the disk that the project is on: in a folder in memory an fsync would cost nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (appended, took) = append_one_by_one(folder.path(), events)?;
    let reference = appended as f64 / took.as_secs_f64();
    println!("reference: {appended} events, one fsync each, one thread: {reference:.0} events/s");

    let mut shopctl = Shopctl::start(folder.path())?;
    let began = Instant::now();
    let mut times = post_all(&shopctl.ingest, events, began + time_max)?;
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    println!("shopctl:   {} events, {THREADS} threads, one post each: {rate:.0} acknowledged events/s", times.len());
    println!("           {:.2} times the reference", rate / reference);
    println!("           acknowledgement p50 {:?}, p99 {:?}", percentile(&times, 50), percentile(&times, 99));
    shopctl.wait_for_rows(times.len() as u64)?;
    println!("           all rows {:.1} s after the first post", began.elapsed().as_secs_f64());
    shopctl.stop(times.len() as u64)
}

/// How many events, and for how long at the most. Cargo adds `--bench`.
fn arguments() -> Outcome<(u64, Duration)> {
    let (mut events, mut secs) = (EVENTS, SECS);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
        match argument.as_str() {
            "--bench" => {}
            "--events" => events = number().ok_or("--events needs a number")?,
            "--secs" => secs = number().ok_or("--secs needs a number")?,
            other => return Err(format!("'{other}' is unknown; there are --events N and --secs N").into()),
        }
    }
    Ok((events, Duration::from_secs(secs)))
}

/// An event that no other is like.
fn event(number: u64) -> String {
    let (shop, good, qty) = (number % 10 + 1, number % 30 + 1, number % 5 + 1);
    format!(
        r#"{{"event_type":1,"payload":{{"order_id":{},"shop_id":{shop},"good_id":{good},"qty":{qty},"price_at_order":2.55,"idempotency_key":"load-{number}"}},"timestamp":"2025-01-01 00:00:00.000"}}"#,
        number + 1
    )
}

/// The reference: what one thread with one fsync per event does.
fn append_one_by_one(folder: &Path, events: u64) -> Outcome<(u64, Duration)> {
    let mut file = OpenOptions::new().create_new(true).append(true).open(folder.join("reference"))?;
    let began = Instant::now();
    let mut appended = 0;
    while appended < events && began.elapsed() < REFERENCE_MAX {
        file.write_all(format!("{}\n", event(appended)).as_bytes())?;
        file.sync_data()?;
        appended += 1;
    }
    Ok((appended, began.elapsed()))
}

/// Posts from all threads; answers how long each acknowledgement took.
fn post_all(ingest: &str, events: u64, until: Instant) -> Outcome<Vec<Duration>> {
    let next = AtomicU64::new(0);
    let url = format!("{ingest}/api/v1/events");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| post(&url, &next, events, until))).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| "a posting thread panicked")??);
        }
        Ok(times)
    })
}

fn post(url: &str, next: &AtomicU64, events: u64, until: Instant) -> Outcome<Vec<Duration>> {
    let agent = agent();
    let mut times = Vec::new();
    while Instant::now() < until {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= events {
            break;
        }
        let body = event(number);
        let began = Instant::now();
        let answer =
            agent.post(url).header("content-type", "application/json").send(body)?.body_mut().read_to_string()?;
        times.push(began.elapsed());
        if !answer.contains(r#""accepted":1"#) {
            return Err(format!("event {number} was not accepted: {answer}").into());
        }
    }
    Ok(times)
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(REQUEST_MAX)).build().into()
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The process under load; killed if it is dropped while it runs.
struct Shopctl {
    process: Child,
    output: BufReader<ChildStdout>,
    ingest: String,
    api: String,
}

impl Shopctl {
    fn start(folder: &Path) -> Outcome<Self> {
        let settings = [
            format!("shared.dir={}", folder.join("shared").display()),
            "events.generate=false".to_owned(),
            "events.generation_interval=1".to_owned(),
            "logging.level=WARN".to_owned(),
        ];
        let mut process = Command::new(env!("CARGO_BIN_EXE_shopctl"))
            .args(["up", "--any-port"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            // The caller's settings are not measured.
            .env_clear()
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()?;
        let output = BufReader::new(process.stdout.take().ok_or("no standard output")?);
        let mut shopctl = Self { process, output, ingest: String::new(), api: String::new() };
        shopctl.read_addresses()?;
        Ok(shopctl)
    }

    fn read_addresses(&mut self) -> Outcome<()> {
        let mut line = String::new();
        while self.ingest.is_empty() || self.api.is_empty() {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                return Err("shopctl ended before it listened".into());
            }
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("event-ingest"), Some(url)) => self.ingest = url.trim_end_matches("/health").to_owned(),
                (Some("pipeline-apid"), Some(url)) => self.api = url.trim_end_matches('/').to_owned(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until the API knows of as many delivered rows as events were acknowledged.
    fn wait_for_rows(&self, events: u64) -> Outcome<()> {
        let (agent, began) = (agent(), Instant::now());
        let url = format!("{}/api/v1/pipeline/audit", self.api);
        loop {
            let audit: serde_json::Value = serde_json::from_str(&agent.get(&url).call()?.body_mut().read_to_string()?)?;
            let rows = audit["mysql_sender"]["counts"]["written"].as_u64().unwrap_or(0);
            if rows >= events {
                return Ok(());
            }
            if began.elapsed() > SETTLE_MAX {
                return Err(format!("{rows} rows of {events} events after {SETTLE_MAX:?}").into());
            }
            std::thread::park_timeout(PROBE_EVERY);
        }
    }

    /// Stops it as Ctrl-C would, and prints the audit's last lines.
    fn stop(&mut self, events: u64) -> Outcome<()> {
        let pid = Pid::from_raw(i32::try_from(self.process.id())?).ok_or("no process id")?;
        kill_process(pid, Signal::INT)?;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        let status = self.process.wait()?;
        let verdict: Vec<&str> = rest.lines().rev().take(2).collect();
        for line in verdict.iter().rev() {
            println!("audit:     {line}");
        }
        let rows = format!("{events} lines in = {events} rows");
        if !status.success() || verdict.first() != Some(&"0 differences") || !rest.contains(&rows) {
            return Err(format!("the audit is not clean ({status}):\n{rest}").into());
        }
        Ok(())
    }
}

impl Drop for Shopctl {
    fn drop(&mut self) {
        // It has ended long ago if all went well.
        if let Ok(None) = self.process.try_wait()
            && let Err(e) = self.process.kill()
        {
            eprintln!("shopctl could not be ended: {e}");
        }
    }
}
