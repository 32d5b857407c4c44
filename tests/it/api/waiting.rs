//! Claims that wait: woken by work, shared fairly, answered when the server stops.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// A claim for the splitter on a thread of its own; it waits up to ten seconds.
fn wait_for_work(addr: SocketAddr, claim_id: &str) -> JoinHandle<Answer> {
    wait_for_work_of(addr, "shard-splitter", claim_id)
}

/// The same for any stage.
fn wait_for_work_of(addr: SocketAddr, stage: &str, claim_id: &str) -> JoinHandle<Answer> {
    let body = format!(r#"{{"worker":"{claim_id}","limit":1,"wait_ms":10000,"claim_id":"{claim_id}"}}"#);
    let path = format!("{BASE}/queues/{stage}/claim");
    std::thread::spawn(move || call(addr, "POST", &path, &[], &body))
}

/// Requests that the server has no answer for yet, this scrape included.
fn in_flight(apid: &Apid) -> usize {
    let metrics = apid.get("/metrics").body;
    metrics.lines().find_map(|line| line.strip_prefix("http_requests_in_flight ")?.parse().ok()).unwrap()
}

/// Starts claims that wait; returns when the server has taken them.
fn start_waiting(apid: &Apid, claim_ids: &[&str]) -> Vec<JoinHandle<Answer>> {
    let clients: Vec<_> = claim_ids.iter().map(|claim_id| wait_for_work(apid.addr(), claim_id)).collect();
    while in_flight(apid) < 1 + clients.len() {
        assert!(clients.iter().all(|client| !client.is_finished()), "it was answered before there was work");
    }
    clients
}

fn items(answer: &Answer) -> usize {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["items"].as_array().unwrap().len()
}

#[test]
fn a_waiting_claim_is_answered_when_work_comes() {
    let apid = Apid::start();
    register(&apid, "20250101000000", false);
    // This one waits as long, for work that never comes: a caller that waits for its own deadline is answered after it.
    let other = wait_for_work_of(apid.addr(), "mysql-sender", "z");
    while in_flight(&apid) < 2 {
        assert!(!other.is_finished(), "it was answered before there was work");
    }
    let client = wait_for_work(apid.addr(), "a");
    while in_flight(&apid) < 3 {
        assert!(!client.is_finished(), "it was answered before there was work");
    }
    announce(&apid, "20250101000000");
    let answers = [client.join().unwrap()];
    assert!(!other.is_finished(), "it waited for its own deadline");
    assert_eq!(answers[0].json()["items"][0]["filename"], "20250101000000");
    assert_eq!(answers[0].json()["items"][0]["token"], 1);
}

#[test]
fn work_goes_to_one_of_two_that_wait() {
    let apid = Apid::start();
    for file in ["20250101000000", "20250101000001"] {
        register(&apid, file, false);
    }
    let clients = start_waiting(&apid, &["a", "b"]);
    announce(&apid, "20250101000000");
    // The second waits on until there is something for it too.
    announce(&apid, "20250101000001");
    let answers: Vec<Answer> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let mut got: Vec<String> =
        answers.iter().map(|answer| answer.json()["items"][0]["filename"].as_str().unwrap().to_owned()).collect();
    got.sort();
    assert_eq!(answers.iter().map(items).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(got, ["20250101000000", "20250101000001"]);
}

#[test]
fn a_stop_answers_those_who_wait_and_ends_well() {
    let mut apid = Apid::start();
    register(&apid, "20250101000000", false);
    let clients = start_waiting(&apid, &["a", "b"]);
    apid.terminate();
    for client in clients {
        assert_eq!(items(&client.join().unwrap()), 0, "nothing was handed out");
    }
    assert_eq!(apid.wait().code(), Some(0));
}

#[test]
fn a_client_that_leaves_takes_nothing_with_it() {
    let apid = Apid::start();
    register(&apid, "20250101000000", true);
    let body = r#"{"worker":"w","limit":1,"claim_id":"lost"}"#;
    let path = format!("{BASE}/queues/shard-splitter/claim");
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(apid.addr()).unwrap();
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    drop(stream);
    // Whether or not it was carried out, the same claim id gets the task.
    let again = call(apid.addr(), "POST", &path, &[], body);
    assert_eq!((items(&again), again.json()["items"][0]["token"].as_u64()), (1, Some(1)));
}
