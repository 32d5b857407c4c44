//! What a role finds in its own folder and the API: what it clears, and what the ingest announces.

use std::collections::BTreeSet;

use serde_json::json;
use shopctl::base::clock::Clock;
use shopctl::base::shutdown::Stop;
use shopctl::pipeline::apid::client::Client;
use shopctl::pipeline::claim::cleanup::{Cleaner, Cleared};
use shopctl::pipeline::ingest::announce::{Announcer, Compared};
use shopctl::pipeline::settings::Cleanup;
use shopctl::pipeline::task::FileName;

use crate::support::events::{MISHAPS, generated};
use crate::support::pipeline::{Pipeline, Role, SERVICES};

/// Event files that are delivered, and later ones that one shard's worker is done with.
const FILES: (usize, usize) = (3, 2);
const WORK: [&[&str]; 2] = [&["work", "--shard", "0", "--once"], &["work", "--shard", "1", "--once"]];

/// A pipeline whose roles clear nothing themselves.
fn half_delivered() -> Pipeline {
    let mut pipeline = Pipeline::new(&["shared.cleanup=none"]);
    SERVICES.into_iter().for_each(|role| pipeline.start(role));
    let run = |args: &[&str]| drop(pipeline.run(args, 0));
    pipeline.import(&generated(31, MISHAPS, FILES.0 * 100), 100);
    [&["split", "--once"], WORK[0], WORK[1], &["send", "--once"]].into_iter().for_each(run);
    pipeline.import(&generated(32, MISHAPS, FILES.1 * 100), 100);
    [&["split", "--once"], WORK[0]].into_iter().for_each(run);
    pipeline
}

#[test]
fn what_is_delivered_is_cleared_while_there_is_time() {
    let pipeline = half_delivered();
    let (settings, mut moving) = (pipeline.settings(), pipeline.settings());
    moving.shared.cleanup = Cleanup::All;
    let cleaner = |folder: &str| Cleaner::new(pipeline.shared().join(folder), &settings, Clock::System);
    let names = |folder: &str| pipeline.list(folder);
    let (delivered, open) = (FILES.0 as u64, FILES.1 as u64);

    let before = names("shard-worker-0");
    let no_time = Stop::new();
    no_time.give_back();
    let nothing = Cleared { kept: delivered + open, ..Cleared::default() };
    assert_eq!(cleaner("shard-worker-0").at_stop(&no_time).unwrap(), nothing);
    let mover = Cleaner::new(pipeline.shared().join("shard-worker-0"), &moving, Clock::System);
    assert_eq!(mover.at_stop(&no_time).unwrap(), nothing);
    let asked = Stop::new();
    asked.request();
    assert_eq!(cleaner("shard-worker-0").while_running(&asked).unwrap(), nothing);
    assert_eq!(names("shard-worker-0"), before);

    let cleared = cleaner("shard-worker-0").at_stop(&Stop::new()).unwrap();
    assert_eq!(cleared, Cleared { removed: delivered, kept: open, moved: 0 });
    assert_eq!(names("shard-worker-0"), before[FILES.0..]);
    assert_eq!(mover.at_stop(&Stop::new()).unwrap(), Cleared { moved: open, ..Cleared::default() });
    assert_eq!(names("shard-worker-0"), [] as [std::path::PathBuf; 0]);
    assert_eq!(names("shard-worker-0/undelivered").len(), FILES.1);

    // Both shards of what is delivered and the first shard of the rest, each with its index.
    let cleared = cleaner("shard-splitter").while_running(&Stop::new()).unwrap();
    assert_eq!(cleared, Cleared { removed: (2 * delivered + open) * 2, kept: open * 2, moved: 0 });
}

#[test]
fn only_files_that_are_asked_for_are_visited() {
    let pipeline = half_delivered();
    let all: Vec<FileName> = pipeline.event_files().iter().map(|(name, _)| name.parse().unwrap()).collect();
    let unknown = "19990101000000".parse().unwrap();
    let first: FileName = "10000101000000".parse().unwrap();
    let registered = [all[0].clone(), all[2].clone(), all[4].clone()];
    let wanted = BTreeSet::from_iter([first, unknown].into_iter().chain(registered.clone()));
    let visit = |wanted: &BTreeSet<FileName>, most: usize| {
        let mut visited = Vec::new();
        let visit = |file: shopctl::pipeline::task::wire::FileResponse| {
            visited.push(file.filename);
            visited.len() < most
        };
        Client::new(&pipeline.proxy.url()).for_each_of(wanted, visit).unwrap();
        visited
    };
    assert_eq!(visit(&wanted, 9), registered);
    assert_eq!(visit(&wanted, 2), registered[..2]);
    // As many as are asked for are on a page, so that these are on two: the second begins where the next one is.
    assert_eq!(visit(&BTreeSet::from(registered.clone()), 9), registered);
    let ends = [all[0].clone(), all[4].clone()];
    assert_eq!(visit(&BTreeSet::from(ends.clone()), 9), ends);
}

#[test]
fn what_is_only_registered_and_what_is_only_there_is_found() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start(Role::Apid);
    let compare = || Announcer::new(&pipeline.settings()).compare(&Stop::new()).unwrap();
    let expect = |missing, unannounced| assert_eq!(compare(), Compared { missing, unannounced });
    let name = "20250101000000";
    pipeline.post("/files/register", &json!({ "filename": name, "shards": [0, 1] }));
    expect(1, 0);
    std::fs::create_dir_all(pipeline.shared().join("events")).unwrap();
    let write =
        |name: &str| std::fs::write(pipeline.shared().join(format!("events/{name}.event-ingest.txt")), "").unwrap();
    write(name);
    write("20250101000001");
    expect(0, 2);
    pipeline.post("/stages/event-ingest/done", &json!({ "filename": name }));
    expect(0, 1);
    std::fs::remove_file(pipeline.shared().join(format!("events/{name}.event-ingest.txt"))).unwrap();
    expect(0, 1);
}

#[test]
fn that_nothing_is_cleared_where_all_roles_stop_at_once_is_no_warning() {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.start(Role::Ingest);
    pipeline.import(&generated(33, MISHAPS, 100), 100);
    pipeline.wait_settled();
    // The API is gone before the others have cleared.
    pipeline.terminate(Role::Apid);
    for role in [Role::Ingest, Role::Split, Role::Work0, Role::Work1, Role::Send] {
        let log = pipeline.terminate(role);
        let said: Vec<&str> = log.lines().filter(|line| line.contains("nothing was cleared")).collect();
        assert!(said.len() == 1 && said[0].contains(r#""level":"info""#), "{role:?}: {said:?}");
    }
}
