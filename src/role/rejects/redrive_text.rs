//! What `shopctl rejects redrive` prints.

use serde_json::json;

use crate::base::text::count;
use crate::pipeline::ops::dead_letters::redrive::{RedrivePlan, Sent};

/// What would go, and what stays and why.
pub(super) fn table(plan: &RedrivePlan, is_dry_run: bool) -> String {
    let sum = plan.sum();
    if sum.lines == 0 {
        return format!("no rejected line is meant by that; {} rejects files read\n", plan.extent.files);
    }
    let mut text = format!(
        "{:<16}{:<26}{:>8}{:>10}{:>11}{:>15}{:>8}\n",
        "stage", "reason", "lines", "redriven", "undecided", "unrecoverable", "to go"
    );
    for ((stage, reason), t) in &plan.tallies {
        text.push_str(&format!(
            "{:<16}{:<26}{:>8}{:>10}{:>11}{:>15}{:>8}\n",
            stage.name(),
            reason.code(),
            t.lines,
            t.before,
            t.undecided,
            t.unrecoverable,
            t.goes
        ));
    }
    text.push('\n');
    for ((_, reason), tally) in &plan.tallies {
        for (why, lines) in &tally.again {
            text.push_str(&format!("{reason}: {lines} will be refused again: {why}\n"));
        }
    }
    let verb = if is_dry_run { "would go" } else { "go" };
    text.push_str(&format!("{} of {} lines {verb} into new event files\n", sum.goes, sum.lines));
    for (lines, why) in [
        (sum.unrecoverable, "will be refused again; --include-unrecoverable takes what can be sent at all"),
        (sum.before, "were redriven before; --again takes them once more"),
        (sum.undecided, "are not decided yet: their stage is not done with their file"),
    ] {
        if lines > 0 {
            text.push_str(&format!("{lines} stay: they {why}\n"));
        }
    }
    text
}

/// The files that were written.
pub(super) fn files(sent: &[Sent]) -> String {
    sent.iter().map(|sent| format!("{}: {}\n", sent.file, count(sent.lines, "line"))).collect()
}

/// The same for programs, in one line.
pub(super) fn json(plan: &RedrivePlan, sent: &[Sent], is_dry_run: bool) -> String {
    let groups = plan.tallies.iter().map(|((stage, reason), t)| {
        json!({"stage": stage, "reason": reason.code(), "lines": t.lines, "goes": t.goes, "redriven": t.before,
            "undecided": t.undecided, "unrecoverable": t.unrecoverable, "refused_again": t.again})
    });
    let files = sent.iter().map(|sent| json!({"file": sent.file, "lines": sent.lines}));
    let groups: Vec<_> = groups.collect();
    let files: Vec<_> = files.collect();
    format!("{}\n", json!({"dry_run": is_dry_run, "groups": groups, "files": files}))
}
