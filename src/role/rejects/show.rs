//! `shopctl rejects show FILE:LINE`: one rejected line, whole, and what came of its redrives.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::json;

use super::text;
use crate::base::boot::{Exit, Failure, say_much};
use crate::base::log_format::clean;
use crate::base::output::OutputArgs;
use crate::pipeline::files::folder::Folder;
use crate::pipeline::ops::dead_letters::history::{Located, RedriveStep, came_from, locate, went_to};
use crate::pipeline::ops::dead_letters::scan::RejectsFiles;
use crate::pipeline::ops::dead_letters::{LineAt, Raw, RedriveLog};
use crate::pipeline::settings::Context;

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

pub(super) fn run(ctx: &Context, args: &Args) -> Result<Exit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let files = RejectsFiles::new(folder.clone(), ctx.settings.events.max_payload_size);
    let (mut found, extent) = locate(&files, BTreeSet::from([&args.at]))?;
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
            let Located { artifact, line, .. } = &found;
            let mut value = text::json(artifact, line, !to.is_empty());
            let step = |step: &RedriveStep| {
                json!({"file": step.at.file, "line": step.at.line, "at": step.moment,
                "rejected": step.rejected.as_ref().map(|found| found.line.reason.code())})
            };
            value["redriven_from"] = json!(from);
            value["redriven_to"] = to.iter().map(step).collect();
            return writeln!(out, "{value:#}");
        }
        write_text(out, &files, &found, from.as_ref(), &to)
    })?;
    Ok(Exit::Ok)
}

fn write_raw(files: &RejectsFiles, Located { artifact, number, line }: &Located) -> Result<Exit, Failure> {
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
    Located { artifact, number, line }: &Located,
    from: Option<&LineAt>,
    to: &[RedriveStep],
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
            Some(found) => format!("rejected again: {}: {}", found.line.reason, clean(&found.line.detail)),
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
