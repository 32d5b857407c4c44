//! Which processes have the ports of the roles.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use crate::pipeline::addresses::{Identity, Noted};
use crate::pipeline::ops::doctor::facts::{Holder, PortFact};

/// The longest that an answer may take: it comes from this machine.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 4096;
/// What the system calls our processes.
const PROGRAM: &str = "shopctl";
/// How the table of sockets writes one that listens.
const LISTENING: &str = "0A";

/// Looks at each port, and whether the role that has it is known in this shared folder.
pub fn ports(roles: Vec<(String, u16)>, noted: &[Noted]) -> Vec<PortFact> {
    let fact = |(role, port)| PortFact { role, port, holder: holder(port, noted) };
    roles.into_iter().map(fact).collect()
}

/// What a role answers at `/version`; earlier versions do not say who they are.
#[derive(serde::Deserialize)]
struct Version {
    version: String,
    #[serde(rename = "commit")]
    _commit: String,
    #[serde(flatten)]
    identity: Option<Identity>,
}

fn holder(port: u16, noted: &[Noted]) -> Holder {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Holder::Free,
        Err(e) if e.kind() == ErrorKind::AddrInUse => match version(port) {
            Some(version) => role(version, noted),
            None => silent(process(port), noted),
        },
        Err(e) => Holder::Refused(e.to_string()),
    }
}

/// A role that answers: one that has noted its address, or one of another folder.
fn role(Version { version, identity, .. }: Version, noted: &[Noted]) -> Holder {
    if noted.iter().any(|noted| Some(&noted.identity) == identity.as_ref()) {
        return Holder::Role(version);
    }
    let name = identity.map_or_else(|| "a role of shopctl".to_owned(), |identity| identity.shown());
    Holder::Stranger(format!("{name} ({})", version.chars().filter(char::is_ascii_graphic).collect::<String>()))
}

/// A process that does not answer as a role does: it may be one that stands still.
fn silent(process: Option<(u32, String)>, noted: &[Noted]) -> Holder {
    match process {
        Some((pid, name)) if name == PROGRAM || noted.iter().any(|noted| noted.is_here && noted.pid == pid) => {
            Holder::Still(pid)
        }
        other => Holder::Foreign(other),
    }
}

/// What answers as a role does.
fn version(port: u16) -> Option<Version> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).proxy(None).build().into();
    let mut response = agent.get(format!("http://127.0.0.1:{port}/version")).call().ok()?;
    response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().ok()
}

/// The process that listens on a port, where the system lets us see it.
fn process(port: u16) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let socket = tables.iter().find_map(|table| socket_of(table, port))?;
    let name = format!("socket:[{socket}]");
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(files) = std::fs::read_dir(entry.path().join("fd")) else { continue };
        let is_it = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == name.as_str())
        };
        if files.flatten().any(is_it) {
            let process = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((pid, process.trim().to_owned()));
        }
    }
    None
}

/// The number of the socket that listens on a port, by the kernel's table.
fn socket_of(table: &str, port: u16) -> Option<u64> {
    let port = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_it = columns.get(1)?.ends_with(&port) && *columns.get(3)? == LISTENING;
        columns.get(9).filter(|_| is_it)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listening_socket_is_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F92 0100007F:9999 01 00000000:00000000 00:00000000 00000000  0        0 11 1 0\n\
             1: 0100007F:1F92 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0        0 12345 1 0\n";
        assert_eq!(socket_of(table, 8082), Some(12_345));
        assert_eq!(socket_of(table, 8083), None);
    }

    #[test]
    fn a_role_of_this_folder_is_told_from_one_of_another_and_from_one_that_stands_still() {
        let identity = Identity::new("balance-daemon", None);
        let noted = [Noted {
            identity: identity.clone(),
            base: "http://127.0.0.1:1".to_owned(),
            port: 1,
            is_here: true,
            pid: 17,
            is_gone: false,
            started_at: String::new(),
        }];
        let answer = |identity: Option<Identity>| Version { version: "1".to_owned(), _commit: String::new(), identity };
        assert_eq!(role(answer(Some(identity.clone())), &noted), Holder::Role("1".to_owned()));
        let other = Identity { instance: "other".to_owned(), ..identity };
        assert_eq!(role(answer(Some(other)), &noted), Holder::Stranger("balance-daemon (1)".to_owned()));
        assert_eq!(role(answer(None), &noted), Holder::Stranger("a role of shopctl (1)".to_owned()));
        let process = |pid: u32, name: &str| Some((pid, name.to_owned()));
        assert_eq!(silent(process(17, "python"), &noted), Holder::Still(17));
        assert_eq!(silent(process(18, "shopctl"), &noted), Holder::Still(18));
        assert_eq!(silent(process(18, "nginx"), &noted), Holder::Foreign(process(18, "nginx")));
        let text = r#"{"version": "1", "commit": "c", "role": "pipeline-apid", "instance": "i"}"#;
        let read: Version = serde_json::from_str(text).unwrap();
        assert_eq!(read.identity.unwrap().instance, "i");
        assert!(serde_json::from_str::<Version>(r#"{"version": "1", "commit": "c"}"#).unwrap().identity.is_none());
    }

    #[test]
    fn a_listener_of_our_own_is_no_role_and_its_process_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        match process(port) {
            Some((pid, _)) => assert_eq!(pid, std::process::id()),
            None => panic!("the process of port {port} was not found"),
        }
    }
}
