//! Opens files in the shared folder by paths on which no link is followed. A link is refused, whether it stands in
//! place of the file or of a folder above it, so that nothing outside the shared folder is read or written.
//!
//! The shared folder itself may be reached through links: [`super::folder::Folder`] resolves them once. Below it no
//! path may have a link. Each call goes through the descriptor of the file's folder, so that no other process can
//! exchange a folder of the path underneath it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// How a folder is opened: for listing it, for syncing it, and for going on from it.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How a folder on the way is opened: passing through needs no right to list it, where the system makes the difference.
#[cfg(target_os = "linux")]
const STEP: OFlags = FOLDER.union(OFlags::NOFOLLOW).union(OFlags::PATH);
#[cfg(not(target_os = "linux"))]
const STEP: OFlags = FOLDER.union(OFlags::NOFOLLOW);
/// How every file is opened. NONBLOCK: a pipe in the file's place must not hang the process that opens it.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// What a new file and a new folder may be to others; the umask of the process takes from it.
const MODES: (Mode, Mode) = (Mode::from_raw_mode(0o666), Mode::from_raw_mode(0o777));

/// A name in an open folder.
struct Place<'a> {
    folder: OwnedFd,
    name: &'a OsStr,
    path: &'a Path,
}

impl<'a> Place<'a> {
    fn find(path: &'a Path, what: &str) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::other(format!("{} names no file", path.display())))?;
        let folder = open_folder(parent(path)).map_err(|e| named(e, what, path))?;
        Ok(Self { folder, name, path })
    }

    fn named<T>(&self, result: rustix::io::Result<T>, what: &str) -> io::Result<T> {
        result.map_err(|e| named(e, what, self.path))
    }
}

/// The folder of a path; the present one for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens a regular file with these flags.
///
/// # Errors
/// When it cannot be opened, or is a link, a pipe, a folder, or a file that has another name elsewhere.
pub(crate) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let what = if flags.contains(OFlags::CREATE) { "cannot create" } else { "cannot open" };
    let place = Place::find(path, what)?;
    let opened = rustix::fs::openat(&place.folder, place.name, flags | FILE, MODES.0);
    let file = match opened {
        // It is a link, a pipe without a process at its other end, or a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Err(no_plain_file(path)),
        opened => place.named(opened, what)?,
    };
    let stat = place.named(rustix::fs::fstat(&file), what)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile || stat.st_nlink > 1 {
        return Err(no_plain_file(path));
    }
    Ok(File::from(file))
}

/// What is known of a file without opening it; a link is not followed.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn stat(path: &Path) -> io::Result<Stat> {
    let place = Place::find(path, "cannot look at")?;
    place.named(rustix::fs::statat(&place.folder, place.name, AtFlags::SYMLINK_NOFOLLOW), "cannot look at")
}

/// Opens a folder.
///
/// # Errors
/// Whatever the system says, and when a link stands in the way.
pub(crate) fn folder(path: &Path) -> io::Result<File> {
    open_folder(path).map(File::from).map_err(|e| named(e, "cannot open", path))
}

/// Creates one folder in a folder that is there, and makes its name durable.
///
/// # Errors
/// Whatever the system says, unless it is there already.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let place = Place::find(path, "cannot create")?;
    match rustix::fs::mkdirat(&place.folder, place.name, MODES.1) {
        Ok(()) | Err(Errno::EXIST) => place.named(rustix::fs::fsync(&place.folder), "cannot sync the folder of"),
        Err(e) => place.named(Err(e), "cannot create"),
    }
}

/// The names in a folder, in no order.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn list(path: &Path) -> io::Result<Vec<String>> {
    let cannot = |e| named(e, "cannot list", path);
    let mut names = Vec::new();
    for entry in Dir::new(open_folder(path).map_err(cannot)?).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name().to_str().map(str::to_owned);
        names.extend(name.ok().filter(|name| name != "." && name != ".."));
    }
    Ok(names)
}

/// Removes a file; a link is removed, not what it leads to.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let place = Place::find(path, "cannot remove")?;
    place.named(rustix::fs::unlinkat(&place.folder, place.name, AtFlags::empty()), "cannot remove")
}

/// Gives a file another name and makes that name durable.
///
/// # Errors
/// Whatever the system says.
pub(crate) fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    let (old, new) = (Place::find(from, "cannot publish")?, Place::find(to, "cannot publish")?);
    let renamed = match rustix::fs::renameat_with(&old.folder, old.name, &new.folder, new.name, flags) {
        // Network file systems know no rename that refuses a taken name.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if flags == RenameFlags::NOREPLACE => {
            move_by_link(&old, &new)
        }
        renamed => renamed,
    };
    new.named(renamed, "cannot publish")?;
    new.named(rustix::fs::fsync(&new.folder), "cannot sync the folder of")
}

