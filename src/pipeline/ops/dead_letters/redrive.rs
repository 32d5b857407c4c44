//! Puts rejected lines, byte for byte, into new event files, so that they are decided anew.
//!
//! A line goes once, however often this is run and wherever it is killed. Its steps for a batch of lines:
//! 1. the lines are written to `events/redrives/<id>.lines`; killed after that, they were never decided and are dropped;
//! 2. a note says where each of them came from: from here on they are redriven, and the next run goes on;
//! 3. one rename makes the lines the event file. What is still there under its old name is not published, what is not
//!    there is; no crash can leave a doubt.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;

use super::filter::Filter;
use super::prediction::refused_again;
use super::redrive_log::{Note, RedriveLog, Redriven, key};
use super::scan::{Extent, Go, RejectsFiles};
use crate::base::clock::Clock;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::client::{Client, ClientError};
use crate::pipeline::claim::driver::random_id;
use crate::pipeline::event::{Reason, ShardCount};
use crate::pipeline::files::artifact::{self, Draft, Taken};
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::files::rejected::{LineAt, Raw, Rejected};
use crate::pipeline::ingest::lock_alone;
use crate::pipeline::task::{FileName, Stage, Status};

/// Lines per event file.
pub const BATCH_LINES: usize = 10_000;

/// What is to be redriven.
#[derive(Debug, Clone)]
pub struct RedriveRequest {
    /// Which lines.
    pub filter: Filter,
    /// Those too that were redriven before.
    pub again: bool,
    /// Those too that will be refused again as they stand.
    pub unrecoverable: bool,
    /// Bytes of a line that is not too long.
    pub line_bytes_max: usize,
    /// Shards of new files.
    pub count: ShardCount,
}

/// What becomes of a line that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It goes into a new event file.
    Goes,
    /// It stays: it was redriven before.
    Before,
    /// It stays: the stage that rejected it is not done with its file.
    Undecided,
    /// It stays: it will be refused again, and why.
    Again(&'static str),
}

/// The lines of one stage and reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedriveTally {
    /// All that are meant.
    pub lines: u64,
    /// Those that go.
    pub goes: u64,
    /// Those that stay because they were redriven before.
    pub before: u64,
    /// Those that stay because their stage is not done.
    pub undecided: u64,
    /// Those that will be refused again, whether they go or stay, by why.
    pub again: BTreeMap<&'static str, u64>,
    /// Those of them that stay.
    pub unrecoverable: u64,
}

/// What would go.
#[derive(Debug, Default)]
pub struct RedrivePlan {
    /// By stage and reason.
    pub tallies: BTreeMap<(Stage, Reason), RedriveTally>,
    /// Lines of rejects files that cannot be read, and what is wrong with the first of them.
    pub unreadable: (u64, Option<String>),
    /// What was read.
    pub extent: Extent,
    /// The rejects files with lines that go.
    files: Vec<Artifact>,
}

impl RedrivePlan {
    /// The sums over everything.
    pub fn sum(&self) -> RedriveTally {
        self.tallies.values().fold(RedriveTally::default(), |sum, one| RedriveTally {
            lines: sum.lines + one.lines,
            goes: sum.goes + one.goes,
            before: sum.before + one.before,
            undecided: sum.undecided + one.undecided,
            unrecoverable: sum.unrecoverable + one.unrecoverable,
            again: BTreeMap::new(),
        })
    }
}

/// A new event file of redriven lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The file.
    pub file: FileName,
    /// Its lines.
    pub lines: u64,
}

/// Why a redrive ended.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// Something cannot be read or written, or it was stopped.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The API does not say what it must be asked.
    #[error(transparent)]
    Api(#[from] ClientError),
}

/// Redrives within one shared folder. Blocking: call it from blocking threads only.
pub struct Redriver {
    folder: Folder,
    files: RejectsFiles,
    notes: RedriveLog,
    client: Client,
    clock: Clock,
    stop: Stop,
}

/// Lines on their way into one event file.
struct RedriveBatch {
    id: String,
    draft: Draft,
    sources: Vec<LineAt>,
}

impl Redriver {
    /// A redriver that asks this API what is decided and which names are taken.
    pub fn new(folder: Folder, line_bytes_max: usize, client: Client, clock: Clock, stop: Stop) -> Self {
        let files = RejectsFiles::new(folder.clone(), line_bytes_max);
        Self { notes: RedriveLog::new(folder.clone()), folder, files, client, clock, stop }
    }

    /// One redrive at a time: two would both find that a line is not redriven yet.
    ///
    /// # Errors
    /// `Interrupted` if it was stopped while it waited.
    pub fn lock(&self) -> io::Result<File> {
        lock_alone(&self.notes.place(), "redrive", &self.stop)
    }

    /// How many lines an earlier run has decided to redrive and not published.
    ///
    /// # Errors
    /// Whatever reading the notes fails with.
    pub fn interrupted(&self) -> io::Result<u64> {
        let mut lines = 0;
        for id in self.notes.staged()? {
            lines += self.notes.find(&id)?.map_or(0, |note| note.lines);
        }
        Ok(lines)
    }

