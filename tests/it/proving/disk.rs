//! A disk without room: the shared folder is on a small file system of its own that is filled while posts, an import
//! and all stages are at work. Posts are refused, all roles wait, and all goes on when there is room again.
//!
//! Needs root, for the mount.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::poster::{Poster, assert_posts_are_there_once};
use super::recovery::leased_by_anyone;
use super::{Class, Size, aim, assert_imported};
use crate::support::events::{MISHAPS, generated};
use crate::support::mount::Mount;
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, STAGES};
use crate::support::{PATIENCE, eventually, pause};

/// What there is too little of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// On the disk of the files and of the databases.
    Bytes,
    /// On the disk of the files only: the databases go on, and tasks are claimed.
    BytesForFiles,
    Inodes,
}

/// A disk fills up so much later than a claimed task is seen, at the most.
const CLAIMED_MICROS: u64 = 4000;
/// Rounds, at the most: of a small run, of a full one.
const ROUNDS_MAX: (u64, u64) = (8, 35);
/// So many posts more are refused before there is room again: of a small run, of a full one.
const REFUSED: (u64, u64) = (100, 200);
/// Bytes that the ballast takes at a time.
const BLOCK_BYTES: usize = 4096;

/// Takes all room there is, and all that becomes free, until it is dropped.
struct Ballast {
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ballast {
    fn on(disk: &Path, lack: Lack) -> Self {
        let folder = disk.join("ballast");
        std::fs::create_dir(&folder).unwrap();
        let stop = Arc::<AtomicBool>::default();
        let (own, end) = (folder.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !end.load(Ordering::SeqCst) {
                let file = File::create(own.join(count.to_string()));
                count += usize::from(file.is_ok());
                let is_full = match (file, lack) {
                    (Ok(_), Lack::Inodes) => false,
                    (Ok(mut file), _) => (0..).any(|_| file.write_all(&[0; BLOCK_BYTES]).is_err()),
                    (Err(_), _) => true,
                };
                if is_full {
                    pause(std::time::Duration::from_millis(1));
                }
            }
        });
        Self { folder, stop, thread: Some(thread) }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()) || std::thread::panicking());
        std::fs::remove_dir_all(&self.folder).unwrap_or_default();
    }
}

/// Room for everything that the rounds leave behind, on a busy machine five databases' logs of 12 MiB each: only the
/// ballast makes it too little.
fn limits(lack: Lack, size: Size) -> &'static str {
    if lack == Lack::Inodes {
        size.pick("size=256m,nr_inodes=2k", "size=1g,nr_inodes=56k")
    } else {
        size.pick("size=120m", "size=700m")
    }
}

