//! The splitter: one pass over an event file writes the files of all its shards (docs/semantics.md, 3).
//!
//! Reads `events/`, writes `shard-splitter/`: per shard the lines byte for byte and an index of their numbers in the
//! event file; lines that no shard can have go to the rejects file, once, owned by shard 0.

use std::io::{BufReader, Write};
use std::path::PathBuf;

use super::claim::driver::{Finished, Job};
use super::claim::fault::Fault;
use super::claim::lease::Lease;
use super::files::artifact::{self, Draft, Hashed, Taken};
use super::files::folder::{Artifact, Folder};
use super::files::rejects::RejectsDraft;
use crate::pipeline::event::raw::{RawEvent, RawPayload};
use crate::pipeline::event::reject::require_line_feed;
use crate::pipeline::event::{LineReader, Next, Reason, Reasons, Reject, ShardCount, ShardId, shard};
use crate::pipeline::task::{Claimed, Class, Counts, FileName, Output, Stage, TaskKey};

/// Lines between two looks at the lease.
pub(super) const LINES_PER_CHECK: u64 = 4096;
/// Bytes of the read buffer.
const BUFFER_BYTES: usize = 256 * 1024;

/// The splitter of one shared folder.
#[derive(Debug, Clone)]
pub struct Splitter {
    folder: Folder,
    line_bytes_max: usize,
}

/// One event file to split.
#[derive(Debug, Clone)]
pub struct SplitTask {
    /// Its name.
    pub file: FileName,
    /// Where it is.
    pub source: PathBuf,
    /// What it must be, if that was reported.
    pub input: Option<Output>,
    /// How many shards it has.
    pub count: ShardCount,
    /// The shards to write now, each with the token of its claim.
    pub shards: Vec<(ShardId, u64)>,
}

/// The files of one shard in the making.
struct Part {
    shard: ShardId,
    lines: Draft,
    index: Draft,
    written: u64,
}

/// All parts of one file in the making.
struct Split<'a> {
    task: &'a SplitTask,
    parts: Vec<Part>,
    /// By shard, the position in `parts`, if the shard is written now.
    places: Vec<Option<usize>>,
    /// There if this run owns the rejects.
    rejects: Option<RejectsDraft>,
}

impl Splitter {
    /// A splitter that rejects lines of more than `line_bytes_max` bytes.
    pub fn new(folder: Folder, line_bytes_max: usize) -> Self {
        Self { folder, line_bytes_max }
    }

    /// Splits one file.
    ///
    /// # Errors
    /// [`Fault`]; nothing is visible then.
    pub fn split(&self, task: &SplitTask, lease: &Lease) -> Result<Vec<Finished>, Fault> {
        let input = BufReader::with_capacity(
            BUFFER_BYTES,
            Hashed::new(artifact::open(&task.source).map_err(|e| Fault::of_input(&task.source, e))?),
        );
        let mut lines = LineReader::new(input, self.line_bytes_max);
        let mut split = Split::begin(&self.folder, task)?;
        loop {
            if lines.lines().is_multiple_of(LINES_PER_CHECK) {
                lease.check()?;
            }
            match lines.next_line().map_err(|e| Fault::of_input(&task.source, e))? {
                None => break,
                Some(Next::Line { number, bytes, terminated }) => split.take(number, bytes, terminated)?,
                Some(Next::TooLong { number }) => split.reject_long(number, &mut lines, self.line_bytes_max)?,
            }
        }
        // The parts are drafts until here: no line of a corrupt file is ever used.
        let mut found = lines.into_inner().into_inner().output();
        found.index_sha256 = task.input.and_then(|input| input.index_sha256);
        artifact::verify(&task.source, task.input.as_ref(), &found)?;
        lease.check()?;
        split.publish()
    }
}