    /// Publishes what an earlier run had decided, drops what it had not. The caller holds the lock.
    ///
    /// # Errors
    /// As [`Redriver::send`].
    pub fn recover(&self) -> Result<Vec<Sent>, RedriveError> {
        let mut sent = Vec::new();
        for id in self.notes.staged()? {
            let mut sources = Vec::new();
            match self.notes.visit(&id, |source, _| sources.push(source))? {
                Some(note) => sent.push(self.publish(&id, note, &sources)?),
                None => drop(artifact::remove(&self.notes.staged_path(&id))?),
            }
        }
        Ok(sent)
    }

    /// Files of earlier runs that are published and that the API does not know.
    ///
    /// # Errors
    /// [`RedriveError`] when the notes cannot be read or the API does not answer.
    pub fn unannounced(&self) -> Result<Vec<FileName>, RedriveError> {
        let mut found = Vec::new();
        for id in self.notes.ids()? {
            let Some(note) = self.notes.find(&id)? else { continue };
            if artifact::size(&self.folder.path_of(&Artifact::Events(note.file.clone()))).is_ok() {
                let known = self.client.find_file(&note.file)?;
                if !known.is_some_and(|known| known.all_done(Stage::EventIngest)) {
                    found.push(note.file);
                }
            }
        }
        Ok(found)
    }

    /// Counts what would go; changes nothing.
    ///
    /// # Errors
    /// [`RedriveError`] when something cannot be read or the API does not answer.
    pub fn plan(&self, request: &RedriveRequest) -> Result<RedrivePlan, RedriveError> {
        let mut plan = RedrivePlan::default();
        let files = self.files.list()?;
        let mut goes = Vec::new();
        self.walk(request, &files, &mut |step| {
            match step {
                Step::Line(artifact, line, fate, again) => {
                    plan.note(line, fate, again);
                    if fate == Disposition::Goes && goes.last() != Some(artifact) {
                        goes.push(artifact.clone());
                    }
                }
                Step::Unreadable(what) => {
                    plan.unreadable.0 += 1;
                    plan.unreadable.1.get_or_insert(what);
                }
                Step::End(extent) => plan.extent = plan.extent.plus(extent),
            }
            Ok(())
        })?;
        plan.files = goes;
        Ok(plan)
    }

    /// Does what was planned; hands each new event file to `published`. The caller holds the lock.
    ///
    /// # Errors
    /// [`RedriveError`]. What is published stays, and a further run goes on behind it.
    pub fn send(
        &self,
        request: &RedriveRequest,
        plan: &RedrivePlan,
        published: &mut dyn FnMut(Sent),
    ) -> Result<(), RedriveError> {
        let mut batch: Option<RedriveBatch> = None;
        self.walk(request, &plan.files, &mut |step| {
            if let Step::Line(_, line, Disposition::Goes, _) = step {
                let mut open = match batch.take() {
                    Some(open) => open,
                    None => self.begin()?,
                };
                open.add(line)?;
                if open.sources.len() >= BATCH_LINES {
                    published(self.finish(open)?);
                } else {
                    batch = Some(open);
                }
            }
            Ok(())
        })?;
        if let Some(open) = batch {
            published(self.finish(open)?);
        }
        Ok(())
    }

