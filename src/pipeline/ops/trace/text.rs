//! Traces for people.

use super::file_report as file;
use super::order_report::{Line, LineOutcome, OrderReport};
use crate::base::log_format::clean;
use crate::base::text::count;
use crate::pipeline::ops::trace::naming::Said;
use crate::pipeline::ops::trace::services::{Kept, ServiceAnswer};
use crate::pipeline::ops::trace::verdict::TraceVerdict;
use crate::pipeline::task::wire::{FileResponse, ShardItem};
use crate::pipeline::task::{Stage, Status};

/// The way of an order.
pub(crate) fn order(report: &OrderReport) -> String {
    let mut text = format!(
        "order {}: {}; {} and {} searched, {} read\n",
        report.order_id,
        count(report.lines.len() as u64, "line"),
        count(report.files_read, "file"),
        count(report.databases_asked as u64, "shard database"),
        count(report.bytes_read, "byte")
    );
    for line in &report.lines {
        write_line(&mut text, report, line);
    }
    text.push('\n');
    if report.books.is_empty() {
        say(&mut text, "books", "nothing");
    }
    for book in &report.books {
        let of = [("user", book.user_id), ("shop", book.shop_id), ("good", book.good_id)];
        let of: String = of.iter().filter_map(|(name, id)| id.map(|id| format!("{name} {id}, "))).collect();
        let (table, shard, at) = (book.table, book.shard, &book.at);
        say(&mut text, "books", &format!("{table} of shard {shard}: {of}qty {}, {}, {at}", book.qty, book.amount));
    }
    write_money(&mut text, report);
    match &report.kept_returns {
        ServiceAnswer::NotAnswered(why) => say(&mut text, "early returns", &format!("not asked for: {}", clean(why))),
        ServiceAnswer::Answer(kept) => {
            for Kept { line, state, held_at, taken_with } in kept {
                let with = taken_with.as_ref().map_or_else(String::new, |file| format!(" with {file}"));
                say(&mut text, "early return", &format!("{line} kept since {held_at}: {}{with}", clean(state)));
            }
        }
    }
    if report.lines_left_out > 0 {
        say(&mut text, "left out", &format!("{} more lines of it", report.lines_left_out));
    }
    if report.lines_too_long > 0 {
        say(&mut text, "not looked into", &format!("{} that are too long", count(report.lines_too_long, "line")));
    }
    text
}

fn say(text: &mut String, what: &str, said: &str) {
    text.push_str(&format!("{what:<17}{said}\n"));
}

fn write_money(text: &mut String, report: &OrderReport) {
    match &report.money {
        ServiceAnswer::NotAnswered(why) => say(text, "money", &format!("not asked for: {}", clean(why))),
        ServiceAnswer::Answer(money) if money.moved.is_empty() => say(text, "money", "none moved"),
        ServiceAnswer::Answer(money) => {
            for moved in &money.moved {
                let (kind, amount, user, at) = (moved.r#type.name(), &moved.amount, moved.user_id, &moved.at);
                say(text, "money", &format!("{kind} {amount} of user {user}, {}, {at}", clean(&moved.key)));
            }
        }
    }
    if let ServiceAnswer::Answer(money) = &report.money {
        for user in &money.cut_short {
            say(text, "money", &format!("user {user} has more transactions than were looked through: the newest"));
        }
    }
}

fn write_line(text: &mut String, report: &OrderReport, line: &Line) {
    let kind = line.says.as_ref().map_or("line", |said| said.kind.unwrap_or("unreadable"));
    let shard = line.shard.map_or_else(|| "no shard".to_owned(), |shard| format!("shard {shard}"));
    text.push_str(&format!("\n{}  {kind}  {shard}  {}\n", line.at, outcome(&line.outcome)));
    if let Some(said) = line.says.as_ref().map(says).filter(|said| !said.is_empty()) {
        say(text, "  says", &said);
    }
    if let LineOutcome::Rejected { rejection, .. } = &line.outcome {
        say(text, "  detail", &clean(&rejection.detail));
    }
    let decided_in = line.decided_with.as_ref().unwrap_or(&line.at.file);
    if let Some(task) = report.tracked.get(&line.at.file).and_then(|file| task(file, line)) {
        for stage in Stage::ALL.into_iter().take(if line.decided_with.is_some() { 2 } else { 4 }) {
            say(text, &format!("  {stage}"), &stage_of(task, stage));
        }
    }
    if line.decided_with.is_some() {
        say(text, "  decided", &format!("with file {decided_in}"));
        if let Some(task) = report.tracked.get(decided_in).and_then(|file| task(file, line)) {
            for stage in [Stage::ShardWorker, Stage::MysqlSender] {
                say(text, &format!("  {stage}"), &stage_of(task, stage));
            }
        }
    }
    if let Some(row) = &line.row {
        say(text, "  row", &format!("{} of events in shard {}, written {}", row.id, row.shard, row.created_at));
    }
    if let Some(from) = &line.redriven_from {
        say(text, "  redriven", &format!("from {from}"));
    }
    for to in &line.redriven_to {
        say(text, "  redriven", &format!("to {to}"));
    }
}

/// The task of the line's shard; that of the lowest one has the rejects of the splitter.
fn task<'a>(file: &'a FileResponse, line: &Line) -> Option<&'a ShardItem> {
    match line.shard {
        Some(shard) => file.shards.iter().find(|task| task.shard == shard),
        None => file.shards.first(),
    }
}

