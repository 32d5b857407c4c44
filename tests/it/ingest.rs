//! The event-ingest as a process: what it does beside taking posts, and what that may cost.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use shopctl::base::timestamp::Timestamp;
use shopctl::pipeline::apid::client::Client;
use shopctl::pipeline::files::artifact;
use shopctl::pipeline::files::folder::{Artifact, Folder};
use shopctl::pipeline::task::FileName;

use crate::support::events::{event, purchase};
use crate::support::pipeline::{Pipeline, Role};
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually};

/// How often the log has a line with this text.
fn count(log: &str, text: &str) -> usize {
    log.lines().filter(|line| line.contains(text)).count()
}

fn stats(port: u16) -> Value {
    let mut answer = ureq::get(format!("http://127.0.0.1:{port}/api/v1/events/stats")).call().unwrap();
    answer.body_mut().read_json().unwrap()
}

/// Waits for another tick.
fn wait_tick(port: u16) {
    let tick = || stats(port)["last_tick"].clone();
    let before = tick();
    eventually("a tick", PATIENCE, || tick() != before);
}

#[test]
fn a_missing_cache_service_is_said_once_until_it_is_there() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Apid);
    pipeline.start(Role::Ingest);
    let port = pipeline.role(Role::Ingest).wait_port();
    let missing = "no flush files are made";
    let level = pipeline.role(Role::Ingest).wait_log(missing, |line| line["level"].as_str().map(str::to_owned));
    assert_eq!(level, "warn");
    (0..3).for_each(|_| wait_tick(port));
    pipeline.start(Role::Cache);
    pipeline.role(Role::Ingest).wait_log("says again whether returns are due", |_| Some(()));
    let log = pipeline.terminate(Role::Ingest);
    assert_eq!(count(&log, missing), 1, "{log}");
}

/// Bytes of an event file that takes a while to read.
const LARGE: u64 = 32 * 1024 * 1024;

/// Makes so many event files, all of them nothing but zeros.
fn make_large_files(pipeline: &Pipeline, count: i64) -> Vec<(FileName, PathBuf)> {
    let folder = Folder::new(pipeline.shared());
    std::fs::create_dir_all(folder.events()).unwrap();
    let began = Timestamp::parse("2025-01-01 00:00:00.000").unwrap();
    let make = |second| {
        let name = FileName::of(began.plus_ms(second * 1000));
        let path = folder.path_of(&Artifact::Events(name.clone()));
        File::create_new(&path).unwrap().set_len(LARGE).unwrap();
        (name, path)
    };
    (0..count).map(make).collect()
}

#[test]
fn neither_new_files_nor_a_stop_wait_until_old_ones_are_read() {
    let mut pipeline = Pipeline::new(&["server.drain_timeout=2"]);
    pipeline.start(Role::Apid);
    let client = Client::new(&pipeline.proxy.url());
    // They take longer to read than this stop may take.
    let files = make_large_files(&pipeline, 300);
    let output = artifact::digest(&mut File::open(&files[0].1).unwrap()).unwrap();
    for (name, _) in &files {
        client.register(name, pipeline.settings().pipeline.shards_count.shards().collect()).unwrap();
        client.ingest_done(name, Some(output)).unwrap();
    }
    pipeline.start(Role::Ingest);
    let port = pipeline.role(Role::Ingest).wait_port();
    let url = format!("http://127.0.0.1:{port}/api/v1/events");
    assert_eq!(ureq::post(url).send(&purchase(1, 1)).unwrap().status(), 202);
    pipeline.role(Role::Ingest).wait_log("announced", |line| (line["lines"] == 1).then_some(()));
    let read = bytes_read(pipeline.role(Role::Ingest));
    assert!(read < files.len() as u64 * LARGE, "{read} bytes were read before");
    // Ends with code 0, well before everything is read.
    let log = pipeline.terminate(Role::Ingest);
    assert!(!log.contains("ending now") && !log.contains("differs"), "{log}");
}

