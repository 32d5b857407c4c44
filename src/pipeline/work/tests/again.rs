//! Crashes. Before the commit all steps are repeated, with the same result; after it the report is repeated.

use super::*;

/// Something of everything: sales, a copy, no money, no stock, returns early and late.
fn busy() -> [(u32, u64, Vec<String>); 5] {
    [
        (1, 0, vec![restock(2, 3, 0), give_back(9, 1, 1), buy(1, Some(7), 2, 2, 2), buy(2, Some(7), 2, 2, 3)]),
        (1, 1, vec![buy(3, Some(7), 3, 2, 1), buy(4, Some(8), 3, 9, 2), give_back(4, 1, 3)]),
        (2, 0, vec![give_back(1, 1, 5), buy(9, Some(8), 2, 1, 6), give_back(3, 1, 7), buy(1, Some(7), 2, 2, 2)]),
        (2, 1, vec![buy(5, Some(7), 3, 2, 8), give_back(5, 2, 9), give_back(77, 1, 9)]),
        (3, 0, vec![]),
    ]
}

/// Everything that a person can see: files, moved money by key, balances.
type Seen = (BTreeMap<String, Vec<u8>>, BTreeMap<String, i64>, BTreeMap<i64, i64>);

fn end_of(floor: &Floor) -> Seen {
    (snapshot(floor.temp.path()), floor.world.applied(), floor.world.balances())
}

#[test]
fn a_service_that_fails_at_any_call_changes_nothing_in_the_end() {
    let calm = Floor::new(500);
    busy().iter().for_each(|(number, shard, lines)| drop(calm.work(*number, *shard, lines)));
    let expected = end_of(&calm);
    for reply_is_lost in [false, true] {
        let mut failures = 0;
        for calls in 0..8 {
            let floor = Floor::new(500);
            for (number, shard, lines) in busy() {
                let task = floor.write(number, shard, &lines);
                floor.world.fail_after(calls, reply_is_lost);
                let first = floor.run(&task);
                if floor.world.heal() && first.is_err() {
                    failures += 1;
                    assert!(matches!(first, Err(Fault::Unavailable(_))), "the task goes back: {first:?}");
                    floor.run(&task).unwrap();
                }
            }
            assert!(end_of(&floor) == expected, "after {calls} calls, lost {reply_is_lost}");
        }
        assert!(failures >= 15, "the calls failed {failures} times");
    }
}

#[test]
fn two_workers_that_have_one_file_at_the_same_time_decide_it_once() {
    let calm = Floor::new(500);
    let expected: Vec<Left> = busy().iter().map(|(number, shard, lines)| calm.work(*number, *shard, lines)).collect();
    let floor = Floor::new(500);
    for ((number, shard, lines), expected) in busy().iter().zip(expected) {
        let task = floor.write(*number, *shard, lines);
        let both = std::sync::Barrier::new(2);
        let run = || {
            let mut worker = floor.worker(*shard);
            both.wait();
            worker.work_on(&task, &lease()).map(|finished| floor.left(&finished))
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(run);
            (run(), other.join().unwrap())
        });
        assert_eq!((one.unwrap(), other.unwrap()), (expected.clone(), expected));
    }
    assert_eq!((floor.world.applied(), floor.world.balances()), (calm.world.applied(), calm.world.balances()));
}

#[test]
fn a_lost_commit_repeats_the_same_decisions() {
    let floor = Floor::new(500);
    let state = |shard: u64| floor.folder().worker_state(shard_id(shard));
    for (number, shard, lines) in busy() {
        let task = floor.write(number, shard, &lines);
        drop(floor.worker(shard));
        let before = std::fs::read(state(shard)).unwrap();
        let first = floor.run(&task).unwrap();
        let seen = end_of(&floor);
        for leftover in ["worker.sqlite-wal", "worker.sqlite-shm"] {
            drop(std::fs::remove_file(state(shard).with_file_name(leftover)));
        }
        std::fs::write(state(shard), before).unwrap();
        assert_eq!(floor.run(&task).unwrap(), first);
        assert!(end_of(&floor) == seen, "{number} {shard}");
    }
}

#[test]
fn a_lost_report_is_made_again_and_moves_nothing() {
    let floor = Floor::new(500);
    for (number, shard, lines) in busy() {
        let task = floor.write(number, shard, &lines);
        let first = floor.run(&task).unwrap();
        let seen = end_of(&floor);
        floor.world.fail_after(0, false);
        assert_eq!(floor.run(&task).unwrap(), first, "no service has to be asked");
        floor.world.heal();
        assert!(end_of(&floor) == seen, "{number} {shard}");
    }
}

#[test]
fn other_content_under_a_finished_name_is_refused() {
    let floor = Floor::new(500);
    floor.work(1, 0, &[restock(2, 3, 0)]);
    let task = floor.write(1, 0, &[restock(2, 4, 0)]);
    let fault = floor.run(&task).unwrap_err();
    assert!(
        matches!(&fault, Fault::Permanent(why) if why.contains("put repaired lines into a new event file")),
        "{fault}"
    );
}

#[test]
fn a_damaged_or_lost_file_is_put_back_as_it_was_published() {
    let floor = Floor::new(0);
    let task = floor.write(1, 0, &[restock(2, 3, 0), buy(1, Some(7), 2, 1, 1)]);
    let first = floor.run(&task).unwrap();
    let seen = end_of(&floor);
    let (file, shard) = (task.key.file.clone(), task.key.shard);
    for artifact in [Artifact::Prepared(file.clone(), shard), Artifact::WorkRejects(file.clone(), shard)] {
        let path = floor.folder().path_of(&artifact);
        for damage in [Some("{}\n"), None] {
            match damage {
                Some(other) => std::fs::write(&path, other).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            assert_eq!(floor.run(&task).unwrap(), first);
            assert!(end_of(&floor) == seen, "{}", path.display());
        }
    }
    let state = floor.folder().worker_state(shard);
    std::fs::remove_dir_all(state.with_file_name("kept")).unwrap();
    std::fs::write(floor.folder().path_of(&Artifact::Prepared(file, shard)), "{}\n").unwrap();
    assert!(matches!(floor.run(&task), Err(Fault::Permanent(why)) if why.contains("no copy is left")));
}

#[test]
fn what_was_not_confirmed_is_confirmed_with_the_next_task() {
    let floor = Floor::new(500);
    let task = floor.write(1, 0, &[restock(2, 3, 0)]);
    floor.worker(0).work_on(&task, &lease()).unwrap();
    assert_eq!(floor.world.confirmed(), 0);
    floor.work(2, 0, &[]);
    assert_eq!(floor.world.confirmed(), 2);
}
