//! The one place that maps what a store answers to what a client sees. docs/errors.md lists the codes.

use std::future::Future;

use axum::http::StatusCode;

use super::problem::Problem;
use crate::base::db::{Error, RefusalKind, Result};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Gone(what) => Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} is unknown")),
            Error::Invalid(why) => Self::invalid(why),
            Error::Refused(refusal) => {
                Self { key: refusal.key(), ..Self::new(status_of(refusal.kind()), refusal.code(), refusal.to_string()) }
            }
            Error::Busy(why) | Error::Unavailable(why) => {
                let detail = "the database does not answer; try again";
                Self::unavailable(detail).because(format!("the database does not answer: {why}"))
            }
            error @ (Error::Broken(_) | Error::Input(_)) => Self::internal().because(error),
        }
    }
}

/// A state that does not allow a call is a conflict with another call; a call that may be taken later is no fault of the
/// client.
fn status_of(kind: RefusalKind) -> StatusCode {
    match kind {
        RefusalKind::Conflict => StatusCode::CONFLICT,
        RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        RefusalKind::Later => StatusCode::SERVICE_UNAVAILABLE,
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
