//! File systems of a test's own: small ones that fill up, and an image whose disk can be cut off from its memory.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What these tests cannot do without.
const NEEDS: &str = "this test mounts file systems of its own: it needs root (or sudo without a password), mount, \
    mkfs.ext4 (Debian: e2fsprogs) and loop devices (in a container: --privileged)";

/// A mounted file system; dropping it unmounts it.
pub(crate) struct Mount {
    path: PathBuf,
}

impl Mount {
    /// A file system in memory with these limits, as in `size=3m`.
    pub(crate) fn tmpfs(path: &Path, limits: &str) -> Self {
        Self::made_by(path, &["-t", "tmpfs", "-o", &format!("{limits},mode=0777"), "shopctl-test"])
    }

    /// The ext4 file system in this image, with mount options such as `data=ordered`.
    pub(crate) fn image(image: &Path, path: &Path, options: &str) -> Self {
        let mount = Self::made_by(path, &["-t", "ext4", "-o", &format!("loop,{options}"), image.to_str().unwrap()]);
        as_root("chmod", &["0777", path.to_str().unwrap()]);
        mount
    }

    /// A folder that stays what it is, and takes no changes.
    pub(crate) fn read_only(path: &Path) -> Self {
        let at = path.to_str().unwrap();
        let mount = Self::made_by(path, &["--bind", at]);
        as_root("mount", &["-o", "remount,bind,ro", at]);
        mount
    }

    fn made_by(path: &Path, args: &[&str]) -> Self {
        std::fs::create_dir_all(path).unwrap();
        as_root("mount", &[args, &[path.to_str().unwrap()]].concat());
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a process that has just been killed may still hold a file of it.
        let done = root_command("umount", &["-l", self.path.to_str().unwrap()]).status();
        if !done.is_ok_and(|done| done.success()) {
            eprintln!("{} stays mounted", self.path.display());
        }
    }
}

/// An image with an empty ext4 file system.
pub(crate) fn make_image(image: &Path, mebibytes: u64) {
    std::fs::File::create(image).unwrap().set_len(mebibytes << 20).unwrap();
    as_root("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
}

fn as_root(command: &str, args: &[&str]) {
    let output = root_command(command, args).output();
    let output = output.unwrap_or_else(|e| panic!("cannot run {command}: {e}; {NEEDS}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {}: {said}; {NEEDS}", args.join(" "));
}

fn root_command(command: &str, args: &[&str]) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let mut words = if is_root { vec![command] } else { vec!["sudo", "-n", command] };
    words.extend(args);
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
