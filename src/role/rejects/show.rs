//! `shopctl rejects show FILE:LINE`: one rejected line, whole, and what came of its redrives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::json;

use super::text;
use crate::base::boot::{Context, Exit, Failure, say_much};
use crate::base::log_format::clean;
use crate::base::output::OutputArgs;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::ops::dead_letters::scan::{Extent, Go, RejectsFiles};
use crate::pipeline::ops::dead_letters::{LineAt, Raw, RedriveLog, Rejected};
use crate::pipeline::task::FileName;

/// Places of one line, from redrive to redrive, that are followed.
const STEPS_MAX: usize = 100;

/// Shows one rejected line, and what came of it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl rejects show 20250101000000:17
  shopctl rejects show 20250101000000:17 --raw > line.ndjson   its bytes, to be corrected and imported

Exit codes: 0 all well, 1 there is no such rejected line, 64 bad usage or settings.")]
pub(super) struct Args {
    /// The line's event file and its number there
    #[arg(value_name = "FILE:LINE")]
    at: LineAt,
    /// Print its bytes as they came, with a line feed behind them, and nothing else
    #[arg(long, conflicts_with_all = ["json", "format"])]
    raw: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A place that the line has, or had.
struct Step {
    at: LineAt,
    /// When it was redriven to this place.
    moment: String,
    /// What it was rejected for there, if it was.
    rejected: Option<Box<(Artifact, u64, Rejected)>>,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<Exit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let files = RejectsFiles::new(folder.clone(), ctx.settings.events.max_payload_size);
    let (mut found, extent) = find(&files, BTreeSet::from([&args.at]))?;
    let Some(found) = found.remove(&args.at) else {
        let read = extent.files;
        return Err(Failure::new(format!(
            "{} is not among the lines of {read} rejects files; 'shopctl trace' follows an order",
            args.at
        )));
    };
    if args.raw {
        return write_raw(&files, &found);
    }
    let notes = RedriveLog::new(folder);
    let (from, to) = (came_from(&notes, &args.at)?, went_to(&notes, &files, &args.at)?);
    say_much(|out| {
        if args.output.is_json() {
            let (artifact, _, line) = &found;
            let mut value = text::json(artifact, line, !to.is_empty());
            let step = |step: &Step| {
                json!({"file": step.at.file, "line": step.at.line, "at": step.moment,
                "rejected": step.rejected.as_ref().map(|found| found.2.reason.code())})
            };
            value["redriven_from"] = json!(from);
            value["redriven_to"] = to.iter().map(step).collect();
            return writeln!(out, "{value:#}");
        }
        write_text(out, &files, &found, from.as_ref(), &to)
    })?;
    Ok(Exit::Ok)
}

type Found = (Artifact, u64, Rejected);

/// Looks where the lines most likely are first: an early return is rejected together with another file.
fn find(files: &RejectsFiles, mut wanted: BTreeSet<&LineAt>) -> io::Result<(BTreeMap<LineAt, Found>, Extent)> {
    let mut all = files.list()?;
    let own: BTreeSet<&FileName> = wanted.iter().map(|at| &at.file).collect();
    all.sort_by_key(|artifact| !own.contains(artifact.file()));
    let (mut found, mut extent) = (BTreeMap::new(), Extent::default());
    for artifact in all {
        if wanted.is_empty() {
            break;
        }
        let (read, _) = files.read(&artifact, &mut |line| {
            if let Ok(rejected) = line.line
                && wanted.remove(&rejected.at)
            {
                found.insert(rejected.at.clone(), (artifact.clone(), line.number, rejected));
            }
            Ok(if wanted.is_empty() { Go::Enough } else { Go::On })
        })?;
        extent = extent.plus(read);
    }
    Ok((found, extent))
}

fn came_from(notes: &RedriveLog, at: &LineAt) -> io::Result<Option<LineAt>> {
    let mut from = None;
    notes.for_each_pair(|old, new, _| {
        if new == at {
            from = Some(old.clone());
        }
    })?;
    Ok(from)
}

/// Every place that the line was redriven to, and from there on: the notes are read once for all places that are as many
/// redrives away.
fn went_to(notes: &RedriveLog, files: &RejectsFiles, at: &LineAt) -> io::Result<Vec<Step>> {
    let (mut steps, mut last): (Vec<Step>, Vec<LineAt>) = (Vec::new(), vec![at.clone()]);
    while !last.is_empty() {
        let mut next: BTreeMap<&LineAt, Vec<Step>> = last.iter().map(|from| (from, Vec::new())).collect();
        notes.for_each_pair(|old, new, note| {
            if let Some(steps) = next.get_mut(old) {
                steps.push(Step { at: new.clone(), moment: note.at.clone(), rejected: None });
            }
        })?;
        let begin = steps.len();
        for from in &last {
            if steps.len() < STEPS_MAX {
                steps.extend(next.remove(from).unwrap_or_default());
            }
        }
        last = steps[begin..].iter().map(|step| step.at.clone()).collect();
    }
    let (rejected, _) = find(files, steps.iter().map(|step| &step.at).collect())?;
    for step in &mut steps {
        step.rejected = rejected.get(&step.at).cloned().map(Box::new);
    }
    Ok(steps)
}

fn write_raw(files: &RejectsFiles, (artifact, number, line): &Found) -> Result<Exit, Failure> {
    let Raw::Whole(raw) = &line.raw else {
        let path = files.path_of(artifact);
        return Err(Failure::new(format!(
            "{} is too long to be printed; its bytes are in line {number} of {}",
            line.at,
            path.display()
        )));
    };
    say_much(|out| out.write_all(raw).and_then(|()| out.write_all(b"\n")))?;
    Ok(Exit::Ok)
}

fn write_text(
    out: &mut dyn Write,
    files: &RejectsFiles,
    (artifact, number, line): &Found,
    from: Option<&LineAt>,
    to: &[Step],
) -> io::Result<()> {
    writeln!(out, "{:<14}{}", "line", line.at)?;
    let shard = artifact.shard().map_or_else(String::new, |shard| format!(", shard {shard}"));
    writeln!(out, "{:<14}{}{shard}, with file {}", "rejected by", line.stage, artifact.file())?;
    writeln!(out, "{:<14}{}: {}", "reason", line.reason, clean(&line.detail))?;
    writeln!(out, "{:<14}{}:{number}", "kept in", files.path_of(artifact).display())?;
    if let Some(from) = from {
        writeln!(out, "{:<14}{from}", "redriven from")?;
    }
    for step in to {
        let outcome = match &step.rejected {
            Some(found) => format!("rejected again: {}: {}", found.2.reason, clean(&found.2.detail)),
            None => format!("not in the rejects; 'shopctl trace {}' shows how far the file is", step.at.file),
        };
        writeln!(out, "{:<14}{}, {} UTC, {outcome}", "redriven to", step.at, step.moment)?;
    }
    if to.is_empty() {
        writeln!(out, "{:<14}never", "redriven")?;
    }
    match &line.raw {
        Raw::Whole(raw) => writeln!(out, "{:<14}{}\n\n{}", "bytes", raw.len(), text::whole(raw)),
        Raw::TooLong { bytes } => writeln!(out, "{:<14}about {bytes}, too many to be shown", "bytes"),
    }
}