fn fill(lack: Lack, name: &'static str) {
    let size = Size::asked();
    let mut rng = size.chances(name);
    let temp = tempfile::tempdir().unwrap();
    let disk = Mount::tmpfs(&temp.path().join("disk"), limits(lack, size));
    let shared = disk.path().join("shared");
    if lack == Lack::BytesForFiles {
        std::fs::create_dir_all(&shared).unwrap();
        std::fs::create_dir(temp.path().join("db")).unwrap();
        std::os::unix::fs::symlink(temp.path().join("db"), shared.join("db")).unwrap();
    }
    // No process dies here, so no lease has to run out: an attempt that is counted was burnt by the full disk.
    let mut pipeline = Pipeline::on(&shared, &["pipeline.lease_ms=60000"]);
    let mut class = Class::new(size, name);
    STAGES.into_iter().for_each(|role| pipeline.start(role));
    pipeline.start(Role::Ingest);
    let (poster, mut input) = (Poster::start(), Vec::new());
    poster.state().set_port(pipeline.role(Role::Ingest).wait_port());
    let mut rounds = 0..size.pick(ROUNDS_MAX.0, ROUNDS_MAX.1);
    // Sometimes no worker has a task at that moment: then one more.
    while class.in_flight() < size.pick(1, 22)
        && let Some(round) = rounds.next()
    {
        let mut part = generated(size.seed + round, MISHAPS, 3000);
        let path = pipeline.write("input.ndjson", &part);
        input.append(&mut part);
        let args = ["ingest", "--from", path.to_str().unwrap(), "--batch", "100"];
        let import = pipeline.spawn(&args, None);
        let (before, more) = (pipeline.delivered().0, rng.random_range(1..30));
        eventually("some files are delivered", PATIENCE, || pipeline.delivered().0 >= before + more);
        let (port, refused) = (pipeline.role(Role::Ingest).wait_port(), poster.state().full());
        // Asked before: where the databases are full too, no role can tell.
        let in_flight = is_anything_claimed(&pipeline, &mut rng);
        let ballast = Ballast::on(disk.path(), lack);
        eventually("posts are answered 507", PATIENCE, || poster.state().full() > refused);
        class.struck(in_flight);
        let is_ready = |port: u16| ureq::get(format!("http://127.0.0.1:{port}/ready")).call().is_ok();
        eventually("the ingest is not ready", PATIENCE, || !is_ready(port));
        // Where the databases have room, only those that write files meet the full disk.
        let others: &[Role] = if lack == Lack::Bytes { &STAGES } else { &[Role::Split, Role::Work0, Role::Work1] };
        let others: Vec<u16> = others.iter().map(|role| pipeline.role(*role).wait_port()).collect();
        eventually("another role is not ready", PATIENCE, || others.iter().any(|port| !is_ready(*port)));
        let more = poster.state().full() + size.pick(REFUSED.0, REFUSED.1);
        eventually("posts go on being refused", PATIENCE, || poster.state().full() >= more);
        let began = Instant::now();
        drop(ballast);
        // An import that met the full disk says so; the same command goes on where it ended.
        import.wait_exit(PATIENCE);
        pipeline.run(&args, 0);
        let mark = poster.state().acknowledged();
        eventually("posts are taken again", PATIENCE, || poster.state().acknowledged() > mark);
        settle(&mut pipeline, &poster);
        class.recovered(began.elapsed());
        for role in STAGES.into_iter().chain([Role::Ingest]) {
            pipeline.role(role).wait_ready();
        }
    }
    let acknowledged = poster.finish();
    pipeline.terminate(Role::Ingest);
    pipeline.start(Role::Ingest);
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    assert_posts_are_there_once(&pipeline, acknowledged);
    assert_imported(&pipeline, &input);
    let query = "SELECT MAX(attempt) FROM pipeline_stage_result";
    let attempts: u32 = pipeline.database("pipeline_db").query_row(query, [], |row| row.get(0)).unwrap();
    assert_eq!(attempts, 1, "a full disk burnt attempts");
    STAGES.into_iter().chain([Role::Ingest]).for_each(|role| drop(pipeline.terminate(role)));
    assert_eq!(temporary_files(&shared), Vec::<PathBuf>::new(), "half-written files are left");
    class.finish();
    drop(pipeline);
    drop(disk);
}

/// Whether a task is claimed; waits for one, but not for long.
fn is_anything_claimed(pipeline: &Pipeline, rng: &mut ChaCha8Rng) -> bool {
    let tracking = pipeline.keep_open("pipeline_db");
    aim::wait_at_work(rng, CLAIMED_MICROS, || !leased_by_anyone(tracking.as_ref()).is_empty())
}

/// Waits until all that was taken so far is delivered; the client goes on posting then.
fn settle(pipeline: &mut Pipeline, poster: &Poster) {
    poster.state().set_port(0);
    pipeline.terminate(Role::Ingest);
    pipeline.start(Role::Ingest);
    pipeline.wait_settled();
    poster.state().set_port(pipeline.role(Role::Ingest).wait_port());
}

fn temporary_files(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| {
        let is_temporary = path.extension().is_some_and(|extension| extension == "tmp");
        if path.is_dir() { temporary_files(&path) } else { Some(path).filter(|_| is_temporary).into_iter().collect() }
    };
    paths.flat_map(below).collect()
}

#[test]
fn a_full_disk_delays_everything_and_loses_nothing() {
    fill(Lack::Bytes, "disk full");
}

#[test]
fn a_full_disk_of_the_files_alone_burns_no_attempt() {
    fill(Lack::BytesForFiles, "disk full: files only");
}

#[test]
fn a_disk_without_inodes_delays_everything_and_loses_nothing() {
    fill(Lack::Inodes, "no inodes left");
}