fn outcome(outcome: &LineOutcome) -> String {
    match outcome {
        LineOutcome::Rejected { rejection, .. } => format!("rejected by {}: {}", rejection.stage, rejection.reason),
        LineOutcome::Other(TraceVerdict::Accepted) => "accepted".to_owned(),
        LineOutcome::Other(TraceVerdict::Duplicate) => "duplicate of an earlier line".to_owned(),
        LineOutcome::Other(TraceVerdict::Held) => "held: waits for its purchase".to_owned(),
        LineOutcome::Other(TraceVerdict::DuplicateOrHeld) => {
            "duplicate or held: cache-service was not asked".to_owned()
        }
        LineOutcome::Other(TraceVerdict::Waits(stage)) => format!("waits for {stage}"),
        LineOutcome::Other(TraceVerdict::Failed(stage)) => format!("{stage} failed: see 'shopctl status'"),
        LineOutcome::Other(TraceVerdict::NotAnnounced) => "its file is not announced yet".to_owned(),
        LineOutcome::Other(TraceVerdict::Unknown) => "no trace of it: see 'shopctl audit'".to_owned(),
    }
}

fn says(said: &Said) -> String {
    let mut parts: Vec<String> = said.timestamp.iter().map(|at| clean(at)).collect();
    for (name, id) in [("user", said.user_id), ("shop", said.shop_id), ("good", said.good_id), ("qty", said.qty)] {
        parts.extend(id.map(|id| format!("{name} {id}")));
    }
    parts.extend(said.amount.as_ref().map(|amount| clean(amount)));
    parts.join(", ")
}

/// One stage of a task: when, how often, how much.
fn stage_of(task: &ShardItem, stage: Stage) -> String {
    let Some(result) = task.result(stage) else {
        let status = task.status(stage);
        let why = task.last_error.as_deref().filter(|_| matches!(status, Status::Started | Status::Failed));
        return format!("{status}{}", why.map_or_else(String::new, |why| format!(": {}", clean(why))));
    };
    let mut said = format!("{} {}", task.status(stage), result.finished_at);
    if let Some(started) = &result.started_at {
        said.push_str(&format!(", begun {started}"));
    }
    if result.attempt > 1 {
        said.push_str(&format!(", attempt {}", result.attempt));
    }
    said
}

/// The way of an event file.
pub(crate) fn file(report: &file::FileReport) -> String {
    let mut text = format!("file {}\n", report.file);
    if let Some(at) = &report.is_redrive_of {
        say(&mut text, "redrive", &format!("its lines are rejected ones of other files, redriven {at}"));
    }
    match &report.registered {
        None => say(&mut text, "registered", "no: the API was not told of it yet"),
        Some(file) => file.shards.iter().for_each(|task| write_task(&mut text, task)),
    }
    text.push('\n');
    for delivered in &report.delivered {
        let (shard, rows, present, at) = (delivered.shard, delivered.rows, delivered.present, &delivered.at);
        let moved = if rows == present { String::new() } else { format!("; {present} name it as their source") };
        say(&mut text, "rows", &format!("{rows} delivered into shard {shard}, {at}{moved}"));
    }
    if report.redriven_lines > 0 {
        say(&mut text, "redriven", &format!("{} of its rejected lines", report.redriven_lines));
    }
    for found in &report.on_disk {
        say(&mut text, "on disk", &format!("{} ({} bytes)", found.path, found.bytes));
    }
    if report.on_disk.is_empty() {
        say(&mut text, "on disk", "nothing: delivered and cleared");
    }
    text
}

fn write_task(text: &mut String, task: &ShardItem) {
    text.push_str(&format!("\nshard {}  registered {}\n", task.shard, task.created_at));
    for stage in Stage::ALL {
        let mut said = stage_of(task, stage);
        if let Some(result) = task.result(stage) {
            if let Some(c) = result.counts {
                said.push_str(&format!(
                    "; {} read, {} written, {} duplicates, {} rejected",
                    c.read, c.written, c.duplicate, c.rejected
                ));
                if c.held + c.released > 0 {
                    said.push_str(&format!(", {} held, {} released", c.held, c.released));
                }
            }
            if let Some(output) = result.output {
                said.push_str(&format!("; {}, {}", count(output.lines, "line"), count(output.bytes, "byte")));
            }
            if let Some(worker) = &result.worker {
                said.push_str(&format!("; by {}", clean(worker)));
            }
        }
        say(text, &format!("  {stage}"), &said);
    }
    if let Some(lease) = &task.lease {
        say(text, "  lease", &format!("until {}, attempt {}", lease.until, task.attempts));
    }
    if let Some(why) = &task.last_error {
        say(text, "  last error", &clean(why));
    }
}
