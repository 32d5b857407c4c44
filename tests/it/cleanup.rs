//! What a role clears from its own folder: what is delivered, as long as there is time for it, and nothing else.

use std::collections::BTreeSet;

use shopctl::clock::Clock;
use shopctl::config::Settings;
use shopctl::config::load::{Sources, load};
use shopctl::pipeline::cleanup::{Cleaner, Cleared};
use shopctl::pipeline::client::Client;
use shopctl::shutdown::Stop;
use shopctl::task::FileName;

use crate::support::events::{MISHAPS, generated};
use crate::support::pipeline::{Pipeline, SERVICES};

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

fn settings(pipeline: &Pipeline) -> Settings {
    let flags = vec![
        ("shared.dir".to_owned(), pipeline.shared().display().to_string()),
        ("pipeline.url".to_owned(), pipeline.proxy.url()),
    ];
    load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap().settings
}

#[test]
fn what_is_delivered_is_cleared_while_there_is_time() {
    let pipeline = half_delivered();
    let settings = settings(&pipeline);
    let cleaner = |folder: &str| Cleaner::new(pipeline.shared().join(folder), &settings, Clock::System);
    let names = |folder: &str| pipeline.list(folder);
    let (delivered, open) = (FILES.0 as u64, FILES.1 as u64);

    let before = names("shard-worker-0");
    let no_time = Stop::new();
    no_time.give_back();
    let cleared = cleaner("shard-worker-0").at_stop(&no_time).unwrap();
    assert_eq!(cleared, Cleared { kept: delivered + open, ..Cleared::default() });
    assert_eq!(names("shard-worker-0"), before);

    let cleared = cleaner("shard-worker-0").at_stop(&Stop::new()).unwrap();
    assert_eq!(cleared, Cleared { removed: delivered, kept: open, moved: 0 });
    assert_eq!(names("shard-worker-0"), before[FILES.0..]);

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
    let wanted = BTreeSet::from([first, unknown, all[0].clone(), all[2].clone(), all[4].clone()]);
    let visit = |most: usize| {
        let mut visited = Vec::new();
        let visit = |file: shopctl::task::wire::FileResponse| {
            visited.push(file.filename);
            visited.len() < most
        };
        Client::new(&pipeline.proxy.url()).for_each_of(&wanted, visit).unwrap();
        visited
    };
    assert_eq!(visit(9), [all[0].clone(), all[2].clone(), all[4].clone()]);
    assert_eq!(visit(2), [all[0].clone(), all[2].clone()]);
}
