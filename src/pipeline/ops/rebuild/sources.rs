//! What a state is made of beside the books: the reports, and the files that are still there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::base::boot::Failure;
use crate::base::timestamp::Timestamp;
use crate::pipeline::apid::store::{Tracking, for_each_file};
use crate::pipeline::event::{LineReader, Next, ShardId};
use crate::pipeline::files::artifact;
use crate::pipeline::files::folder::{self, Artifact, Folder};
use crate::pipeline::rules::LinePlace;
use crate::pipeline::settings::Context;
use crate::pipeline::shard_db::ShardStore;
use crate::pipeline::task::{Counts, Digest, FileName, FileView, Output, Stage, Status};
use crate::pipeline::work::rebuild::Rebuild;

/// Entries per page.
pub(super) const PAGE: u32 = 1000;
/// Lines of files that we wrote ourselves: none is longer than the longest event with its reason.
const OWN_LINE_FACTOR: usize = 4;

/// A file that the worker has decided, by its report.
pub(super) struct Decided {
    pub(super) file: FileName,
    /// When.
    pub(super) at: Timestamp,
    /// What it was made of.
    pub(super) input: Option<Digest>,
    pub(super) counts: Counts,
    /// The prepared file.
    pub(super) output: Option<Output>,
    /// The rejects file, once it was read.
    pub(super) rejects: Option<Digest>,
}

/// What the reports say of a shard.
pub(super) struct Sources {
    pub(super) shard: ShardId,
    /// In the order in which they were decided.
    pub(super) decided: Vec<Decided>,
    /// Files whose delivery was reported.
    reported: BTreeSet<FileName>,
    /// What the event files were announced as.
    announced: BTreeMap<FileName, Output>,
}

impl Sources {
    /// Reads the reports.
    pub(super) async fn read(tracking: &dyn Tracking, shard: ShardId, now: Timestamp) -> Result<Self, Failure> {
        let mut sources = Self { shard, decided: Vec::new(), reported: BTreeSet::new(), announced: BTreeMap::new() };
        let mut at_work = None;
        for_each_file(tracking, |file| at_work = at_work.take().or_else(|| sources.add(file, now))).await?;
        if let Some(owner) = at_work {
            return Err(Failure::new(format!(
                "a worker of shard {shard} is at work ({owner}): stop it, wait for its lease to end, then rebuild"
            )));
        }
        sources.decided.sort_by(|a, b| (a.at, &a.file).cmp(&(b.at, &b.file)));
        Ok(sources)
    }

    /// Adds a file; answers the owner of its task if a worker is at work on it.
    fn add(&mut self, file: &FileView, now: Timestamp) -> Option<String> {
        if let Some(output) = file.announced() {
            self.announced.insert(file.file.clone(), output);
        }
        let own = file.shards.iter().find(|own| own.shard == self.shard)?;
        if own.status(Stage::MysqlSender) == Status::Done {
            self.reported.insert(file.file.clone());
        }
        if own.status(Stage::ShardWorker) == Status::Started && own.lease_until.is_some_and(|until| until > now) {
            return Some(own.owner.clone().unwrap_or_else(|| file.file.to_string()));
        }
        let worked = own.result(Stage::ShardWorker).filter(|_| own.status(Stage::ShardWorker) == Status::Done)?;
        self.decided.push(Decided {
            file: file.file.clone(),
            at: worked.finished_at,
            input: own.result(Stage::ShardSplitter).and_then(|split| split.output).map(|output| output.sha256),
            counts: worked.counts.unwrap_or_default(),
            output: worked.output,
            rejects: None,
        });
        None
    }

    /// The books and the reports are of the same files, or one of the databases is another.
    pub(super) fn require_delivered(&self, delivered: &BTreeSet<FileName>) -> Result<(), Failure> {
        let shard = self.shard;
        let decided: BTreeSet<&FileName> = self.decided.iter().map(|decided| &decided.file).collect();
        if let Some(file) = delivered.iter().find(|file| !decided.contains(file)) {
            return Err(Failure::new(format!(
                "{file} is in the database of shard {shard}, but by the tracking database it was never decided: put that one back from a backup first"
            )));
        }
        if let Some(file) = self.reported.iter().find(|file| !delivered.contains(*file)) {
            return Err(Failure::new(format!(
                "{file} was delivered, but the database of shard {shard} knows nothing of it: put that one back from a backup first"
            )));
        }
        Ok(())
    }

