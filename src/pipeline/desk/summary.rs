//! What of an import was rejected: how many lines for which reason, with one of them as an example.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::rejected::{LineAt, Rejected};
use super::scan::{Go, RejectsFiles};
use crate::event::Reason;
use crate::log_format::clean;
use crate::pipeline::folder::Artifact;
use crate::task::FileName;
use crate::text::count;

/// Rejected lines by reason. Memory: one example per reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary(BTreeMap<Reason, (u64, Example)>);

/// A rejected line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    at: LineAt,
    detail: String,
}

impl Summary {
    /// The rejected lines that stood in these event files. A return is rejected with a later file than its own, so that
    /// all rejects files from the first of them on are read.
    ///
    /// # Errors
    /// Whatever reading a rejects file fails with.
    pub fn of(rejects: &RejectsFiles, files: &BTreeSet<FileName>) -> io::Result<Self> {
        let mut summary = Self::default();
        let Some(first) = files.first() else { return Ok(summary) };
        for artifact in rejects.list()?.iter().filter(|artifact: &&Artifact| artifact.file() >= first) {
            rejects.read(artifact, &mut |found| {
                if let Ok(line) = found.line
                    && files.contains(&line.at.file)
                {
                    summary.add(line);
                }
                Ok(Go::On)
            })?;
        }
        Ok(summary)
    }

    /// The first line in the order of the files is the example, whichever shard is read first.
    fn add(&mut self, line: Rejected) {
        let Rejected { at, reason, detail, .. } = line;
        let (lines, example) = self.0.entry(reason).or_insert_with(|| (0, Example { at: at.clone(), detail: detail.clone() }));
        *lines += 1;
        if at < example.at {
            *example = Example { at, detail };
        }
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.0.values().map(|(lines, _)| lines).sum()
    }

    /// The summary as a person reads it, with the commands that go on from here; empty if nothing was rejected.
    pub fn text(&self, files: &BTreeSet<FileName>) -> String {
        let (Some(first), Some(last), true) = (files.first(), files.last(), self.lines() > 0) else {
            return String::new();
        };
        let mut text = format!("{} of this import rejected, by reason, with the first of each:\n", count(self.lines(), "line"));
        for (reason, (lines, Example { at, detail })) in &self.0 {
            text.push_str(&format!("{lines:>10}  {:<26}{at}  {}\n", reason.code(), clean(detail)));
        }
        let range = if first == last { first.to_string() } else { format!("{first}..{last}") };
        text.push_str(&format!(
            "see them:         shopctl rejects list --lines --file {range}\n\
             what they mean:   docs/runbook.md#rejected-lines\n\
             then, once more:  shopctl rejects redrive --file {range} --dry-run\n"
        ));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Reject;
    use crate::event::reject::{Origin, write_rejected};
    use crate::pipeline::folder::Folder;

    #[test]
    fn lines_of_the_import_are_counted_with_the_first_as_the_example() {
        let temp = tempfile::tempdir().unwrap();
        let rejects = RejectsFiles::new(Folder::new(temp.path()), 1000);
        let write = |artifact: &str, lines: &[(&str, u64, Reason)]| {
            let path = rejects.path_of(&Artifact::from_file_name(artifact).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut out = Vec::new();
            for (file, line, reason) in lines {
                let origin = Origin { file, line: *line, stage: "shard-worker" };
                write_rejected(&mut out, origin, &Reject::new(*reason, format!("why {line}")), b"{}").unwrap();
            }
            std::fs::write(path, out).unwrap();
        };
        let (one, two, flush) = ("20250101000001", "20250101000002", "20250101000009");
        write(&format!("{two}.shard-worker.0.rejects.txt"), &[(two, 7, Reason::ShopClosed)]);
        let late = [(one, 3, Reason::ShopClosed), ("20240101000000", 1, Reason::ShopClosed), (two, 1, Reason::OrphanReturn)];
        write(&format!("{flush}.shard-worker.1.rejects.txt"), &late);
        let files = BTreeSet::from([one, two].map(|file| file.parse().unwrap()));
        let summary = Summary::of(&rejects, &files).unwrap();
        assert_eq!(summary.lines(), 3, "a line of another import is none of this one");
        let text = summary.text(&files);
        assert!(text.contains("         2  shop_closed               20250101000001:3  why 3\n"), "{text}");
        assert!(text.contains("--lines --file 20250101000001..20250101000002\n"), "{text}");
        assert_eq!(Summary::of(&rejects, &BTreeSet::new()).unwrap().text(&files), "");
    }
}
