//! The audit as a person reads it.

use super::{Accounts, Audit, Check};
use crate::base::log_format::clean;
use crate::base::text::count;
use crate::pipeline::task::FileName;

/// Differences that are printed.
const SHOWN: usize = 10;

/// The audit as a table with its verdict.
pub fn table(audit: &Audit) -> String {
    let ledger = &audit.ledger;
    let mut text = format!(
        "{:<16}{:>8}{:>8}{:>8}{:>12}{:>12}{:>11}{:>10}\n",
        "stage", "done", "open", "failed", "read", "written", "duplicate", "rejected"
    );
    let stages = [
        ("shard-splitter", ledger.shard_splitter),
        ("shard-worker", ledger.shard_worker),
        ("mysql-sender", ledger.mysql_sender),
    ];
    for (name, stage) in stages {
        let (tasks, counts) = (stage.tasks, stage.counts);
        text.push_str(&format!(
            "{name:<16}{:>8}{:>8}{:>8}{:>12}{:>12}{:>11}{:>10}\n",
            tasks.done,
            tasks.new + tasks.started,
            tasks.failed,
            counts.read,
            counts.written,
            counts.duplicate,
            counts.rejected
        ));
    }
    text.push('\n');
    for (shard, rows) in &audit.rows {
        text.push_str(&format!("{:<28}{rows:>12} rows\n", format!("shard {shard} database")));
    }
    text.push_str(&line_of("rejects files", audit.rejects, "lines"));
    text.push_str(&trade(audit));
    let (work, split) = (ledger.shard_worker.counts, ledger.shard_splitter.counts);
    text.push_str(&format!(
        "\n{}: {} in = {} + {} + {} rejected + {} pending + {} in flight\n",
        count(ledger.files, "file"),
        count(ledger.event_lines, "line"),
        count(audit.rows.values().sum(), "row"),
        count(work.duplicate, "duplicate"),
        work.rejected + split.rejected,
        work.held.saturating_sub(work.released),
        audit.lines_in_flight
    ));
    if audit.unannounced_files > 0 {
        text.push_str(&format!("{} not announced yet\n", count(audit.unannounced_files, "event file")));
    }
    if audit.spooled_bytes > 0 {
        text.push_str(&format!("{} of posted events to be cut at the next tick\n", count(audit.spooled_bytes, "byte")));
    }
    if ledger.files_without_lines > 0 {
        let files = count(ledger.files_without_lines, "file");
        text.push_str(&format!("{files} announced without a number of lines\n"));
    }
    text.push_str(&format!("{}\n", count(ledger.difference_count, "difference")));
    for difference in ledger.differences.iter().take(SHOWN) {
        let file = difference.file.as_ref().map_or("all files", FileName::as_str);
        let shard = difference.shard.map_or_else(String::new, |shard| format!(" shard {shard}"));
        text.push_str(&format!("  {file}{shard}: {}\n", clean(&difference.what)));
    }
    text
}

/// One line for each check of money, stock, orders and early returns.
fn trade(audit: &Audit) -> String {
    let accounts = &audit.accounts;
    let mut text = match &accounts.note {
        Some(note) => line("accounts", note),
        None => {
            let Accounts { transactions, balances, .. } = accounts;
            line_of("accounts", accounts.accounts, &format!("accounts, {transactions} transactions, {balances} in all"))
        }
    };
    for (what, unit, checks) in [("stock", "goods and shops", &audit.stock), ("orders", "orders", &audit.orders)] {
        for (shard, check) in checks {
            let name = format!("shard {shard} {what}");
            let agree = agreeing(check);
            text.push_str(&match &check.note {
                Some(note) if check.compared == 0 => line(&name, &format!("not compared: {note}")),
                Some(note) => line_of(&name, agree, &format!("{unit} agree ({note})")),
                None => line_of(&name, agree, &format!("{unit} agree")),
            });
        }
    }
    let directory = &audit.directory;
    text.push_str(&match &directory.note {
        Some(note) => line("order directory", note),
        None => line_of("order directory", agreeing(directory), "orders agree"),
    });
    let pending = &audit.pending;
    text.push_str(&match &pending.note {
        Some(note) => line("early returns", note),
        None => {
            let mut kept = format!("kept, {} by the reports", pending.reported);
            if pending.decided > 0 {
                kept.push_str(&format!(", {} of a decided purchase", pending.decided));
            }
            line_of("early returns", pending.kept, &kept)
        }
    });
    text
}

fn agreeing(check: &Check) -> u64 {
    check.compared - check.differences.min(check.compared)
}

fn line_of(name: &str, number: impl std::fmt::Display, what: &str) -> String {
    format!("{name:<28}{number:>12} {what}\n")
}

fn line(name: &str, what: &str) -> String {
    format!("{name:<28}{:>12} {what}\n", "")
}
