//! The one place that maps what a store answers to what a client sees. docs/errors.md lists the codes.

use std::future::Future;

use axum::http::StatusCode;

use crate::base::db::{Error, Result};
use crate::base::http::Problem;
use crate::pipeline::trade;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Gone(what) => Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} is unknown")),
            Error::Invalid(why) => Self::invalid(why),
            Error::Refused(ref refusal) => Self::new(status_of(&error), refusal.code(), refusal.to_string()),
            Error::Busy(why) | Error::Unavailable(why) => {
                let detail = "the database does not answer; try again";
                Self::unavailable(detail).because(format!("the database does not answer: {why}"))
            }
            error @ (Error::Broken(_) | Error::Input(_)) => Self::internal().because(error),
        }
    }
}

/// A move that the status of a task does not allow is a conflict with another call. What trade does not take is the
/// client's fault, unless the same call may be taken later.
fn status_of(refused: &Error) -> StatusCode {
    match refused.refusal::<trade::Refusal>() {
        Some(refusal) if refusal.is_temporary() => StatusCode::SERVICE_UNAVAILABLE,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::CONFLICT,
    }
}

/// Runs a call to its end also when the client goes away meanwhile: half a change must not be left behind, nor a long
/// sum be begun again and again.
pub(crate) async fn to_the_end<T: Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> std::result::Result<T, Problem> {
    match tokio::spawn(call).await {
        Ok(result) => Ok(result?),
        Err(e) => Err(Problem::internal().because(format!("a call ended abnormally: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::task;

    #[test]
    fn every_refusal_has_its_status() {
        let status = |error: Error| Problem::from(error).status;
        assert_eq!(status(task::Refusal::OtherShards(2).into()), StatusCode::CONFLICT);
        let full = trade::Refusal::PendingFull { max: 1 };
        assert_eq!(status(full.into()), StatusCode::SERVICE_UNAVAILABLE);
        let file = "20250101000000".parse().unwrap();
        assert_eq!(status(trade::Refusal::LineConflict { file, line: 1 }.into()), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
