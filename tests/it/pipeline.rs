//! Events through separate processes: what arrives is what the oracle says, once, however often a stage runs.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::events::{MISHAPS, event, generated, purchase};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, name_of};
use crate::support::{PATIENCE, eventually};

#[test]
fn generated_events_arrive_as_the_oracle_says_and_running_again_adds_nothing() {
    let pipeline = Pipeline::running(&["shared.cleanup=none"]);
    let input = generated(1, MISHAPS, 5000);
    pipeline.import(&input, 700);
    pipeline.wait_settled();
    let content: Vec<u8> = pipeline.event_files().into_iter().flat_map(|(_, content)| content).collect();
    assert!(content == input, "the event files are the input, cut");
    let oracle = pipeline.assert_all_is_well(&Known::new());
    assert!(oracle.duplicates > 50 && oracle.world.rejected.len() > 50, "the input misbehaves");
    assert!(oracle.world.row_count() > 4000);

    // Every stage again, over the very same files, and the import too.
    let again = pipeline.import(&input, 700);
    assert!(again.out.contains("5000 lines in 8 files, 8 of them imported before"), "{}", again.out);
    let with_files = |command: &[&str], folder: &str, ending: &str| {
        let paths = pipeline.list(folder).into_iter().filter(|path| name_of(path).ends_with(ending));
        let paths: Vec<String> = paths.map(|path| path.to_str().unwrap().to_owned()).collect();
        assert_eq!(paths.len(), 8, "{folder}");
        let args: Vec<&str> = command.iter().copied().chain(paths.iter().map(String::as_str)).collect();
        pipeline.run(&args, 0);
    };
    with_files(&["split"], "events", ".event-ingest.txt");
    for shard in ["0", "1"] {
        let ending = format!(".shard-splitter.{shard}.txt");
        with_files(&["work", "--shard", shard], "shard-splitter", &ending);
        with_files(&["send"], &format!("shard-worker-{shard}"), ".prepared.txt");
    }
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn one_shot_runs_do_what_is_ready_and_exit() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[]);
    let input = generated(2, MISHAPS, 600);
    let import = |stdin: Vec<u8>| {
        let ended = pipeline.spawn(&["ingest", "--from", "-", "--batch", "250"], Some(stdin)).wait_exit(PATIENCE);
        ended.expect_code(0).out
    };
    assert!(import(input.clone()).contains("600 lines in 3 files, 0 of them imported before"));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&input).unwrap();
    let again = import(packed.finish().unwrap());
    assert!(again.contains("600 lines in 3 files, 3 of them imported before"), "packed or not: {again}");
    assert!(pipeline.run(&["split", "--once"], 0).out.contains("6 tasks done, 0 not; 600 lines read"));
    for shard in ["0", "1"] {
        assert!(pipeline.run(&["work", "--shard", shard, "--once"], 0).out.contains("3 tasks done, 0 not"));
    }
    assert!(pipeline.run(&["send", "--once"], 0).out.contains("6 tasks done, 0 not"));
    assert!(pipeline.run(&["send", "--once"], 0).out.contains("0 tasks done, 0 not"), "nothing is left");
    pipeline.assert_all_is_well(&Known::new());
    assert!(pipeline.run(&["audit"], 0).out.contains("0 differences"));
}

#[test]
fn without_an_api_a_one_shot_run_says_so_and_asks_to_try_later() {
    let pipeline = Pipeline::new(&[]);
    let path = pipeline.write("input.ndjson", format!("{}\n", purchase(1, 1)).as_bytes());
    let import = ["ingest", "--from", path.to_str().unwrap()];
    let all: [&[&str]; 4] = [&["split", "--once"], &["work", "--shard", "0", "--once"], &["send", "--once"], &import];
    for args in all {
        let ended = pipeline.run(args, 75);
        assert!(ended.log.contains("does not answer"), "{args:?}: {}", ended.log);
    }
    assert_eq!(pipeline.event_files().len(), 1, "the import is safe although the API does not know of it");
}

