//! A power cut: the shared folder is on an ext4 image of its own; its writers are stopped in mid-work and the image is
//! copied as it is, which is what the disk would hold. The copy is mounted, everything starts again on it, and every
//! acknowledged event must be there once. The control writes files without fsync and loses them.
//!
//! Needs root and loop devices. What a disk keeps in a volatile cache of its own is not lost here.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::RngExt;
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use shopctl::pipeline::files::artifact::{self, Draft, Taken};

use super::poster::{Poster, assert_posts_are_there_once};
use super::{Class, Size, aim, assert_imported};
use crate::support::events::{MISHAPS, generated};
use crate::support::mount::{Mount, make_image};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, STAGES};
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually, pause};

/// Room for all rounds of a small run, and of a full one.
const IMAGE_MIB: (u64, u64) = (96, 400);
/// Files that the control acknowledges.
const CONTROL_FILES: usize = 20;
/// A cut comes so much later than work is seen, at the most.
const WORK_MICROS: u64 = 4000;
const LEASE: &str = "pipeline.lease_ms=1500";

/// The files of a disk: its image, and where it is mounted.
struct Disk {
    image: PathBuf,
    mount: Option<Mount>,
}

impl Disk {
    fn new(folder: &Path, mebibytes: u64) -> Self {
        let image = folder.join("disk-0.img");
        make_image(&image, mebibytes);
        let mount = Some(Mount::image(&image, &folder.join("disk"), "noatime,commit=300"));
        Self { image, mount }
    }

    fn path(&self) -> &Path {
        self.mount.as_ref().unwrap().path()
    }

    /// What a disk would hold now, as another image. No process writes, but the kernel may: a copy counts when two in a
    /// row are the same.
    fn freeze(&self, number: usize) -> PathBuf {
        let copy = self.image.with_file_name(format!("disk-{number}.img"));
        let digest = |path: &Path| {
            let mut hash = Sha256::new();
            std::io::copy(&mut File::open(path).unwrap(), &mut hash).unwrap();
            hash.finalize()
        };
        let mut before = None;
        loop {
            std::fs::copy(&self.image, &copy).unwrap();
            let now = digest(&copy);
            if before.replace(now) == Some(now) {
                return copy;
            }
        }
    }

    /// The power is back: what was in memory only is gone.
    fn restart_from(&mut self, copy: PathBuf) {
        let path = self.path().to_owned();
        drop(self.mount.take());
        let old = std::mem::replace(&mut self.image, copy);
        std::fs::remove_file(old).unwrap();
        self.mount = Some(Mount::image(&self.image, &path, "noatime,commit=300"));
    }
}

/// How the control makes its files durable before it acknowledges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    None,
    File,
    FileAndFolder,
}

/// Writes and renames files, acknowledges each, and says how many are whole after a cut.
fn control(care: Care) -> usize {
    let temp = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(temp.path(), IMAGE_MIB.0);
    let content = |number: usize| format!("event {number}\n").repeat(50);
    let folder = disk.path().to_owned();
    for number in 0..CONTROL_FILES {
        let (draft, name) = (folder.join(format!(".{number}.tmp")), folder.join(format!("{number}.txt")));
        let mut file = File::create(&draft).unwrap();
        file.write_all(content(number).as_bytes()).unwrap();
        if care != Care::None {
            file.sync_all().unwrap();
        }
        rename(&draft, &name);
        if care == Care::FileAndFolder {
            File::open(&folder).unwrap().sync_all().unwrap();
        }
    }
    survivors(&mut disk, 1, |number| (folder.join(format!("{number}.txt")), content(number)))
}

fn rename(from: &Path, to: &Path) {
    rustix::fs::renameat(rustix::fs::CWD, from, rustix::fs::CWD, to).unwrap();
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let survivors = [Care::None, Care::File, Care::FileAndFolder].map(control);
    println!(
        "of {CONTROL_FILES} acknowledged files survive: without fsync, with, with that of the folder too: {survivors:?}"
    );
    assert!(survivors[0] < CONTROL_FILES && survivors[1] < CONTROL_FILES, "{survivors:?}: this cut cuts nothing");
    assert_eq!(survivors[2], CONTROL_FILES);
}

/// The program's own way to publish, and no database on the disk whose commits would make the names durable as well.
#[test]
fn what_the_program_published_survives_a_power_cut() {
    let temp = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(temp.path(), IMAGE_MIB.0);
    let content = |number: usize| format!("event {number}\n").repeat(50);
    // Links on the way to a file are refused.
    let folder = disk.path().canonicalize().unwrap();
    let name = |way: &str, number: usize| folder.join(format!("{way}-{number}.txt"));
    for number in 0..CONTROL_FILES {
        let mut draft = Draft::create(&name("draft", number), 1).unwrap();
        draft.write_all(content(number).as_bytes()).unwrap();
        draft.publish(Taken::Refuse).unwrap();
    }
    let drafts = survivors(&mut disk, 1, |number| (name("draft", number), content(number)));
    for number in 0..CONTROL_FILES {
        let source = temp.path().canonicalize().unwrap().join("source");
        std::fs::write(&source, content(number)).unwrap();
        artifact::copy(&source, &name("copy", number)).unwrap();
    }
    let copies = survivors(&mut disk, 2, |number| (name("copy", number), content(number)));
    assert_eq!((drafts, copies), (CONTROL_FILES, CONTROL_FILES), "drafts and copies that are whole after a cut");
}

