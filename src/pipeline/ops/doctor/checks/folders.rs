//! Folders: there, a plain one, readable and writable, on a file system that embedded databases bear.

use crate::pipeline::ops::doctor::Finding;
use crate::pipeline::ops::doctor::facts::{FolderFact, FolderState};

/// Judges one folder. `has_embedded`: whether there are databases in files.
pub(super) fn check(folder: &FolderFact, has_embedded: bool) -> Finding {
    let (name, path) = ("folder", folder.path.display());
    match folder.state {
        FolderState::Missing if folder.is_shared => Finding::fail(
            name,
            format!("{path} is not there"),
            "mount it, or set shared.dir; 'shopctl up' makes a new one",
        ),
        FolderState::Missing => Finding::ok(name, format!("{path} is not there yet: its role makes it")),
        FolderState::NoFolder => Finding::fail(
            name,
            format!("{path} is a link, or no folder"),
            "put a plain folder there: nothing is read or written through a link",
        ),
        FolderState::Closed => Finding::fail(
            name,
            format!("{path} cannot be read and written by this user"),
            format!("give it to the user of the roles: chown, or chmod u+rwx {path}"),
        ),
        FolderState::Open => open(folder, has_embedded),
    }
}

fn open(folder: &FolderFact, has_embedded: bool) -> Finding {
    let path = folder.path.display();
    match folder.network {
        Some(kind) if has_embedded && folder.is_shared => Finding::fail(
            "folder",
            format!("{path} is on {kind}, and there are databases in files"),
            "SQLite does not work over network file systems: set database.* to a server, or to a path on a local disk",
        ),
        Some(kind) => Finding::warn(
            "folder",
            format!("{path} is on {kind}, which may know no locks between machines"),
            "let no two backups, restores or clearings run at the same time on two machines",
        ),
        None => Finding::ok("folder", format!("{path} can be read and written")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::doctor::Level;

    #[test]
    fn only_a_plain_local_folder_that_is_open_is_well() {
        let folder = |state, is_shared, network| FolderFact { path: "/s".into(), state, is_shared, network };
        for (fact, has_embedded, level) in [
            (folder(FolderState::Open, true, None), true, Level::Ok),
            (folder(FolderState::Open, true, Some("NFS")), true, Level::Fail),
            (folder(FolderState::Open, true, Some("NFS")), false, Level::Warn),
            (folder(FolderState::Missing, true, None), true, Level::Fail),
            (folder(FolderState::Missing, false, None), true, Level::Ok),
            (folder(FolderState::NoFolder, false, None), true, Level::Fail),
            (folder(FolderState::Closed, false, None), true, Level::Fail),
        ] {
            assert_eq!(check(&fact, has_embedded).level, level, "{fact:?}");
        }
    }
}
