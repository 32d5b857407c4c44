//! The report on one screen: what is wrong first, each with what to do.

use std::fmt::Write;

use super::report::StatusReport;
use crate::base::log_format::clean;
use crate::pipeline::ops::probe::Probed;
use crate::pipeline::task::Stage;
use crate::pipeline::task::progress::{Health, span};
use crate::pipeline::task::wire::{FailedItem, LaneItem};

/// Failed tasks that are shown one by one.
const FAILED_SHOWN: usize = 10;
/// Stages of shards that are shown one by one.
const LANES_SHOWN: usize = 48;

/// The whole report.
pub(super) fn screen(report: &StatusReport) -> String {
    let mut text = of_roles(&report.roles);
    for lane in report.lanes.iter().filter(|lane| lane.stuck) {
        stuck(&mut text, lane);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    sums(&mut text, report);
    lanes(&mut text, &report.lanes);
    for task in report.failed_tasks.iter().take(FAILED_SHOWN) {
        failed(&mut text, task);
    }
    if report.more_failed_tasks || report.failed_tasks.len() > FAILED_SHOWN {
        text.push_str("\nand more failed tasks: 'shopctl status --json' lists them\n");
    }
    let api = report.roles.iter().find(|role| role.role == "pipeline-apid");
    let by = api.map_or_else(String::new, |api| format!(", by the API at {}", api.url));
    line(&mut text, format_args!("\nas of {} UTC{by}", report.as_of));
    text.push_str(match report.health {
        Health::Well if !report.roles_well => {
            "no task has failed or stands still, but a role cannot do its work: see the first lines\n"
        }
        Health::Well => "well: nothing has failed, and nothing stands still\n",
        Health::Failed => "failed: tasks were given up\n",
        Health::Stuck => "stuck: something waits, and nothing moved for two leases\n",
    });
    text
}

/// A line for each role that cannot do its work, with what to do.
pub(super) fn of_roles(roles: &[Probed]) -> String {
    let mut text = String::new();
    for role in roles {
        if let Some(problem) = role.problem() {
            line(&mut text, format_args!("{}", clean(&problem)));
            if let Some(repair) = &role.repair {
                line(&mut text, format_args!("  -> {}; it goes on by itself then  ({})", repair.what, repair.runbook));
            }
        }
    }
    text
}

fn stuck(text: &mut String, lane: &LaneItem) {
    let (stage, shard) = (lane.stage, lane.shard);
    let what = lane.oldest.as_ref().map_or_else(String::new, |task| format!(", {}", task.filename));
    let reason = clean(lane.reason.as_deref().unwrap_or("no reason is known"));
    line(text, format_args!("stuck: {stage} shard {shard}{what}: {reason}"));
    if let Some(repair) = &lane.repair {
        line(text, format_args!("  -> {}", repair.what));
        line(text, format_args!("  -> {}", repair.advice()));
    }
}

fn sums(text: &mut String, report: &StatusReport) {
    line(text, format_args!("{:<16}{:>10}{:>10}{:>10}{:>10}", "stage", "new", "started", "done", "failed"));
    for stage in Stage::ALL {
        let n = report.by_stage.of(stage);
        line(text, format_args!("{:<16}{:>10}{:>10}{:>10}{:>10}", stage.name(), n.new, n.started, n.done, n.failed));
    }
    text.push('\n');
    for shard in &report.by_shard {
        let name = format!("shard {}", shard.totals.shard);
        let failed = match shard.failed_tasks {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        line(text, format_args!("{name:<16}{} of {} tasks delivered{failed}", shard.totals.done, shard.totals.total));
    }
}

fn lanes(text: &mut String, lanes: &[LaneItem]) {
    let mut open: Vec<&LaneItem> = lanes.iter().filter(|lane| lane.waiting + lane.under_way > 0).collect();
    if open.is_empty() {
        return;
    }
    open.sort_by_key(|lane| !lane.stuck);
    line(
        text,
        format_args!(
            "\n{:<15}{:>6}{:>9}{:>10}  {:<16}{:<8}why",
            "stage", "shard", "waiting", "under way", "oldest file", "age"
        ),
    );
    for lane in open.iter().take(LANES_SHOWN) {
        let (stage, shard) = (lane.stage.name(), lane.shard.get());
        let file = lane.oldest.as_ref().map_or("", |task| task.filename.as_str());
        let age = lane.oldest.as_ref().map_or_else(String::new, |task| span(task.age_ms));
        let (waiting, under_way) = (lane.waiting, lane.under_way);
        line(text, format_args!("{stage:<15}{shard:>6}{waiting:>9}{under_way:>10}  {file:<16}{age:<8}{}", why(lane)));
    }
    if open.len() > LANES_SHOWN {
        line(text, format_args!("and {} more: 'shopctl status --json' lists them", open.len() - LANES_SHOWN));
    }
}

/// Which worker holds the task since when, and why it is not finished.
fn why(lane: &LaneItem) -> String {
    let mut parts = Vec::new();
    if let Some(task) = &lane.oldest {
        if let (Some(worker), Some(held)) = (&task.worker, task.held_ms) {
            parts.push(format!("held for {} by {}", span(held), clean(worker)));
        }
        match task.lease_left_ms {
            Some(left) if left >= 0 => parts.push(format!("lease {} left", span(left))),
            // The reason tells since when it is over.
            Some(_) | None => {}
        }
        if task.attempts > 1 {
            parts.push(format!("attempt {}", task.attempts));
        }
    }
    parts.extend(lane.reason.as_deref().map(clean));
    if let Some(error) = lane.oldest.as_ref().and_then(|task| task.last_error.as_deref()) {
        let is_told = lane.reason.as_deref().is_some_and(|reason| reason.contains(error));
        parts.extend((!is_told).then(|| format!("last error: {}", clean(error))));
    }
    parts.join("; ")
}

fn failed(text: &mut String, task: &FailedItem) {
    let FailedItem { filename, shard, stage, attempts, reason, repair, .. } = task;
    let attempts = if *attempts > 1 { format!(" after {attempts} attempts") } else { String::new() };
    line(text, format_args!("\nfailed: {filename} shard {shard} {stage}{attempts}: {}", clean(reason)));
    line(text, format_args!("        {}:", repair.what));
    line(text, format_args!("        {}", repair.advice()));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing into a string does not fail.
    writeln!(text, "{line}").unwrap_or_default();
}