impl<'a> Split<'a> {
    fn begin(folder: &Folder, task: &'a SplitTask) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        let mut places = vec![None; usize::from(task.count.get())];
        for (shard, token) in &task.shards {
            let Some(place) = places.get_mut(usize::from(shard.get())) else {
                let (file, count) = (&task.file, task.count.get());
                let why = format!("{file} has {count} shards, shard {shard} is none of them");
                return Err(Fault::Permanent(Class::Internal.tag(why)));
            };
            *place = Some(parts.len());
            let draft = |artifact: Artifact| Draft::create(&folder.path_of(&artifact), *token);
            parts.push(Part {
                shard: *shard,
                lines: draft(Artifact::Split(task.file.clone(), *shard))?,
                index: draft(Artifact::SplitIndex(task.file.clone(), *shard))?,
                written: 0,
            });
        }
        let owner = task.shards.iter().find(|(shard, _)| shard.get() == 0);
        let rejects = owner.map(|(_, token)| {
            let path = folder.path_of(&Artifact::SplitRejects(task.file.clone()));
            RejectsDraft::new(path, *token, task.file.clone(), Stage::ShardSplitter)
        });
        Ok(Self { task, parts, places, rejects })
    }

    fn take(&mut self, number: u64, line: &[u8], terminated: bool) -> Result<(), Fault> {
        match route(line, terminated, self.task.count) {
            Ok(shard) => {
                let place = self.places.get(usize::from(shard.get())).copied().flatten();
                if let Some(part) = place.and_then(|place| self.parts.get_mut(place)) {
                    part.lines.write_line(line)?;
                    writeln!(part.index, "{number}")?;
                    part.written += 1;
                }
            }
            Err(reject) => {
                if let Some(rejects) = self.rejects.as_mut() {
                    rejects.write(number, &reject, line)?;
                }
            }
        }
        Ok(())
    }

    fn reject_long<R: std::io::BufRead>(
        &mut self,
        number: u64,
        lines: &mut LineReader<R>,
        max: usize,
    ) -> Result<(), Fault> {
        let reject = Reject::new(Reason::TooLong, format!("the line has more than {max} bytes"));
        if let Some(rejects) = self.rejects.as_mut() {
            rejects.write_streamed(number, &reject, |sink| lines.rest_of_line(sink).map(|_| ()))?;
        }
        Ok(())
    }

    fn publish(self) -> Result<Vec<Finished>, Fault> {
        let mut reasons = self.rejects.as_ref().map(|rejects| rejects.reasons().clone()).unwrap_or_default();
        let rejected = self.rejects.map_or(Ok(None), RejectsDraft::publish)?.map_or(0, |output| output.lines);
        let mut finished = Vec::new();
        for part in self.parts {
            let index = part.index.publish(Taken::Replace)?;
            let mut output = part.lines.publish(Taken::Replace)?;
            output.index_sha256 = Some(index.sha256);
            let (rejected, reasons) =
                if part.shard.get() == 0 { (rejected, std::mem::take(&mut reasons)) } else { (0, Reasons::default()) };
            finished.push(Finished {
                key: TaskKey { file: self.task.file.clone(), shard: part.shard },
                counts: Counts { read: part.written + rejected, written: part.written, rejected, ..Counts::default() },
                output: Some(output),
                reasons,
            });
        }
        Ok(finished)
    }
}

