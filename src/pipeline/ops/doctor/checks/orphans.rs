//! What was left behind: files that nothing will read, and tasks that wait for files that are gone.

use crate::pipeline::ops::doctor::Finding;
use crate::pipeline::ops::doctor::facts::{Left, OrphanFacts};

/// Judges all of it.
pub(super) fn check(orphans: &OrphanFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(why) = &orphans.unread {
        findings.push(Finding::warn("files", format!("not all were looked at: {why}"), "mend that and run this again"));
    }
    findings.push(left(
        "temporary files",
        &orphans.temporary,
        "nothing writes them; the role of the folder removes them when it starts or stops",
    ));
    findings.push(left(
        "event files",
        &orphans.unannounced,
        "not announced yet: start event-ingest, or run 'shopctl ingest'",
    ));
    findings.push(match left("tasks", &orphans.without_file, "their file is gone: docs/runbook.md#missing-file") {
        finding if orphans.without_file.count > 0 => {
            Finding { level: crate::pipeline::ops::doctor::Level::Fail, ..finding }
        }
        finding => finding,
    });
    let todo = "the role is gone; it writes a new address when it starts";
    findings.push(left("addresses", &orphans.stale_addresses, todo));
    findings
}

fn left(name: &str, left: &Left, todo: &str) -> Finding {
    if left.count == 0 {
        return Finding::ok(name, "none left behind");
    }
    let more = if left.count > left.first.len() as u64 { ", ..." } else { "" };
    Finding::warn(name, format!("{} left behind: {}{more}", left.count, left.first.join(", ")), todo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::doctor::Level;

    #[test]
    fn what_is_left_behind_is_counted_and_named() {
        let levels = |orphans: &OrphanFacts| check(orphans).iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(levels(&OrphanFacts::default()), [Level::Ok; 4]);
        let mut orphans = OrphanFacts::default();
        (0..5).for_each(|n| orphans.temporary.add(format!("t{n}")));
        orphans.without_file.add("20250101000000 shard 1 at shard-worker");
        assert_eq!(levels(&orphans), [Level::Warn, Level::Ok, Level::Fail, Level::Ok]);
        assert_eq!(check(&orphans)[0].found, "5 left behind: t0, t1, t2, ...");
        orphans.unread = Some("no".to_owned());
        assert_eq!(levels(&orphans)[0], Level::Warn);
    }
}