#[test]
fn bad_usage_is_64_and_touches_nothing() {
    let pipeline = Pipeline::new(&[]);
    let wrong: [&[&str]; 9] = [
        &[],
        &["frobnicate"],
        &["work"],
        &["work", "--shard", "128"],
        &["split", "nonsense.txt"],
        &["retry", "2025"],
        &["ingest", "--from", "x", "--batch", "0"],
        &["up", "--set", "pipeline.shards_count=0"],
        &["work", "--shard", "0", "20250101000000.shard-splitter.1.txt"],
    ];
    for args in wrong {
        let ended = pipeline.run(args, 64);
        assert!(!ended.log.is_empty(), "{args:?} says what is wrong");
        // Neither in the shared folder nor where the program was started.
        let made = files_below(&pipeline.beside(""));
        assert!(made.is_empty(), "{args:?} made {made:?}");
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_corrupt_file_is_found_before_one_line_is_used_and_repaired_by_a_retry() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.start_with_services(&[Role::Split, Role::Work1, Role::Send]);
    let lines: Vec<String> = (1..=60).map(|order| purchase(order, order) + "\n").collect();
    pipeline.import(lines.concat().as_bytes(), 1000);
    let file = pipeline.event_files()[0].0.clone();
    let status = |shard: usize, stage: &str| {
        let view = pipeline.find(&format!("/files/{file}")).unwrap_or_default();
        view["shards"][shard][stage].as_str().unwrap_or_default().to_owned()
    };
    eventually("the splitter is done", PATIENCE, || status(0, "shard_splitter_status") == "done");
    let path = pipeline.shared().join(format!("shard-splitter/{file}.shard-splitter.0.txt"));
    let mut bytes = std::fs::read(&path).unwrap();
    let digit = memchr::memmem::find(&bytes, b"\"qty\":2").unwrap() + 6;
    bytes[digit] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let worker = pipeline.spawn(&["work", "--shard", "0"], None);
    eventually("the worker refuses it", PATIENCE, || status(0, "shard_worker_status") == "failed");
    eventually("the other shard is delivered", PATIENCE, || status(1, "mysql_sender_status") == "done");
    let view = pipeline.find(&format!("/files/{file}")).unwrap();
    assert!(view["shards"][0]["last_error"].as_str().unwrap().contains("corrupt"), "{view}");
    let rows = |shard: u8| {
        if shard == 0 && !pipeline.shared().join("db/shop_shard_0.sqlite").exists() {
            0
        } else {
            pipeline.rows(shard).len()
        }
    };
    assert_eq!((rows(0), rows(1)), (0, 30), "not one line of it was used");
    let failed = pipeline.run(&["audit", "--settled"], 1);
    assert!(!failed.out.contains("\n0 differences"), "{}", failed.out);
    pipeline.run(&["retry", &file, "--stage", "shard-splitter", "--shard", "0", "--cascade"], 0);
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
    worker.terminate(PATIENCE).expect_code(0);
}

#[test]
fn the_same_key_with_other_content_is_a_conflict_and_ids_compare_byte_for_byte() {
    let pipeline = Pipeline::running(&[]);
    let status = |key: &str, active: bool| {
        event(4, &format!(r#""shop_id":4,"active":{active},"idempotency_key":"{key}""#)) + "\n"
    };
    let lines = [status("evt-a", true), status("EVT-A", true), status("evt-a ", true), status("évt-a", true)];
    pipeline.import(lines.concat().as_bytes(), 10);
    pipeline.import((status("evt-a", true) + &status("evt-a", false)).as_bytes(), 10);
    pipeline.wait_settled();
    let oracle = pipeline.assert_all_is_well(&Known::new());
    assert_eq!((oracle.world.row_count(), oracle.duplicates, oracle.world.rejected.len()), (4, 1, 1));
}

#[test]
fn a_sender_whose_database_is_away_is_not_ready_although_nothing_is_to_do() {
    let mut pipeline = Pipeline::new(&["database.shard=mysql://nobody@127.0.0.1:1/shop_shard_{shard}"]);
    pipeline.start(Role::Apid);
    pipeline.start(Role::Send);
    let port = pipeline.role(Role::Send).wait_port();
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let ready = || {
        let mut response = agent.get(format!("http://127.0.0.1:{port}/ready")).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    eventually("the sender is not ready", PATIENCE, || ready().0 == 503);
    let why = ready().1;
    assert!(why.contains("database: ") && why.contains("127.0.0.1:1/shop_shard_0"), "{why}");
    pipeline.terminate(Role::Send);
}

#[test]
fn a_shard_database_that_is_away_keeps_no_other_shard_waiting() {
    let mut pipeline = Pipeline::new(&[]);
    // Nothing can be opened here, for root neither.
    let away = pipeline.shared().join("db/shop_shard_1.sqlite");
    std::fs::create_dir_all(&away).unwrap();
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Work1, Role::Send]);
    pipeline.import(&generated(6, MISHAPS, 2000), 40);
    let open = |stage: &str, shard: u64| {
        // What has nothing open may be left out.
        let Some(status) = pipeline.find("/status") else { return u64::MAX };
        let mut lanes = status["lanes"].as_array().unwrap().iter();
        let lane = lanes.find(|lane| lane["stage"] == stage && lane["shard"] == shard);
        lane.map_or(0, |lane| lane["waiting"].as_u64().unwrap() + lane["under_way"].as_u64().unwrap())
    };
    eventually("shard 0 is delivered whole", PATIENCE, || {
        let before = ["shard-splitter", "shard-worker"].map(|stage| open(stage, 0).max(open(stage, 1)));
        before == [0, 0] && open("mysql-sender", 0) == 0
    });
    assert!(open("mysql-sender", 1) > 0, "its tasks are kept");
    std::fs::remove_dir(&away).unwrap();
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
}
