//! Which principal may make which call: every stage moves its own tasks, and the operator may do everything. The
//! OpenAPI document says the same of every call, and a test compares the two.

use super::BASE;
use crate::base::http::auth::Call;
use crate::base::http::{Permit, Policy, Principal};
use crate::pipeline::settings::principal;
use crate::pipeline::task::Stage;

/// The policy of the API.
pub(crate) const POLICY: Policy = Policy {
    serves: &[
        principal::EVENT_INGEST,
        principal::SHARD_SPLITTER,
        principal::SHARD_WORKER,
        principal::MYSQL_SENDER,
        Principal::OPERATOR,
    ],
    permit,
    read: Policy::OPEN_READS,
    upgrade: Policy::NO_UPGRADE,
};

fn permit(call: &Call<'_>) -> Permit {
    match call.route().strip_prefix(BASE) {
        Some("/files/register" | "/stages/event-ingest/done") => Permit::to(principal::EVENT_INGEST),
        Some("/queues/{stage}/claim" | "/stages/{stage}/heartbeat") => of_stage(call),
        Some("/stages/{stage}/{transition}") => match call.parameter("transition") {
            "start" | "done" | "fail" | "release" => of_stage(call),
            _ => Permit::OPERATOR,
        },
        _ => Permit::OPERATOR,
    }
}

fn of_stage(call: &Call<'_>) -> Permit {
    match call.parameter("stage").parse() {
        Ok(Stage::EventIngest) => Permit::to(principal::EVENT_INGEST),
        Ok(Stage::ShardSplitter) => Permit::to(principal::SHARD_SPLITTER),
        Ok(Stage::ShardWorker) => Permit::to(principal::SHARD_WORKER),
        Ok(Stage::MysqlSender) => Permit::to(principal::MYSQL_SENDER),
        Err(_) => Permit::OPERATOR,
    }
}
