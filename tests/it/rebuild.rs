//! A worker's state that was lost and made again: what is decided afterwards is what an undisturbed run decides.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::events::{MISHAPS, event, generated, purchase};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role, name_of};
use crate::support::{PATIENCE, eventually};

const WORKERS: [Role; 2] = [Role::Work0, Role::Work1];

/// What is there when the states are made again.
struct Case {
    cleanup: &'static str,
    /// The sender was behind: nothing of the first half is delivered.
    is_delivered: bool,
    has_event_files: bool,
}

/// The second half of an input, with sales and returns of the first half again: nothing of that may happen twice.
fn halves(seed: u64, case: &Case) -> (Vec<u8>, Vec<u8>) {
    let input = generated(seed, MISHAPS, 1600);
    let cut = memchr::memchr_iter(b'\n', &input).nth(799).unwrap() + 1;
    let (first, second) = input.split_at(cut);
    let again = first.split_inclusive(|byte| *byte == b'\n').filter(|line| {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let is_order = event["event_type"] == 1 || event["event_type"] == 3;
        // Without the event files a key of its own is not known any more.
        is_order && (case.has_event_files || event["payload"]["idempotency_key"].is_null())
    });
    let again: Vec<u8> = again.flatten().copied().collect();
    assert!(again.len() > 10_000, "{}", again.len());
    // The other events have no key but their own.
    let restock =
        r#""shop_id":1,"good_id":3,"delta_count":7,"reason":"","sub_event_type":"restock","idempotency_key":"k""#;
    let restock = (event(0, restock) + "\n").into_bytes();
    let restock_again = if case.has_event_files { restock.as_slice() } else { b"" };
    // Paid, refused for want of stock, paid back: were that forgotten, it would be sold unpaid now.
    let few =
        |count| format!(r#""shop_id":1,"good_id":77,"delta_count":{count},"reason":"","sub_event_type":"restock""#);
    let order = r#""order_id":900001,"user_id":7,"shop_id":1,"good_id":77,"qty":5"#;
    let sale = event(1, &format!(r#"{order},"price_at_order":2"#));
    let refused = [event(0, &few(1)), sale.clone()].map(|line| line + "\n").concat().into_bytes();
    let later = [event(0, &few(100)), sale, event(3, order)].map(|line| line.replace("00:00.001", "00:00.002") + "\n");
    let later = later.concat().into_bytes();
    ([first, &restock, &refused].concat(), [&again, second, restock_again, &later].concat())
}

fn decided(pipeline: &Pipeline) -> u64 {
    pipeline.find("/metrics/summary").unwrap_or_default()["by_stage"]["shard_worker"]["done"].as_u64().unwrap_or(0)
}

fn state(pipeline: &Pipeline, shard: u8) -> PathBuf {
    pipeline.shared().join(format!("shard-worker-{shard}/state"))
}

fn lose(pipeline: &Pipeline) {
    (0..2).for_each(|shard| std::fs::remove_dir_all(state(pipeline, shard)).unwrap());
}

fn rebuild(pipeline: &Pipeline, code: i32) -> String {
    let outs = ["0", "1"].map(|shard| {
        let ended = pipeline.run(&["work", "--shard", shard, "--rebuild"], code);
        ended.out + &ended.log
    });
    outs.concat()
}

/// Moves the files of a folder; answers how many.
fn move_files(from: &Path, to: &Path) -> usize {
    std::fs::create_dir_all(to).unwrap();
    let files = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files
        .map(|path| {
            std::fs::copy(&path, to.join(name_of(&path))).unwrap();
            std::fs::remove_file(path).unwrap();
        })
        .count()
}

fn lost_and_made_again(case: &Case) {
    let mut pipeline = Pipeline::new(&[&format!("shared.cleanup={}", case.cleanup)]);
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Work1]);
    let (first, second) = halves(31, case);
    pipeline.import(&first, 100);
    eventually("the first half is decided", PATIENCE, || decided(&pipeline) == 18);
    if case.is_delivered {
        pipeline.start(Role::Send);
        pipeline.wait_settled();
        pipeline.audit();
    }
    WORKERS.into_iter().for_each(|role| drop(pipeline.terminate(role)));
    lose(&pipeline);
    let (events, aside) = (pipeline.shared().join("events"), pipeline.beside("aside"));
    if !case.has_event_files {
        assert!(move_files(&events, &aside) > 0);
    }
    let said = rebuild(&pipeline, 0);
    assert!(said.contains("shard 0: 9 decided files") && said.contains("shard 1: 9 decided files"), "{said}");
    assert!(!said.contains("rejected lines are gone"), "{said}");
    if !case.has_event_files {
        move_files(&aside, &events);
    }
    if case.is_delivered {
        pipeline.audit();
    }
    WORKERS.into_iter().for_each(|role| pipeline.start(role));
    if !case.is_delivered {
        pipeline.start(Role::Send);
    }
    // The notes of the first import are among its files: these names are new.
    pipeline.import(&second, 100);
    pipeline.wait_settled();
    let oracle = pipeline.assert_all_is_well(&Known::new());
    assert!(oracle.duplicates > 100, "{}", oracle.duplicates);
}

#[test]
fn with_all_files_there_it_is_as_if_nothing_was_lost() {
    lost_and_made_again(&Case { cleanup: "none", is_delivered: true, has_event_files: true });
}

#[test]
fn without_the_delivered_files_the_event_files_tell_the_keys() {
    lost_and_made_again(&Case { cleanup: "delivered", is_delivered: true, has_event_files: true });
}

#[test]
fn without_any_file_the_books_tell_the_keys_of_orders_and_returns() {
    lost_and_made_again(&Case { cleanup: "delivered", is_delivered: true, has_event_files: false });
}

#[test]
fn what_is_not_delivered_is_told_by_the_prepared_files() {
    lost_and_made_again(&Case { cleanup: "delivered", is_delivered: false, has_event_files: true });
}

fn one_sale(number: i64) -> Vec<u8> {
    (format!("{}\n{}\n", purchase(number, 1), purchase(number + 1, 2))).into_bytes()
}

/// Both shards sold something, the workers have ended.
fn sold() -> Pipeline {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.import(&one_sale(10), 100);
    pipeline.wait_settled();
    WORKERS.into_iter().for_each(|role| drop(pipeline.terminate(role)));
    pipeline
}

#[test]
fn a_worker_does_not_begin_anew_where_a_state_was_lost() {
    let pipeline = sold();
    lose(&pipeline);
    for args in [&["work", "--shard", "0"][..], &["work", "--shard", "0", "--once"]] {
        let refused = pipeline.run(args, 1);
        assert!(refused.log.contains("is gone, but this worker has decided"), "{}", refused.log);
        assert!(refused.log.contains("'shopctl work --shard 0 --rebuild'"), "{}", refused.log);
        assert!(!state(&pipeline, 0).join("worker.sqlite").exists(), "nothing was begun");
    }
    let named = pipeline.run(&["audit", "--settled"], 1).out;
    assert!(named.contains("'shopctl work --shard 0 --rebuild'"), "{named}");
    rebuild(&pipeline, 0);
    pipeline.audit();
}

/// The API is not there when the worker starts: it finds out with its first task, and goes on when the state is there.
#[test]
fn a_worker_that_cannot_ask_waits_for_its_state() {
    let mut pipeline = sold();
    lose(&pipeline);
    pipeline.kill9(Role::Apid);
    WORKERS.into_iter().for_each(|role| pipeline.start(role));
    for role in WORKERS {
        pipeline.role(role).wait_log("the state is opened with the first task", |_| Some(()));
    }
    pipeline.start(Role::Apid);
    pipeline.import(&one_sale(20), 100);
    for role in WORKERS {
        pipeline.role(role).wait_log("is gone, but this worker has decided", |_| Some(()));
    }
    // A worker may have the task for a moment, to give it back.
    eventually("the states are made again", PATIENCE, || {
        (0..2).all(|shard| {
            let number = shard.to_string();
            let made = || state(&pipeline, shard).join("worker.sqlite").exists();
            made() || {
                pipeline.spawn(&["work", "--shard", &number, "--rebuild"], None).wait_exit(PATIENCE);
                made()
            }
        })
    });
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn a_worker_that_has_nothing_to_do_keeps_its_state_from_being_made_again() {
    let mut pipeline = sold();
    pipeline.start(Role::Work0);
    // It listens when it has its state.
    pipeline.role(Role::Work0).wait_port();
    let before = std::fs::metadata(state(&pipeline, 0).join("worker.sqlite")).unwrap();
    let said = pipeline.run(&["work", "--shard", "0", "--rebuild", "--force"], 1).log;
    assert!(said.contains("a worker of shard 0 is running here: stop it, then rebuild"), "{said}");
    let after = std::fs::metadata(state(&pipeline, 0).join("worker.sqlite")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&before), std::os::unix::fs::MetadataExt::ino(&after));
    pipeline.terminate(Role::Work0);
    pipeline.run(&["work", "--shard", "0", "--rebuild", "--force"], 0);
    pipeline.audit();
}

#[test]
fn a_state_that_is_there_is_put_aside_on_demand_only_and_leftovers_are_no_part_of_the_new_one() {
    let pipeline = sold();
    let said = rebuild(&pipeline, 1);
    assert!(said.contains("--rebuild --force puts it aside and makes another"), "{said}");
    let (own, content) = (state(&pipeline, 0), b"no database".as_slice());
    let before = std::fs::read(own.join("worker.sqlite")).unwrap();
    // A rebuild that was killed leaves its file, and a state that was lost what stood beside it.
    for name in ["worker.sqlite.rebuild", "worker.sqlite.rebuild-wal"] {
        std::fs::write(own.join(name), content).unwrap();
    }
    let said = pipeline.run(&["work", "--shard", "0", "--rebuild", "--force"], 0).out;
    assert!(said.contains("the former state is "), "{said}");
    let aside = pipeline.list("shard-worker-0/state").into_iter().find(|path| name_of(path).len() == 28).unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), before);
    pipeline.audit();
    std::fs::remove_file(own.join("worker.sqlite")).unwrap();
    std::fs::write(own.join("worker.sqlite-wal"), content).unwrap();
    pipeline.run(&["work", "--shard", "0", "--rebuild"], 0);
    pipeline.audit();
    assert_eq!(pipeline.list("shard-worker-0/state").len(), 2, "{:?}", pipeline.list("shard-worker-0/state"));
}

