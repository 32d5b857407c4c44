//! Several instances of a role, and notes that were left behind.

use std::net::TcpListener;

use super::*;
use crate::base::config::{Sources, load};

/// The number of no process: the kernel gives none as high.
const NO_PID: u32 = 4_194_305;

fn settings(shared: &Path) -> Settings {
    let flags = vec![("shared.dir".to_owned(), shared.display().to_string())];
    load::load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap().settings
}

fn note(shared: &Path, role: &str, pid: u32, port: u16) -> PublishedAddress {
    let identity = Identity::new(role, None);
    let published = publish(shared, identity, SocketAddr::from(([127, 0, 0, 1], port)), &Clock::System).unwrap();
    let mut address = note::read(&published.path).unwrap().unwrap();
    address.pid = pid;
    std::fs::write(&published.path, serde_json::to_vec(&address).unwrap()).unwrap();
    published
}

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_role_that_is_noted_and_silent_is_told_from_one_without_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    assert_eq!(find(&settings, "pipeline-apid", None), Found::NoNote);
    let port = closed_port();
    let published = note(folder.path(), "pipeline-apid", std::process::id(), port);
    let Found::Silent { base, .. } = find(&settings, "pipeline-apid", None) else { panic!("it is noted") };
    assert_eq!(base, format!("http://127.0.0.1:{port}"));
    let flags = vec![("shared.dir".to_owned(), folder.path().display().to_string())];
    let mut loaded = load::load(&Sources { flags, folder: "/nonexistent".into(), ..Sources::default() }).unwrap();
    fill(&mut loaded, &[Service::Status]).unwrap();
    assert_eq!(loaded.settings.pipeline.url, format!("{base}{}", crate::pipeline::task::wire::BASE), "no default port");
    drop(published);
    assert_eq!(find(&settings, "pipeline-apid", None), Found::NoNote);
}

#[test]
fn every_instance_has_a_note_of_its_own_and_removes_that_one_only() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let (one, two) = (closed_port(), closed_port());
    let first = note(folder.path(), "pipeline-apid", std::process::id(), one);
    let second = note(folder.path(), "pipeline-apid", std::process::id(), two);
    assert_eq!(noted(&settings).len(), 2);
    drop(second);
    assert_eq!(noted(&settings).iter().map(|noted| noted.port).collect::<Vec<_>>(), [one]);
    drop(first);
    assert_eq!(noted(&settings).len(), 0);
}

#[test]
fn the_note_of_an_ended_process_is_removed_when_its_role_starts_or_stops() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let leave = || std::mem::forget(note(folder.path(), "cache-service", NO_PID, closed_port()));
    leave();
    assert!(noted(&settings)[0].is_gone);
    let other = note(folder.path(), "balance-daemon", std::process::id(), closed_port());
    assert_eq!(listed(&settings).len(), 2, "another role's start leaves it");
    let started = note(folder.path(), "cache-service", std::process::id(), closed_port());
    assert_eq!(listed(&settings).len(), 2, "its role's start removes it");
    drop(started);
    leave();
    let running = note(folder.path(), "cache-service", std::process::id(), closed_port());
    assert_eq!(listed(&settings).len(), 2);
    leave_beside(folder.path());
    assert_eq!((listed(&settings).len(), noted(&settings).len()), (3, 2), "another instance is noted");
    drop(running);
    assert_eq!(listed(&settings).len(), 1, "so does its stop");
    drop(other);
}

/// A note of an ended process, written without a start.
fn leave_beside(shared: &Path) {
    let identity = Identity::new("cache-service", None);
    let address = Address {
        addr: SocketAddr::from(([127, 0, 0, 1], closed_port())),
        host: host_name(),
        pid: NO_PID,
        started_at: "2025-01-01 00:00:00.000".to_owned(),
        version: "0.1.0".to_owned(),
        identity,
    };
    let path = folder_of(shared).join(address.identity.file_name());
    std::fs::write(path, serde_json::to_vec(&address).unwrap()).unwrap();
}

#[test]
fn an_ended_worker_of_a_shard_that_there_is_no_more_is_left_out() {
    let of = |shard: u64, is_gone: bool| Noted {
        identity: Identity::new("shard-worker", ShardId::new(shard)),
        base: "http://127.0.0.1:1".to_owned(),
        port: 1,
        is_here: true,
        pid: 1,
        is_gone,
        started_at: String::new(),
    };
    let left = |all: Vec<Noted>| without_replaced(all, 2).iter().map(|noted| noted.is_gone).collect::<Vec<_>>();
    assert_eq!(left(vec![of(1, true), of(2, true), of(3, false)]), [true, false]);
    assert_eq!(left(vec![of(1, true), of(1, true)]), [true], "one of them tells enough");
    assert_eq!(left(vec![of(1, true), of(1, false)]), [false]);
}
