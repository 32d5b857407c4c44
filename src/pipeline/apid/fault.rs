//! The one place that maps what a store answers to what a client sees. docs/errors.md lists the codes.

use std::future::Future;

use axum::http::StatusCode;

use crate::base::db::{Error, Result};
use crate::base::http::Problem;
use crate::pipeline::trade::Refusal;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Gone(what) => Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} is unknown")),
            Error::Invalid(why) => Self::invalid(why),
            Error::Refused(refusal) => Self::conflict(refusal.code(), refusal.to_string()),
            Error::Declined(refusal) => {
                let key = refusal.key().map(|key| key.as_str().to_owned());
                Self { key, ..Self::new(status_of(&refusal), refusal.code(), refusal.to_string()) }
            }
            Error::Busy(why) | Error::Unavailable(why) => {
                let detail = "the database does not answer; try again";
                Self::unavailable(detail).because(format!("the database does not answer: {why}"))
            }
            error @ (Error::Broken(_) | Error::Input(_)) => Self::internal().because(error),
        }
    }
}

/// A call that may be taken later is no fault of the client.
fn status_of(refusal: &Refusal) -> StatusCode {
    if refusal.is_temporary() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::UNPROCESSABLE_ENTITY }
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
