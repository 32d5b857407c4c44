//! Whether a copy has room on a disk.

use std::path::Path;

use super::Error;

/// What is left free beside the copy: its folders, its manifest, and a little for others.
const SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// Refuses what would fill the disk that this folder is on, or will be.
pub(super) fn require(folder: &Path, bytes: u64) -> Result<(), Error> {
    let free = free_bytes(folder)?;
    let needed = bytes.saturating_add(SPARE_BYTES);
    if free >= needed {
        return Ok(());
    }
    Err(Error::TryLater(format!(
        "{} has {} MiB free, and {} MiB are needed: make room, or name a folder on another disk",
        folder.display(),
        free >> 20,
        (needed >> 20) + 1
    )))
}

fn free_bytes(folder: &Path) -> Result<u64, Error> {
    let there = folder.ancestors().find_map(|above| rustix::fs::statvfs(above).ok());
    let there = there.ok_or_else(|| Error::Failed(format!("cannot look at the disk of {}", folder.display())))?;
    Ok(there.f_bavail.saturating_mul(there.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_is_refused_before_the_first_byte() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("not/there/yet");
        require(&new, 1).unwrap();
        let refused = require(&new, 1 << 60).unwrap_err();
        assert!(matches!(&refused, Error::TryLater(why) if why.contains("make room")), "{refused}");
    }
}
