//! The worker over whole files, with bank and cache-service in memory.

mod again;
mod early;
mod fakes;
mod files;
#[path = "../../../../tests/it/support/trade.rs"]
mod model;
mod properties;

use std::collections::BTreeMap;

use self::fakes::World;
use super::*;
use crate::base::shutdown::Stop;
use crate::pipeline::task::{Counts, FileName};

/// What the line numbers of shard 1 begin after.
const LINES_BEFORE: u64 = 1000;

/// A shop floor: a folder, the services, and workers that come and go.
struct Floor {
    temp: tempfile::TempDir,
    world: World,
    window: WindowLimits,
    policy: TradePolicy,
}

/// What the worker left of a file: prepared lines, rejects as (file, line, reason), counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    prepared: Vec<serde_json::Value>,
    rejects: Vec<(String, u64, String)>,
    counts: Counts,
}

impl Floor {
    fn new(opening: i64) -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self { temp, world: World::new(opening), window: WindowLimits::default(), policy: TradePolicy::default() }
    }

    fn folder(&self) -> Folder {
        Folder::new(self.temp.path())
    }

    fn worker(&self, shard: u64) -> Worker {
        let terms =
            WorkTerms { line_bytes_max: 100_000, key_retention_days: 90, policy: self.policy, window: self.window };
        let (bank, cache) = (Box::new(self.world.clone()), Box::new(self.world.clone()));
        Worker::open(self.folder(), shard_id(shard), terms, Clock::System, bank, cache).unwrap()
    }

    /// Lays down a splitter's file. No two shards have a line of one number.
    fn write(&self, number: u32, shard: u64, lines: &[String]) -> FileTask {
        let key = TaskKey { file: file(number), shard: shard_id(shard) };
        let source = self.folder().path_of(&Artifact::Split(key.file.clone(), key.shard));
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        std::fs::write(&source, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let numbers = (1..).take(lines.len()).map(|line| format!("{}\n", line + LINES_BEFORE * shard));
        std::fs::write(source.with_extension("lines"), numbers.collect::<String>()).unwrap();
        FileTask { key, source, input: None, token: 0 }
    }

    /// Works on a file to its end, by a worker that has just started.
    fn work(&self, number: u32, shard: u64, lines: &[String]) -> Left {
        let task = self.write(number, shard, lines);
        self.run(&task).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn run(&self, task: &FileTask) -> Result<Left, Fault> {
        let mut worker = self.worker(task.key.shard.get().into());
        let finished = worker.work_on(task, &lease())?;
        worker.reported(&task.key);
        Ok(self.left(&finished))
    }

    fn left(&self, finished: &Finished) -> Left {
        let (file, shard) = (finished.key.file.clone(), finished.key.shard);
        let read = |artifact| {
            let text = std::fs::read_to_string(self.folder().path_of(&artifact)).unwrap_or_default();
            let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            lines
        };
        let prepared = read(Artifact::Prepared(file.clone(), shard));
        let reject = |line: &serde_json::Value| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            (text("file"), line["line"].as_u64().unwrap(), text("reason"))
        };
        let rejects: Vec<_> = read(Artifact::WorkRejects(file, shard)).iter().map(reject).collect();
        assert!(finished.counts.balanced());
        assert_eq!(finished.counts.written, prepared.len() as u64);
        assert_eq!(finished.counts.rejected, rejects.len() as u64);
        Left { prepared, rejects, counts: finished.counts }
    }
}

impl Left {
    /// Where the prepared lines stood, in their order.
    fn places(&self) -> Vec<(&str, u64)> {
        let place = |line: &'_ serde_json::Value| line["source_line"].as_u64().unwrap();
        self.prepared.iter().map(|line| (line["source_file"].as_str().unwrap(), place(line))).collect()
    }

    fn reasons(&self) -> Vec<(u64, &str)> {
        self.rejects.iter().map(|(_, line, reason)| (*line, reason.as_str())).collect()
    }
}

fn shard_id(number: u64) -> ShardId {
    ShardId::new(number).unwrap()
}

fn file(number: u32) -> FileName {
    format!("2025010100{:02}{:02}", number / 60, number % 60).parse().unwrap()
}

fn lease() -> Lease {
    Lease::unlimited(Stage::ShardWorker, Stop::new())
}

fn event(kind: u8, at_ms: i64, payload: &str) -> String {
    let at = fakes::moment(at_ms);
    format!(r#"{{"event_type":{kind},"payload":{{{payload}}},"timestamp":"{at}"}}"#)
}

/// User `user` buys `qty` of good 1 in shop `shop` for 1.00 each.
fn buy(order: i64, user: Option<i64>, shop: i64, qty: i64, at_ms: i64) -> String {
    let user = user.map_or_else(String::new, |user| format!(r#""user_id":{user},"#));
    let payload = format!(r#""order_id":{order},{user}"shop_id":{shop},"good_id":1,"qty":{qty},"price_at_order":1.00"#);
    event(1, at_ms, &payload)
}

fn give_back(order: i64, qty: i64, at_ms: i64) -> String {
    event(3, at_ms, &format!(r#""order_id":{order},"good_id":1,"qty":{qty}"#))
}

fn restock(shop: i64, delta: i64, at_ms: i64) -> String {
    let payload =
        format!(r#""shop_id":{shop},"good_id":1,"delta_count":{delta},"reason":"x","sub_event_type":"restock""#);
    event(0, at_ms, &payload)
}

fn opened(shop: i64, active: bool, at_ms: i64) -> String {
    event(4, at_ms, &format!(r#""shop_id":{shop},"active":{active}"#))
}

/// Every file below a folder, with its content, but for the worker's database.
fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "state" {
            files.extend(snapshot(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else if path.is_file() {
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_contradiction_of_the_rules_is_no_fault_of_a_database() {
    let fault = Fault::from(RuleError::Logic("line 7 waits for nothing".to_owned()));
    let Fault::Permanent(why) = &fault else { panic!("{fault:?}") };
    assert_eq!(Class::find(why), Some(Class::Internal));
    assert!(why.contains("a fault of this program: line 7") && !why.contains("database"), "{why}");
    let busy = RuleError::from(db::Error::busy("locked"));
    assert!(matches!(Fault::from(busy), Fault::Unavailable(_)), "what the state fails with stays what it was");
}