/// A link refuses a taken name everywhere. A crash in between leaves both names of one file, of which the temporary one
/// is swept.
fn move_by_link(old: &Place<'_>, new: &Place<'_>) -> rustix::io::Result<()> {
    rustix::fs::linkat(&old.folder, old.name, &new.folder, new.name, AtFlags::empty())?;
    rustix::fs::unlinkat(&old.folder, old.name, AtFlags::empty())
}

fn open_folder(path: &Path) -> rustix::io::Result<OwnedFd> {
    // A path of ours never climbs, so that it cannot leave the shared folder.
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Errno::LOOP);
    }
    match resolve(path) {
        // The kernel is too old, or whatever confines this process does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => walk(path),
        result => result,
    }
}

#[cfg(target_os = "linux")]
fn resolve(path: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{CWD, ResolveFlags, openat2};
    openat2(CWD, path, FOLDER, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

#[cfg(not(target_os = "linux"))]
fn resolve(_: &Path) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// Goes to a folder step by step, none of them over a link.
fn walk(path: &Path) -> rustix::io::Result<OwnedFd> {
    let start = if path.is_absolute() { "/" } else { "." };
    let mut at = rustix::fs::open(start, STEP, Mode::empty())?;
    for part in path.components() {
        if let Component::Normal(name) = part {
            at = rustix::fs::openat(&at, name, STEP, Mode::empty())?;
        }
    }
    rustix::fs::openat(&at, ".", FOLDER, Mode::empty())
}

fn no_plain_file(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no plain file", path.display()))
}

fn named(error: Errno, what: &str, path: &Path) -> io::Error {
    if matches!(error, Errno::LOOP | Errno::NOTDIR) {
        let why = "a link, or something else that is no plain folder, stands in its way; put a real folder there";
        return io::Error::new(io::ErrorKind::InvalidInput, format!("{what} {}: {why}", path.display()));
    }
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `inside/real/x`, `inside/link -> outside`, `outside/x`; the root without links.
    fn tree() -> (std::path::PathBuf, tempfile::TempDir) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        for folder in ["inside/real/deep", "outside/deep"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("inside/real/x"), "ours").unwrap();
        std::fs::write(root.join("outside/x"), "theirs").unwrap();
        symlink(root.join("outside"), root.join("inside/link")).unwrap();
        (root, temp)
    }

    #[test]
    fn both_ways_of_opening_a_folder_refuse_the_same() {
        let (root, _temp) = tree();
        for (path, is_open) in [
            ("inside", true),
            ("inside/real/deep", true),
            ("inside/link", false),
            ("inside/link/deep", false),
            ("inside/real/x", false),
            ("inside/nowhere", false),
        ] {
            let path = root.join(path);
            let walked = walk(&path).and_then(rustix::fs::fsync);
            assert_eq!(walked.is_ok(), is_open, "{}", path.display());
            assert_eq!(open_folder(&path).is_ok(), is_open, "{}", path.display());
        }
        assert!(open_folder(&root.join("inside/../outside")).is_err());
    }

    #[test]
    fn a_move_by_link_refuses_a_taken_name_as_a_rename_does() {
        let (root, _temp) = tree();
        let (from, to) = (root.join("inside/real/x"), root.join("inside/real/deep/y"));
        let moved = || {
            let places = (Place::find(&from, "").unwrap(), Place::find(&to, "").unwrap());
            move_by_link(&places.0, &places.1)
        };
        assert_eq!(moved(), Ok(()));
        assert_eq!((from.exists(), std::fs::read_to_string(&to).unwrap().as_str()), (false, "ours"));
        std::fs::write(&from, "other").unwrap();
        assert_eq!(moved(), Err(Errno::EXIST));
        assert_eq!((from.exists(), std::fs::read_to_string(&to).unwrap().as_str()), (true, "ours"));
    }

    #[test]
    fn nothing_is_done_beyond_a_link() {
        let (root, _temp) = tree();
        let (ours, theirs) = (root.join("inside/real/x"), root.join("inside/link/x"));
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let (plain, replace) = (RenameFlags::NOREPLACE, RenameFlags::empty());
        let refusals = [
            open(&theirs, OFlags::RDONLY).map(drop).unwrap_err(),
            open(&root.join("inside/link/new"), create).map(drop).unwrap_err(),
            stat(&theirs).map(drop).unwrap_err(),
            list(&root.join("inside/link")).map(drop).unwrap_err(),
            folder(&root.join("inside/link")).map(drop).unwrap_err(),
            create_folder(&root.join("inside/link/new")).unwrap_err(),
            remove(&theirs).unwrap_err(),
            rename(&theirs, &root.join("inside/real/y"), plain).unwrap_err(),
            rename(&ours, &theirs, replace).unwrap_err(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.kind(), io::ErrorKind::InvalidInput, "{refusal}");
            assert!(refusal.to_string().contains("stands in its way"), "{refusal}");
        }
        assert_eq!(std::fs::read_to_string(root.join("outside/x")).unwrap(), "theirs");
        assert_eq!(std::fs::read_dir(root.join("outside")).unwrap().count(), 2);
    }
}
