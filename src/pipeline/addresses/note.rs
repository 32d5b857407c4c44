//! Reads one note: checks its owner, and derives the URL that reaches the role from this machine.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Address;
use crate::base::log_format::clean;
use crate::pipeline::files::artifact;

/// Bytes of a note; longer ones are none.
const BYTES_MAX: u64 = 4096;
/// The user who may do anything anyhow.
const ROOT: u32 = 0;

/// Reads a note; none if there is none.
///
/// # Errors
/// A sentence for people: it cannot be read, or another user may have put it there.
pub(super) fn read(path: &Path) -> Result<Option<Address>, String> {
    let file = match artifact::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    check_owner(&file, path)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let address = serde_json::from_slice(&bytes).map_err(|_| format!("{} holds no address", path.display()))?;
    Ok(Some(address))
}

/// A command sends its token to the address: a note counts only if this user, the owner of the shared folder or root
/// wrote it.
fn check_owner(file: &File, path: &Path) -> Result<(), String> {
    let cannot = |e: std::io::Error| format!("cannot look at {}: {e}", path.display());
    let owner = file.metadata().map_err(cannot)?.uid();
    let shared = path.parent().and_then(Path::parent).unwrap_or(path);
    let trusted = [rustix::process::geteuid().as_raw(), ROOT, shared.metadata().map_err(cannot)?.uid()];
    if trusted.contains(&owner) {
        return Ok(());
    }
    Err(format!("{} belongs to user {owner}, who does not own the shared folder; set the URL", path.display()))
}

/// The URL that reaches the role from this host.
///
/// # Errors
/// A sentence when the role listens on the loopback address of another machine.
pub(super) fn base(address: &Address, here: &str) -> Result<String, String> {
    let (addr, is_here) = (address.addr, address.host == here);
    if !is_here && addr.ip().is_loopback() {
        return Err(format!("it listens on {addr} of {}, which this machine cannot reach", clean(&address.host)));
    }
    if !addr.ip().is_unspecified() {
        return Ok(format!("http://{addr}"));
    }
    if !is_here {
        return match is_host_name(&address.host) {
            true => Ok(format!("http://{}:{}", address.host, addr.port())),
            false => Err(format!("'{}' is no name of a machine", clean(&address.host))),
        };
    }
    let loopback = match addr {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port())),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port())),
    };
    Ok(format!("http://{loopback}"))
}

/// A name that stays the host of a URL.
fn is_host_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Whether it was written on this machine by a process that is not there any more.
pub(super) fn is_gone(address: &Address, here: &str) -> bool {
    address.host == here && !Path::new("/proc").join(address.pid.to_string()).exists()
}

/// What a process did that is gone.
pub(super) fn ended(pid: u32) -> String {
    format!("process {pid} has ended without removing its note")
}

/// Why it may be that nothing answers.
pub(super) fn silent(address: &Address, here: &str) -> String {
    if is_gone(address, here) {
        return ended(address.pid);
    }
    format!("process {} on {} does not answer at {}", address.pid, clean(&address.host), address.addr)
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;

    fn address(addr: &str, host: &str) -> Address {
        Address {
            identity: Identity::new("pipeline-apid", None),
            addr: addr.parse().unwrap(),
            host: host.to_owned(),
            pid: 1,
            started_at: "2025-01-01 00:00:00.000".to_owned(),
            version: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_loopback_address_is_that_of_its_own_machine_only() {
        for (addr, host, expected) in [
            ("127.0.0.1:81", "here", Some("http://127.0.0.1:81")),
            ("127.0.0.1:81", "there", None),
            ("[::1]:81", "there", None),
            ("0.0.0.0:81", "here", Some("http://127.0.0.1:81")),
            ("[::]:81", "here", Some("http://[::1]:81")),
            ("0.0.0.0:81", "there", Some("http://there:81")),
            ("0.0.0.0:81", "there/x?@evil", None),
            ("10.0.0.5:81", "there", Some("http://10.0.0.5:81")),
            ("10.0.0.5:81", "here", Some("http://10.0.0.5:81")),
        ] {
            assert_eq!(base(&address(addr, host), "here").ok().as_deref(), expected, "{addr} {host}");
        }
    }

    #[test]
    fn a_link_and_a_file_that_is_no_note_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().canonicalize().unwrap().join("run");
        std::fs::create_dir(&run).unwrap();
        assert_eq!(read(&run.join("none.json")), Ok(None));
        let whole = serde_json::to_vec(&address("127.0.0.1:81", "here")).unwrap();
        std::fs::write(folder.path().join("elsewhere"), &whole).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), run.join("link.json")).unwrap();
        assert!(read(&run.join("link.json")).unwrap_err().contains("no plain file"));
        std::fs::write(run.join("half.json"), &whole[..whole.len() / 2]).unwrap();
        assert!(read(&run.join("half.json")).unwrap_err().contains("holds no address"));
    }
}
