//! Who has the ports of the roles.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use crate::pipeline::ops::doctor::facts::{Holder, PortFact};

/// The longest that an answer may take: it comes from this machine.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 4096;
/// How the table of sockets writes one that listens.
const LISTENING: &str = "0A";

/// Looks at each port.
pub fn ports(roles: Vec<(String, u16)>) -> Vec<PortFact> {
    let fact = |(role, port)| PortFact { role, port, holder: holder(port) };
    roles.into_iter().map(fact).collect()
}

fn holder(port: u16) -> Holder {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Holder::Free,
        Err(e) if e.kind() == ErrorKind::AddrInUse => match version(port) {
            Some(version) => Holder::Role(version),
            None => Holder::Foreign(process(port)),
        },
        Err(e) => Holder::Refused(e.to_string()),
    }
}

/// The version of the role that answers.
fn version(port: u16) -> Option<String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(0).proxy(None).build().into();
    let mut response = agent.get(format!("http://127.0.0.1:{port}/version")).call().ok()?;
    let answer: serde_json::Value = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().ok()?;
    let is_role = answer["commit"].is_string();
    answer["version"].as_str().filter(|_| is_role).map(str::to_owned)
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
    fn a_listener_of_our_own_is_no_role_and_its_process_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        match process(port) {
            Some((pid, _)) => assert_eq!(pid, std::process::id()),
            None => panic!("the process of port {port} was not found"),
        }
    }
}
