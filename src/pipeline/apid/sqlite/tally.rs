//! Counts tasks, for the metrics.

use rusqlite::{Connection, Transaction, params};

use super::{Context, for_stage, read};
use crate::base::db::Result;
use crate::base::db::sqlite::db::{count_column, optional_timestamp, timestamp_text};
use crate::pipeline::apid::sql::{self, REGISTERED, SETTLED_AFTER_MS};
use crate::pipeline::apid::store::{NewTasks, OpenTasks, TaskTally};
use crate::pipeline::columns::sqlite::shard_column;
use crate::pipeline::task::Stage;

/// All of one moment.
pub(super) fn read(connection: &mut Connection, mark: u64, context: Context) -> Result<TaskTally> {
    let transaction = connection.transaction()?;
    let mut tally = TaskTally { registered: registered(&transaction, mark, context)?, ..TaskTally::default() };
    for stage in Stage::ALL {
        let mut statement = transaction.prepare_cached(&open_tasks(stage))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            tally.open.push(OpenTasks {
                stage,
                shard: shard_column(row, "shard")?,
                status: read::status(&row.get::<_, String>("status")?)?,
                tasks: count_column(row, "tasks")?,
                oldest: optional_timestamp(row, "oldest")?,
            });
        }
    }
    Ok(tally)
}

fn open_tasks(stage: Stage) -> String {
    let by_status = format!("INDEXED BY {} ", sql::status_index(stage));
    for_stage(stage, &sql::open_tasks(stage).replace("{by_status}", &by_status))
}

fn statement() -> String {
    REGISTERED.replace("{by_id}", "NOT INDEXED ").replace("{settled}", "?2").replace("{mark}", "?1")
}

fn registered(transaction: &Transaction<'_>, mark: u64, context: Context) -> Result<Vec<NewTasks>> {
    let mut statement = transaction.prepare_cached(&statement())?;
    let settled = timestamp_text(context.now.plus_ms(-SETTLED_AFTER_MS));
    let mut rows = statement.query(params![i64::try_from(mark).unwrap_or(i64::MAX), settled])?;
    let mut registered = Vec::new();
    while let Some(row) = rows.next()? {
        registered.push(NewTasks {
            shard: shard_column(row, "shard")?,
            tasks: count_column(row, "tasks")?,
            is_settled: row.get("is_settled")?,
            last: count_column(row, "last")?,
        });
    }
    Ok(registered)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done is never read, and what was counted before is not counted again, however much it is.
    #[test]
    fn the_history_is_not_read() {
        let mut connection = Connection::open_in_memory().unwrap();
        crate::base::db::sqlite::migrate::run(&mut connection, &crate::pipeline::schemas::TRACKING).unwrap();
        for select in Stage::ALL.map(open_tasks).into_iter().chain([statement()]) {
            let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
            let values = rusqlite::params_from_iter(vec![1; explained.parameter_count()]);
            let rows = explained.query_map(values, |row| row.get::<_, String>("detail")).unwrap();
            let plan: Vec<String> = rows.map(|row| row.unwrap()).collect();
            assert!(plan[0].starts_with("SEARCH pipeline_tracking USING"), "{select}: {plan:?}");
            assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{select}: {plan:?}");
        }
    }
}
