//! The first stage: where event lines come from, how they become durable, and how their files are announced.
//!
//! [`generator`] makes events up, and [`accept`] checks posted ones. [`journal`] makes lines durable until [`writer`]
//! turns them into the tick's file. [`import`] cuts a file of events into event files, and [`mod@csv`] reads a table as
//! one; [`whole`] does that from the first line to the last, and says what became of it. [`announce`] tells the API.
//! [`flush`] says when a flush file is made for returns that are due. [`once`] makes one pass and ends; [`settle`]
//! brings a whole run to its end.

pub mod accept;
pub mod announce;
pub mod api;
pub mod arrivals;
pub mod csv;
pub mod flush;
pub mod generator;
pub mod import;
pub mod journal;
pub mod once;
pub mod settle;
pub mod tick;
pub mod whole;
pub mod writer;

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::files::artifact;
use super::files::folder::{Artifact, Folder};
use crate::base::shutdown::Stop;
use crate::pipeline::task::FileName;

/// Between two looks whether another process has ended.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// Waits until no other process of this kind works in the folder, which is created where it is missing. The lock ends
/// with the process, however it ends.
pub(super) fn lock_alone(folder: &Path, kind: &str, stop: &Stop) -> io::Result<File> {
    artifact::create_folder(folder)?;
    let mut said = false;
    loop {
        if let Some(held) = artifact::lock_folder(folder, artifact::Lock::Exclusive)? {
            return Ok(held);
        }
        if !said {
            log::warn!(folder:% = folder.display(), kind; "another one is running; waiting for its end");
            said = true;
        }
        if stop.wait(LOCK_PAUSE) {
            let why = format!("stopped while another {kind} was running");
            return Err(io::Error::new(io::ErrorKind::Interrupted, why));
        }
    }
}

/// Renames a file into the events folder; on a taken name the next second is tried (docs/semantics.md, 3). Answers the
/// name.
fn publish_at_free_name(folder: &Folder, path: &Path, mut name: FileName) -> io::Result<FileName> {
    loop {
        match artifact::relocate(path, &folder.path_of(&Artifact::Events(name.clone()))) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => name = name.next_second(),
            result => return result.map(|()| name),
        }
    }
}
