//! What of an import was rejected: how many lines for which reason, with one of them as an example.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::scan::{Go, RejectsFiles};
use crate::pipeline::event::Reason;
use crate::pipeline::files::folder::Artifact;
use crate::pipeline::files::rejected::{LineAt, Rejected};
use crate::pipeline::task::FileName;

/// Rejected lines by reason. Memory: one example per reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectSummary(BTreeMap<Reason, (u64, Example)>);

/// A rejected line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    at: LineAt,
    detail: String,
}

impl RejectSummary {
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
        let (lines, example) =
            self.0.entry(reason).or_insert_with(|| (0, Example { at: at.clone(), detail: detail.clone() }));
        *lines += 1;
        if at < example.at {
            *example = Example { at, detail };
        }
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.0.values().map(|(lines, _)| lines).sum()
    }

    /// Every reason with its number of lines, and place and detail of the first of them.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64, &LineAt, &str)> {
        self.0.iter().map(|(reason, (lines, example))| (*reason, *lines, &example.at, example.detail.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::event::Reject;
    use crate::pipeline::event::reject::{Origin, write_rejected};
    use crate::pipeline::files::folder::Folder;

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
        let late =
            [(one, 3, Reason::ShopClosed), ("20240101000000", 1, Reason::ShopClosed), (two, 1, Reason::OrphanReturn)];
        write(&format!("{flush}.shard-worker.1.rejects.txt"), &late);
        let files = BTreeSet::from([one, two].map(|file| file.parse().unwrap()));
        let summary = RejectSummary::of(&rejects, &files).unwrap();
        assert_eq!(summary.lines(), 3, "a line of another import is none of this one");
        let found: Vec<_> =
            summary.reasons().map(|(reason, lines, at, why)| (reason, lines, at.to_string(), why)).collect();
        let (closed, orphan) = ("20250101000001:3".to_owned(), "20250101000002:1".to_owned());
        let expected = [(Reason::ShopClosed, 2, closed, "why 3"), (Reason::OrphanReturn, 1, orphan, "why 1")];
        assert!(expected.iter().all(|of| found.contains(of)) && found.len() == 2, "{found:?}");
        assert_eq!(RejectSummary::of(&rejects, &BTreeSet::new()).unwrap(), RejectSummary::default());
    }
}