    /// Reads the rejects files; answers how many rejected lines are gone.
    pub(super) fn read_rejects(&mut self, folder: &Folder, rebuild: &mut Rebuild) -> Result<u64, Failure> {
        let mut missing = 0;
        for decided in &mut self.decided {
            let path = folder.path_of(&Artifact::WorkRejects(decided.file.clone(), self.shard));
            let mut lines = 0;
            match artifact::open_verified(&path, None) {
                Ok((input, found)) => {
                    decided.rejects = Some(found.sha256);
                    each_line(input, usize::MAX, |_, line| {
                        lines += 1;
                        Ok(rebuild.rejected(line)?)
                    })?;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e.into()),
            }
            missing += decided.counts.rejected.saturating_sub(lines);
        }
        Ok(missing)
    }

    /// Reads the prepared files: all for their keys, and those that are not delivered for what they come to, in the
    /// order in which they were decided. One that is not delivered must be there.
    pub(super) fn read_prepared(
        &self,
        folder: &Folder,
        delivered: &BTreeSet<FileName>,
        ctx: &Context,
        rebuild: &mut Rebuild,
    ) -> Result<(), Failure> {
        let max = ctx.settings.events.max_payload_size.saturating_mul(OWN_LINE_FACTOR);
        for Decided { file, output, .. } in &self.decided {
            let path = folder.locate(&Artifact::Prepared(file.clone(), self.shard));
            let is_delivered = delivered.contains(file);
            match artifact::open_verified(&path, output.as_ref()) {
                Ok((input, _)) => {
                    each_line(input, max, |number, line| Ok(rebuild.prepared(line, file, number, is_delivered)?))?;
                }
                Err(e) if is_delivered => log::debug!(path:% = path.display(); "keys are not read: {e}"),
                Err(e) => return Err(self.not_prepared(file, &path, &e)),
            }
        }
        Ok(())
    }

    fn not_prepared(&self, file: &FileName, path: &Path, error: &io::Error) -> Failure {
        let (shard, path) = (self.shard, path.display());
        Failure::new(format!(
            "{path} was decided and is not delivered, but cannot be read ({error}): put it back, or have it decided again with \
             'shopctl retry {file} --shard {shard} --stage shard-worker --cascade', then rebuild"
        ))
    }

    /// Reads the accepted lines of the event files that are still there, for their keys.
    pub(super) async fn read_event_files(
        &self,
        books: &dyn ShardStore,
        folder: &Folder,
        ctx: &Context,
        rebuild: &mut Rebuild,
    ) -> Result<(), Failure> {
        let max = ctx.settings.events.max_payload_size;
        for found in folder::artifacts(folder.events()) {
            let (Artifact::Events(file), path) = found? else {
                continue;
            };
            match artifact::open_verified(&path, self.announced.get(&file)) {
                Ok((input, _)) => read_accepted(books, &file, LineReader::new(input, max), rebuild).await?,
                Err(e) => log::warn!(file = file.as_str(); "keys are not read: {e}"),
            }
        }
        Ok(())
    }
}

/// Reads the lines of an event file that have a row in the books.
async fn read_accepted<R: io::BufRead>(
    books: &dyn ShardStore,
    file: &FileName,
    mut lines: LineReader<R>,
    rebuild: &mut Rebuild,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = books.list_lines(file, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = *last;
        let mut wanted = page.iter().copied().peekable();
        while let Some(line) = wanted.peek().copied() {
            match lines.next_line()? {
                None => return Ok(()),
                Some(Next::Line { number, bytes, .. }) if number == line => {
                    rebuild.accepted(bytes, LinePlace { file, line })?;
                    wanted.next();
                }
                Some(_) => {}
            }
        }
    }
}

/// Hands over every line of a file that we wrote ourselves, with its number.
fn each_line<R: io::BufRead>(
    input: R,
    max: usize,
    mut visit: impl FnMut(u64, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut lines = LineReader::new(input, max);
    while let Some(next) = lines.next_line()? {
        if let Next::Line { number, bytes, .. } = next {
            visit(number, bytes)?;
        }
    }
    Ok(())
}
