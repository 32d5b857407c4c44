//! The UPDATE of each move. The order of the assignments matters: in MySQL a later assignment sees what an earlier one
//! wrote.

use crate::pipeline::task::{Call, Stage};

macro_rules! release {
    ($next_at:literal) => {
        concat!(
            "UPDATE pipeline_tracking SET {status} = 'new', attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END, claim_id = NULL, \
             lease_until = NULL, next_at = ",
            $next_at,
            ", last_error = COALESCE(:reason, last_error), updated_at = {now} \
             WHERE filename = :filename AND shard = :shard AND {status} = 'started' AND lease_until IS NOT NULL \
               AND token = :token"
        )
    };
}

macro_rules! retry {
    ($from:literal, $later:literal, $reset:literal) => {
        concat!(
            "UPDATE pipeline_tracking SET {status} = 'new', ",
            $reset,
            "token = token + (lease_until IS NULL), attempts = CASE WHEN lease_until IS NULL THEN 0 ELSE attempts END, \
             next_at = CASE WHEN lease_until IS NULL THEN NULL ELSE next_at END, updated_at = {now} \
             WHERE filename = :filename AND shard = :shard AND {status} IN (",
            $from,
            ") AND ",
            $later,
            ""
        )
    };
}

/// The WHERE of each statement is the rule of [`crate::pipeline::task::TaskRow::decide`].
pub(crate) const fn statement_of(stage: Stage, call: Call) -> &'static str {
    match call {
        Call::Start => START,
        Call::Heartbeat(_) => HEARTBEAT,
        Call::Done(Some(_)) => DONE_FENCED,
        Call::Done(None) => DONE_PLAIN,
        Call::Fail(Some(_)) => FAIL_FENCED,
        Call::Fail(None) => FAIL_PLAIN,
        Call::FailAttempt(_) => FAIL_ATTEMPT,
        Call::Release(_) => release!("NULL"),
        Call::ReleaseLater(_) => release!("{backoff}"),
        Call::Retry | Call::RetryCascade => retry_statement(stage, matches!(call, Call::RetryCascade)),
        // Claims have a statement of their own.
        Call::Claim => "SELECT NULL WHERE FALSE",
    }
}

const START: &str =
    "UPDATE pipeline_tracking SET {status} = 'started', token = token + 1, attempts = attempts + 1, owner = NULL,
    claim_id = NULL, started_at = {now}, lease_until = NULL, next_at = NULL, updated_at = {now}
    WHERE filename = :filename AND shard = :shard AND {status} = 'new' AND {previous} = 'done'";

const HEARTBEAT: &str = "UPDATE pipeline_tracking SET lease_until = {lease_until}
    WHERE filename = :filename AND shard = :shard AND {status} = 'started' AND lease_until IS NOT NULL AND token = :token";

const DONE_FENCED: &str = "UPDATE pipeline_tracking SET {status} = 'done', attempts = 0, claim_id = NULL, lease_until = NULL,
    next_at = NULL, last_error = NULL, updated_at = {now}
    WHERE filename = :filename AND shard = :shard AND {status} = 'started' AND lease_until IS NOT NULL AND token = :token";

const DONE_PLAIN: &str =
    "UPDATE pipeline_tracking SET {status} = 'done', attempts = 0, claim_id = NULL, next_at = NULL,
    last_error = NULL, updated_at = {now}
    WHERE filename = :filename AND shard = :shard AND {status} = 'started' AND lease_until IS NULL";

const FAIL_FENCED: &str = "UPDATE pipeline_tracking SET {status} = 'failed', claim_id = NULL, lease_until = NULL, next_at = NULL,
    last_error = COALESCE(:reason, 'no reason given'), updated_at = {now}
    WHERE filename = :filename AND shard = :shard AND {status} = 'started' AND lease_until IS NOT NULL AND token = :token";

const FAIL_PLAIN: &str = "UPDATE pipeline_tracking SET {status} = 'failed', claim_id = NULL, next_at = NULL,
    last_error = COALESCE(:reason, 'no reason given'), updated_at = {now}
    WHERE filename = :filename AND shard = :shard AND {status} IN ('new', 'started') AND lease_until IS NULL";

const FAIL_ATTEMPT: &str = "UPDATE pipeline_tracking
    SET {status} = CASE WHEN attempts < :attempts_max THEN 'new' ELSE 'failed' END,
    next_at = CASE WHEN attempts < :attempts_max THEN {backoff} END, claim_id = NULL, lease_until = NULL,
    last_error = COALESCE(:reason, 'no reason given'), updated_at = {now}
    WHERE filename = :filename AND shard = :shard AND {status} = 'started' AND lease_until IS NOT NULL AND token = :token";

const fn retry_statement(stage: Stage, cascade: bool) -> &'static str {
    match (stage, cascade) {
        (Stage::EventIngest | Stage::MysqlSender, false) => retry!("'failed'", "TRUE", ""),
        (Stage::EventIngest | Stage::MysqlSender, true) => retry!("'failed', 'done'", "TRUE", ""),
        (Stage::ShardSplitter, false) => {
            retry!("'failed'", "shard_worker_status = 'new' AND mysql_sender_status = 'new'", "")
        }
        (Stage::ShardSplitter, true) => retry!(
            "'failed', 'done'",
            "shard_worker_status IN ('new', 'failed') AND mysql_sender_status IN ('new', 'failed')",
            "shard_worker_status = 'new', mysql_sender_status = 'new', "
        ),
        (Stage::ShardWorker, false) => retry!("'failed'", "mysql_sender_status = 'new'", ""),
        (Stage::ShardWorker, true) => {
            retry!("'failed', 'done'", "mysql_sender_status IN ('new', 'failed')", "mysql_sender_status = 'new', ")
        }
    }
}
