//! Disks: room and files.

use crate::pipeline::ops::doctor::Finding;
use crate::pipeline::ops::doctor::facts::DiskFact;

/// Below this the logs beside seven embedded databases alone may fill a disk.
const FREE_BYTES_MIN: u64 = 100 << 20;
/// Below this a night of events may fill it.
const FREE_BYTES_FEW: u64 = 1 << 30;
/// A tick makes up to a dozen files.
const FREE_FILES_MIN: u64 = 1000;
/// A day's worth of event files with what is made of them.
const FREE_FILES_FEW: u64 = 50_000;

const TODO: &str = "make room: docs/runbook.md#disk-full";

/// Judges one disk.
pub(super) fn check(disk: &DiskFact) -> Vec<Finding> {
    let path = disk.path.display();
    if disk.is_read_only {
        let found = format!("{path} is mounted read-only");
        return vec![Finding::fail("disk", found, "mount it for writing: docs/runbook.md#database-read-only")];
    }
    let room = format!("{path} has {} MiB free", disk.free_bytes >> 20);
    let room = match disk.free_bytes {
        free if free < FREE_BYTES_MIN => Finding::fail("disk room", room, TODO),
        free if free < FREE_BYTES_FEW => Finding::warn("disk room", room, TODO),
        _ => Finding::ok("disk room", room),
    };
    let files = disk.free_files.map(|free| {
        let found = format!("{path} takes {free} more files");
        match free {
            free if free < FREE_FILES_MIN => Finding::fail("disk files", found, TODO),
            free if free < FREE_FILES_FEW => Finding::warn("disk files", found, TODO),
            _ => Finding::ok("disk files", found),
        }
    });
    [room].into_iter().chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::doctor::Level;

    #[test]
    fn little_is_warned_of_and_next_to_nothing_fails() {
        let disk = |free_bytes, free_files| DiskFact { path: "/s".into(), free_bytes, free_files, is_read_only: false };
        let levels = |disk: &DiskFact| check(disk).iter().map(|finding| finding.level).collect::<Vec<_>>();
        assert_eq!(levels(&disk(1 << 40, Some(1 << 30))), [Level::Ok, Level::Ok]);
        assert_eq!(levels(&disk(500 << 20, Some(5000))), [Level::Warn, Level::Warn]);
        assert_eq!(levels(&disk(99 << 20, Some(999))), [Level::Fail, Level::Fail]);
        assert_eq!(levels(&disk(1 << 40, None)), [Level::Ok]);
        assert_eq!(levels(&DiskFact { is_read_only: true, ..disk(1 << 40, None) }), [Level::Fail]);
    }
}
