//! The first stage: where event lines come from, how they become durable, and how their files are announced.
//!
//! [`generator`] makes events up; [`accept`] checks posted ones; [`spool`] makes them durable until [`writer`] turns
//! them into the tick's file; [`import`] cuts a file of events into event files; [`announce`] tells the API. [`ride`] says when a
//! file without lines is made for what waits.

pub mod accept;
pub mod announce;
pub mod generator;
pub mod import;
pub mod ride;
pub mod spool;
pub mod writer;

use std::io;
use std::path::Path;

use super::artifact;
use super::folder::{Artifact, Folder};
use crate::task::FileName;

/// Renames a file into the events folder; on a taken name the next second is tried (semantics 3). Answers the name.
fn publish_at_free_name(folder: &Folder, path: &Path, mut name: FileName) -> io::Result<FileName> {
    loop {
        match artifact::relocate(path, &folder.path_of(&Artifact::Events(name.clone()))) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => name = name.next_second(),
            result => return result.map(|()| name),
        }
    }
}
