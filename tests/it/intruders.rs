//! What another account put in the way: links and pipes in the shared folder, and an API that hands out names that are
//! none. Each is refused in a sentence, and nothing outside the shared folder is read or written.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::events::purchase;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually};

/// What no file of ours may ever hold.
const CANARY: &str = "canary-of-a-file-outside";

/// A folder beside the shared one, and what is in it.
struct Outside {
    folder: PathBuf,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Outside {
    /// With one file of these bytes.
    fn new(pipeline: &Pipeline, name: &str, content: &[u8]) -> Self {
        let folder = pipeline.shared().parent().unwrap().join("outside");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), content).unwrap();
        let before = tree(&folder);
        Self { folder, before }
    }

    /// Nothing in it was changed, removed or added, and nothing of it is in the shared folder.
    fn assert_untouched(&self, pipeline: &Pipeline) {
        assert_eq!(tree(&self.folder), self.before);
        for (path, content) in tree(&pipeline.shared()) {
            let found = content.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!found, "{} holds lines from outside", path.display());
        }
    }
}

/// All regular files below a folder with their content; links are not followed.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let (kind, path) = (entry.file_type().unwrap(), entry.path());
        if kind.is_dir() {
            files.extend(tree(&path));
        } else if kind.is_file() {
            files.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    files
}