#[test]
fn what_it_cannot_be_made_without_is_named() {
    let mut pipeline = Pipeline::new(&[]);
    pipeline.run(&["migrate", "up"], 0);
    pipeline.start_with_services(&[Role::Split, Role::Work0, Role::Work1]);
    pipeline.import(&one_sale(10), 100);
    eventually("it is decided", PATIENCE, || decided(&pipeline) == 2);
    WORKERS.into_iter().for_each(|role| drop(pipeline.terminate(role)));
    lose(&pipeline);
    for path in pipeline.list("shard-worker-0").into_iter().chain(pipeline.list("shard-worker-1")) {
        std::fs::remove_file(path).unwrap();
    }
    let said = rebuild(&pipeline, 1);
    assert!(said.contains("was decided and is not delivered, but cannot be read"), "{said}");
    assert!(said.contains("--stage shard-worker --cascade'"), "{said}");
    // What it says helps: the same is decided again.
    let file = pipeline.event_files()[0].0.clone();
    pipeline.run(&["retry", &file, "--stage", "shard-worker", "--cascade"], 0);
    rebuild(&pipeline, 0);
    [Role::Work0, Role::Work1, Role::Send].into_iter().for_each(|role| pipeline.start(role));
    pipeline.wait_settled();
    pipeline.assert_all_is_well(&Known::new());
}