/// Where one line goes.
///
/// # Errors
/// The reason why no shard can have it.
pub fn route(line: &[u8], terminated: bool, count: ShardCount) -> Result<ShardId, Reject> {
    require_line_feed(terminated)?;
    shard::route(&RawEvent::<RawPayload<'_>>::parse(line)?, count)
}

impl Job for Splitter {
    fn stage(&self) -> Stage {
        Stage::ShardSplitter
    }

    fn work(&mut self, claimed: &[Claimed], lease: &Lease) -> Result<Vec<Finished>, Fault> {
        let Some(first) = claimed.first() else {
            return Ok(Vec::new());
        };
        let file = first.key.file.clone();
        let task = SplitTask {
            source: self.folder.locate(&Artifact::Events(file.clone())),
            file,
            input: first.input,
            count: first.shards_count,
            shards: claimed.iter().map(|claimed| (claimed.key.shard, claimed.token)).collect(),
        };
        self.split(&task, lease)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::shutdown::Stop;

    fn split(content: &[u8], count: u64, shards: &[u8]) -> (Vec<Finished>, Folder, tempfile::TempDir) {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::new(temp.path());
        let file: FileName = "20250101000000".parse().unwrap();
        let source = folder.path_of(&Artifact::Events(file.clone()));
        std::fs::create_dir_all(source.parent().unwrap()).unwrap();
        std::fs::write(&source, content).unwrap();
        let shards = shards.iter().map(|shard| (ShardId::new((*shard).into()).unwrap(), 1)).collect();
        let task = SplitTask { file, source, input: None, count: ShardCount::new(count).unwrap(), shards };
        let lease = Lease::unlimited(Stage::ShardSplitter, Stop::new());
        (Splitter::new(folder.clone(), 200).split(&task, &lease).unwrap(), folder, temp)
    }

    fn read(folder: &Folder, artifact: &Artifact) -> Vec<u8> {
        std::fs::read(folder.path_of(artifact)).unwrap_or_default()
    }

    fn name() -> FileName {
        "20250101000000".parse().unwrap()
    }

    #[test]
    fn an_empty_shard_gets_an_empty_file() {
        let (finished, folder, _temp) = split(b"", 2, &[0, 1]);
        assert!(finished.iter().all(|f| f.counts == Counts::default()));
        assert!(folder.path_of(&Artifact::Split(name(), ShardId::new(1).unwrap())).exists());
        assert!(!folder.path_of(&Artifact::SplitRejects(name())).exists());
    }

    #[test]
    fn rejects_belong_to_shard_0_only() {
        let (finished, folder, _temp) = split(b"nonsense\n", 2, &[1]);
        assert_eq!(finished[0].counts, Counts::default());
        assert!(!folder.path_of(&Artifact::SplitRejects(name())).exists());
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => any::<i64>().prop_map(|shop| format!(r#"{{"event_type":4,"payload":{{"shop_id":{shop}}}}}"#).into_bytes()),
            2 => (1_i64..9).prop_map(|id| format!(r#"{{"payload":{{ "order_id" : {id} }},"event_type":3}}"#).into_bytes()),
            1 => proptest::collection::vec(any::<u8>().prop_filter("no line feed", |b| *b != b'\n'), 0..30),
            1 => Just(vec![b'x'; 300]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn nothing_is_lost_nothing_doubled_no_byte_changed(
            lines in proptest::collection::vec(line(), 0..40),
            terminated: bool,
            count in 1_u64..6,
        ) {
            let mut content = lines.join(&b'\n');
            if terminated && !lines.is_empty() {
                content.push(b'\n');
            }
            let all: Vec<u8> = (0..u8::try_from(count).unwrap()).collect();
            let (finished, folder, _temp) = split(&content, count, &all);
            let input: Vec<&[u8]> = content.split_inclusive(|b| *b == b'\n').collect();
            let mut seen = vec![0; input.len()];
            for finished in &finished {
                let shard = finished.key.shard;
                let text = read(&folder, &Artifact::Split(name(), shard));
                let index = String::from_utf8(read(&folder, &Artifact::SplitIndex(name(), shard))).unwrap();
                let numbers: Vec<usize> = index.lines().map(|n| n.parse().unwrap()).collect();
                let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
                prop_assert_eq!(lines.len(), numbers.len());
                prop_assert_eq!(finished.output.unwrap().lines, lines.len() as u64);
                prop_assert!(finished.counts.balanced());
                for (line, number) in lines.iter().zip(&numbers) {
                    prop_assert_eq!(line, &input[number - 1]);
                    seen[number - 1] += 1;
                }
                prop_assert!(numbers.is_sorted());
            }
            for line in read(&folder, &Artifact::SplitRejects(name())).split_inclusive(|b| *b == b'\n') {
                let rejected: serde_json::Value = serde_json::from_slice(line).unwrap();
                seen[usize::try_from(rejected["line"].as_u64().unwrap()).unwrap() - 1] += 1;
            }
            prop_assert!(seen.iter().all(|count| *count == 1), "{seen:?}");
        }
    }
}
