//! What a server says of itself, asked without changing anything.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use super::fault::{self, no_answer};
use super::session::{ANSWER_MAX, connect};
use crate::base::db::url::Server;
use crate::base::db::{Error, Result, ServerFacts};
use crate::base::timestamp::Timestamp;

/// Its version, its clock and those of its global variables that decide whether it can be worked with.
pub(crate) async fn facts(server: &Server) -> Result<ServerFacts> {
    let look = async {
        let mut connection = connect(server).await?;
        let row: Option<(String, String)> = connection
            .query_first("SELECT VERSION(), CAST(UTC_TIMESTAMP(3) AS CHAR)")
            .await
            .map_err(fault::of_statement)?;
        let variables: Vec<(String, String)> = connection
            .query(
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'innodb_doublewrite',
                 'sql_mode', 'max_allowed_packet', 'read_only', 'super_read_only')",
            )
            .await
            .map_err(fault::of_statement)?;
        connection.disconnect().await.map_err(fault::of_statement)?;
        let (version, now) = row.unwrap_or_default();
        let now = Timestamp::parse(&now).ok_or_else(|| Error::broken(format!("the server's time is '{now}'")))?;
        Ok(ServerFacts { version, now, variables: BTreeMap::from_iter(variables) })
    };
    timeout(ANSWER_MAX, look).await.unwrap_or_else(|_| Err(no_answer(ANSWER_MAX)))
}
