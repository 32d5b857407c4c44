//! `shopctl rejects list`: how many lines were rejected, and which.

use std::io::{self, Write};

use serde_json::json;

use super::filter::FilterArgs;
use super::text;
use crate::base::boot::{Exit, Failure, say_much};
use crate::base::log_format::clean;
use crate::base::output::OutputArgs;
use crate::base::text::count;
use crate::pipeline::files::folder::{Artifact, Folder};
use crate::pipeline::ops::dead_letters::counted::Counted;
use crate::pipeline::ops::dead_letters::groups::By;
use crate::pipeline::ops::dead_letters::redrive_log::Redriven;
use crate::pipeline::ops::dead_letters::scan::RejectsFiles;
use crate::pipeline::ops::dead_letters::{Filter, Raw, RedriveLog, Rejected};
use crate::pipeline::settings::Context;

/// Counts rejected lines by stage and reason, or by what is wrong with them, or lists them.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  shopctl rejects list                              counts by stage and reason
  shopctl rejects list --by detail                  counts by what is wrong, with an example of each
  shopctl rejects list --since 2025-01-01 --lines   every line since that day
  shopctl rejects list --reason bad_json --reason bad_utf8 --lines --json | jq .raw

With --json: one object a line, for a count or, with --lines, for a line with all its text.
Exit codes: 0 all well, 1 a rejects file cannot be read, 64 bad usage or settings.")]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// Count the lines by their reason, or by their detail, where any number is like another
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", conflicts_with = "lines")]
    by: By,
    /// List the lines instead of counting them
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(ctx: &Context, args: &Args) -> Result<Exit, Failure> {
    let folder = Folder::new(&ctx.settings.shared.dir);
    let files = RejectsFiles::new(folder.clone(), ctx.settings.events.max_payload_size);
    let redriven = RedriveLog::new(folder).redriven()?;
    let mut counted = Counted::new(args.by);
    say_much(|out| {
        counted.read(
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
            (true, false) => write_counts_json(&counted, out),
            (false, lines) => write_table(&counted, out, lines),
        }
    })?;
    match &counted.first_unreadable {
        None => Ok(Exit::Ok),
        Some(first) => {
            Err(Failure::new(format!("{} of rejects files cannot be read: {first}", count(counted.unreadable, "line"))))
        }
    }
}

fn write_counts_json(counted: &Counted, out: &mut dyn Write) -> io::Result<()> {
    for group in counted.groups.sorted() {
        let (reason, lines, redriven) = (group.reason.code(), group.lines, group.redriven);
        let mut count = json!({"stage": group.stage, "reason": reason, "lines": lines, "redriven": redriven});
        if counted.by == By::Detail {
            count["detail"] = group.detail.into();
            count["example"] = group.example.to_string().into();
        }
        writeln!(out, "{count}")?;
    }
    Ok(())
}

fn write_table(counted: &Counted, out: &mut dyn Write, after_lines: bool) -> io::Result<()> {
    let (lines, files) = (counted.lines, counted.extent.files);
    if !after_lines && lines > 0 {
        write_groups(counted, out)?;
        writeln!(out)?;
    }
    let (lines, files) = (count(lines, "rejected line"), count(files, "rejects file"));
    writeln!(out, "{lines}; {files}, {} read", count(counted.extent.bytes, "byte"))
}

fn write_groups(counted: &Counted, out: &mut dyn Write) -> io::Result<()> {
    let more = if counted.by == By::Detail { "  the first, and what is wrong with it" } else { "" };
    writeln!(out, "{:<16}{:<26}{:>10}{:>10}{more}", "stage", "reason", "lines", "redriven")?;
    for group in counted.groups.sorted() {
        let (stage, reason) = (group.stage.name(), group.reason.code());
        write!(out, "{stage:<16}{reason:<26}{:>10}{:>10}", group.lines, group.redriven)?;
        if counted.by == By::Detail {
            write!(out, "  {}  {}", group.example, clean(&group.detail))?;
        }
        writeln!(out)?;
    }
    Ok(())
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