/// Announces a file as a client does that reports no digest.
fn announce(pipeline: &Pipeline, file: &str) {
    for (path, body) in [
        ("/files/register", format!(r#"{{"filename":"{file}","shards":[0,1]}}"#)),
        ("/stages/event-ingest/done", format!(r#"{{"filename":"{file}"}}"#)),
    ] {
        ureq::post(format!("{}{path}", pipeline.proxy.url())).send(body).unwrap();
    }
}

/// Waits until the task of shard 0 has failed; answers its reason.
fn reason_of_failure(pipeline: &Pipeline, file: &str) -> String {
    let mut reason = None;
    eventually(&format!("{file} has failed"), PATIENCE, || {
        let found = pipeline.find(&format!("/files/{file}")).unwrap_or_default();
        let shard = &found["shards"][0];
        let stages = ["shard_splitter_status", "shard_worker_status", "mysql_sender_status"];
        if stages.iter().any(|stage| shard[stage] == "failed") {
            reason = shard["last_error"].as_str().map(str::to_owned);
        }
        reason.is_some()
    });
    reason.unwrap_or_default()
}

fn lines() -> Vec<u8> {
    format!("{}\n{CANARY}\n", purchase(1, 1)).into_bytes()
}

#[test]
fn links_and_pipes_in_place_of_event_files_fail_and_hang_no_process() {
    let mut pipeline = Pipeline::new(&["pipeline.attempts_max=2", "pipeline.backoff_ms=20"]);
    let events = pipeline.shared().join("events");
    std::fs::create_dir_all(&events).unwrap();
    let outside = Outside::new(&pipeline, "file", &lines());
    let path = |file: &str| events.join(format!("{file}.event-ingest.txt"));
    symlink(outside.folder.join("file"), path("20250301080000")).unwrap();
    symlink("/etc/passwd", path("20250301080001")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path("20250301080002"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    std::fs::create_dir(path("20250301080003")).unwrap();
    [Role::Apid, Role::Split, Role::Ingest].into_iter().for_each(|role| pipeline.start(role));
    for second in 0..4 {
        let file = format!("2025030108000{second}");
        announce(&pipeline, &file);
        let reason = reason_of_failure(&pipeline, &file);
        assert!(reason.ends_with(&format!("{file}.event-ingest.txt is no plain file")), "{reason}");
    }
    outside.assert_untouched(&pipeline);
    // Neither the splitter nor the ingest, which meets them when it compares the folder with the API, is the worse for it.
    pipeline.terminate(Role::Ingest);
    pipeline.terminate(Role::Split);
}

#[test]
fn a_folder_that_is_a_link_is_not_read_through() {
    let mut pipeline = Pipeline::new(&["pipeline.attempts_max=2", "pipeline.backoff_ms=20"]);
    let outside = Outside::new(&pipeline, "20250301080000.event-ingest.txt", &lines());
    std::fs::create_dir_all(pipeline.shared()).unwrap();
    symlink(&outside.folder, pipeline.shared().join("events")).unwrap();
    [Role::Apid, Role::Split].into_iter().for_each(|role| pipeline.start(role));
    announce(&pipeline, "20250301080000");
    let reason = reason_of_failure(&pipeline, "20250301080000");
    assert!(reason.contains("stands in its way; put a real folder there"), "{reason}");
    outside.assert_untouched(&pipeline);
}

#[test]
fn a_role_whose_own_folder_is_a_link_does_not_start() {
    for (folder, command) in [
        ("events", &["ingest"][..]),
        ("shard-splitter", &["split"]),
        ("shard-worker-0", &["work", "--shard", "0"]),
        ("shard-worker-0/state", &["work", "--shard", "0"]),
        ("mysql-sender", &["send"]),
    ] {
        let pipeline = Pipeline::new(&[]);
        let outside = Outside::new(&pipeline, ".20250301080000.x.t1.tmp", CANARY.as_bytes());
        let link = pipeline.shared().join(folder);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&outside.folder, &link).unwrap();
        let ended = pipeline.run(command, 1);
        assert!(ended.log.contains("stands in its way; put a real folder there"), "{folder}: {}", ended.log);
        outside.assert_untouched(&pipeline);
    }
}

#[test]
fn nothing_is_written_through_a_link_below_a_roles_folder() {
    let pipeline = Pipeline::new(&[]);
    let events = pipeline.write("20250301080000.event-ingest.txt", b"no line of ours\n");
    let outside = Outside::new(&pipeline, "x", b"theirs");
    std::fs::create_dir_all(pipeline.shared().join("shard-splitter")).unwrap();
    symlink(&outside.folder, pipeline.shared().join("shard-splitter/rejects")).unwrap();
    let ended = pipeline.run(&["split", events.to_str().unwrap()], 1);
    assert!(ended.log.contains("stands in its way"), "{}", ended.log);
    outside.assert_untouched(&pipeline);
}

#[test]
fn the_shared_folder_itself_may_be_a_link() {
    let pipeline = Pipeline::new(&[]);
    let real = pipeline.shared().parent().unwrap().join("real");
    std::fs::create_dir(&real).unwrap();
    symlink(&real, pipeline.shared()).unwrap();
    let events = pipeline.write("20250301080000.event-ingest.txt", format!("{}\n", purchase(1, 1)).as_bytes());
    pipeline.run(&["split", events.to_str().unwrap()], 0);
    assert!(real.join("shard-splitter/20250301080000.shard-splitter.1.txt").exists());
}

/// An API that answers every call with the same body.
fn api_that_answers(body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/pipeline", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let body = body.clone();
            // A client that leaves early has what it came for.
            std::thread::spawn(move || answer(client, &body).unwrap_or_default());
        }
    });
    url
}

fn answer(client: TcpStream, body: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
    (&client).write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())
}

#[test]
fn names_that_are_none_are_refused_from_every_source() {
    for (stage, command) in [
        ("shard-splitter", &["split", "--once"][..]),
        ("shard-worker", &["work", "--shard", "0", "--once"]),
        ("mysql-sender", &["send", "--shard", "0", "--once"]),
    ] {
        for (filename, shard, count) in [
            (r#""../../etc/passwd""#, "0", "2"),
            (r#""/etc/passwd""#, "0", "2"),
            (r#""20250101000000/../x""#, "0", "2"),
            (r#""20250101000000\u0000""#, "0", "2"),
            (r#""20250230000000""#, "0", "2"),
            (r#""20250101000000""#, "200", "2"),
            (r#""20250101000000""#, "-1", "2"),
            (r#""20250101000000""#, "\"../1\"", "2"),
            (r#""20250101000000""#, "2", "2"),
            (r#""20250101000000""#, "0", "0"),
            (r#""20250101000000""#, "0", "200"),
        ] {
            refuses(stage, command, &format!(r#""filename":{filename},"shard":{shard},"shards_count":{count}"#));
        }
    }
    let task = |shard: u8| format!(r#""filename":"20250101000000","shard":{shard},"shards_count":8"#);
    refuses("mysql-sender", &["split", "--once"], &task(0));
    refuses("shard-juggler", &["split", "--once"], &task(0));
    refuses("shard-worker", &["work", "--shard", "0", "--once"], &task(5));
    refuses("mysql-sender", &["send", "--shard", "0", "--once"], &task(5));
}

/// The command ends with "try again later" and has touched nothing.
fn refuses(stage: &str, command: &[&str], task: &str) {
    let pipeline = Pipeline::new(&[]);
    let item = format!(r#"{{{task},"token":1,"lease_ms":60000,"attempt":1}}"#);
    let url = api_that_answers(format!(r#"{{"stage":"{stage}","items":[{item}]}}"#));
    let more = format!("pipeline.url={url}");
    let ended = pipeline.spawn_with(command, &[&more], None).wait_exit(PATIENCE).expect_code(75);
    let said = ["its answer cannot be read", "it handed out what was not asked for"];
    assert!(said.iter().any(|part| ended.log.contains(part)), "{item}: {}", ended.log);
    let written: Vec<PathBuf> = tree(&pipeline.shared()).into_keys().collect();
    assert!(written.iter().all(|path| path.to_string_lossy().contains("/state/worker.sqlite")), "{item}: {written:?}");
}

#[test]
fn the_ingest_takes_no_names_from_the_api_that_are_none() {
    let pipeline = Pipeline::new(&["shared.cleanup=all"]);
    let url =
        api_that_answers(r#"{"items":[{"filename":"../../etc/passwd","shards":[],"shards_count":2}]}"#.to_owned());
    let more = format!("pipeline.url={url}");
    let ingest = pipeline.spawn_with(&["ingest"], &[&more], None);
    let said = ingest.wait_log("not announced yet", |line| line["msg"].as_str().map(str::to_owned));
    assert!(said.contains("its answer cannot be read"), "{said}");
    ingest.terminate(PATIENCE).expect_code(0);
    assert!(tree(&pipeline.shared()).is_empty());
}
