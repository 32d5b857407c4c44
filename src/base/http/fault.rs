//! The one place that maps what a store answers to what a client sees. docs/errors.md lists the codes.

use std::future::Future;

use axum::http::StatusCode;

use super::problem::Problem;
use crate::base::db::{Error, Result};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Gone(what) => Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} is unknown")),
            Error::Invalid(why) => Self::invalid(why),
            Error::Refused(refusal) => Self::conflict(refusal.code(), refusal.to_string()),
            // A call that may be taken later is no fault of the client.
            Error::Declined(refusal) if refusal.is_temporary() => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, refusal.code(), refusal.to_string())
            }
            Error::Declined(refusal) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code(), refusal.to_string())
            }
            Error::Busy(why) | Error::Unavailable(why) => {
                let detail = "the database does not answer; try again";
                Self::unavailable(detail).because(format!("the database does not answer: {why}"))
            }
            error @ (Error::Broken(_) | Error::Input(_)) => Self::internal().because(error),
        }
    }
}

/// Runs a call to its end also when the client goes away meanwhile: half a change must not be left behind, nor a long
/// sum be begun again and again.
///
/// # Errors
/// The problem that the store's error becomes; `internal` if the call panicked.
pub async fn to_the_end<T: Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> std::result::Result<T, Problem> {
    match tokio::spawn(call).await {
        Ok(result) => Ok(result?),
        Err(e) => Err(Problem::internal().because(format!("a call ended abnormally: {e}"))),
    }
}