    fn walk(
        &self,
        request: &RedriveRequest,
        files: &[Artifact],
        visit: &mut dyn FnMut(Step<'_>) -> Result<(), RedriveError>,
    ) -> Result<(), RedriveError> {
        let redriven = if request.again { Redriven::default() } else { self.notes.redriven()? };
        // An operator who changed a rejects file may have put a line into it twice.
        let mut gone = HashSet::new();
        for artifact in files.iter().filter(|artifact| request.filter.may_take(artifact)) {
            if self.stop.is_requested() {
                let why = "stopped before the end; the same command goes on where this one ended";
                return Err(io::Error::new(io::ErrorKind::Interrupted, why).into());
            }
            let (mut decided, mut trouble) = (None, None);
            let result = self.files.read(artifact, &mut |found| {
                let mut one = || {
                    let line = match &found.line {
                        Ok(line) => line,
                        Err(why) => {
                            let path = self.files.path_of(artifact);
                            return visit(Step::Unreadable(format!("{}:{}: {why}", path.display(), found.number)));
                        }
                    };
                    if !request.filter.takes(artifact, line) {
                        return Ok(());
                    }
                    let is_before = redriven.holds(&line.at) || gone.contains(&key(&line.at));
                    let again =
                        if is_before { None } else { refused_again(line, request.line_bytes_max, request.count) };
                    let fate = fate(request, line, is_before, again, || match decided {
                        Some(decided) => Ok(decided),
                        None => Ok::<_, ClientError>(*decided.insert(self.is_decided(artifact)?)),
                    })?;
                    if fate == Disposition::Goes {
                        gone.insert(key(&line.at));
                    }
                    visit(Step::Line(artifact, line, fate, again))
                };
                trouble = one().err();
                Ok(if trouble.is_some() { Go::Enough } else { Go::On })
            });
            trouble.map_or(Ok(()), Err)?;
            visit(Step::End(result?.0))?;
        }
        Ok(())
    }

    /// Whether the stage has reported what it rejected: before that it may be run again, under other settings. A file
    /// that the API does not know is run by no worker.
    fn is_decided(&self, artifact: &Artifact) -> Result<bool, ClientError> {
        let Some(file) = self.client.find_file(artifact.file())? else {
            return Ok(true);
        };
        let (stage, task) = match artifact.shard() {
            Some(shard) => (Stage::ShardWorker, file.shards.iter().find(|task| task.shard == shard)),
            // The rejects of the splitter belong to the lowest shard.
            None => (Stage::ShardSplitter, file.shards.first()),
        };
        Ok(task.is_none_or(|task| task.status(stage) == Status::Done))
    }

    fn begin(&self) -> io::Result<RedriveBatch> {
        let id = random_id();
        let draft = Draft::create(&self.notes.staged_path(&id), rand::random())?;
        Ok(RedriveBatch { id, draft, sources: Vec::new() })
    }

    fn finish(&self, batch: RedriveBatch) -> Result<Sent, RedriveError> {
        let now = self.clock.now();
        let (id, sources) = (batch.id, batch.sources);
        let output = batch.draft.publish(Taken::Refuse)?;
        let note = Note { file: FileName::of(now), lines: output.lines, sha256: output.sha256, at: now.to_string() };
        self.notes.write(&id, &note, &sources)?;
        self.publish(&id, note, &sources)
    }

    /// Gives the lines the first free name from that in the note on. The note says the name before the file has it.
    fn publish(&self, id: &str, mut note: Note, sources: &[LineAt]) -> Result<Sent, RedriveError> {
        loop {
            let name = self.free_name(&note.file)?;
            if name != note.file {
                note.file = name;
                self.notes.write(id, &note, sources)?;
            }
            let target = self.folder.path_of(&Artifact::Events(note.file.clone()));
            match artifact::relocate(&self.notes.staged_path(id), &target) {
                Ok(()) => return Ok(Sent { file: note.file, lines: note.lines }),
                // Taken since it was looked at: the next round finds another name, and the note says that one first.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// A name that neither the folder nor the API knows: that of a file which was cleared would be refused.
    fn free_name(&self, from: &FileName) -> Result<FileName, RedriveError> {
        let mut name = from.clone();
        loop {
            let path = self.folder.locate(&Artifact::Events(name.clone()));
            if !artifact::is_there(&path)? && self.client.find_file(&name)?.is_none() {
                return Ok(name);
            }
            name = name.next_second();
        }
    }
}

/// What a walk comes by.
enum Step<'a> {
    /// With why it will be refused again, if it will.
    Line(&'a Artifact, &'a Rejected, Disposition, Option<&'static str>),
    Unreadable(String),
    End(Extent),
}

/// What becomes of a line; whether its stage is done is asked only where it matters.
fn fate<E>(
    request: &RedriveRequest,
    line: &Rejected,
    is_before: bool,
    again: Option<&'static str>,
    is_decided: impl FnOnce() -> Result<bool, E>,
) -> Result<Disposition, E> {
    if is_before {
        return Ok(Disposition::Before);
    }
    if let Some(why) = again
        && !(request.unrecoverable && can_be_sent(line))
    {
        return Ok(Disposition::Again(why));
    }
    Ok(if is_decided()? { Disposition::Goes } else { Disposition::Undecided })
}

/// Whether the line can stand in an event file at all.
fn can_be_sent(line: &Rejected) -> bool {
    matches!(&line.raw, Raw::Whole(raw) if memchr::memchr(b'\n', raw).is_none())
}

impl RedrivePlan {
    fn note(&mut self, line: &Rejected, fate: Disposition, again: Option<&'static str>) {
        let tally = self.tallies.entry((line.stage, line.reason)).or_default();
        tally.lines += 1;
        if let (Disposition::Goes | Disposition::Again(_), Some(why)) = (fate, again) {
            *tally.again.entry(why).or_default() += 1;
        }
        match fate {
            Disposition::Goes => tally.goes += 1,
            Disposition::Before => tally.before += 1,
            Disposition::Undecided => tally.undecided += 1,
            Disposition::Again(_) => tally.unrecoverable += 1,
        }
    }
}

impl RedriveBatch {
    fn add(&mut self, line: &Rejected) -> io::Result<()> {
        let Raw::Whole(raw) = &line.raw else {
            return Err(io::Error::other(format!("{} is too long to be redriven", line.at)));
        };
        self.draft.write_line(raw)?;
        self.sources.push(line.at.clone());
        Ok(())
    }
}
