//! Goes through the rejected lines that a filter takes, and counts them.

use std::io;

use super::groups::{By, Groups};
use super::redrive_log::Redriven;
use super::scan::{Extent, Go, RejectsFiles};
use super::{Filter, Rejected};
use crate::base::log_format::clean;
use crate::pipeline::files::folder::Artifact;

/// The rejected lines that were read.
#[derive(Debug)]
pub struct Counted {
    /// How they are counted.
    pub by: By,
    /// How many there are of each kind.
    pub groups: Groups,
    /// How many there are.
    pub lines: u64,
    /// What was read for that.
    pub extent: Extent,
    /// Lines of rejects files that cannot be read.
    pub unreadable: u64,
    /// The first of these, and why.
    pub first_unreadable: Option<String>,
}

impl Counted {
    /// Before anything is read.
    pub fn new(by: By) -> Self {
        Self { by, groups: Groups::new(by), lines: 0, extent: Extent::default(), unreadable: 0, first_unreadable: None }
    }

    /// Counts each line that the filter takes, and hands it to `each`.
    ///
    /// # Errors
    /// Whatever reading the rejects files fails with, or `each`. A line that cannot be read is counted only.
    pub fn read(
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
                        let is_redriven = redriven.holds(&line.at);
                        self.groups.add(line.stage, line.reason, &line.detail, &line.at, is_redriven);
                        each(artifact, line)?;
                    }
                    Ok(_) => {}
                    Err(why) => {
                        self.unreadable += 1;
                        let path = files.path_of(artifact);
                        self.first_unreadable
                            .get_or_insert_with(|| format!("{}:{}: {}", path.display(), found.number, clean(why)));
                    }
                }
                Ok(Go::On)
            })?;
            self.extent = self.extent.plus(extent);
        }
        Ok(())
    }
}
