//! Counts tasks, for the metrics.

use async_trait::async_trait;

use super::{for_stage, micros};
use crate::base::db::Result;
use crate::base::db::mysql::database::{Tx, Work};
use crate::base::db::mysql::value::{count, get, optional_timestamp};
use crate::pipeline::apid::sql::{self, REGISTERED, SETTLED_AFTER_MS};
use crate::pipeline::apid::store::{NewTasks, OpenTasks, TaskTally};
use crate::pipeline::columns::mysql::{shard, status};
use crate::pipeline::task::Stage;

/// Counts what is not done, and what was registered after this row.
pub(super) struct Count {
    pub(super) mark: u64,
}

#[async_trait]
impl Work for Count {
    type Out = TaskTally;

    async fn run(&self, tx: &mut Tx<'_>) -> Result<TaskTally> {
        let mut tally = TaskTally::default();
        // The registrations first: a task that comes in between is counted as open only.
        let settled = micros(SETTLED_AFTER_MS);
        for row in &tx.rows(&registered(), (self.mark, settled, self.mark)).await? {
            tally.registered.push(NewTasks {
                shard: shard(row, "shard")?,
                tasks: count(row, "tasks")?,
                is_settled: get(row, "is_settled")?,
                last: count(row, "last")?,
            });
        }
        for stage in Stage::ALL {
            for row in &tx.rows(&open_tasks(stage), ()).await? {
                tally.open.push(OpenTasks {
                    stage,
                    shard: shard(row, "shard")?,
                    status: status(row, "status")?,
                    tasks: count(row, "tasks")?,
                    oldest: optional_timestamp(row, "oldest")?,
                });
            }
        }
        Ok(tally)
    }
}

fn open_tasks(stage: Stage) -> String {
    let by_status = format!("FORCE INDEX ({}) ", sql::status_index(stage));
    for_stage(stage, &sql::open_tasks(stage).replace("{by_status}", &by_status))
}

fn registered() -> String {
    let settled = "UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND";
    REGISTERED.replace("{settled}", settled).replace("{mark}", "?").replace("{by_id}", "FORCE INDEX (PRIMARY) ")
}

#[cfg(test)]
mod tests {
    use mysql_async::Value;
    use mysql_async::prelude::Queryable;

    use super::*;
    use crate::base::clock::Clock;
    use crate::base::db::mysql::database::Database;
    use crate::base::db::mysql::testing::{TestDatabase, on_every_server};
    use crate::pipeline::schemas::TRACKING;

    on_every_server! {
        the_history_is_not_read
    }

    /// What is done is never read, and what was counted before is not counted again, however much it is.
    async fn the_history_is_not_read(variable: &str) {
        let place = TestDatabase::made(variable, "tally", &TRACKING).await;
        let database = Database::new(&place.server, &TRACKING, Clock::System);
        let mut connection = database.connection().await.unwrap();
        let mut plans = Vec::new();
        let of_stages = Stage::ALL.map(|stage| (open_tasks(stage), Vec::new()));
        let by_number = (registered(), vec![Value::from(1); 3]);
        for (select, values) in of_stages.into_iter().chain([by_number]) {
            let rows: Vec<mysql_async::Row> =
                connection.exec(format!("EXPLAIN FORMAT=TRADITIONAL {select}"), values).await.unwrap();
            let text = |column: &str| get::<Option<String>>(&rows[0], column).unwrap().unwrap_or_default();
            plans.push((text("key"), text("type"), select));
        }
        drop(connection);
        database.close().await;
        place.drop().await;
        for (key, kind, select) in plans {
            assert!(!key.is_empty() && kind != "ALL" && kind != "index", "{key} {kind}: {select}");
        }
    }
}
