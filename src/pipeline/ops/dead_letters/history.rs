//! Where one rejected line came from, and where redrives have put it since.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::scan::{Extent, Go, RejectsFiles};
use super::{LineAt, RedriveLog, Rejected};
use crate::pipeline::files::folder::Artifact;
use crate::pipeline::task::FileName;

/// Places of one line, from redrive to redrive, that are followed.
const STEPS_MAX: usize = 100;

/// A rejected line, and where it is kept.
#[derive(Debug, Clone)]
pub struct Located {
    /// The rejects file.
    pub artifact: Artifact,
    /// Its number in the rejects file.
    pub number: u64,
    /// The line.
    pub line: Rejected,
}

/// A redrive of the line.
#[derive(Debug)]
pub struct RedriveStep {
    /// The place that the line got.
    pub at: LineAt,
    /// When, UTC.
    pub moment: String,
    /// What it was rejected for there, if it was.
    pub rejected: Option<Box<Located>>,
}

/// Finds these lines in the rejects files. Those of their own event files are read first: there they most likely are. An
/// early return is rejected together with another file.
///
/// # Errors
/// Whatever reading the rejects files fails with.
pub fn locate(files: &RejectsFiles, mut wanted: BTreeSet<&LineAt>) -> io::Result<(BTreeMap<LineAt, Located>, Extent)> {
    let mut all = files.list()?;
    let own: BTreeSet<&FileName> = wanted.iter().map(|at| &at.file).collect();
    all.sort_by_key(|artifact| !own.contains(artifact.file()));
    let (mut found, mut extent) = (BTreeMap::new(), Extent::default());
    for artifact in all {
        if wanted.is_empty() {
            break;
        }
        let (read, _) = files.read(&artifact, &mut |line| {
            if let Ok(rejected) = line.line
                && wanted.remove(&rejected.at)
            {
                let at = rejected.at.clone();
                found.insert(at, Located { artifact: artifact.clone(), number: line.number, line: rejected });
            }
            Ok(if wanted.is_empty() { Go::Enough } else { Go::On })
        })?;
        extent = extent.plus(read);
    }
    Ok((found, extent))
}

/// The place that the line was redriven from.
///
/// # Errors
/// Whatever reading the notes fails with.
pub fn came_from(notes: &RedriveLog, at: &LineAt) -> io::Result<Option<LineAt>> {
    let mut from = None;
    notes.for_each_pair(|old, new, _| {
        if new == at {
            from = Some(old.clone());
        }
    })?;
    Ok(from)
}

/// Every place that the line was redriven to, and from there on: the notes are read once for all places that are as many
/// redrives away.
///
/// # Errors
/// Whatever reading the notes or the rejects files fails with.
pub fn went_to(notes: &RedriveLog, files: &RejectsFiles, at: &LineAt) -> io::Result<Vec<RedriveStep>> {
    let (mut steps, mut last): (Vec<RedriveStep>, Vec<LineAt>) = (Vec::new(), vec![at.clone()]);
    while !last.is_empty() {
        let mut next: BTreeMap<&LineAt, Vec<RedriveStep>> = last.iter().map(|from| (from, Vec::new())).collect();
        notes.for_each_pair(|old, new, note| {
            if let Some(steps) = next.get_mut(old) {
                steps.push(RedriveStep { at: new.clone(), moment: note.at.clone(), rejected: None });
            }
        })?;
        let begin = steps.len();
        for from in &last {
            if steps.len() < STEPS_MAX {
                steps.extend(next.remove(from).unwrap_or_default());
            }
        }
        last = steps[begin..].iter().map(|step| step.at.clone()).collect();
    }
    let (rejected, _) = locate(files, steps.iter().map(|step| &step.at).collect())?;
    for step in &mut steps {
        step.rejected = rejected.get(&step.at).cloned().map(Box::new);
    }
    Ok(steps)
}