/// Cuts the power; answers how many of the files are there with what was written.
fn survivors(disk: &mut Disk, cut: usize, file: impl Fn(usize) -> (PathBuf, String)) -> usize {
    let copy = disk.freeze(cut);
    disk.restart_from(copy);
    let is_whole = |number: &usize| {
        let (path, content) = file(*number);
        std::fs::read_to_string(path).is_ok_and(|found| found == content)
    };
    (0..CONTROL_FILES).filter(is_whole).count()
}

#[test]
fn every_acknowledged_event_survives_a_power_cut() {
    let size = Size::asked();
    let mut rng = size.chances("power");
    let temp = tempfile::tempdir().unwrap();
    let mut disk = Disk::new(temp.path(), size.pick(IMAGE_MIB.0, IMAGE_MIB.1));
    let shared = disk.path().join("shared");
    // The inputs' last lines are returns whose purchase would have come later: their time is not up in a long run.
    let mut pipeline = Pipeline::on(&shared, &[LEASE, "pipeline.attempts_max=1000", "cache.pending_ttl=86400"]);
    let mut class = Class::new(size, "power cut");
    let poster = Poster::start();
    let cuts = size.pick(4, 30);
    let mut roles = STAGES.to_vec();
    roles.push(Role::Ingest);
    let inputs: Vec<Vec<u8>> = (0..cuts).map(|cut| generated(size.seed + cut as u64, MISHAPS, 3000)).collect();
    for (cut, input) in inputs.iter().enumerate() {
        roles.iter().for_each(|role| pipeline.start(*role));
        poster.state().set_port(pipeline.role(Role::Ingest).wait_port());
        let path = pipeline.write(&format!("input-{cut}.ndjson"), input);
        let import = pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", "100"], None);
        let (before, more) = (pipeline.delivered().0, rng.random_range(1..30));
        eventually("some files are delivered", PATIENCE, || pipeline.delivered().0 >= before + more);
        // Nothing is waited for: the moment of the cut is left to chance.
        pause(std::time::Duration::from_millis(rng.random_range(0..50)));
        aim::wait_at_work(&mut rng, WORK_MICROS, || poster.state().is_open() || leased(&pipeline) > 0);

        let copy = {
            let mut running: Vec<Process> = roles.iter().map(|role| pipeline.take(*role)).collect();
            running.push(import);
            running.iter().for_each(|process| process.signal(Signal::STOP));
            // What was promised so far was promised before the cut.
            class.struck(poster.state().is_open() || leased(&pipeline) > 0);
            let copy = disk.freeze(cut + 1);
            poster.state().set_port(0);
            running.into_iter().for_each(|process| drop(process.kill9()));
            copy
        };
        println!("cut {}", cut + 1);
        disk.restart_from(copy);
        let began = Instant::now();
        pipeline.start(Role::Apid);
        // What the import had not said is unknown to its caller, who runs it again.
        pipeline.run(&["ingest", "--from", path.to_str().unwrap(), "--batch", "100"], 0);
        roles[1..].iter().for_each(|role| pipeline.start(*role));
        settle(&mut pipeline, &poster);
        class.recovered(began.elapsed());
        roles.iter().for_each(|role| drop(pipeline.terminate(*role)));
    }
    roles.iter().for_each(|role| pipeline.start(*role));
    poster.state().set_port(pipeline.role(Role::Ingest).wait_port());
    let acknowledged = poster.finish();
    pipeline.terminate(Role::Ingest);
    pipeline.start(Role::Ingest);
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    assert_posts_are_there_once(&pipeline, acknowledged);
    // A post may be there twice, when its answer was lost with the power; the worker knows it by its key.
    assert_imported(&pipeline, &inputs.concat());
    class.finish();
    // The processes before their disk.
    drop(pipeline);
    drop(disk);
}

/// Waits until everything is delivered, the events that were posted last too: the stop of the ingest publishes them.
fn settle(pipeline: &mut Pipeline, poster: &Poster) {
    poster.state().set_port(0);
    pipeline.role(Role::Ingest).wait_ready();
    pipeline.terminate(Role::Ingest);
    pipeline.start(Role::Ingest);
    pipeline.wait_settled();
}

/// Tasks that a worker holds, read while no process writes.
fn leased(pipeline: &Pipeline) -> i64 {
    let query = "SELECT COUNT(*) FROM pipeline_tracking WHERE lease_until IS NOT NULL";
    pipeline.database("pipeline_db").query_row(query, [], |row| row.get(0)).unwrap()
}