/// Bytes that a process has read so far.
fn bytes_read(process: &Process) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{}/io", process.id())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok()).unwrap()
}

#[test]
fn files_are_counted_once_for_all_who_ask_meanwhile() {
    let mut pipeline = Pipeline::new(&[]);
    let files = make_large_files(&pipeline, 20);
    // Without the API no role reads them.
    pipeline.start(Role::Ingest);
    let process = pipeline.role(Role::Ingest);
    let (port, before) = (process.wait_port(), bytes_read(process));
    let askers: Vec<_> = (0..4).map(|_| std::thread::spawn(move || stats(port))).collect();
    for asker in askers {
        let stats = asker.join().unwrap();
        let bytes = files.len() as u64 * LARGE;
        assert_eq!((&stats["files"], &stats["bytes"]), (&files.len().into(), &bytes.into()));
    }
    let read = bytes_read(process) - before;
    assert!(read < files.len() as u64 * LARGE * 3 / 2, "{read} bytes were read");
    pipeline.terminate(Role::Ingest);
}

/// What a role may have in docker-compose.yml. Room is for 64 MiB of plain bodies, four packed ones, and one beside them.
const CONTAINER_MIB: u64 = 256;

/// The most memory that a process ever had, in MiB.
fn peak_mib(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    kib.map(|kib: u64| kib / 1024).unwrap()
}

/// Lines of almost this many bytes, 16 MiB in all, that are about as large when they are packed.
fn large_body(line_bytes: usize) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut body = Vec::new();
    loop {
        let note: String = (0..line_bytes - 200).map(|_| char::from(rng.random_range(b'0'..=b'Z'))).collect();
        let line = event(4, &format!(r#""shop_id":1,"active":true,"note":"{note}""#));
        if body.len() + line.len() >= 16 * 1024 * 1024 {
            return body;
        }
        body.extend_from_slice(line.as_bytes());
        body.push(b'\n');
    }
}

/// Posts a body; answers the connection before the answer.
fn post(port: u16, body: &[u8], more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let length = body.len();
    let head = format!("POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

#[test]
fn bodies_take_no_more_memory_than_there_is_room_for() {
    let mut pipeline = Pipeline::new(&["events.generation_interval=60"]);
    pipeline.start(Role::Ingest);
    let port = pipeline.role(Role::Ingest).wait_port();
    let plain = Arc::new(large_body(1_000_000));
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&plain).unwrap();
    let packed = Arc::new(packed.finish().unwrap());
    let posters: Vec<_> = (0..16)
        .map(|number| {
            let (body, more) = if number % 3 == 0 { (&packed, "content-encoding: gzip\r\n") } else { (&plain, "") };
            let body = Arc::clone(body);
            std::thread::spawn(move || {
                let mut status = [0; 12];
                post(port, &body, more).read_exact(&mut status).unwrap();
                String::from_utf8(status.to_vec()).unwrap()
            })
        })
        .collect();
    for poster in posters {
        assert_eq!(poster.join().unwrap(), "HTTP/1.1 202");
    }
    let peak = peak_mib(pipeline.role(Role::Ingest));
    assert!(peak < CONTAINER_MIB, "{peak} MiB");
    pipeline.terminate(Role::Ingest);
}

#[test]
fn callers_that_leave_make_no_room() {
    let mut pipeline = Pipeline::new(&["events.generation_interval=60", "events.validation_timeout=60"]);
    pipeline.start(Role::Ingest);
    let port = pipeline.role(Role::Ingest).wait_port();
    // Short lines take long to check.
    let body = Arc::new(large_body(300));
    let posters: Vec<_> = (0..24)
        .map(|_| {
            let body = Arc::clone(&body);
            std::thread::spawn(move || drop(post(port, &body, "")))
        })
        .collect();
    posters.into_iter().for_each(|poster| poster.join().unwrap());
    let peak = peak_mib(pipeline.role(Role::Ingest));
    assert!(peak < CONTAINER_MIB, "{peak} MiB");
    pipeline.terminate(Role::Ingest);
}
