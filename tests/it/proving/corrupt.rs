//! Files between the stages that are not what was reported: a flipped bit, cut short, swapped, older, longer. Each is
//! refused before one line of it is used, and repaired by running the stage before it again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Class, Size};
use crate::support::events::event;
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually, pause_briefly};

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Events,
    Split,
    Index,
    Prepared,
}

const KINDS: [Kind; 4] = [Kind::Events, Kind::Split, Kind::Index, Kind::Prepared];

impl Kind {
    /// Who reads it, as a role, a stage, and the column of its status.
    fn reader(self) -> (Role, &'static str, &'static str) {
        match self {
            Self::Events => (Role::Split, "shard-splitter", "shard_splitter_status"),
            Self::Split | Self::Index => (Role::Work0, "shard-worker", "shard_worker_status"),
            Self::Prepared => (Role::Send, "mysql-sender", "mysql_sender_status"),
        }
    }

    /// The stage that makes it again; an event file can only be put back.
    fn maker(self) -> Option<&'static str> {
        match self {
            Self::Events => None,
            Self::Split | Self::Index => Some("shard-splitter"),
            Self::Prepared => Some("shard-worker"),
        }
    }

    fn path(self, pipeline: &Pipeline, file: &str, shard: u8) -> PathBuf {
        pipeline.shared().join(match self {
            Self::Events => format!("events/{file}.event-ingest.txt"),
            Self::Split => format!("shard-splitter/{file}.shard-splitter.{shard}.txt"),
            Self::Index => format!("shard-splitter/{file}.shard-splitter.{shard}.lines"),
            Self::Prepared => format!("shard-worker-{shard}/{file}.shard-worker.{shard}.prepared.txt"),
        })
    }
}

/// Files that are in the place of what was reported, by class.
struct Damage {
    class: &'static str,
    files: Vec<(PathBuf, Vec<u8>)>,
}

const FLIPPED: &str = "file: a bit flipped";
const CUT: &str = "file: cut short";
const SWAPPED: &str = "file: swapped with another's";
const OLDER: &str = "file: an older version";
const LONGER: &str = "file: a line appended";
const INDEX: &str = "file: a bit of the index flipped";
const CLASSES: [&str; 6] = [FLIPPED, CUT, SWAPPED, OLDER, LONGER, INDEX];

/// Two event files, ready for the stage that reads the damaged kind; the first file is the victim.
struct Bench {
    kind: Kind,
    pipeline: Pipeline,
    file: String,
    other: String,
    rng: ChaCha8Rng,
    classes: BTreeMap<&'static str, Class>,
}

