//! Posted lines that are twice after a restore: in a spool of the backup, and in the event file that became of it in the
//! folder that was moved aside.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::pipeline::files::artifact;

/// Bytes that are compared at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// What an event file's name ends with.
const EVENT_FILE: &str = ".event-ingest.txt";

/// Pairs of a restored spool and an event file of the folder that was moved aside which begins with the same bytes. Only
/// files that the backup does not have are compared: the others are in the restored folder anyhow.
///
/// # Errors
/// When a folder or a file cannot be read.
pub(super) fn delivered(restored: &Path, aside: &Path) -> std::io::Result<Vec<(PathBuf, PathBuf)>> {
    let (events, old) = (restored.join("events"), aside.join("events"));
    let known = artifact::list(&events)?;
    let newer: Vec<PathBuf> = artifact::list(&old)?
        .into_iter()
        .filter(|name| name.ends_with(EVENT_FILE) && known.binary_search(name).is_err())
        .map(|name| old.join(name))
        .collect();
    let spools = events.join("spool");
    let mut found = Vec::new();
    for spool in artifact::list(&spools)?.into_iter().map(|name| spools.join(name)) {
        for event_file in &newer {
            if begins_with(event_file, &spool)? {
                found.push((spool.clone(), event_file.clone()));
            }
        }
    }
    Ok(found)
}

/// Whether a file begins with all bytes of another one that is not empty.
fn begins_with(whole: &Path, start: &Path) -> std::io::Result<bool> {
    let bytes = artifact::size(start)?;
    if bytes == 0 || artifact::size(whole)? < bytes {
        return Ok(false);
    }
    let (mut whole, mut start) = (artifact::open(whole)?, artifact::open(start)?);
    let (mut a, mut b) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let read = start.read(&mut a)?;
        if read == 0 {
            return Ok(true);
        }
        whole.read_exact(&mut b[..read])?;
        if a[..read] != b[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_found_in_the_newer_event_file_that_became_of_it() {
        let temp = tempfile::tempdir().unwrap();
        let [restored, aside] = ["restored", "aside"].map(|name| temp.path().join(name));
        let long = "x".repeat(CHUNK_BYTES);
        for (path, content) in [
            (restored.join("events/spool/a.spool"), format!("{long}1\n")),
            (restored.join("events/spool/b.spool"), String::new()),
            (restored.join("events/1.event-ingest.txt"), format!("{long}1\n")),
            (aside.join("events/1.event-ingest.txt"), format!("{long}1\n")),
            (aside.join("events/2.event-ingest.txt"), format!("{long}1\n2\n")),
            (aside.join("events/3.event-ingest.txt"), format!("{long}2\n2\n")),
            (aside.join("events/4.event-ingest.txt"), "short\n".to_owned()),
        ] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let expected = (restored.join("events/spool/a.spool"), aside.join("events/2.event-ingest.txt"));
        assert_eq!(delivered(&restored, &aside).unwrap(), [expected]);
    }
}
