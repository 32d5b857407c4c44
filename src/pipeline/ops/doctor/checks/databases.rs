//! Databases: there, answering, with a schema that this program knows.

use std::time::Duration;

use super::servers;
use crate::base::db::SchemaState;
use crate::pipeline::ops::doctor::Finding;
use crate::pipeline::ops::doctor::facts::{DatabaseFact, DatabaseState};

/// What to do where a file takes no changes.
const MAKE_WRITABLE: &str = "make it writable for the user of the roles: docs/runbook.md#database-read-only";

/// Judges one database; `lease` bounds what clocks may differ.
pub(super) fn check(database: &DatabaseFact, lease: Duration) -> Vec<Finding> {
    let (name, place) = (database.name.as_str(), database.place.as_str());
    match &database.state {
        Err(problem) if problem.is_read_only => {
            vec![Finding { is_temporary: true, ..Finding::fail(name, problem.why.as_str(), MAKE_WRITABLE) }]
        }
        Err(problem) if problem.is_temporary => {
            let todo = "start it, or see docs/runbook.md#database-away";
            vec![Finding { is_temporary: true, ..Finding::fail(name, problem.why.as_str(), todo) }]
        }
        Err(problem) => {
            vec![Finding::fail(name, format!("{place}: {}", problem.why), "docs/runbook.md#restore-backup")]
        }
        Ok(DatabaseState { schema, server, ahead_ms, read_only }) => {
            let mut findings = vec![schema_of(database, *schema)];
            let fail = |why: &String| Finding::fail(name, format!("{place} is read-only: {why}"), MAKE_WRITABLE);
            findings.extend(read_only.as_ref().map(fail));
            if let Some(server) = server {
                findings.extend(servers::check(name, server, database.packet_bytes_min));
                findings.push(servers::clock(name, *ahead_ms, lease));
            }
            findings
        }
    }
}

fn schema_of(database: &DatabaseFact, schema: Option<SchemaState>) -> Finding {
    let (name, place) = (database.name.as_str(), database.place.as_str());
    match schema {
        Some(state) if state.is_current() => Finding::ok(name, format!("{place}: schema {}", state.applied)),
        Some(SchemaState { applied, known }) if applied > known => Finding::warn(
            name,
            format!("{place}: schema {applied} is newer than this program, which knows {known}"),
            "install the newer program here too",
        ),
        Some(SchemaState { applied, known }) => Finding::fail(
            name,
            format!("{place}: schema {applied} of {known}"),
            "run 'shopctl migrate up' as a user who may change tables",
        ),
        None if database.is_embedded => {
            Finding::ok(name, format!("{place} is not there yet: the role that uses it makes it"))
        }
        None => Finding::fail(name, format!("{place}: there is no such database"), "run 'shopctl migrate up'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ops::doctor::Level;
    use crate::pipeline::ops::doctor::facts::DatabaseProblem;

    fn fact(is_embedded: bool, schema: Option<(usize, usize)>) -> DatabaseFact {
        let schema = schema.map(|(applied, known)| SchemaState { applied, known });
        let state = Ok(DatabaseState { schema, ..DatabaseState::default() });
        DatabaseFact {
            name: "database.tracking".to_owned(),
            place: "p".to_owned(),
            is_embedded,
            packet_bytes_min: 0,
            state,
        }
    }

    #[test]
    fn a_schema_is_current_or_there_is_something_to_do() {
        for (fact, level) in [
            (fact(true, Some((2, 2))), Level::Ok),
            (fact(true, Some((1, 2))), Level::Fail),
            (fact(true, Some((3, 2))), Level::Warn),
            (fact(true, None), Level::Ok),
            (fact(false, None), Level::Fail),
        ] {
            let findings = check(&fact, Duration::from_secs(60));
            assert_eq!((findings.len(), findings[0].level), (1, level), "{fact:?}");
        }
    }

    #[test]
    fn only_silence_may_be_over_by_itself() {
        for is_temporary in [true, false] {
            let state = Err(DatabaseProblem { why: "no answer".to_owned(), is_temporary, is_read_only: false });
            let findings = check(&DatabaseFact { state, ..fact(false, None) }, Duration::from_secs(60));
            assert_eq!((findings[0].level, findings[0].is_temporary), (Level::Fail, is_temporary));
        }
    }

    #[test]
    fn a_file_that_takes_no_changes_fails_beside_its_schema() {
        let schema = Some(SchemaState { applied: 2, known: 2 });
        let read_only = Some("its file system is mounted read-only".to_owned());
        let state = DatabaseState { schema, read_only, ..DatabaseState::default() };
        let why = "no".to_owned();
        for (state, found) in [
            (Ok(state), "p is read-only: its file system is mounted read-only"),
            (Err(DatabaseProblem { why, is_temporary: true, is_read_only: true }), "no"),
        ] {
            let findings = check(&DatabaseFact { state, ..fact(true, None) }, Duration::from_secs(60));
            let last = findings.last().unwrap();
            assert_eq!((last.level, last.found.as_str()), (Level::Fail, found));
            assert!(last.todo.as_deref().unwrap().contains("#database-read-only"), "{last:?}");
        }
    }
}