/// Lines of both shards, short and without keys: nothing here is a duplicate.
fn lines(count: usize) -> Vec<u8> {
    let line = |shop: usize| event(4, &format!(r#""shop_id":{shop},"active":true"#)) + "\n";
    (0..count).map(line).collect::<String>().into_bytes()
}

impl Bench {
    fn new(kind: Kind, lines_per_file: usize, rng: ChaCha8Rng, classes: BTreeMap<&'static str, Class>) -> Self {
        let mut pipeline = Pipeline::new(&["shared.cleanup=none"]);
        pipeline.start_with_services(&[]);
        pipeline.import(&lines(2 * lines_per_file), lines_per_file);
        let before: &[&[&str]] = match kind {
            Kind::Events => &[],
            Kind::Split | Kind::Index => &[&["split", "--once"]],
            Kind::Prepared => {
                &[&["split", "--once"], &["work", "--shard", "0", "--once"], &["work", "--shard", "1", "--once"]]
            }
        };
        for args in before {
            pipeline.run(args, 0);
        }
        let files = pipeline.event_files();
        let (file, other) = (files[0].0.clone(), files[1].0.clone());
        Self { kind, pipeline, file, other, rng, classes }
    }

    fn read(&self, kind: Kind, file: &str, shard: u8) -> Vec<u8> {
        std::fs::read(kind.path(&self.pipeline, file, shard)).unwrap()
    }

    /// This content in the place of the victim.
    fn in_place(&self, kind: Kind, content: Vec<u8>) -> (PathBuf, Vec<u8>) {
        (kind.path(&self.pipeline, &self.file, 0), content)
    }

    /// Everything that may happen to a file once.
    fn damages(&self) -> Vec<Damage> {
        let content = self.read(self.kind, &self.file, 0);
        let last_line =
            |content: &[u8]| content[..content.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        let one = |class, content| Damage { class, files: vec![self.in_place(self.kind, content)] };
        let mut all = vec![
            one(CUT, content[..content.len() - 1].to_vec()),
            one(CUT, content[..content.len() / 2].to_vec()),
            one(CUT, content[..last_line(&content)].to_vec()),
            one(CUT, Vec::new()),
            one(LONGER, [&content[..], &content[last_line(&content)..]].concat()),
            one(LONGER, [&content[..], b"\n"].concat()),
            one(SWAPPED, self.read(self.kind, &self.other, 0)),
        ];
        if self.kind != Kind::Events {
            all.push(one(SWAPPED, self.read(self.kind, &self.file, 1)));
        }
        // Lines and index that fit each other, as an earlier run over other bytes would have left them.
        let whole: &[Kind] = if self.kind == Kind::Index { &[Kind::Split, Kind::Index] } else { &[self.kind] };
        let older = whole.iter().map(|kind| {
            let content = self.read(*kind, &self.file, 0);
            self.in_place(*kind, content[..last_line(&content)].to_vec())
        });
        all.push(Damage { class: OLDER, files: older.collect() });
        let swapped = whole.iter().map(|kind| self.in_place(*kind, self.read(*kind, &self.other, 0)));
        all.push(Damage { class: SWAPPED, files: swapped.collect() });
        // The indexes of two files can be the same.
        all.retain(|damage| damage.files.iter().any(|(path, content)| std::fs::read(path).unwrap() != *content));
        all
    }

    /// One bit at every position, or at so many of them.
    fn flips(&mut self, most: usize) -> Vec<Damage> {
        let content = self.read(self.kind, &self.file, 0);
        let class = if self.kind == Kind::Index { INDEX } else { FLIPPED };
        let all = content.len() <= most;
        let count = if all { content.len() } else { most };
        (0..count)
            .map(|at| {
                let at = if all { at } else { self.rng.random_range(0..content.len()) };
                let mut flipped = content.clone();
                flipped[at] ^= 1 << self.rng.random_range(0..8);
                Damage { class, files: vec![self.in_place(self.kind, flipped)] }
            })
            .collect()
    }

    fn victim(&self) -> (String, String, i64) {
        let column = self.kind.reader().2;
        let query = format!(
            "SELECT {column}, COALESCE(last_error, ''), token FROM pipeline_tracking WHERE filename = ?1 AND shard = 0"
        );
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        self.pipeline.database("pipeline_db").query_row(&query, [&self.file], read).unwrap()
    }

    /// Puts the damage in place and lets the stage claim the task.
    fn refuse(&mut self, damage: &Damage) {
        let (role, stage, column) = self.kind.reader();
        let good: Vec<_> = damage.files.iter().map(|(path, _)| (path.clone(), std::fs::read(path).unwrap())).collect();
        for (path, content) in &damage.files {
            std::fs::write(path, content).unwrap();
        }
        let before = self.victim().2;
        if self.victim().0 == "failed" {
            let body = serde_json::json!({ "filename": self.file, "shard": 0 });
            self.pipeline.post(&format!("/stages/{stage}/retry"), &body);
        } else {
            self.pipeline.start(role);
        }
        let what = format!("{stage} refuses {:?} ({})", self.kind, damage.class);
        eventually(&what, PATIENCE, || {
            // It takes a few milliseconds, a thousand times.
            (0..8).any(|_| {
                pause_briefly();
                self.victim().0 == "failed"
            })
        });
        let (_, why, token) = self.victim();
        self.classes.get_mut(damage.class).unwrap().struck(token > before);
        let named = |(path, _): &(PathBuf, Vec<u8>)| why.contains(&path.display().to_string());
        assert!(why.starts_with("corrupt: ") && damage.files.iter().any(named), "{column}: {why}");
        self.assert_nothing_was_used();
        for (path, content) in good {
            std::fs::write(path, content).unwrap();
        }
    }

    /// Neither a row nor a file of a later stage.
    fn assert_nothing_was_used(&self) {
        let later = match self.kind {
            Kind::Events => Some(Kind::Split),
            Kind::Split | Kind::Index => Some(Kind::Prepared),
            Kind::Prepared => None,
        };
        if let Some(later) = later {
            assert!(!later.path(&self.pipeline, &self.file, 0).exists(), "{later:?} was made of a corrupt file");
        }
        if self.pipeline.shared().join("db/shop_shard_0.sqlite").exists() {
            let rows = self.pipeline.rows(0).into_iter().filter(|row| row.0 == self.file).count();
            assert_eq!(rows, 0, "rows of a corrupt file");
        }
    }

    /// Leaves the damage where it is and runs the stage before again; then everything is exact.
    fn repair(mut self, damage: &Damage) -> BTreeMap<&'static str, Class> {
        self.refuse(damage);
        let began = Instant::now();
        match self.kind.maker() {
            Some(stage) => {
                for (path, content) in &damage.files {
                    std::fs::write(path, content).unwrap();
                }
                self.pipeline.run(&["retry", &self.file, "--stage", stage, "--shard", "0", "--cascade"], 0);
            }
            None => drop(self.pipeline.run(&["retry", &self.file], 0)),
        }
        for role in [Role::Split, Role::Work0, Role::Work1, Role::Send] {
            if role != self.kind.reader().0 {
                self.pipeline.start(role);
            }
        }
        self.pipeline.wait_settled();
        self.classes.get_mut(damage.class).unwrap().recovered(began.elapsed());
        self.pipeline.assert_all_is_well(&Known::new());
        self.classes
    }
}

#[test]
fn a_damaged_file_is_refused_before_one_line_of_it_is_used() {
    let size = Size::asked();
    let mut rng = size.chances("corrupt");
    let mut classes: BTreeMap<_, _> = CLASSES.into_iter().map(|name| (name, Class::new(size, name))).collect();
    for round in 0..size.pick(1, 12) {
        // Small files first, of which every byte is tried; then larger ones, of which a sample is.
        let lines = if round % 2 == 0 { 4 } else { 600 };
        for kind in KINDS {
            let mut bench = Bench::new(kind, lines, rng.clone(), classes);
            let mut damages = bench.flips(1000);
            damages.append(&mut bench.damages());
            let last = rng.random_range(0..damages.len());
            for damage in &damages {
                bench.refuse(damage);
            }
            classes = bench.repair(&damages[last]);
        }
    }
    classes.into_values().for_each(Class::finish);
}
