//! One place maps what a store answers to what a client sees; docs/errors.md lists the codes.

use std::future::Future;

use axum::http::StatusCode;

use crate::http::Problem;
use crate::store::{Error, Result};
use crate::trade::Refusal;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Gone(what) => Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} is unknown")),
            Error::Invalid(why) => Self::invalid(why),
            Error::Refused(refusal) => Self::conflict(refusal.code(), refusal.to_string()),
            Error::Declined(refusal) => Self::new(status_of(&refusal), refusal.code(), refusal.to_string()),
            Error::Busy(why) | Error::Unavailable(why) => {
                log::warn!("the database does not answer: {why}");
                Self::unavailable("the database does not answer; try again")
            }
            error @ (Error::Broken(_) | Error::Input(_)) => {
                log::error!("{error}");
                Self::internal()
            }
        }
    }
}

/// A call that may be taken later is no fault of the client.
fn status_of(refusal: &Refusal) -> StatusCode {
    if refusal.is_temporary() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNPROCESSABLE_ENTITY }
}

/// Runs a change to its end also when the client goes away meanwhile: half a change must not be left behind.
pub(super) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> std::result::Result<T, Problem> {
    match tokio::spawn(change).await {
        Ok(result) => Ok(result?),
        Err(e) => {
            log::error!("a change ended abnormally: {e}");
            Err(Problem::internal())
        }
    }
}
