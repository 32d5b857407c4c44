//! What the audit has to find, and what names and files that come again must not do.

mod chain;
mod damage;
mod model;
mod services;
mod trade;

use crate::support::events::{MISHAPS, event, generated};
use crate::support::oracle::Known;
use crate::support::pipeline::{Pipeline, Role};
use crate::support::{PATIENCE, eventually};

/// Restocks have no business key: whatever comes twice becomes two rows.
fn restocks(first_good: usize, count: usize) -> Vec<u8> {
    let line = |good: usize| {
        let payload =
            format!(r#""shop_id":{good},"good_id":{good},"delta_count":1,"reason":"new","sub_event_type":"restock""#);
        event(0, &payload) + "\n"
    };
    (first_good..first_good + count).map(line).collect::<String>().into_bytes()
}

fn row_count(pipeline: &Pipeline) -> usize {
    pipeline.rows(0).len() + pipeline.rows(1).len()
}

#[test]
fn an_event_file_that_changed_is_named_and_its_lines_are_not_delivered_again() {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.import(&restocks(1, 40), 20);
    pipeline.wait_settled();
    let path = pipeline.list("events").remove(0);
    let changed = std::fs::read_to_string(&path).unwrap().replacen("\"new\"", "\"old\"", 1);
    std::fs::write(&path, changed).unwrap();

    pipeline.start(Role::Ingest);
    let differs = "differs from what was announced";
    pipeline.role(Role::Ingest).wait_log(differs, |_| Some(()));
    let found = pipeline.run(&["audit"], 1);
    assert!(found.out.contains("announced was") && found.out.contains("\n1 difference"), "{}", found.out);
    pipeline.terminate(Role::Ingest);
    assert_eq!(pipeline.delivered(), (4, 4), "no further file was announced");
    assert_eq!(row_count(&pipeline), 40);
    assert!(path.exists(), "what is not what was announced is not cleared");
}

#[test]
fn rows_that_no_task_knows_are_a_difference() {
    let mut pipeline = Pipeline::running(&[]);
    pipeline.import(&restocks(1, 10), 10);
    pipeline.wait_settled();
    pipeline.kill9(Role::Apid);
    let databases = pipeline.list("db").into_iter().chain(pipeline.list("events"));
    for path in
        databases.filter(|path| ["/pipeline_db", "/events/"].iter().any(|part| path.to_string_lossy().contains(part)))
    {
        std::fs::remove_file(path).unwrap();
    }
    let lost = pipeline.run(&["audit"], 1);
    assert!(lost.log.contains("there is no tracking database"), "{}", lost.log);
    pipeline.start(Role::Apid);
    let found = pipeline.run(&["audit", "--settled"], 1);
    assert!(found.out.contains("its task is unknown"), "{}", found.out);
}

#[test]
fn a_name_that_was_used_before_is_not_used_again() {
    let pipeline = Pipeline::running(&["shared.cleanup=none"]);
    // Many small files: their names reach into the seconds to come.
    pipeline.import(&restocks(1, 60), 1);
    pipeline.wait_settled();
    for path in pipeline.list("events").into_iter().chain(pipeline.list("events/imports")) {
        std::fs::remove_file(path).unwrap();
    }
    pipeline.import(&restocks(1000, 30), 1);
    eventually("all is delivered", PATIENCE, || pipeline.delivered() == (180, 180));
    assert_eq!(row_count(&pipeline), 90);
    pipeline.audit();
}

#[test]
fn two_imports_of_the_same_bytes_at_the_same_time_import_them_once() {
    let pipeline = Pipeline::running(&[]);
    let path = pipeline.write("input.ndjson", &restocks(1, 200));
    let args = ["ingest", "--from", path.to_str().unwrap(), "--batch", "5"];
    let both = [pipeline.spawn(&args, None), pipeline.spawn(&args, None)];
    for import in both {
        import.wait_exit(PATIENCE).expect_code(0);
    }
    pipeline.wait_settled();
    assert_eq!(pipeline.event_files().len(), 40);
    assert_eq!(row_count(&pipeline), 200);
    pipeline.assert_all_is_well(&Known::new());
}

#[test]
fn an_audit_beside_running_roles_finds_nothing_wrong() {
    let pipeline = Pipeline::running(&[]);
    let path = pipeline.write("input.ndjson", &generated(21, MISHAPS, 8000));
    let import = pipeline.spawn(&["ingest", "--from", path.to_str().unwrap(), "--batch", "50"], None);
    let mut audits = 0;
    // Until all is through, however fast that is; without `--settled` unfinished work is no difference.
    eventually("all is delivered", PATIENCE * 2, || {
        pipeline.run(&["audit"], 0);
        audits += 1;
        pipeline.delivered() == (320, 320)
    });
    import.wait_exit(PATIENCE).expect_code(0);
    assert!(audits > 0);
    pipeline.assert_all_is_well(&Known::new());
}
