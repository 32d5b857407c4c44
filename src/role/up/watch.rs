//! Watches the roles of `up`: a role that ends unasked ends all of them, and is named.

use tokio::task::{JoinError, JoinSet};

use crate::base::boot::{Exit, Failure};
use crate::base::shutdown::Stop;

/// The role that makes files.
pub(super) const INGEST: &str = "event-ingest";

/// Running roles; each answers with its name.
pub(super) type Roles = JoinSet<(&'static str, Result<Exit, Failure>)>;

/// Runs until the stop is requested or a role ends; a role that ends unasked stops all.
pub(super) async fn until_stop(stop: &Stop, roles: &mut Roles, apis: &mut Roles) -> Result<(), Failure> {
    tokio::select! {
        () = stop.requested() => Ok(()),
        result = until_ended_early(stop, roles, apis) => result,
    }
}

/// Runs until a role fails, or ends without having been asked to.
pub(super) async fn until_ended_early(stop: &Stop, roles: &mut Roles, apis: &mut Roles) -> Result<(), Failure> {
    loop {
        let ended = tokio::select! {
            Some(ended) = roles.join_next() => ended,
            Some(ended) = apis.join_next() => ended,
            else => return Ok(()),
        };
        if !stop.is_requested() || !matches!(ended, Ok((_, Ok(_)))) {
            return Err(ended_early(ended));
        }
    }
}

/// Runs until the ingest, which was asked to stop, has ended.
pub(super) async fn until_ingest_ended(stop: &Stop, roles: &mut Roles, apis: &mut Roles) -> Result<(), Failure> {
    loop {
        let ended = tokio::select! {
            Some(ended) = roles.join_next() => ended,
            Some(ended) = apis.join_next() => ended,
            else => return Ok(()),
        };
        match ended {
            Ok((INGEST, Ok(_))) => return Ok(()),
            Ok((_, Ok(_))) if stop.is_requested() => {}
            other => return Err(ended_early(other)),
        }
    }
}

/// Waits for all roles; the second signal or the deadline ends the wait.
pub(super) async fn join_all(roles: &mut Roles, stop: &Stop) -> Result<(), Failure> {
    let mut result = Ok(());
    loop {
        let ended = tokio::select! {
            ended = roles.join_next() => ended,
            () = stop.ended() => return result.and(Err(Failure::new("ended before everything was drained"))),
        };
        match ended {
            None => return result,
            Some(Ok((_, Ok(_)))) => {}
            Some(other) => result = result.and(Err(ended_early(other))),
        }
    }
}

fn ended_early(ended: Result<(&'static str, Result<Exit, Failure>), JoinError>) -> Failure {
    match ended {
        Ok((name, Ok(exit))) => Failure::new(format!("{name} ended by itself ({exit:?}), so everything stops")),
        Ok((name, Err(failure))) => {
            Failure { message: format!("{name} failed, so everything stops: {failure}"), ..failure }
        }
        Err(e) => Failure::new(format!("a role ended abnormally, so everything stops: {e}")),
    }
}
