//! `shopctl rejects list`: how many lines were rejected, and which.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::json;

use super::{FilterArgs, text};
use crate::boot::{Context, Exit, Failure, say_much};
use crate::event::Reason;
use crate::log_format::clean;
use crate::output::OutputArgs;
use crate::pipeline::desk::notes::Redriven;
use crate::pipeline::desk::scan::{Extent, Go, RejectsFiles};
use crate::pipeline::desk::{Filter, Notes, Raw, Rejected};
use crate::pipeline::folder::{Artifact, Folder};
use crate::task::Stage;
use crate::text::count;

/// Counts rejected lines by stage and reason, or lists them.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl rejects list                              counts by stage and reason
  shopctl rejects list --since 2025-01-01 --lines   every line since that day
  shopctl rejects list --reason bad_json --reason bad_utf8 --lines --json | jq .raw

With --json: one object a line, for a count or, with --lines, for a line with all its text.
Exit codes: 0 all well, 1 a rejects file cannot be read, 64 bad usage or settings.")]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// List the lines instead of counting them
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    /// Lines, and those of them that were redriven.
    counts: BTreeMap<(Stage, Reason), (u64, u64)>,
    lines: u64,
    extent: Extent,
    unreadable: u64,
    first: Option<String>,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<Exit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let files = RejectsFiles::new(folder.clone(), ctx.settings.events.max_payload_size);
    let redriven = Notes::new(folder).redriven()?;
    let mut seen = Seen::default();
    say_much(|out| {
        seen.read(
            &files,
            &Filter::from(&args.filter),
            &mut |artifact, line| match (args.lines, args.output.is_json()) {
                (true, true) => write_json(out, artifact, line, &redriven),
                (true, false) => write_text(out, line, &redriven),
                (false, _) => Ok(()),
            },
            &redriven,
        )?;
        match (args.output.is_json(), args.lines) {
            (true, true) => Ok(()),
            (true, false) => seen.write_counts_json(out),
            (false, lines) => seen.write_table(out, lines),
        }
    })?;
    match seen.first {
        None => Ok(Exit::Ok),
        Some(first) => {
            Err(Failure::new(format!("{} of rejects files cannot be read: {first}", count(seen.unreadable, "line"))))
        }
    }
}

impl Seen {
    fn read(
        &mut self,
        files: &RejectsFiles,
        filter: &Filter,
        each: &mut dyn FnMut(&Artifact, &Rejected) -> io::Result<()>,
        redriven: &Redriven,
    ) -> io::Result<()> {
        for artifact in files.list()?.iter().filter(|artifact| filter.may_take(artifact)) {
            let (extent, _) = files.read(artifact, &mut |found| {
                match &found.line {
                    Ok(line) if filter.takes(artifact, line) => {
                        self.lines += 1;
                        let count = self.counts.entry((line.stage, line.reason)).or_default();
                        count.0 += 1;
                        count.1 += u64::from(redriven.holds(&line.at));
                        each(artifact, line)?;
                    }
                    Ok(_) => {}
                    Err(why) => {
                        self.unreadable += 1;
                        let path = files.path_of(artifact);
                        self.first
                            .get_or_insert_with(|| format!("{}:{}: {}", path.display(), found.number, clean(why)));
                    }
                }
                Ok(Go::On)
            })?;
            self.extent = self.extent.plus(extent);
        }
        Ok(())
    }

    fn write_counts_json(&self, out: &mut dyn Write) -> io::Result<()> {
        for ((stage, reason), (lines, redriven)) in &self.counts {
            let count = json!({"stage": stage, "reason": reason.code(), "lines": lines, "redriven": redriven});
            writeln!(out, "{count}")?;
        }
        Ok(())
    }

    fn write_table(&self, out: &mut dyn Write, after_lines: bool) -> io::Result<()> {
        let (lines, files) = (self.lines, self.extent.files);
        if !after_lines && lines > 0 {
            writeln!(out, "{:<16}{:<26}{:>10}{:>10}", "stage", "reason", "lines", "redriven")?;
            for ((stage, reason), (lines, redriven)) in &self.counts {
                writeln!(out, "{:<16}{:<26}{lines:>10}{redriven:>10}", stage.name(), reason.code())?;
            }
            writeln!(out)?;
        }
        let (lines, files) = (count(lines, "rejected line"), count(files, "rejects file"));
        writeln!(out, "{lines}; {files}, {} read", count(self.extent.bytes, "byte"))
    }
}

fn write_text(out: &mut dyn Write, line: &Rejected, redriven: &Redriven) -> io::Result<()> {
    let mark = if redriven.holds(&line.at) { " (redriven)" } else { "" };
    let raw = match &line.raw {
        Raw::Whole(raw) => text::preview(raw),
        Raw::TooLong { bytes } => format!("(about {bytes} bytes)"),
    };
    let (stage, reason, detail) = (line.stage, line.reason, clean(&line.detail));
    writeln!(out, "{}  {stage}  {reason}{mark}: {detail}\n    {raw}", line.at)
}

fn write_json(out: &mut dyn Write, artifact: &Artifact, line: &Rejected, redriven: &Redriven) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &text::json(artifact, line, redriven.holds(&line.at))).map_err(io::Error::from)?;
    writeln!(out)
}
